"""A workbench for people who design rewards for LLM search agents.

``import workbench as wb`` is quick: what needs torch, duckdb or a search index is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "workbench.trajectory": "Call Context End Group Hit Origin Span Step SubQuestion Task Tokens Trajectory Tree",
    "workbench.scores": "Level Part Scores Status",
    "workbench.batch": "Advantages FlatBatch flat_batch",
    "workbench.protocols": "Limits Outcome",
    "workbench.spec": "part",
    "workbench.text": "normalize_answer",
    "workbench.fusion": "rank_fusion",
    "workbench.retrieval": "RemoteIndex SearchIndex read_corpus read_tasks",
    "workbench.environments": "CatalogueWorld GridWorld HopWorld LanguageWriter RuleWriter SearchTool SimulatedSearch "
    "ToolEnvironment",
    "workbench.environments.walkthroughs": "FirstCalls walkthrough_rows",
    "workbench.rewards": "CallCount Clip CosineTo CoverageGain Decomposition EndCase EndRule ExactMatch "
    "FormatLayer FormatTable Gate HitRelevance Named OnLastStep OverLong Placed Product "
    "QueryGain RankOfGold RankedGold ReduceSteps RepeatedDocuments RepeatedQueries Residual "
    "Reward ScoreOfGold SearchKeyMatch SelfAssessment Similarity TaskNumber TokenF1 "
    "WeightedSum WellFormed place reward_of",
    "workbench.retrieval.encoders": "HashedNgrams TfIdf",
    "workbench.retrieval.sentence_model": "SentenceModel",
    "workbench.retrieval.word_llama": "WordLlama",
    "workbench.rewards.lengths": "ReachLength",
    "workbench.rewards.overlap": "SetJaccard",
    "workbench.rewards.search_feedback": "Coverage ExpansionRules FoundRelevance MarginalGain with_found",
    "workbench.rewards.text_overlap": "TextOverlap",
    "workbench.rewards.group_rescale": "GroupRescale",
    "workbench.rewards.tool_calls": "ToolCallMatch",
    "workbench.rewards.expression": "read_reward",
    "workbench.rewards.score": "score",
    "workbench.credit": "GAE BatchBaseline GroupAdvantage LeaveOneOut group_advantages leave_one_out return_to_go "
    "sample_masks",
    "workbench.evaluation": "auc_table bootstrap_interval decision_report did_without efficiency_report hack_probes "
    "label_accuracy label_notes label_report labels_from labels_of_ends pass_at_k preference_accuracy "
    "rank_correlation registered_rewards retrieval_metrics score_runs score_survey spec_lint term_notes term_report "
    "wilson_interval",
    "workbench.credit.advantages": "advantages",
    "workbench.agents.contexts": "HideRejected",
    "workbench.agents.judging": "AssessTemplate ClosedBookTemplate JudgeTemplate",
    "workbench.agents.language_policy": "LanguagePolicy",
    "workbench.agents.scripted": "ScriptedEngine ScriptedPolicy",
    "workbench.agents.tabular": "TabularPolicy",
    "workbench.agents.templates": "TagTemplate ToolCallTemplate",
    "workbench.agents.transformers_engine": "TransformersEngine",
    "workbench.agents.vllm_engine": "VllmEngine",
    "workbench.sampling.evaluate": "evaluate",
    "workbench.sampling.group": "GroupSampler",
    "workbench.sampling.pass_rate": "PassRateBand pass_rate",
    "workbench.sampling.refill": "RefillEqualGroups",
    "workbench.sampling.roles": "DecideThenSolve RoleSampler",
    "workbench.sampling.rollout": "rollout",
    "workbench.training.adaptive_gate": "AdaptiveGate",
    "workbench.training.critic": "Critic",
    "workbench.training.folds": "Curriculum EarlyStop Folds Phases Scheduled TaskSchedule",
    "workbench.training.held_out": "HeldOut",
    "workbench.training.lora": "add_lora",
    "workbench.training.losses": "KL PolicyLoss",
    "workbench.training.method": "DAPO GRPO GSPO PPO RLOO DrGRPO Method ReinforcePP",
    "workbench.training.plan": "Optimiser Plan",
    "workbench.training.preferences": "dpo",
    "workbench.training.run": "Run",
    "workbench.training.sft": "sft",
    "workbench.training.train": "clone resume train",
    "workbench.embedded": "demo",
    "workbench.handing_on": "write_dpo write_prm write_sft",
    "workbench.rescoring": "rescore",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
_HOME["open"] = "workbench.store"

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = getattr(module, "open_store" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
