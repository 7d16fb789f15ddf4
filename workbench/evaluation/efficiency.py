"""What the answers cost: calls, tokens, and whether the agent searched too much or too little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import ShapeError
from workbench.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd


def efficiency_report(trajectories: Sequence[Trajectory], correct_N: Sequence[float] | np.ndarray) -> pd.DataFrame:
    """Cost and searching by hops of the task.

    Args:
        trajectories: N of them.
        correct_N: 1 right, 0 wrong (or a share), NaN not scored; such a trajectory counts in cost, not in `correct`.

    Returns:
        One row per number of hops and a last one called "all": trajectories (count), correct (mean), calls,
        failed_calls (error or not callable), own_tokens, seconds, cost (means per trajectory), calls_per_correct,
        tokens_per_correct, cost_per_correct (sums over sums; NaN where nothing is right), over_search (share with
        more searches than the task has hops), under_search (share that answered with fewer).

    Raises:
        ShapeError: not one number a trajectory.
    """
    import pandas as pd

    correct_N = np.asarray(correct_N, dtype=np.float64)
    if correct_N.shape != (len(trajectories),):
        raise ShapeError(f"{len(trajectories)} trajectories need as many numbers, got correct_N {correct_N.shape}")
    rows = pd.DataFrame([_spent(trajectory) for trajectory in trajectories], columns=SPENT)
    rows["correct"] = correct_N
    by_hops = {str(hops): _summary(part) for hops, part in rows.groupby("hops")}
    return pd.DataFrame({**by_hops, "all": _summary(rows)}).T.rename_axis("hops")


SPENT = ["hops", "calls", "failed_calls", "own_tokens", "seconds", "cost", "over_search", "under_search"]


def _spent(trajectory: Trajectory) -> list[float]:
    calls = [call for step in trajectory.steps for call in step.calls]
    searches = sum(call.valid and bool(call.query or call.hits) for call in calls)
    hops = trajectory.task.hops
    return [
        hops,
        len(calls),
        sum(call.error is not None or not call.valid for call in calls),
        sum(step.own_tokens for step in trajectory.steps),
        sum(step.seconds for step in trajectory.steps),
        sum(call.cost for call in calls),
        float(searches > hops),
        float(searches < hops and trajectory.answer is not None),
    ]


def _summary(rows: pd.DataFrame) -> dict[str, float]:
    right = rows["correct"].sum() or np.nan
    per_correct = {"calls": "calls", "tokens": "own_tokens", "cost": "cost"}
    return {
        "trajectories": float(len(rows)),
        "correct": rows["correct"].mean(),
        **{name: rows[name].mean() for name in ("calls", "failed_calls", "own_tokens", "seconds", "cost")},
        **{f"{name}_per_correct": rows[column].sum() / right for name, column in per_correct.items()},
        **{name: rows[name].mean() for name in ("over_search", "under_search")},
    }
