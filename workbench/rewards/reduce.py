"""`ReduceSteps`, `OnLastStep` and `Clip`: fewer numbers, at another place, and smaller ones."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, replace
from typing import Literal

import numpy as np

from workbench.errors import LevelError, SettingError
from workbench.rewards.compose import one_level
from workbench.rewards.reward import Reward, Wrapper
from workbench.scores import Level, Scores, Status
from workbench.spec import part
from workbench.trajectory import Trajectory

Kind = Literal["sum", "mean", "max", "min", "last", "count_below"]
KINDS = ("sum", "mean", "max", "min", "last", "count_below")


@part
class ReduceSteps(Wrapper):
    """Step scores as one number for the trajectory, over the steps that were scored.

    `kind` is sum, mean, max, min, last, or count_below: how many steps scored under `threshold`. A missing step makes
    the number missing.
    """

    reward: Reward
    kind: Kind = "sum"
    _: KW_ONLY
    discount: float = 1.0  # of a sum: the k-th scored step (from 0) counts discount**k
    threshold: float | None = None  # of count_below
    empty: float | None = None  # the number where no step was scored; None: not applicable

    def __post_init__(self) -> None:
        if self.reward.levels != {Level.STEP}:
            levels = " and ".join(sorted(self.reward.levels))
            raise LevelError(f"ReduceSteps takes a reward of level step, got {self.reward!r} of level {levels}")
        if self.kind not in KINDS:
            raise SettingError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.discount != 1.0 and self.kind != "sum":
            raise SettingError(f"discount belongs to kind='sum', got kind={self.kind!r}, discount={self.discount}")
        if (self.threshold is not None) != (self.kind == "count_below"):
            raise SettingError(f"threshold belongs to kind='count_below' and is needed there, got {self.threshold}")

    @property
    def level(self) -> Level:
        return Level.GROUP if self.reward.grouped else Level.TRAJECTORY

    @property
    def levels(self) -> frozenset[Level]:
        return frozenset({Level.TRAJECTORY})

    @property
    def range(self) -> tuple[float, float]:
        low, high = self.reward.range
        if self.kind == "count_below":
            low, high = 0.0, math.inf
        elif self.kind == "sum":  # any number of steps
            low, high = -math.inf if low < 0 else low, math.inf if high > 0 else high
        return (low, high) if self.empty is None else (min(low, self.empty), max(high, self.empty))

    @property
    def causal(self) -> bool:
        return False

    @property
    def place(self) -> str:
        return "end"

    def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
        missing_S = scores.status_S == Status.MISSING
        if missing_S.any():
            s = int(missing_S.argmax())
            return Scores.missing(f"step {s}: {scores.why_S[s]}", level=self.level)
        values = scores.values_S[scores.status_S == Status.SCORED]
        if len(values):
            return Scores.trajectory(self._reduced(values), f"{self.kind} of {len(values)} steps", level=self.level)
        if self.empty is not None:
            return Scores.trajectory(self.empty, "no step was scored", level=self.level)
        return replace(Scores.unscored(1, level=self.level), why_S=("no step was scored",))

    def _reduced(self, values: np.ndarray) -> float:
        if self.kind == "count_below":
            return float((values < self.threshold).sum())
        if self.kind == "last":
            return float(values[-1])
        if self.kind == "sum":
            return float(values @ self.discount ** np.arange(len(values)))
        return float(getattr(values, self.kind)())


@part
class OnLastStep(Wrapper):
    """A number for the trajectory as the score of its last step, so that it can be the last of a discounted sum::

    ReduceSteps(SelfAssessment() + OnLastStep(ExactMatch()), discount=0.9)
    """

    reward: Reward

    def __post_init__(self) -> None:
        if self.reward.levels != {Level.TRAJECTORY} or self.reward.grouped:
            raise LevelError(f"OnLastStep takes a reward of level trajectory, got {self.reward!r}")

    @property
    def level(self) -> Level:
        return Level.STEP

    @property
    def levels(self) -> frozenset[Level]:
        return frozenset({Level.STEP})

    @property
    def causal(self) -> bool:
        return False

    def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
        made = Scores.unscored(len(trajectory.steps))
        made.values_S[-1:], made.status_S[-1:] = scores.values_S, scores.status_S
        return replace(made, why_S=(*made.why_S[:-1], *scores.why_S[: len(made)]))


@part
class Clip(Wrapper):
    """A reward with its values held between `low` and `high`; None leaves that side open. ``reward.clip(0, 1)``."""

    reward: Reward
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        one_level("Clip", self.reward)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise SettingError(f"low must not exceed high, got {self.low} and {self.high}")

    @property
    def range(self) -> tuple[float, float]:
        return float(self._held(self.reward.range[0])), float(self._held(self.reward.range[1]))

    def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
        return Scores(self._held(scores.values_S), scores.status_S, scores.why_S, scores.level)

    def _held(self, values):  # type: ignore[no-untyped-def]  # a number or an array
        values = values if self.low is None else np.maximum(values, self.low)
        return values if self.high is None else np.minimum(values, self.high)
