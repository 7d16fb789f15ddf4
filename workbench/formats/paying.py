"""What files pay, as Scores: a missing number stays missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.scores import Level, Part, Scores, Status, combined_status


def number(value: Any) -> float:
    """A number, a truth value, or a text that is a number; NaN for anything else."""
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) and len(value) < 40 else math.nan
    except ValueError:
        return math.nan


def paid(value: Any, why: str = "", *, name: str = "reward") -> Scores:
    """One number for a trajectory; null, NaN and what is no number are missing."""
    amount = number(value)
    if math.isnan(amount):
        scores = Scores.missing(why or f"the file says {value!r:.80}")
    else:
        scores = Scores.trajectory(amount, why)
    scores.name = name
    return scores


def unpaid(why: str = "") -> Scores:
    """A term that says nothing here."""
    return Scores(np.array([np.nan]), np.array([Status.NOT_APPLICABLE]), (why,), Level.TRAJECTORY)


def summed(parts: Mapping[str, tuple[float, Scores]]) -> Scores:
    """The weighted sum of named trajectory-level terms; a single one of weight 1 stands for itself."""
    if len(parts) == 1:
        [(name, (weight, scores))] = parts.items()
        if weight == 1.0:
            scores.name = name
            return scores
    values_R = np.array([weight * scores.value for weight, scores in parts.values()])
    status_R1 = np.array([scores.status_S for _, scores in parts.values()])
    status = combined_status(status_R1)[0]
    total = np.nansum(values_R) if status == Status.SCORED else np.nan
    terms = tuple(Part(name, weight, scores) for name, (weight, scores) in parts.items())
    return Scores(np.array([total]), np.array([status]), (), Level.TRAJECTORY, terms)


def reward_and_metrics(reward: Any, metrics: Mapping[str, Any], why: str = "") -> Scores:
    """What a file calls the reward, with the numbers beside it as terms of weight 0: seen, and not paid twice.

    A metric that is no number is not applicable: it must not make the reward missing.
    """
    beside = {
        name: (0.0, unpaid() if math.isnan(number(value)) else paid(value))
        for name, value in metrics.items()
        if isinstance(value, bool | int | float | None) and name != "reward"
    }
    return summed({"reward": (1.0, paid(reward, why)), **beside})


def total_of(scores: Scores) -> float | None:
    """What a trajectory was paid in all; None where it is missing or not scored."""
    total = scores.value if scores.level.single else scores.total
    return None if math.isnan(total) else total
