"""Does one number rank things as another does? Correlations with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.errors import SettingError, ShapeError
from workbench.evaluation.intervals import Interval, check_level

Kind = Literal["spearman", "kendall", "pearson"]
KINDS = ("spearman", "kendall", "pearson")


@dataclass(frozen=True)
class Correlation(Interval):
    """A coefficient in [-1, 1] (called `mean`) with its interval, and how many pairs it rests on."""

    kind: Kind = "spearman"
    pairs: int = 0


def rank_correlation(
    one_N: np.ndarray,
    other_N: np.ndarray,
    *,
    kind: Kind = "spearman",
    clusters: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Correlation:
    """How far two numbers of the same things go together: 1 same order, 0 unrelated, -1 opposite.

    Spearman's rho (Pearson's r of the ranks, equal values sharing the mean rank), Kendall's tau-b (pairs in order minus
    pairs out of order, ties discounted), or Pearson's r. The interval is the percentile bootstrap's: things are drawn
    again with replacement, or, with `clusters`, whole clusters of them (the rollouts of a task are no independent
    evidence). Resamples in which a number does not vary are left out.

    Args:
        one_N: float [N]; NaN marks what was not measured, and its pair is left out.
        other_N: float [N], likewise.
        clusters: [N], any labels; None: every pair by itself.

    Returns:
        The coefficient and its interval; NaN where fewer than two pairs are left or a number does not vary.

    Raises:
        ShapeError: the arrays are not all [N].
        SettingError: kind or level outside what is allowed.
    """
    one_N, other_N = np.asarray(one_N, dtype=np.float64), np.asarray(other_N, dtype=np.float64)
    cluster_N = np.arange(len(one_N)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    check_level(level)
    if kind not in KINDS:
        raise SettingError(f"kind is one of {', '.join(KINDS)}; got {kind!r}")
    if one_N.ndim != 1 or not one_N.shape == other_N.shape == cluster_N.shape:
        raise ShapeError(
            f"both numbers and clusters must be [N], got {one_N.shape}, {other_N.shape}, {cluster_N.shape}"
        )
    known_N = ~np.isnan(one_N) & ~np.isnan(other_N)
    one_N, other_N, cluster_N = one_N[known_N], other_N[known_N], cluster_N[known_N]
    value = _coefficient(one_N, other_N, kind)
    if np.isnan(value):
        return Correlation(np.nan, np.nan, np.nan, level, kind, len(one_N))
    values_B = _drawn_again(one_N, other_N, cluster_N, kind, resamples, np.random.default_rng(seed))
    low, high = np.quantile(values_B, [0.5 - level / 2, 0.5 + level / 2]) if len(values_B) else (np.nan, np.nan)
    return Correlation(value, float(low), float(high), level, kind, len(one_N))


def _drawn_again(
    one_N: np.ndarray, other_N: np.ndarray, cluster_N: np.ndarray, kind: Kind, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """The coefficients of resamples of the clusters, those that have one."""
    members = [np.flatnonzero(cluster_N == cluster) for cluster in np.unique(cluster_N)]
    values = []
    for _ in range(resamples):
        rows = np.concatenate([members[c] for c in rng.integers(len(members), size=len(members))])
        values.append(_coefficient(one_N[rows], other_N[rows], kind))
    values_B = np.array(values)
    return values_B[~np.isnan(values_B)]


def _coefficient(one: np.ndarray, other: np.ndarray, kind: Kind) -> float:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    if kind == "kendall":
        return _tau_b(one, other)
    if kind == "spearman":
        one, other = ranks(one), ranks(other)
    return float(np.clip(np.corrcoef(one, other)[0, 1], -1.0, 1.0))


def ranks(values: np.ndarray) -> np.ndarray:
    """float64: rank of each value from 1, equal ones sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _tau_b(one: np.ndarray, other: np.ndarray) -> float:
    """Signs of all pairs: N^2 numbers, so for thousands of things, not millions."""
    signs, others = np.sign(one[:, None] - one), np.sign(other[:, None] - other)
    return float((signs * others).sum() / np.sqrt((signs**2).sum() * (others**2).sum()))
