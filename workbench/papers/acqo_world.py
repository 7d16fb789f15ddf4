"""A small corpus on which it pays to ask for two facts in two queries, and for one in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.environments.hop_world import SYLLABLES
from workbench.retrieval import Page
from workbench.trajectory import Task

Fact = tuple[str, str]
"""A town and a thing said of it: what a page is about."""

KINDS = ("one fact", "two facts")
REWRITES = ("keep", "first", "second", "words", "split", "crossed")


@dataclass(frozen=True)
class SplitWorld:
    """Towns and things said of them, a page a fact; `build` makes it.

    A question names two facts. Of kind "two facts" it wants both; of kind "one fact" the first, and the second comes by
    the way (for every second such question no page is about it). A hard fact has `decoys` shorter pages beside its own,
    which stand above it whatever is asked; half of the questions ask for hard facts.
    """

    towns: int = 30
    things: int = 12
    pages_a_town: int = 8
    hard: int = 12  # facts
    decoys: int = 4
    questions: int = 24  # of each kind, to train on and to test with
    seed: int = 0

    def build(self) -> tuple[tuple[Page, ...], tuple[Task, ...], tuple[Task, ...]]:
        """Pages, tasks to train on, tasks to test with."""
        rng = np.random.default_rng([self.seed, 29])
        words = _words(rng, self.towns + self.things + 40)
        towns, things, plain = words[: self.towns], words[self.towns : self.towns + self.things], words[-40:]
        told = [(town, things[i]) for town in towns for i in rng.permutation(self.things)[: self.pages_a_town]]
        told = [told[i] for i in rng.permutation(len(told))]
        hard, easy = told[: self.hard], told[self.hard :]
        untold = sorted({(town, thing) for town in towns for thing in things} - set(told))
        page_of = {fact: f"p{n}" for n, fact in enumerate(told)}
        pages = [_page(rng, page_of[fact], fact, plain, 20 if fact in hard else 8) for fact in told]
        pages += [_page(rng, f"d{n}.{i}", fact, plain, 4) for n, fact in enumerate(hard) for i in range(self.decoys)]
        tasks = []
        for n in range(4 * self.questions):
            wants = hard if n % 4 < 2 else easy
            first = wants[int(rng.integers(len(wants)))]
            others = wants if n % 2 else (untold if n % 8 < 4 else easy)
            second = others[int(rng.integers(len(others)))]
            while second[0] == first[0] or second[1] == first[1]:
                second = others[int(rng.integers(len(others)))]
            tasks.append(_task(rng, n, KINDS[n % 2], (first, second), page_of, plain))
        order = rng.permutation(len(pages))
        return tuple(pages[i] for i in order), tuple(tasks[: len(tasks) // 2]), tuple(tasks[len(tasks) // 2 :])


def rewrites(task: Task) -> Mapping[str, Sequence[str]]:
    """What can be asked: the question as it stands, one query, or two in which the right words are together or not."""
    (town, thing), (other, another) = task.extras["facts"]
    first, second = f"{thing} {town}", f"{another} {other}"
    return {
        "keep": [task.question],
        "first": [first],
        "second": [second],
        "words": [f"{first} {second}"],
        "split": [first, second],
        "crossed": [f"{thing} {other}", f"{another} {town}"],
    }


def _task(
    rng: np.random.Generator,
    number: int,
    kind: str,
    facts: tuple[Fact, Fact],
    page_of: Mapping[Fact, str],
    plain: Sequence[str],
) -> Task:
    (town, thing), (other, another) = facts
    fill = [plain[int(i)] for i in rng.integers(len(plain), size=4)]
    between = ("and", "by the way not")[kind == KINDS[0]]
    question = f"{fill[0]} {fill[1]} {thing} of {town} {between} {fill[2]} {another} of {other} {fill[3]}"
    gold = {page_of[fact] for fact in (facts if kind == KINDS[1] else facts[:1])}
    return Task(f"q{number}", question, gold_pages=frozenset(gold), kind=kind, extras={"facts": facts})


def _page(rng: np.random.Generator, id: str, fact: Fact, plain: Sequence[str], length: int) -> Page:
    said = [*fact, *(plain[int(i)] for i in rng.integers(len(plain), size=length))]
    return Page(id, "", " ".join(said[i] for i in rng.permutation(len(said))))


def _words(rng: np.random.Generator, count: int) -> list[str]:
    made: dict[str, None] = {}
    while len(made) < count:
        made["".join(SYLLABLES[int(i)] for i in rng.integers(len(SYLLABLES), size=3))] = None
    return list(made)
