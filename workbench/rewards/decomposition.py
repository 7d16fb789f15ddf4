"""`Decomposition`: do the sub-queries of a search cover the question and stay apart from each other?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Literal

import numpy as np

from workbench.errors import SettingError
from workbench.protocols import Encoder
from workbench.rewards.similarity import Encodes, Rows
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Step, Trajectory


@part
class Decomposition(Encodes):
    """How well the queries of a step split the question p into parts c_1 .. c_n, n >= 2::

        coverage = cos(p, mean of c)
        part_i   = cos(p, c_i) * (1 - mean over the others k of cos(c_k, c_i))
        score    = mix * coverage + (1 - mix) * mean of part

    One query alone is a rephrasing, which should be near the question and not a copy of it:
    score = max(0, 1 - |cos(p, c) - peak| / width). A step without a query is not applicable.

    Cosines below 0 can bring a split below 0 or above 1; `bounds` holds it in [0, 1] and the reason says so. The
    released code does not: ``bounds="none"``. Queries that point away from each other and cancel out cover nothing.

    Source: SubSearch (arXiv:2604.07415, ``qa_em.py``). ``ReduceSteps(Decomposition(encoder), "mean", empty=0.0)`` is
    its term for the trajectory.
    """

    encoder: Encoder
    _: KW_ONLY
    peak: float = 0.85  # cosine that pays a single query most
    width: float = 0.15  # cosines so far from the peak pay 0
    mix: float = 0.5  # weight of coverage
    bounds: Literal["unit", "none"] = "unit"

    level = Level.STEP
    causal = True
    needs = frozenset({"encoder"})

    def __post_init__(self) -> None:
        if self.width <= 0 or not 0 <= self.mix <= 1 or not -1 <= self.peak <= 1:
            raise SettingError(f"width is above 0, mix in [0, 1] and peak a cosine; got {self!r}")
        if self.bounds not in ("unit", "none"):
            raise SettingError(f"bounds is 'unit' or 'none', got {self.bounds!r}")

    @property
    def range(self) -> tuple[float, float]:
        worst = -self.mix - 2 * (1 - self.mix)  # a part is a cosine times up to 2
        return (0.0, 1.0) if self.bounds == "unit" else (worst, max(1.0, -worst))

    def texts(self, trajectory: Trajectory) -> list[str]:
        return [trajectory.task.question, *(query for step in trajectory.steps for query in asked(step))]

    def score_with(self, trajectory: Trajectory, rows: Rows) -> Scores:
        scores = Scores.unscored(len(trajectory.steps))
        parent = rows[trajectory.task.question]
        for s, step in enumerate(trajectory.steps):
            if queries := asked(step):
                children = np.stack([rows[query] for query in queries]).astype(np.float64)
                scores.set(s, *self._scored_step(parent.astype(np.float64), children))
        return scores

    def _scored_step(self, parent: np.ndarray, children: np.ndarray) -> tuple[float, str]:
        near_C = children @ parent
        if len(children) == 1:
            value = max(0.0, 1.0 - abs(float(near_C[0]) - self.peak) / self.width)
            return value, f"one query, cosine {near_C[0]:.3g} with the question"
        coverage, apart_C = _coverage(parent, children), _apart(children)
        value = self.mix * coverage + (1 - self.mix) * float((near_C * apart_C).mean())
        why = f"{len(children)} queries: coverage {coverage:.3g}, apart {_shown(apart_C)}"
        if self.bounds == "none" or 0.0 <= value <= 1.0:
            return value, why
        return min(max(value, 0.0), 1.0), f"{why}; clipped from {value:.3g}"


def asked(step: Step) -> list[str]:
    """The queries of the searches that were carried out."""
    return [call.query for call in step.calls if call.valid and call.query]


def _coverage(parent: np.ndarray, children: np.ndarray) -> float:
    mean = children.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return float(parent @ mean) / length if length > 1e-9 else 0.0


def _apart(children: np.ndarray) -> np.ndarray:
    """float64 [C]: 1 - mean cosine with the other queries."""
    cosines_CC = children @ children.T
    others_C = cosines_CC.sum(axis=1) - np.diag(cosines_CC)
    return 1.0 - others_C / (len(children) - 1)


def _shown(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
