"""Rank fusion: the hit lists of several queries as one list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Literal

from workbench.errors import SettingError
from workbench.trajectory import Hit

Fusion = Literal["consensus", "consensus_reversed", "reciprocal", "interleave"]

SMOOTHING = 60
"""Added to every rank by "reciprocal" (Cormack, Clarke & Büttcher 2009)."""

_ADDED: dict[Fusion, int] = {"consensus": 0, "consensus_reversed": 0, "reciprocal": SMOOTHING}
FUSIONS: tuple[Fusion, ...] = (*_ADDED, "interleave")


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
    if how == "interleave":
        return _in_turns(lists)
    hits, ranks, scores = _pages(lists)
    if how == "reciprocal":
        scores = dict.fromkeys(scores, 0.0)
    sign, added = (1 if how == "consensus_reversed" else -1), _ADDED[how]
    rows = [(sign * _rank_sum(of, added), -scores[id], id) for id, of in ranks.items()]
    rows.sort()
    return [hits[id] for _, _, id in rows]


def _in_turns(lists: Sequence[Sequence[Hit]]) -> list[Hit]:
    taken: dict[str, Hit] = {}
    for hits in zip_longest(*lists):
        for hit in hits:
            if hit is not None:
                taken.setdefault(hit.id, hit)
    return list(taken.values())


def _pages(lists: Sequence[Sequence[Hit]]) -> tuple[dict[str, Hit], dict[str, list[int]], dict[str, float]]:
    """By id: the hit of the best place, the ranks by list, the best score (-inf: none). One pass, since rewards ask
    this of every search step."""
    best: dict[str, Hit] = {}
    ranks: dict[str, list[int]] = {}
    scores: dict[str, float] = {}
    for hits in lists:
        here: set[str] = set()
        for rank, hit in enumerate(hits, start=1):
            id = hit.id
            if id in here:
                continue
            here.add(id)
            if id not in ranks:
                best[id], ranks[id], scores[id] = hit, [rank], -math.inf
            else:
                if rank < min(ranks[id]):
                    best[id] = hit
                ranks[id].append(rank)
            if hit.score > scores[id]:  # NaN is not
                scores[id] = hit.score
    return best, ranks, scores


def _rank_sum(ranks: Sequence[int], added: int) -> float:
    """Sum of 1 / (added + rank): fsum, so that equal sums are equal in whatever order the lists come."""
    return 1 / (added + ranks[0]) if len(ranks) == 1 else math.fsum([1 / (added + rank) for rank in ranks])
