"""How good ranked lists of pages are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.errors import SettingError, ShapeError

if TYPE_CHECKING:
    import pandas as pd

Gold = Collection[str] | Mapping[str, float]


def retrieval_metrics(rankings: Sequence[Sequence[str]], golds: Sequence[Gold], *, k: int = 10) -> pd.DataFrame:
    """Recall, precision, nDCG, average precision and reciprocal rank at `k`, one row a query.

    Take ``.mean()`` for the usual figures (MAP is the mean of `average_precision`, MRR that of `reciprocal_rank`).

    Args:
        rankings: the ids of each query, best first. An id that comes again is ignored.
        golds: the gold ids of each query, or a mapping from id to gain (a number above 0) for graded nDCG.
        k: only the first k distinct ids count.

    Returns:
        Columns recall, precision (both share of k: precision divides by k even where the list is shorter), ndcg,
        average_precision (divided by min(k, golds)), reciprocal_rank: floats in [0, 1], NaN for a query without golds.

    Raises:
        ShapeError: not one gold set a ranking.
    """
    import pandas as pd

    if len(rankings) != len(golds):
        raise ShapeError(f"{len(rankings)} rankings came with {len(golds)} gold sets; give one each")
    if k < 1:
        raise SettingError(f"k must be at least 1, got {k}")
    return pd.DataFrame([_metrics(ids, gold, k) for ids, gold in zip(rankings, golds, strict=True)], columns=COLUMNS)


COLUMNS = ["recall", "precision", "ndcg", "average_precision", "reciprocal_rank"]


def _metrics(ids: Sequence[str], gold: Gold, k: int) -> list[float]:
    graded = gold if isinstance(gold, Mapping) else dict.fromkeys(gold, 1.0)
    gains = {one: gain for one, gain in graded.items() if gain > 0}
    if not gains:
        return [math.nan] * len(COLUMNS)
    ranked = list(dict.fromkeys(ids))[:k]
    at = [rank for rank, one in enumerate(ranked) if one in gains]  # ranks from 0
    best = sorted(gains.values(), reverse=True)[:k]
    dcg = sum(gains[ranked[rank]] / math.log2(rank + 2) for rank in at)
    ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(best))
    precisions = sum((n + 1) / (rank + 1) for n, rank in enumerate(at))
    return [
        len(at) / len(gains),
        len(at) / k,
        dcg / ideal,
        precisions / min(k, len(gains)),
        1 / (at[0] + 1) if at else 0.0,
    ]
