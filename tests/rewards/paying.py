"""Rewards that pay what a test says, and a trajectory to pay."""

from __future__ import annotations

from tests.builders import a_trajectory
from workbench.rewards import Reward, reward_of
from workbench.scores import Scores


def paid(value: float | None, name: str = "paid") -> Reward:
    """A reward that pays every trajectory the same; None: not applicable."""
    return reward_of(lambda trajectory: value, name=name)


def stepwise(*values: float | None, name: str = "steps") -> Reward:
    return reward_of(lambda trajectory: values, level="step", name=name)


def failing(on: str = "", name: str = "judge") -> Reward:
    """Missing on trajectories whose id holds `on`, else 1."""
    judge_failed = Scores.missing("no reply")
    return reward_of(lambda t: judge_failed if on in t.id else Scores.trajectory(1.0, "fine"), name=name)


TWO = a_trajectory(("p1",), None, id="two")  # a search, then a thought
