"""Credit from the comparison of siblings: GRPO, Dr. GRPO, RLOO."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from workbench.batch import Advantages, FlatBatch
from workbench.credit.returns import mean_over_rows, visits
from workbench.errors import SettingError, ShapeError
from workbench.spec import part

Scale = Literal["none", "std"]
Lone = Literal["zero", "raw"]


def group_advantages(
    returns_N: np.ndarray,
    group_N: np.ndarray,
    *,
    scale: Scale = "none",
    ddof: int = 1,
    eps: float = 1e-6,
    lone: Lone = "zero",
    in_baseline_N: np.ndarray | None = None,
) -> np.ndarray:
    """Centre each rollout's return on the mean of its group.

    With scale="none", A[n] = R[n] - mean(R of its group); with scale="std" that difference is divided by
    std(R of its group) + eps.

    Args:
        returns_N: float [N], reward units; NaN marks a rollout that nothing scored. It joins neither mean nor std.
        group_N: int [N], the group of each rollout, numbered from 0. Groups may differ in size.
        scale: "std" is GRPO (Shao et al. 2024, arXiv:2402.03300, sec. 4.1.2);
            "none" is Dr. GRPO (Liu et al. 2025, arXiv:2503.20783).
        ddof: std divides by (rollouts - ddof). 1 is torch's default, hence verl's, TRL's and Search-R1's.
        eps: added to the std, reward units.
        lone: a group of one scored rollout gets 0 ("zero"), or its raw return, as if mean and std were 0 and 1
            ("raw": verl and Search-R1).
        in_baseline_N: bool [N], which rollouts join mean and std; default all. The others are compared with them.

    Returns:
        advantages_N: float [N]; reward units for "none", unitless for "std". Exactly 0 for unscored rollouts, for
            groups whose returns are all equal, and where nobody joins the baseline.

    Raises:
        ShapeError: the arrays are not [N].
    """
    stats = GroupStats.of(returns_N, group_N, in_baseline_N)
    mean_G = stats.mean_G.copy()
    if lone == "raw":
        mean_G[stats.count_G == 1] = 0.0
    advantages_N = returns_N - mean_G[group_N]
    if scale == "std":
        advantages_N = advantages_N / _spread(stats, ddof, eps, lone)[group_N]
    return np.nan_to_num(advantages_N)


def leave_one_out(returns_N: np.ndarray, group_N: np.ndarray, *, in_baseline_N: np.ndarray | None = None) -> np.ndarray:
    """Subtract from each rollout's return the mean of the others in its group.

    A[n] = R[n] - mean(R of the others), the same as k/(k-1) times the centred return in a group of k (RLOO, Ahmadian
    et al. 2024, arXiv:2402.14740). Arguments, returns and errors as `group_advantages`; a group of one gets 0.
    """
    stats = GroupStats.of(returns_N, group_N, in_baseline_N)
    count_N, mean_N = stats.count_G[group_N], stats.mean_G[group_N]
    joins_N = stats.joins_N
    factor_N = np.divide(count_N, count_N - 1, out=np.zeros(len(returns_N)), where=joins_N & (count_N > 1))
    return np.nan_to_num((returns_N - mean_N) * np.where(joins_N, factor_N, 1.0))


@dataclass(frozen=True, eq=False)
class GroupStats:
    """What the groups' baselines are made of. In a group whose returns are all equal `mean_G` is just that return."""

    joins_N: np.ndarray  # bool: scored and in the baseline
    count_G: np.ndarray  # int64, of those
    mean_G: np.ndarray  # float64, NaN where nobody joins
    squares_G: np.ndarray  # float64, sum of squared differences from the mean
    equal_G: np.ndarray  # bool: somebody joins, and all returns are equal

    @classmethod
    def of(cls, returns_N: np.ndarray, group_N: np.ndarray, in_baseline_N: np.ndarray | None = None) -> GroupStats:
        baseline_N = np.ones(group_N.shape, dtype=bool) if in_baseline_N is None else in_baseline_N
        shapes = {returns_N.shape, group_N.shape, baseline_N.shape}
        if len(shapes) > 1 or returns_N.ndim != 1:
            raise ShapeError(f"returns_N, group_N and in_baseline_N must all be [N], got shapes {sorted(shapes)}")
        joins_N = baseline_N & ~np.isnan(returns_N)
        groups = int(group_N.max()) + 1 if len(group_N) else 0
        member, value = group_N[joins_N], returns_N[joins_N]
        count_G = np.bincount(member, minlength=groups)
        low_G, high_G = np.full(groups, np.inf), np.full(groups, -np.inf)
        np.minimum.at(low_G, member, value)
        np.maximum.at(high_G, member, value)
        equal_G = low_G == high_G
        sums_G = np.bincount(member, value, minlength=groups)
        mean_G = np.divide(sums_G, count_G, out=np.full(groups, np.nan), where=count_G > 0)
        mean_G = np.where(equal_G, low_G, mean_G)  # [.1, .1, .1] minus its mean is not exactly 0
        squares_G = np.bincount(member, (value - mean_G[member]) ** 2, minlength=groups)
        return cls(joins_N, count_G, mean_G, squares_G, equal_G)


