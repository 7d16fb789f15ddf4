"""`advantages`: from scored trees to advantages in one call."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.batch import Advantages, flat_batch
from workbench.protocols import Credit
from workbench.scores import Scores
from workbench.trajectory import Tree


def advantages(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]], credit: Credit) -> Advantages:
    """What every step of every trajectory is credited with.

    Args:
        scores: as `workbench.score` gives them, one Scores a trajectory.

    Returns:
        Advantages; `by_trajectory()` lists one array [S] a trajectory.
    """
    return credit(flat_batch(trees, scores))
