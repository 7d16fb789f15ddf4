"""Rewards from what an engine answers to expansions of a query: `ExpansionRules`, `FoundRelevance`, `MarginalGain`.

What the bare query finds, before any expansion, stands in ``task.extras["found"]`` as page ids; `with_found` writes it.
An engine that failed makes these scores missing: no expansion is to blame for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, replace
from typing import Literal, Protocol

from workbench.errors import MissingGold, SettingError
from workbench.rewards.evidence import seen_hits
from workbench.rewards.reward import Reward
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Call, Hit, Step, Task, Trajectory

RELEVANT = 0.5
"""A page whose relevance is this or more is relevant."""


class Finder(Protocol):
    """Answers queries."""

    def search(self, queries: Sequence[str], k: int = 3) -> list[list[Hit]]: ...


def with_found(tasks: Sequence[Task], engine: Finder, k: int = 20) -> list[Task]:
    """The tasks, each with the ids of what its bare question finds in ``extras["found"]``, best first."""
    found = engine.search([task.question for task in tasks], k)
    rows = zip(tasks, found, strict=True)
    return [replace(task, extras={**task.extras, "found": [hit.id for hit in hits]}) for task, hits in rows]


# ---------------------------------------------------------------- what may be asked


@part
class ExpansionRules(Reward):
    """1 where the searches of a trajectory keep the rules for expansions of its question, else 0 with what is broken.

    Every turn can be read; there are 1 to `most` queries; each has at most `words` words, none that is banned (here or
    in ``task.extras["banned"]``), and is neither the question nor another of them, letter case and punctuation aside.
    """

    _: KW_ONLY
    most: int = 3  # queries a trajectory
    words: int = 8  # of one query
    banned: tuple[str, ...] = ()  # words

    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.most < 1 or self.words < 1:
            raise SettingError(f"most and words are at least 1, got {self.most} and {self.words}")

    def score(self, trajectory: Trajectory) -> Scores:
        broken = self.broken(trajectory)
        return Scores.trajectory(float(not broken), "; ".join(broken) or "within the rules")

    def broken(self, trajectory: Trajectory) -> list[str]:
        """What is broken, a short sentence each."""
        found = [f"turn {s} could not be read" for s, step in enumerate(trajectory.steps) if not step.valid]
        queries = [call.query for step in trajectory.steps for call in step.calls if "query" in call.arguments]
        if not 1 <= len(queries) <= self.most:
            found.append(f"{len(queries)} queries, 1 to {self.most} are allowed")
        banned = {word.lower() for word in (*self.banned, *trajectory.task.extras.get("banned", ()))}
        asked = {normalize_answer(trajectory.task.question)}
        for query in queries:
            said = query.lower().split()
            if not 0 < len(said) <= self.words:
                found.append(f"{query!r} has {len(said)} words, 1 to {self.words} are allowed")
            if not_allowed := banned & set(said):
                found.append(f"{query!r} holds banned {sorted(not_allowed)}")
            if normalize_answer(query) in asked:
                found.append(f"{query!r} was asked before")
            asked.add(normalize_answer(query))
        return found


# ---------------------------------------------------------------- what was found


@part
class FoundRelevance(Reward):
    """Mean relevance, in [0, 1], of the pages that the searches of a trajectory brought, each page once; 0 for none.

    Relevance of a page is its number in ``task.extras["relevance"]`` (0 where it has none), or else 1 for gold pages.
    Where every search found nothing, or none was made, the score is 0; where one failed, it is missing.

    Raises:
        MissingGold: the task has neither relevances nor gold pages.
    """

    range = (0.0, 1.0)
    needs = frozenset({"gold_pages"})

    def score(self, trajectory: Trajectory) -> Scores:
        relevance = relevances(trajectory.task)
        for step in trajectory.steps:
            if why := failure(step):
                return Scores.missing(why, level=self.level)
        shown = dict.fromkeys(hit.id for step in trajectory.steps for hit in seen_hits(step))
        total = sum(relevance.get(page, 0.0) for page in shown)
        return Scores.trajectory(total / len(shown) if shown else 0.0, f"{total:.4g} over {len(shown)} pages")


class SetFunction(Protocol):
    """What a set of pages is worth to a task. Worth nothing where it is empty, and never less with one page more."""

    @property
    def range(self) -> tuple[float, float]: ...

    def __call__(self, pages: Collection[str], task: Task) -> float: ...


@part
class Coverage:
    """Share of the relevant pages among those found, in [0, 1].

    `of` says which are relevant: the gold pages of the task; or, where not all are known, those of relevance 0.5 and
    more, counted against `k` of them: min(1, relevant / k).

    Raises:
        MissingGold: the task lacks them.
    """

    of: Literal["gold_pages", "relevance"] = "gold_pages"
    k: int = 20  # pages, of "relevance"

    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.of not in ("gold_pages", "relevance") or self.k < 1:
            raise SettingError(f"of is 'gold_pages' or 'relevance' and k at least 1, got {self.of!r} and {self.k}")

    def __call__(self, pages: Collection[str], task: Task) -> float:
        if self.of == "gold_pages":
            if not task.gold_pages:
                raise MissingGold(f"task {task.id!r} has no gold_pages; Coverage() needs at least one")
            return len(task.gold_pages.intersection(pages)) / len(task.gold_pages)
        known = relevances(task)
        return min(1.0, sum(known.get(page, 0.0) >= RELEVANT for page in set(pages)) / self.k)


@part
class MarginalGain(Reward):
    """What the pages of a search add to a set function: F(seen and new) - F(seen), a value a search step.

    Its sum over the steps is F of all that was found, whatever the order, so that pay for a step neither adds to nor
    takes from pay for the whole. With new_only=True what the bare question finds (``extras["found"]``) counts for
    nothing, and the sum is what the agent's own queries gain. Where one turn makes several searches, the reason gives
    the gain of each. A search that failed makes its step missing.

    Raises:
        MissingGold: as the set function; or new_only=True and the task has no extras["found"].
    """

    function: SetFunction = Coverage()
    _: KW_ONLY
    new_only: bool = False

    level = Level.STEP
    causal = True
    needs = frozenset({"gold_pages"})

    @property
    def range(self) -> tuple[float, float]:
        return 0.0, self.function.range[1]

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return self.range

    def score(self, trajectory: Trajectory) -> Scores:
        task, scores = trajectory.task, Scores.unscored(len(trajectory.steps))
        known, seen = self._found_before(task), set[str]()
        worth = self.function(seen, task)
        for s, step in enumerate(trajectory.steps):
            if why := failure(step):
                scores.miss(s, why)
                continue
            gains = []
            for call in _searches(step):
                seen |= {hit.id for hit in call.hits if hit.shown != 0} - known
                gains.append(self.function(seen, task) - worth)
                worth += gains[-1]
            if gains:
                scores.set(s, sum(gains), f"gains {', '.join(f'{gain:.4g}' for gain in gains)}; {worth:.4g} so far")
        return scores

    def _found_before(self, task: Task) -> set[str]:
        if not self.new_only:
            return set()
        if "found" not in task.extras:
            raise MissingGold(f"task {task.id!r} has no extras['found']; new_only=True needs it: see `with_found`")
        return set(task.extras["found"])


def relevances(task: Task) -> Mapping[str, float]:
    """Relevance in [0, 1] of the pages that have one.

    A number outside is clipped, with a warning.

    Raises:
        MissingGold: the task has neither extras["relevance"] nor gold pages.
    """
    given = task.extras.get("relevance")
    if given is None:
        if not task.gold_pages:
            raise MissingGold(f"task {task.id!r} has neither extras['relevance'] nor gold_pages; one of them is needed")
        return dict.fromkeys(task.gold_pages, 1.0)
    if not given or 0.0 <= min(given.values()) <= max(given.values()) <= 1.0:
        return dict(given)
    wrong = next((page, value) for page, value in given.items() if not 0.0 <= value <= 1.0)
    warnings.warn(f"relevance of {wrong[0]!r} in task {task.id!r} is {wrong[1]}; clipped to [0, 1]", stacklevel=2)
    return {page: min(max(value, 0.0), 1.0) for page, value in given.items()}


def failure(step: Step) -> str:
    """Why a search of this step failed, though it could be called; an empty text where none did."""
    failed = [call for call in step.calls if call.valid and call.error is not None and "query" in call.arguments]
    return f"the engine failed on {failed[0].query!r}: {failed[0].error}" if failed else ""


def _searches(step: Step) -> list[Call]:
    return [call for call in step.calls if call.valid and ("query" in call.arguments or call.hits)]