def _spread(stats: GroupStats, ddof: int, eps: float, lone: Lone) -> np.ndarray:
    """float64 [G]: what to divide by; infinite where the returns are equal, so that nothing is taught."""
    freedom_G = np.maximum(stats.count_G - ddof, 1)
    spread_G = np.sqrt(stats.squares_G / freedom_G) + eps
    spread_G[stats.equal_G] = np.inf
    if lone == "raw":
        spread_G[stats.count_G == 1] = 1.0 + eps
    return spread_G


@part
class GroupAdvantage:
    """Each rollout against the mean of its group, the same advantage on all its steps.

    Advantages are 0 on steps that no gradient row passes through; a step that several rollouts share gets their mean.

    With ``returns="to_go"`` every step has its own advantage: the (discounted) return from that step on, against the
    mean of the same number over the rollouts of the group that got to the same step index. A step is then not praised
    for what was paid before it, and early rewards do not drown late ones. At an index that one rollout alone reached
    there is nothing to compare: 0. With a reward at the end alone it differs from ``"total"`` only in that each index
    compares the rollouts that got so far.
    """

    _: KW_ONLY
    scale: Scale = "none"  # "std": GRPO; "none": Dr. GRPO
    returns: Literal["total", "to_go"] = "total"
    ddof: int = 1  # std divides by (rollouts - ddof)
    eps: float = 1e-6  # added to the std, reward units
    lone: Lone = "zero"  # a group of one: 0, or its raw return (verl)

    def __post_init__(self) -> None:
        if self.scale not in ("none", "std") or self.lone not in ("zero", "raw"):
            raise SettingError(f"scale is none or std and lone zero or raw, got {self.scale!r} and {self.lone!r}")
        if self.returns not in ("total", "to_go"):
            raise SettingError(f"returns is 'total' or 'to_go', got {self.returns!r}")
        if self.ddof not in (0, 1) or self.eps < 0:
            raise SettingError(f"ddof is 0 or 1 and eps not negative, got {self.ddof} and {self.eps}")

    def __call__(self, batch: FlatBatch) -> Advantages:
        """Advantages of a scored batch."""
        if self.returns == "total":
            advantages_N = self._compared(batch.returns_N, batch.group_N, batch.baseline_N)
            return Advantages(batch, batch.spread(advantages_N), equal_groups=equal_groups(batch))
        row_X, step_X, to_go_X = visits(batch)
        depths = len(batch.steps_by_depth) or 1
        cell_X = batch.group_N[row_X] * depths + batch.depth_S[step_X]  # same group, same step index
        baseline_X = batch.baseline_N[row_X]
        values_S = mean_over_rows(batch, row_X, step_X, self._compared(to_go_X, cell_X, baseline_X))
        equal = _equal_everywhere(to_go_X, cell_X, baseline_X, depths)
        return Advantages(batch, np.nan_to_num(values_S), equal_groups=equal)

    def _compared(self, returns_N: np.ndarray, group_N: np.ndarray, baseline_N: np.ndarray) -> np.ndarray:
        return group_advantages(
            returns_N,
            group_N,
            scale=self.scale,
            ddof=self.ddof,
            eps=self.eps,
            lone=self.lone,
            in_baseline_N=baseline_N,
        )


def equal_groups(batch: FlatBatch) -> int:
    """How many groups have equal returns: they teach nothing. Groups that nothing scored are not counted."""
    return int(GroupStats.of(batch.returns_N, batch.group_N, batch.baseline_N).equal_G.sum())


def _equal_everywhere(to_go_X: np.ndarray, cell_X: np.ndarray, baseline_X: np.ndarray, depths: int) -> int:
    """How many groups have equal returns to go at every step index."""
    stats = GroupStats.of(to_go_X, cell_X, baseline_X)
    used = np.flatnonzero(stats.count_G)
    differing = used[~stats.equal_G[used]]
    return len(np.unique(used // depths)) - len(np.unique(differing // depths))


@part
class LeaveOneOut:
    """Each rollout against the mean of its siblings (RLOO, arXiv:2402.14740), the same advantage on all its steps."""

    def __call__(self, batch: FlatBatch) -> Advantages:
        """Advantages of a scored batch."""
        advantages_N = leave_one_out(batch.returns_N, batch.group_N, in_baseline_N=batch.baseline_N)
        return Advantages(batch, batch.spread(advantages_N), equal_groups=equal_groups(batch))
