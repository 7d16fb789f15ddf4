"""`Product` and `Gate`: one reward decides how much of another is paid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.errors import LevelError, ScoreError, SettingError
from workbench.rewards.compose import Composite, one_level, skipped, unique
from workbench.rewards.reward import Reward, factor
from workbench.scores import Level, Part, Scores, Status
from workbench.spec import part
from workbench.trajectory import Trajectory


@part
class Product(Composite):
    """Product of rewards of one level; a zero zeroes all. ``a * b`` makes it.

    Not applicable in one factor makes the product not applicable there, missing makes it missing: a factor that is
    left out would pay the rollout that avoids it.
    """

    factors: tuple[Reward, ...]

    def __post_init__(self) -> None:
        if not self.factors:
            raise SettingError("a Product needs at least one factor")
        flat = [inner for one in self.factors for inner in (one.factors if isinstance(one, Product) else (one,))]
        one_level("Product", *flat)
        object.__setattr__(self, "factors", tuple(flat))

    @property
    def inner(self) -> tuple[Reward, ...]:
        return self.factors

    @property
    def infix(self) -> bool:
        return True

    @property
    def name(self) -> str:
        return "*".join(reward.name for reward in self.factors)

    @property
    def range(self) -> tuple[float, float]:
        low, high = 1.0, 1.0
        for reward in self.factors:
            corners = [_times(a, b) for a, b in itertools.product((low, high), reward.range)]
            low, high = min(corners), max(corners)
        return low, high

    def combine(self, scores: Sequence[Scores], trajectory: Trajectory) -> Scores:
        status_S = np.max(np.stack([one.status_S for one in scores]), axis=0)  # missing beats not applicable
        values_S = np.prod(np.stack([one.values_S for one in scores]), axis=0)
        whys = zip(*(one.why_S for one in scores), strict=True)
        names = [reward.name for reward in self.factors]
        why_S = tuple("; ".join(f"{n}: {w}" for n, w in zip(names, why, strict=True) if w) for why in whys)
        return Scores(np.where(status_S == Status.SCORED, values_S, np.nan), status_S, why_S, self.level)

    def __repr__(self) -> str:
        return " * ".join(factor(reward) for reward in self.factors)


def _times(a: float, b: float) -> float:
    return 0.0 if 0.0 in (a, b) else a * b  # 0 * inf is 0 here: a bound


@part
class Gate(Composite):
    """Pay `then` where `condition` is above `above`, else `otherwise`.

    With a step-level condition every step has its own gate, and `then` must be of level step. With a condition per
    trajectory the gate opens or closes as a whole, whatever `then` is made of: closed, it pays nothing that `then`
    would have paid (not applicable), and `otherwise` once, at the end. StepSearch's format gate is the second kind.

    Where `then` is a sum its terms stay apart in `parts`, beside one called ``not <condition>`` for what a closed
    gate pays. A condition that is missing or does not apply makes the gate so.
    """

    condition: Reward
    then: Reward
    otherwise: float = 0.0
    above: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.otherwise) and math.isfinite(self.above)):
            raise SettingError(f"otherwise and above must be finite, got {self.otherwise} and {self.above}")
        if self.condition.levels != {Level.TRAJECTORY} and self.condition.levels != self.then.levels:
            raise LevelError(
                f"Gate needs a condition per trajectory, or condition and reward of one level; got levels "
                f"{sorted(self.condition.levels)} and {sorted(self.then.levels)}"
            )

    @property
    def inner(self) -> tuple[Reward, ...]:
        return self.condition, self.then

    @property
    def levels(self) -> frozenset[Level]:
        return self.then.levels

    @property
    def name(self) -> str:
        return self.then.name

    @property
    def place(self) -> str:
        return self.then.place

    @property
    def range(self) -> tuple[float, float]:
        low, high = self.then.range
        return min(low, self.otherwise), max(high, self.otherwise)

    def combine(self, scores: Sequence[Scores], trajectory: Trajectory) -> Scores:
        condition, then = scores
        if not condition.level.single:
            return self._each_step(condition, then)
        status, failed = Status(int(condition.status_S[0])), f"{self.condition.name}: {condition.why_S[0] or 'failed'}"
        if status is Status.SCORED and condition.value > self.above:
            return self._with_parts(then, then, Scores.unscored(1, level=Level.TRAJECTORY))
        closed = skipped(then, failed)
        if not len(closed):
            raise ScoreError(f"trajectory {trajectory.id!r} has no place where a closed gate could pay")
        paid = Scores.trajectory(self.otherwise, failed) if status is Status.SCORED else _unscored(status, failed)
        closed.values_S[-1], closed.status_S[-1] = paid.values_S[0], paid.status_S[0]
        return self._with_parts(closed, then, paid, failed)

    def _with_parts(self, total: Scores, then: Scores, paid: Scores, failed: str = "") -> Scores:
        if not then.parts:
            return total
        shut = [replace(one, scores=skipped(one.scores, failed)) if failed else one for one in then.parts]
        return replace(total, parts=tuple(unique([*shut, Part(f"not {self.condition.name}", 1.0, paid)])))

    def _each_step(self, condition: Scores, then: Scores) -> Scores:
        open_S = np.nan_to_num(condition.values_S) > self.above
        scored_S = condition.status_S == Status.SCORED
        values_S = np.where(open_S, then.values_S, self.otherwise)
        status_S = np.where(scored_S, np.where(open_S, then.status_S, Status.SCORED), condition.status_S)
        whys = zip(open_S, then.why_S, condition.why_S, strict=True)
        why_S = tuple(inside if opened else f"{self.condition.name}: {outside}" for opened, inside, outside in whys)
        return Scores(np.where(status_S == Status.SCORED, values_S, np.nan), status_S, why_S, self.level)


def _unscored(status: Status, why: str) -> Scores:
    return Scores(np.array([np.nan]), np.array([status]), (why,), Level.TRAJECTORY)
