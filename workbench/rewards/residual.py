"""`Residual`: a process reward that pays only what the outcome left unpaid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.errors import LevelError, SettingError
from workbench.rewards.compose import Composite, skipped, unique
from workbench.rewards.reward import Reward
from workbench.scores import Level, Part, Scores, Status
from workbench.spec import part
from workbench.trajectory import Trajectory


@part
class Residual(Composite):
    """outcome + beta * process * (1 - outcome), one number a trajectory: a right answer earns 1 whatever its process.

    A process that is not applicable adds nothing; an outcome that is not makes the sum so, and either one missing
    makes it missing. Bring step rewards to a trajectory with `ReduceSteps`. A beta that changes as the run goes on is
    `Scheduled` (training.folds) or `AdaptiveGate` (training.adaptive_gate).

    Source: SubSearch (arXiv:2604.07415, ``qa_em.py``). A weighted sum pays right answers for their process too.
    """

    outcome: Reward
    process: Reward
    beta: float = 0.2  # reward units a unit of process

    def __post_init__(self) -> None:
        if not math.isfinite(self.beta):
            raise SettingError(f"beta must be a finite number, got {self.beta}")
        if self.levels != {Level.TRAJECTORY}:
            raise LevelError(
                f"Residual takes rewards of a trajectory, got levels {' and '.join(sorted(self.levels))}; bring steps "
                "to a trajectory with ReduceSteps(reward, kind=...)"
            )

    @property
    def inner(self) -> tuple[Reward, ...]:
        return self.outcome, self.process

    @property
    def range(self) -> tuple[float, float]:
        """The corners; a process that may not apply counts with 0."""
        low, high = self.process.range
        corners = itertools.product(self.outcome.range, (min(low, 0.0), max(high, 0.0)))
        values = [outcome + _product(self.beta, process, 1.0 - outcome) for outcome, process in corners]
        return min(values), max(values)

    def combine(self, scores: Sequence[Scores], trajectory: Trajectory) -> Scores:
        outcome, process = scores
        status = int(max(outcome.status_S[0], process.status_S[0] if process.status_S[0] == Status.MISSING else 0))
        left = 1.0 - outcome.value
        told = [(self.outcome.name, outcome.why_S[0]), (self.process.name, process.why_S[0])]
        why = "; ".join(f"{name}: {text}" for name, text in told if text)
        value = outcome.value + self.beta * np.nan_to_num(process.value) * left if status == Status.SCORED else np.nan
        parts = [*_terms(self.outcome, outcome, 1.0, 1.0), *_terms(self.process, process, self.beta, left)]
        return Scores(np.array([value]), np.array([status]), (why,), self.level, tuple(unique(parts)))


def _terms(reward: Reward, scores: Scores, weight: float, share: float) -> list[Part]:
    """The terms of a reward, each value times `share`; where that is unknown (NaN), so is the term."""
    terms = scores.parts or (Part(reward.name, 1.0, scores, reward.place),)
    return [replace(one, weight=weight * one.weight, scores=_times(one.scores, share)) for one in terms]


def _times(scores: Scores, share: float) -> Scores:
    if math.isnan(share):  # no outcome: nothing is known to be left
        return skipped(scores, "the outcome was not scored")
    return replace(scores, values_S=scores.values_S * share, parts=())


def _product(*factors: float) -> float:
    return 0.0 if 0.0 in factors else math.prod(factors)  # 0 * inf is 0 here: a bound
