"""How well scores agree with people: with the one of two they preferred, or with what they called good and bad."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.errors import SettingError, ShapeError
from workbench.evaluation.intervals import Interval, bootstrap_interval

TIES = ("equal", "half")


@dataclass(frozen=True)
class Agreement:
    """Accuracy and AUC of scores against people, both in [0, 1] and NaN where nothing could be compared."""

    accuracy: Interval
    auc: Interval  # chance that the better of two scores higher, a tie counting half
    items: int  # pairs or labels that were compared
    ties: int  # pairs among them with two equal scores; for labels: scores that stand more than once
    left_out: int  # without a score, or without a label

    def __str__(self) -> str:
        return f"accuracy {self.accuracy}, AUC {self.auc}, {self.items} compared, {self.left_out} left out"


def preference_accuracy(
    scores_K2: np.ndarray, preferred_K: np.ndarray, *, ties: Literal["equal", "half"] = "equal", level: float = 0.95
) -> Agreement:
    """Agreement with people who chose between two.

    Source of ties="equal": the arena analysis of BLEUBERI (Chang et al. 2025, arXiv:2505.11080).

    Args:
        scores_K2: float [K, 2], the scores of the first and the second; NaN: not scored.
        preferred_K: float [K]: 1 the first was preferred, -1 the second, 0 a tie; NaN: no judgement ("both are bad").
        ties: what two equal scores are worth. "equal": right where people saw a tie as well, wrong elsewhere. "half":
            half a point where people preferred one; pairs that people called a tie count as without a judgement.
        level: of the intervals, which come from resampling pairs.

    Returns:
        An Agreement; its AUC is over the pairs in which people preferred one.

    Raises:
        ShapeError: not one pair of scores a judgement.
        SettingError: a judgement other than 1, -1, 0 and NaN, or an unknown `ties`.
    """
    scores_K2, preferred_K = np.asarray(scores_K2, dtype=np.float64), np.asarray(preferred_K, dtype=np.float64)
    if preferred_K.ndim != 1 or scores_K2.shape != (len(preferred_K), 2):
        raise ShapeError(f"{preferred_K.shape} judgements need as many pairs [K, 2], got shape {scores_K2.shape}")
    if ties not in TIES:
        raise SettingError(f"ties is 'equal' or 'half', got {ties!r}")
    _check_labels("a judgement", preferred_K)
    ahead_K = np.sign(scores_K2[:, 0] - scores_K2[:, 1])
    half_K = np.where(np.isnan(ahead_K) | ~(np.abs(preferred_K) == 1), np.nan, (1 + ahead_K * preferred_K) / 2)
    equal_K = np.where(np.isnan(ahead_K + preferred_K), np.nan, ahead_K == preferred_K)
    right_K = half_K if ties == "half" else equal_K
    compared_K = ~np.isnan(right_K)
    return Agreement(
        bootstrap_interval(right_K, level=level),
        bootstrap_interval(half_K, level=level),
        items=int(compared_K.sum()),
        ties=int((ahead_K[compared_K] == 0).sum()),
        left_out=int((~compared_K).sum()),
    )


def label_accuracy(
    scores_K: np.ndarray,
    labels_K: np.ndarray,
    *,
    above: float = 0.0,
    clusters_K: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Agreement with people who called each item good or bad.

    Args:
        scores_K: float [K]; NaN: not scored, left out.
        labels_K: float [K]: 1 good, -1 bad; 0 (neither) and NaN (no label) are left out.
        above: a score above this calls the item good. The AUC does not depend on it.
        clusters_K: what each item is from, such as its trajectory: intervals then come from resampling these, as the
            steps of one trajectory are not independent. None: each item stands for itself.
        level: of the intervals.
        resamples: how many.
        seed: of the random numbers.

    Returns:
        An Agreement; its AUC is NaN where only one kind of label is there.

    Raises:
        ShapeError: not one label, or not one cluster, a score.
        SettingError: a label other than 1, 0, -1 and NaN.
    """
    scores_K, labels_K = np.asarray(scores_K, dtype=np.float64), np.asarray(labels_K, dtype=np.float64)
    names = range(len(scores_K)) if clusters_K is None else clusters_K
    if not scores_K.shape == labels_K.shape == (len(names),):
        raise ShapeError(f"scores {scores_K.shape}, labels {labels_K.shape} and {len(names)} clusters differ in length")
    _check_labels("a label", labels_K)
    use_K = ~np.isnan(scores_K) & (np.abs(labels_K) == 1)
    number_of = {name: n for n, name in enumerate(dict.fromkeys(names))}
    cluster_K = np.array([number_of[name] for name in names], dtype=np.int64)[use_K]
    scores_K, good_K = scores_K[use_K], labels_K[use_K] == 1
    levels_U, level_K = np.unique(scores_K, return_inverse=True)
    accuracy, auc = _resampled((scores_K > above) == good_K, good_K, level_K, cluster_K, level, resamples, seed)
    return Agreement(accuracy, auc, int(use_K.sum()), len(scores_K) - len(levels_U), int((~use_K).sum()))


def _resampled(
    right_K: np.ndarray,
    good_K: np.ndarray,
    level_K: np.ndarray,
    cluster_K: np.ndarray,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[Interval, Interval]:
    """Accuracy and AUC with percentile intervals over clusters drawn again with replacement."""
    if not len(right_K):
        return (Interval(math.nan, math.nan, math.nan, level),) * 2
    _, cluster_K = np.unique(cluster_K, return_inverse=True)
    clusters = int(cluster_K.max()) + 1
    rng = np.random.default_rng(seed)
    times_BC = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float64)
    once_K = np.ones(len(right_K))
    drawn = [times_C[cluster_K] for times_C in times_BC]
    accuracies_B = np.array([np.average(right_K, weights=times_K) for times_K in drawn])
    aucs_B = np.array([_auc(good_K, level_K, times_K) for times_K in drawn])
    return (
        _interval(float(right_K.mean()), accuracies_B, level),
        _interval(_auc(good_K, level_K, once_K), aucs_B[~np.isnan(aucs_B)], level),
    )


def _interval(mean: float, values_B: np.ndarray, level: float) -> Interval:
    if math.isnan(mean) or not len(values_B):
        return Interval(math.nan, math.nan, math.nan, level)
    low, high = np.quantile(values_B, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(mean, float(low), float(high), level)


def _auc(good_K: np.ndarray, level_K: np.ndarray, times_K: np.ndarray) -> float:
    """Chance that a good item scores above a bad one, ties half, item k counted `times_K[k]` times; NaN without both.

    `level_K` is the rank of each item's score among the distinct scores.
    """
    good_U = np.bincount(level_K, weights=times_K * good_K)
    bad_U = np.bincount(level_K, weights=times_K * ~good_K)
    pairs = good_U.sum() * bad_U.sum()
    bad_below_U = np.cumsum(bad_U) - bad_U
    return float((good_U * (bad_below_U + bad_U / 2)).sum() / pairs) if pairs else math.nan


def _check_labels(what: str, labels_K: np.ndarray) -> None:
    wrong_K = ~(np.isnan(labels_K) | np.isin(labels_K, (-1, 0, 1)))
    if wrong_K.any():
        raise SettingError(f"{what} is 1, -1, 0 or NaN, got {labels_K[int(wrong_K.argmax())]:g}")
