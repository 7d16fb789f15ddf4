"""How sure a measured mean is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from workbench.errors import SettingError, ShapeError


@dataclass(frozen=True)
class Interval:
    """A mean and the interval it lies in with probability `level`. NaN where nothing was measured."""

    mean: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval for a success rate; keeps to [0, 1] and is right for few trials and rates near 0 or 1.

    Raises:
        SettingError: successes outside 0..trials, or a level outside (0, 1).
    """
    check_level(level)
    if not 0 <= successes <= trials:
        raise SettingError(f"successes must be between 0 and trials, got {successes} of {trials}")
    if not trials:
        return Interval(math.nan, math.nan, math.nan, level)
    rate, z = successes / trials, NormalDist().inv_cdf(0.5 + level / 2)
    middle = rate + z * z / (2 * trials)
    reach = z * math.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z * z / trials
    low = (middle - reach) / scale if successes else 0.0
    high = (middle + reach) / scale if successes < trials else 1.0
    return Interval(rate, low, high, level)


def bootstrap_interval(values_PK: np.ndarray, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile interval of a mean over tasks and training seeds, both drawn again with replacement.

    Rows are tasks and columns seeds, crossed: each resample draws tasks and seeds independently, so that an interval
    over three seeds is as wide as three seeds deserve. For a difference of two policies give the differences.

    Args:
        values_PK: float [P, K] (or [P]: one seed), NaN where not measured.
        resamples: how many.
        seed: of the random numbers; the same seed gives the same interval.

    Raises:
        ShapeError: values_PK has neither one nor two axes.
    """
    check_level(level)
    values_PK = np.asarray(values_PK, dtype=np.float64)
    if values_PK.ndim not in (1, 2):
        raise ShapeError(f"values_PK must be [P, K] or [P], got shape {values_PK.shape}")
    values_PK = values_PK if values_PK.ndim == 2 else values_PK[:, None]
    known_PK = ~np.isnan(values_PK)
    if not known_PK.any():
        return Interval(math.nan, math.nan, math.nan, level)
    rng = np.random.default_rng(seed)
    tasks, seeds = values_PK.shape
    times_BP = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=resamples).astype(np.float64)
    times_BK = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).astype(np.float64)
    sums_B = (times_BP @ np.nan_to_num(values_PK) * times_BK).sum(axis=1)
    count_B = (times_BP @ known_PK * times_BK).sum(axis=1)
    means_B = sums_B[count_B > 0] / count_B[count_B > 0]
    low, high = np.quantile(means_B, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values_PK[known_PK].mean()), float(low), float(high), level)


def check_level(level: float) -> None:
    """Raises SettingError for a level outside (0, 1)."""
    if not 0 < level < 1:
        raise SettingError(f"level must lie between 0 and 1, got {level}")
