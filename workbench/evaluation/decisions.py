"""How good an agent's yes and no are: to search or not, to keep a result or not."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import ShapeError
from workbench.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd


def decision_report(
    said_N: Sequence[bool | None], truth_N: Sequence[bool | None], groups_N: Sequence[Hashable] | None = None
) -> pd.DataFrame:
    """What was said against what is so, with yes as the positive class.

    For a decision to search, yes is "I can do without" (AdaSearch, arXiv:2512.16883: its F1_aware is `f1`); for the
    judgement of a search, yes is "this result is of use" (ReSeek, arXiv:2510.00568). A needless no costs a search
    either way.

    Args:
        said_N: what each of N decisions said; None: neither.
        truth_N: what was so; None: not known.
        groups_N: splits the decisions, by kind of task for example.

    Returns:
        A row a group, by its name as text, and a last one called "all": decisions (count of those with a truth and a
        label), unlabelled (of those with a truth), tp, fp, fn, tn, accuracy, yes_share, precision, recall, f1,
        over_search fn/(tp+fn): no although yes was right, under_search fp/(fp+tn): yes although no was right.
        f1 is 0 where no yes was right; the other shares are NaN where there is nothing to share.

    Raises:
        ShapeError: the arguments differ in length.
    """
    import pandas as pd

    groups = ["all"] * len(said_N) if groups_N is None else [str(group) for group in groups_N]
    if not len(said_N) == len(truth_N) == len(groups):
        raise ShapeError(f"said, truth and groups must be as many, got {len(said_N)}, {len(truth_N)}, {len(groups)}")
    known = [(g, s, bool(t)) for g, s, t in zip(groups, said_N, truth_N, strict=True) if t is not None]
    names = [] if groups_N is None else sorted({group for group, _, _ in known})
    rows = {name: _row([(s, t) for g, s, t in known if g == name]) for name in names}
    return pd.DataFrame({**rows, "all": _row([(s, t) for _, s, t in known])}).T.rename_axis("group")


def _row(pairs: Sequence[tuple[bool | None, bool]]) -> dict[str, float]:
    said_n = np.array([bool(said) for said, _ in pairs if said is not None], dtype=bool)
    truth_n = np.array([truth for said, truth in pairs if said is not None], dtype=bool)
    tp, fp = int((said_n & truth_n).sum()), int((said_n & ~truth_n).sum())
    fn, tn = int((~said_n & truth_n).sum()), int((~said_n & ~truth_n).sum())
    return {
        "decisions": len(said_n),
        "unlabelled": len(pairs) - len(said_n),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "accuracy": _share(tp + tn, len(said_n)),
        "yes_share": _share(tp + fp, len(said_n)),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        "over_search": _share(fn, tp + fn),
        "under_search": _share(fp, fp + tn),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def did_without(trajectories: Sequence[Trajectory]) -> list[bool]:
    """For agents that decide without a word: yes where the rollout made no call that was carried out."""
    return [not any(call.valid for step in trajectory.steps for call in step.calls) for trajectory in trajectories]
