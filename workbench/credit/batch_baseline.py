"""Credit against the whole batch: REINFORCE and REINFORCE++."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

import numpy as np

from workbench.batch import Advantages, FlatBatch
from workbench.credit.group import Scale
from workbench.credit.returns import mean_over_rows, visits
from workbench.errors import MissingTokens, SettingError
from workbench.spec import part

CHOICES = {
    "baseline": ("none", "batch", "step"),
    "scale": ("none", "std"),
    "returns": ("to_go", "total"),
    "per": ("step", "token", "trajectory"),
}


@part
class BatchBaseline:
    """Each step's return against one baseline for the whole batch; no siblings needed.

    ``BatchBaseline()`` subtracts the batch mean (REINFORCE with a baseline); ``baseline="none"`` is plain REINFORCE
    (with ``returns="total"`` that of ZeroSearch); ``baseline="batch", scale="std", per="token"`` is REINFORCE++ (Hu
    2025, arXiv:2501.03262), where returns are whitened over all tokens.
    """

    _: KW_ONLY
    baseline: Literal["none", "batch", "step"] = "batch"  # 0, the mean over the batch, or over its steps of one index
    scale: Scale = "none"  # "std": divide by the std of these differences over the batch
    returns: Literal["to_go", "total"] = "to_go"  # (discounted) from the step on, or the whole undiscounted return
    per: Literal["step", "token", "trajectory"] = "step"  # what counts once in means and std
    eps: float = 1e-8  # added to the std

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.eps < 0:
            raise SettingError(f"eps must not be negative, got {self.eps}")

    def __call__(self, batch: FlatBatch) -> Advantages:
        """Advantages of a scored batch.

        Raises:
            MissingTokens: per="token" and the batch has no own token.
        """
        row_X, step_X, to_go_X = visits(batch)
        returns_X = to_go_X if self.returns == "to_go" else batch.returns_N[row_X]
        weight_X = np.where(batch.baseline_N[row_X], self._weights(batch, row_X, step_X), 0.0)
        known_X = np.nan_to_num(returns_X)
        advantages_X = known_X - self._baseline(batch.depth_S[step_X], known_X, weight_X)
        if self.scale == "std":
            advantages_X = advantages_X / self._spread(advantages_X, known_X[weight_X > 0], weight_X)
        values_S = np.nan_to_num(mean_over_rows(batch, row_X, step_X, advantages_X))
        return Advantages(batch, values_S, siblings=False)

    def _spread(self, differences_X: np.ndarray, returns: np.ndarray, weight_X: np.ndarray) -> float:
        """What to divide by; infinite where all returns are equal."""
        if not len(returns) or np.ptp(returns) == 0:
            return np.inf
        return float(np.sqrt(_mean((differences_X - _mean(differences_X, weight_X)) ** 2, weight_X))) + self.eps

    def _weights(self, batch: FlatBatch, row_X: np.ndarray, step_X: np.ndarray) -> np.ndarray:
        if self.per == "step":
            return np.ones(len(step_X))
        if self.per == "trajectory":
            return 1.0 / np.bincount(row_X)[row_X]
        if len(step_X) and not batch.tokens_S.any():
            raise MissingTokens("per='token' needs own tokens and this batch has none; use per='step'")
        return batch.tokens_S[step_X].astype(np.float64)

    def _baseline(self, index_X: np.ndarray, returns_X: np.ndarray, weight_X: np.ndarray) -> np.ndarray:
        if self.baseline == "none":
            return np.zeros(len(returns_X))
        cell_X = index_X if self.baseline == "step" else np.zeros_like(index_X)
        sums = np.bincount(cell_X, weight_X * returns_X)
        weights = np.bincount(cell_X, weight_X)
        return np.divide(sums, weights, out=np.zeros(len(sums)), where=weights > 0)[cell_X]


def _mean(amounts_X: np.ndarray, weight_X: np.ndarray) -> float:
    total = weight_X.sum()
    return float(amounts_X @ weight_X / total) if total > 0 else 0.0
