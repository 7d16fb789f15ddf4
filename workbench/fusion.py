"""Rank fusion: the hit lists of several queries as one list."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench.errors import SettingError
from workbench.trajectory import Hit

Fusion = Literal["consensus", "consensus_reversed", "reciprocal", "interleave"]

SMOOTHING = 60
"""Added to every rank by "reciprocal" (Cormack, Clarke & Büttcher 2009)."""

_RANK_SUMS: dict[Fusion, Callable[[Sequence[int]], float]] = {
    "consensus": lambda ranks: -math.fsum(1 / rank for rank in ranks),
    "consensus_reversed": lambda ranks: math.fsum(1 / rank for rank in ranks),
    "reciprocal": lambda ranks: -math.fsum(1 / (SMOOTHING + rank) for rank in ranks),
}
"""What is sorted by, ascending: fsum, so that equal sums are equal in whatever order the lists come."""
FUSIONS: tuple[Fusion, ...] = (*_RANK_SUMS, "interleave")


def rank_fusion(lists: Sequence[Sequence[Hit]], *, how: Fusion = "consensus", k: int | None = None) -> list[Hit]:
    """Several hit lists as one. Ranks r count from 1, by place in the list; a list without a page says nothing of it.

    - ``"consensus"``: ascending in P = 1 / sum(1 / r), equal P descending in S, the page's best score: ACQO's
      rank-score fusion (arXiv:2601.21208). ``"consensus_reversed"``, descending in P, is a slip of a public
      reimplementation.
    - ``"reciprocal"``: descending in sum(1 / (60 + r)) (Cormack, Clarke & Büttcher 2009).
    - ``"interleave"``: the first of every list, then the second of every list, and so on.

    What is still equal comes in the order of ids. NaN is no score: it loses to every other.

    Args:
        lists: each best first; any may be empty. Of an id that stands in a list twice the first place counts.
        k: most hits that come back; None: all.

    Returns:
        Each page once, as the hit of its best place (the earlier list's where two are equal), `Hit.rank` its place in
        the fused list from 0. Score and query stay those of that hit.

    Raises:
        SettingError: no such way, or k below 1.
    """
    if how not in FUSIONS or (k is not None and k < 1):
        raise SettingError(f"how is one of {', '.join(FUSIONS)} and k at least 1, got {how!r} and {k}")
    return [replace(hit, rank=rank) for rank, hit in enumerate(fused(lists, how)[:k])]


def fused(lists: Sequence[Sequence[Hit]], how: Fusion) -> list[Hit]:
    """`rank_fusion` with the hits as they are: ranks of their own lists, settings unchecked."""
    pages = _pages(lists)
    if how == "interleave":
        return [page.hit for page in sorted(pages, key=lambda page: page.place)]
    sums = _RANK_SUMS[how]
    scored = how != "reciprocal"
    rows = [(sums(page.ranks), -page.score if scored else 0.0, page.hit.id, page.hit) for page in pages]
    return [hit for *_, hit in sorted(rows)]  # ids differ, so that no two hits are compared


@dataclass(slots=True, eq=False)
class _Page:
    """What the lists say of a page."""

    hit: Hit
    place: tuple[int, int]  # of that hit: rank, number of the list
    score: float  # the best
    ranks: list[int]


def _pages(lists: Sequence[Sequence[Hit]]) -> list[_Page]:
    pages: dict[str, _Page] = {}
    for n, hits in enumerate(lists):
        here: set[str] = set()
        for rank, hit in enumerate(hits, start=1):
            if hit.id in here:
                continue
            here.add(hit.id)
            score = -math.inf if math.isnan(hit.score) else hit.score
            page = pages.get(hit.id)
            if page is None:
                pages[hit.id] = _Page(hit, (rank, n), score, [rank])
                continue
            page.ranks.append(rank)
            page.score = max(page.score, score)
            if (rank, n) < page.place:
                page.hit, page.place = hit, (rank, n)
    return list(pages.values())
