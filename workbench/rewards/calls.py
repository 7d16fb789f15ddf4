"""Rewards for calls made: `CallCount`."""

from __future__ import annotations

from workbench.rewards.reward import Reward
from workbench.scores import Scores
from workbench.spec import part
from workbench.trajectory import Trajectory


@part
class CallCount(Reward):
    """Tool calls of a rollout that were carried out, failed ones among them. Its weight is their price::

        ExactMatch() - 0.1 * CallCount()

    Counting cannot tell a call that was needed from one that was not, so a price also cuts needed ones: a wrong answer
    after no search beats a wrong answer after three (AdaSearch, arXiv:2512.16883, against whose method this stands).
    """

    range = (0.0, float("inf"))

    def score(self, trajectory: Trajectory) -> Scores:
        calls = sum(call.valid for step in trajectory.steps for call in step.calls)
        return Scores.trajectory(float(calls), f"{calls} calls")
