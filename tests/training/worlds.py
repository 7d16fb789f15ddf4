"""Small worlds to train in: a table policy on a guessing game, a tiny language model rewarded for a letter."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.tiny_model import tiny_engine
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.tabular import TabularPolicy
from workbench.agents.templates import TagTemplate
from workbench.protocols import Limits, Outcome
from workbench.rewards import reward_of
from workbench.rewards.reward import Reward
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Call, Task, Trajectory

TASKS = [Task(f"t{n}", f"Which of {n}?", golds=("yes",)) for n in range(5)]


@dataclass
class Quiet:
    """An environment that answers every call with one word."""

    limits: Limits = field(default_factory=lambda: Limits(turns=2))
    tools: tuple = ()

    def reset(self, task, rng):
        return None, ""

    def step(self, state, calls):
        return Outcome(state, tuple(calls), ("seen",))


def guesser() -> TabularPolicy:
    """Looks (a call), or answers yes or no."""
    actions = {"look": lambda p: Call("look"), "yes": lambda p: "yes", "no": lambda p: "no"}
    return TabularPolicy(actions, lambda prefix: len(prefix.steps))


@part
class Letter(Reward):
    """Share of the letter `letter` in the agent's turns: a reward a random model meets now and then."""

    letter: str = "e"

    def score(self, trajectory: Trajectory) -> Scores:
        text = "".join(step.text for step in trajectory.steps)
        return Scores.trajectory(text.count(self.letter) / max(len(text), 1), "share")


def speaker(seed: int = 0, **config: object) -> LanguagePolicy:
    """A tiny language model that may say twelve tokens a turn."""
    return LanguagePolicy(tiny_engine(seed, **config), TagTemplate(instruction="{question}\n"), turn_tokens=12)


right = reward_of(lambda t: float(t.answer == "yes"), level=Level.TRAJECTORY)
