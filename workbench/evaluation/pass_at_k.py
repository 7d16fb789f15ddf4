"""How often at least one of k tries is right."""

from __future__ import annotations

import numpy as np

from workbench.errors import SettingError, ShapeError


def pass_at_k(right_PG: np.ndarray, k: int) -> np.ndarray:
    """Chance for each task that at least one of `k` rollouts is right, estimated from G of them without bias.

    1 - C(G - c, k) / C(G, k) for c right ones (Chen et al. 2021, arXiv:2107.03374, eq. 1). With `bootstrap_interval`
    over the tasks it makes a mean with an interval.

    Args:
        right_PG: bool, or float with NaN for rollouts that were not scored: these count as not drawn.
        k: tries, at least 1.

    Returns:
        float64 [P]; NaN for a task with fewer than k scored rollouts.

    Raises:
        ShapeError: right_PG is not [P, G].
        SettingError: k is below 1.
    """
    known_PG = np.asarray(right_PG, dtype=np.float64)
    if known_PG.ndim != 2:
        raise ShapeError(f"right_PG must be [P, G], got shape {known_PG.shape}")
    if k < 1:
        raise SettingError(f"k must be at least 1, got {k}")
    count_P = (~np.isnan(known_PG)).sum(axis=1)
    wrong_P = count_P - (known_PG == 1).sum(axis=1)
    tries = np.arange(k)
    # C(wrong, k) / C(count, k): the chance that all k are wrong, as a product; a factor of 0 or less ends it
    none_P = np.prod(np.maximum(wrong_P[:, None] - tries, 0) / np.maximum(count_P[:, None] - tries, 1), axis=1)
    return np.where(count_P >= k, 1 - none_P, np.nan)
