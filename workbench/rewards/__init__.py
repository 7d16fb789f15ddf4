"""Rewards: what a rollout is paid, and why. Arithmetic on trajectories, numpy only.

`reward.py` holds the contract, `compose.py`, `gates.py` and `reduce.py` what composes rewards, `place.py` where they
land among the tokens, `end_rule.py` what each end is paid. The others hold the rewards themselves.
"""

from workbench.rewards.answers import ExactMatch, TokenF1
from workbench.rewards.assess import HitRelevance, SelfAssessment, TaskNumber
from workbench.rewards.calls import CallCount
from workbench.rewards.compose import WeightedSum
from workbench.rewards.decomposition import Decomposition
from workbench.rewards.end_rule import EndCase, EndRule
from workbench.rewards.evidence import CoverageGain, RepeatedDocuments
from workbench.rewards.format_layer import FormatLayer
from workbench.rewards.formats import FormatTable, WellFormed
from workbench.rewards.gates import Gate, Product
from workbench.rewards.group_rescale import GroupRescale
from workbench.rewards.lengths import OverLong, ReachLength
from workbench.rewards.overlap import SetJaccard
from workbench.rewards.place import Placed, place
from workbench.rewards.queries import RepeatedQueries, SearchKeyMatch
from workbench.rewards.query_gain import CosineTo, QueryGain, RankOfGold, ScoreOfGold
from workbench.rewards.ranked import RankedGold
from workbench.rewards.reduce import Clip, OnLastStep, ReduceSteps
from workbench.rewards.residual import Residual
from workbench.rewards.reward import FunctionReward, Named, Reward, reward_of
from workbench.rewards.score import score
from workbench.rewards.search_feedback import Coverage, ExpansionRules, FoundRelevance, MarginalGain
from workbench.rewards.similarity import Similarity
from workbench.rewards.text_overlap import TextOverlap
from workbench.rewards.tool_calls import ToolCallMatch

__all__ = [
    "CallCount",
    "Clip",
    "CosineTo",
    "Coverage",
    "CoverageGain",
    "Decomposition",
    "EndCase",
    "EndRule",
    "ExactMatch",
    "ExpansionRules",
    "FormatLayer",
    "FormatTable",
    "FunctionReward",
    "FoundRelevance",
    "Gate",
    "GroupRescale",
    "HitRelevance",
    "MarginalGain",
    "Named",
    "OnLastStep",
    "OverLong",
    "Placed",
    "Product",
    "ReachLength",
    "RankedGold",
    "ReduceSteps",
    "RepeatedDocuments",
    "RepeatedQueries",
    "QueryGain",
    "RankOfGold",
    "Residual",
    "Reward",
    "ScoreOfGold",
    "SearchKeyMatch",
    "SetJaccard",
    "SelfAssessment",
    "TaskNumber",
    "Similarity",
    "TextOverlap",
    "TokenF1",
    "ToolCallMatch",
    "WeightedSum",
    "WellFormed",
    "place",
    "reward_of",
    "score",
]
