"""Returns along the paths of a tree."""

from __future__ import annotations

import numpy as np

from workbench.batch import FlatBatch


def visits(batch: FlatBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of a trajectory and one of its steps, with the return to go.

    G(s) = reward(s) + discount(s) * G(next step on the path); an unscored step pays nothing.

    Returns:
        row_X, step_X: int64 [X]; to_go_X: float64 [X], reward units, NaN on all steps of a trajectory that was not
        scored. X counts a shared step once for each trajectory through it.
    """
    rewards_S = np.nan_to_num(batch.rewards_S)
    rows, steps = np.arange(len(batch.leaf_N)), batch.leaf_N
    to_go = np.where(np.isnan(batch.returns_N), np.nan, 0.0)
    found = []
    while len(rows):
        to_go = rewards_S[steps] + batch.discount_S[steps] * to_go
        found.append((rows, steps, to_go))
        above = batch.parent_S[steps]
        rows, steps, to_go = rows[above >= 0], above[above >= 0], to_go[above >= 0]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    row_X, step_X, to_go_X = (np.concatenate(column) for column in zip(*found, strict=True))
    return row_X, step_X, to_go_X


def mean_over_rows(batch: FlatBatch, row_X: np.ndarray, step_X: np.ndarray, amounts_X: np.ndarray) -> np.ndarray:
    """float64 [S]: mean of an amount over the gradient rows through each step; NaN where there is none."""
    trained_X = batch.gradient_N[row_X]
    steps = len(batch.parent_S)
    sums_S = np.bincount(step_X[trained_X], amounts_X[trained_X], minlength=steps)
    count_S = np.bincount(step_X[trained_X], minlength=steps)
    return np.divide(sums_S, count_S, out=np.full(steps, np.nan), where=count_S > 0)


def return_to_go(batch: FlatBatch) -> np.ndarray:
    """What is earned from each step on, that step included.

    G(s) = reward(s) + discount(s) * G(next). A step that several trajectories share takes the mean of what follows
    it, each gradient row counting once.

    Returns:
        float64 [S], reward units; NaN on steps that no gradient row passes through.
    """
    return mean_over_rows(batch, *visits(batch))
