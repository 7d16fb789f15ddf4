"""`RankedGold`: how high the gold pages stand in what a search brought back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import KW_ONLY
from itertools import combinations
from typing import Literal

from workbench.errors import MissingGold, SettingError
from workbench.fusion import FUSIONS, Fusion, fused
from workbench.rewards.evidence import is_search
from workbench.rewards.reward import Reward
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Hit, Trajectory

Lists = Sequence[Sequence[Hit]]
VALUES = ("ndcg", "recall", "rank")


@part
class RankedGold(Reward):
    """Worth of the ranks at which a search step brought the gold pages, one value a search step.

    The hits of the step's calls are fused into one list (`fuse`, see `workbench.fusion.rank_fusion`), of which the
    first `k` count, whether the agent was shown them or not: what is paid is the query. A page counts once.

    `value`:

    - ``"ndcg"``: binary nDCG in [0, 1], the ideal being min(k, golds) gold pages on top.
    - ``"recall"``: share of the gold pages found, in [0, 1].
    - ``"rank"``: ACQO's rank score (arXiv:2601.21208). The i-th gold page found, at rank r, adds eta**i * Phi(r), i
      counted from `first_exponent`; Phi falls from 2 at rank 1 to 1 at rank 10, and from there to 0 at rank 100. The
      `top` ranks earn `bonus` / log2(r + 1) more (its second stage). ACQO has eta 0.6 with top 0, or 1.0 with top 3.

    `over`: ``"all"`` calls of the step, or the ``"best_subset"`` of them (ACQO's first stage: a useless query costs
    nothing), of the first `most_queries` at most, lest there are 2 ** queries subsets.

    Raises:
        MissingGold: the task has no gold pages.
    """

    _: KW_ONLY
    value: Literal["ndcg", "recall", "rank"] = "ndcg"
    k: int = 100  # ranks that count
    fuse: Fusion = "consensus"
    over: Literal["all", "best_subset"] = "all"
    most_queries: int = 5
    eta: float = 1.0
    first_exponent: int = 1  # 0 or 1: the paper prints none
    top: int = 0  # ranks that earn the bonus
    bonus: float = 1.0  # reward units; lambda

    level = Level.STEP
    needs = frozenset({"gold_pages"})
    causal = True

    def __post_init__(self) -> None:
        if self.value not in VALUES or self.over not in ("all", "best_subset") or self.fuse not in FUSIONS:
            raise SettingError(
                f"value is one of {VALUES}, over 'all' or 'best_subset', fuse one of {FUSIONS}; got {self!r}"
            )
        if self.k < 1 or self.most_queries < 1 or self.top < 0 or self.first_exponent not in (0, 1):
            raise SettingError(
                f"k and most_queries are at least 1, top is at least 0, first_exponent 0 or 1; got {self!r}"
            )
        if not (math.isfinite(self.eta) and math.isfinite(self.bonus) and self.eta >= 0 and self.bonus >= 0):
            raise SettingError(f"eta and bonus are finite and not negative, got {self.eta} and {self.bonus}")

    @property
    def range(self) -> tuple[float, float]:
        """Of any number of gold pages; a task with two earns at most (eta**1 + eta**2) * 2."""
        if self.value != "rank":
            return 0.0, 1.0
        most = rank_value(1, self.top, self.bonus) * self.eta**self.first_exponent
        return 0.0, most / (1 - self.eta) if self.eta < 1 else math.inf

    def score(self, trajectory: Trajectory) -> Scores:
        gold = trajectory.task.gold_pages
        if not gold:
            raise MissingGold(f"task {trajectory.task.id!r} has no gold_pages; RankedGold needs at least one")
        scores = Scores.unscored(len(trajectory.steps))
        for s, step in enumerate(trajectory.steps):
            if is_search(step):
                tried = self._tried([call.hits for call in step.calls], gold)
                worth, ranks = max(((self._worth(r, len(gold)), r) for r in tried), key=lambda one: one[0])
                told = f"gold pages at ranks {', '.join(map(str, ranks))}" if ranks else "no gold page"
                scores.set(s, worth, f"{told}, {len(gold)} in all")
        return scores

    def _tried(self, lists: Lists, gold: Collection[str]) -> Iterator[list[int]]:
        """The ranks of the gold pages for each choice of queries that could be the best, the choice of all first.

        A list without a gold page leaves what the gold pages are sorted by as it is, and moves others only up: no
        choice is the better for it. Read descending in P, as the slip has it, others move down.
        """
        yield gold_ranks(lists, gold, self.fuse, self.k)
        if self.over == "best_subset":
            tried = lists[: self.most_queries]
            if self.fuse != "consensus_reversed":
                tried = [hits for hits in tried if any(hit.id in gold for hit in hits)]
            for size in range(1, min(len(tried), len(lists) - 1) + 1):
                for some in combinations(tried, size):
                    yield gold_ranks(some, gold, self.fuse, self.k)

    def best(self, golds: int) -> float:
        """What a step earns that brings so many gold pages, and all that there are, at the top."""
        return self._worth(range(1, min(golds, self.k) + 1), golds)

    def _worth(self, ranks: Sequence[int], golds: int) -> float:
        if self.value == "ndcg":
            ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(self.k, golds) + 1))
            return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal
        if self.value == "recall":
            return len(ranks) / golds
        values = [rank_value(rank, self.top, self.bonus) for rank in ranks]
        return sum(self.eta**i * value for i, value in enumerate(values, start=self.first_exponent))


def gold_ranks(lists: Lists, gold: Collection[str], fuse: Fusion = "consensus", k: int = 100) -> list[int]:
    """Ranks from 1, rising, of the gold pages among the first `k` of the fused lists."""
    if len(lists) == 1 and fuse != "consensus_reversed":  # any fusion of one list is that list
        ids = list(dict.fromkeys(hit.id for hit in lists[0]))
    else:
        ids = [hit.id for hit in fused(lists, fuse)]
    return [rank for rank, id in enumerate(ids[:k], start=1) if id in gold]


def rank_value(rank: int, top: int = 0, bonus: float = 1.0) -> float:
    """Phi: 2 - (rank - 1) / 9 up to rank 10, (100 - rank) / 90 up to rank 100, then 0; the `top` ranks have
    bonus / log2(rank + 1) more.

    ACQO prints the intervals in a way that, taken literally, would pay rank 1 least; this is the reading that makes a
    better rank worth more.

    >>> [round(rank_value(rank), 3) for rank in (1, 2, 10, 11, 100)]
    [2.0, 1.889, 1.0, 0.989, 0.0]
    """
    value = 2 - (rank - 1) / 9 if rank <= 10 else max(0.0, (100 - rank) / 90)
    return value + (bonus / math.log2(rank + 1) if rank <= top else 0.0)
