"""`SetJaccard`: what two sets share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from dataclasses import KW_ONLY
from itertools import combinations
from typing import Literal

from workbench.errors import MissingGold, SettingError
from workbench.rewards.evidence import seen_hits
from workbench.rewards.reward import Reward
from workbench.scores import Scores
from workbench.spec import part
from workbench.trajectory import Trajectory

OF = ("pages", "results")


@part
class SetJaccard(Reward):
    """Jaccard index of two sets, |A and B| / |A or B|, in [0, 1]; two empty sets are alike, 1.

    `of` says which: the "pages" that the agent was shown and the gold pages; or the "results", ids of what each call
    brought back: their mean over all pairs of calls, not applicable with fewer than two. A negative weight on the
    latter pays for calls that look in different places.

    Raises:
        MissingGold: of="pages" and the task has no gold pages.
    """

    _: KW_ONLY
    of: Literal["pages", "results"] = "pages"

    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.of not in OF:
            raise SettingError(f"of is 'pages' or 'results', got {self.of!r}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"gold_pages"} if self.of == "pages" else ())

    def score(self, trajectory: Trajectory) -> Scores:
        if self.of == "pages":
            return self._pages(trajectory)
        lists = [frozenset(hit.id for hit in call.hits) for step in trajectory.steps for call in step.calls]
        indices = [jaccard(one, other) for one, other in combinations(lists, 2)]
        if not indices:
            scores = Scores.unscored(1, level=self.level)
            scores.skip(0, f"{len(lists)} calls: nothing to compare")
            return scores
        return Scores.trajectory(sum(indices) / len(indices), f"mean of {len(indices)} pairs of calls")

    def _pages(self, trajectory: Trajectory) -> Scores:
        gold = trajectory.task.gold_pages
        if not gold:
            raise MissingGold(
                f"task {trajectory.task.id!r} has no gold_pages; SetJaccard(of='pages') needs at least one"
            )
        shown = {hit.id for step in trajectory.steps for hit in seen_hits(step)}
        return Scores.trajectory(
            jaccard(gold, shown), f"{len(gold & shown)} of {len(gold)} gold pages, {len(shown)} shown"
        )


def jaccard(one: Collection[Hashable], other: Collection[Hashable]) -> float:
    """Share of what either holds that both hold, in [0, 1]; 1 where both are empty. Counters are multisets."""
    if isinstance(one, Counter) and isinstance(other, Counter):
        both, either = (one & other).total(), (one | other).total()
    else:
        both, either = len(set(one) & set(other)), len(set(one) | set(other))
    return both / either if either else 1.0
