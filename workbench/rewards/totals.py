"""What a composed reward can pay a right and a wrong answer, found by trying: see `Reward.totals`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import WorkbenchError
from workbench.scores import Level, Scores
from workbench.trajectory import End, Step, Task, Trajectory

if TYPE_CHECKING:
    from workbench.rewards.reward import Reward

POINTS = 5
"""Values tried of each inner reward, both ends among them, while there are few of them."""
MOST = 700
"""Combinations tried; more inner rewards than that allows are tried at both ends only."""

HUGE = 1e12
"""Stands for an end that is not there; what comes out near it has none either."""

Join = Callable[[Sequence[Scores], Trajectory], Scores]


def tried_totals(outer: Reward, inner: Sequence[Reward], join: Join, right: bool, steps: int) -> tuple[float, float]:
    """Lowest and highest total that `join` makes of what the inner rewards may pay such an answer.

    Every total was reached by some combination, so the lowest and highest are never too far out; between the values
    tried a bumpy function may go further. Where `join` cannot work on a rollout that holds nothing, it is the declared
    range of `outer`, whatever the answer.
    """
    totals = []
    try:
        for length in sorted({1, steps}):
            blank = _blank(length)
            points = POINTS if POINTS ** len(inner) <= MOST else 2
            choices = [_choices(reward, right, length, points) for reward in inner]
            totals += [join(list(picked), blank).total for picked in itertools.product(*choices)]
    except WorkbenchError:
        totals = []
    known = [math.copysign(math.inf, t) if abs(t) > HUGE / 1000 else t for t in totals if not math.isnan(t)]
    return (min(known), max(known)) if known else ranged_totals(outer, steps)


def ranged_totals(reward: Reward, steps: int) -> tuple[float, float]:
    """Lowest and highest total by the declared range alone: each step may pay all of it, or not apply."""
    low, high = reward.range
    if reward.level.single:
        return low, high
    places = math.inf if reward.level is Level.TOKEN else steps
    return (low * places if low < 0 else 0.0), (high * places if high > 0 else 0.0)


def _choices(reward: Reward, right: bool, length: int, points: int) -> list[Scores]:
    low, high = reward.totals(right, length)
    low, high = max(low, -HUGE), min(high, HUGE)
    totals = [low] if low == high else np.linspace(low, high, points).tolist()
    if reward.level.single:
        return [Scores.trajectory(total, level=reward.level) for total in totals]
    spread = [Scores.steps([total / length] * length) for total in totals]
    alone = [min(max(total, -HUGE), HUGE) for total in reward.totals(right, 1)]  # totals that come from one step
    return spread + [Scores.steps([total] + [0.0] * (length - 1)) for total in alone]


def _blank(length: int) -> Trajectory:
    steps = tuple(Step(f"blank.{s}", "") for s in range(length))
    return Trajectory("blank", Task("blank", ""), steps, End.ANSWERED)
