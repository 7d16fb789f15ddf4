"""A search world small enough for a table: it learns to follow the chain of a question within a second."""

from __future__ import annotations

from workbench.agents.tabular import TabularPolicy
from workbench.environments.hop_world import HopWorld
from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment
from workbench.protocols import Limits, Prefix
from workbench.retrieval import SearchIndex
from workbench.rewards import CoverageGain, ExactMatch, RepeatedDocuments
from workbench.rewards.reward import Reward
from workbench.training.plan import Optimiser
from workbench.training.run import Run
from workbench.training.train import train
from workbench.trajectory import Call

REWARD = ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()


def found(prefix: Prefix) -> int:
    """How many pages of the chain have been brought."""
    ids = {hit.id for step in prefix.steps for hit in step.hits}
    return sum(question.page in ids for question in prefix.task.sub_questions)


def seeker() -> TabularPolicy:
    """Looks for the next name of the chain, asks the question itself, or answers with the last name it has read."""

    def names(prefix: Prefix) -> list[str]:
        return list(prefix.task.extras["entities"])

    actions = {
        "follow": lambda p: Call("search", {"query": names(p)[min(found(p), len(names(p)) - 1)]}),
        "ask": lambda p: Call("search", {"query": p.task.question}),
        "answer": lambda p: names(p)[found(p)],
    }
    return TabularPolicy(actions, lambda p: (found(p), len(p.steps)), label="seeker")


def seeking(updates: int, *, reward: Reward = REWARD, tasks: int = 8, lr: float = 0.1, **settings: object) -> Run:
    """A training of the seeker, not yet started: four tasks an update, eight rollouts each."""
    pages, questions = HopWorld(entities=tasks, distractors=20).build()
    environment = ToolEnvironment([SearchTool(SearchIndex.build(pages, progress=False))], Limits(turns=3))
    made = {"optimiser": Optimiser(lr), "tasks_per_update": 4, **settings}
    return train(seeker(), questions, environment, reward, updates=updates, **made)  # type: ignore[arg-type]
