"""A made-up catalogue with a vocabulary gap: pages name things in other words than questions do, relevance is exact.

A subject (a topic, a type of product) has names, of which its pages bear a few each, and words of its own that
questions ask with. Which names belong to which question is nowhere on the pages: whoever finds them has learned it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workbench.environments.hop_world import SYLLABLES
from workbench.errors import SettingError
from workbench.retrieval.pages import Page
from workbench.trajectory import Task

PLAIN_WORDS = 60
"""Words that mean nothing and stand on pages of all subjects."""


class Catalogue(NamedTuple):
    """What a `CatalogueWorld` makes. `about` says of each page of a subject its subject, category and attributes."""

    pages: tuple[Page, ...]
    tasks: tuple[Task, ...]
    about: Mapping[str, Mapping[str, str]]


class _Subject(NamedTuple):
    names: tuple[str, ...]
    asking: tuple[str, ...]  # what questions say
    category: str  # "" where there are none


@dataclass(frozen=True)
class CatalogueWorld:
    """Settings of a catalogue; `build` makes it. The same settings make the same catalogue.

    Topics with a gap are the default. Products that a vague query names by one synonym are
    ``CatalogueWorld(subjects=60, pages=25, lures=0, names=5, names_a_page=1, asking=0, asking_a_question=1,
    categories=10, attributes=(("brand", 12), ("colour", 8), ("material", 6)), asked=1)``.

    >>> catalogue = CatalogueWorld(questions=1).build()
    >>> len(catalogue.pages), len(catalogue.tasks), len(catalogue.tasks[0].gold_pages)
    (100, 20, 4)
    """

    subjects: int = 20
    pages: int = 4  # of each subject
    lures: int = 1  # for each subject: pages that say what its questions say, and are about nothing
    names: int = 10  # words that pages use for a subject
    names_a_page: int = 6
    asking: int = 4  # words that only questions use for a subject; 0: questions use its names
    asking_a_question: int = 3
    gap: float = 0.75  # share of a subject's pages without a word of its questions; the others bear one
    categories: int = 0  # subjects share so many categories, whose word stands on their pages; 0: none
    attributes: tuple[tuple[str, int], ...] = ()  # name and number of values; every page has one of each
    asked: int = 0  # how many attributes a question asks for beside its subject
    questions: int = 2  # of each subject
    candidates: int = 40  # words offered to expand a question with: all names of its subject, the rest of others
    plain: int = 6  # words without meaning on each page
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.pages, self.names, self.questions, self.asking_a_question)
        if self.subjects < 2 or min(counts) < 1 or min(self.lures, self.categories, self.plain, self.asking) < 0:
            raise SettingError(f"a catalogue has 2 subjects or more, with pages, names and questions; got {self!r}")
        if not 0 <= self.names_a_page <= self.names or self.asking_a_question > (self.asking or self.names):
            raise SettingError(f"no page or question bears more words than its subject has; got {self!r}")
        if not 0 <= self.gap <= 1 or not 0 <= self.asked <= len(self.attributes):
            raise SettingError(f"gap is a share from 0 to 1, asked at most the number of attributes; got {self!r}")
        if not self.names <= self.candidates <= self.names * self.subjects:
            raise SettingError(
                f"candidates are {self.names} to {self.names * self.subjects} here; got {self.candidates}"
            )

    def build(self) -> Catalogue:
        """Pages in random order, and the questions, subject after subject.

        A task's gold pages match it in everything. `extras`: "subject" (its number), "category", "asked" (attribute to
        value), "names" (the subject's), "candidates" (shuffled words, the names among them; the same for all questions
        of a subject), "gold_texts" (of the gold pages) and "relevance": page id to the share of what was asked for
        that a page of the subject matches, in (0, 1]; all other pages have 0.
        """
        rng = np.random.default_rng(self.seed)
        words = _Words(rng)
        categories = words.some(self.categories)
        subjects = [self._subject(words, categories, number) for number in range(self.subjects)]
        values = {name: words.some(count) for name, count in self.attributes}
        plain = words.some(PLAIN_WORDS)
        pages: dict[str, Page] = {}
        about: dict[str, dict[str, str]] = {}
        for number, subject in enumerate(subjects):
            for n in range(self.pages):
                has = {name: _one(rng, some) for name, some in values.items()}
                page = self._page(rng, f"c{number}.{n}", subject, has, plain, bears=n >= round(self.gap * self.pages))
                pages[page.id] = page
                about[page.id] = {"subject": str(number), "category": subject.category, **has}
            for n in range(self.lures):
                said = (*_some(rng, subject.asking, self.asking_a_question), *_some(rng, plain, self.plain))
                pages[f"l{number}.{n}"] = Page(f"l{number}.{n}", "Another page", " ".join(said))
        tasks = [task for number in range(self.subjects) for task in self._tasks(rng, number, subjects, pages, about)]
        order = rng.permutation(len(pages))
        return Catalogue(tuple([*pages.values()][i] for i in order), tuple(tasks), about)

    def _subject(self, words: _Words, categories: Sequence[str], number: int) -> _Subject:
        names = words.some(self.names)
        asking = words.some(self.asking) if self.asking else names
        return _Subject(names, asking, categories[number % len(categories)] if categories else "")

    def _page(
        self,
        rng: np.random.Generator,
        id: str,
        subject: _Subject,
        has: Mapping[str, str],
        plain: Sequence[str],
        *,
        bears: bool,
    ) -> Page:
        leaked = (_one(rng, subject.asking),) if bears and self.asking else ()
        said = [*_some(rng, subject.names, self.names_a_page), *leaked, *_some(rng, plain, self.plain)]
        shown = [word for word in (*has.values(), subject.category) if word]
        return Page(id, " ".join(shown).capitalize() or "A page", " ".join(said[i] for i in rng.permutation(len(said))))

    def _tasks(
        self,
        rng: np.random.Generator,
        number: int,
        subjects: Sequence[_Subject],
        pages: Mapping[str, Page],
        about: Mapping[str, Mapping[str, str]],
    ) -> list[Task]:
        subject = subjects[number]
        others = [name for n, other in enumerate(subjects) if n != number for name in other.names]
        offered = [*subject.names, *_some(rng, others, self.candidates - self.names)]
        offered = [offered[i] for i in rng.permutation(len(offered))]
        own = [f"c{number}.{n}" for n in range(self.pages)]
        tasks = []
        for n in range(self.questions):
            wanted = self._wanted(rng, about[own[int(rng.integers(len(own)))]])
            matched = {page: sum(about[page][name] == value for name, value in wanted.items()) for page in own}
            relevance = {page: (1 + matched[page]) / (1 + len(wanted)) for page in own}
            gold = sorted(page for page, share in relevance.items() if share == 1.0)
            said = (*_some(rng, subject.asking, self.asking_a_question), *wanted.values())
            extras = {
                "subject": number,
                "category": subject.category,
                "asked": wanted,
                "names": list(subject.names),
                "candidates": offered,
                "gold_texts": [pages[page].text for page in gold],
                "relevance": relevance,
            }
            tasks.append(Task(f"q{number}.{n}", " ".join(said), gold_pages=frozenset(gold), kind="find", extras=extras))
        return tasks

    def _wanted(self, rng: np.random.Generator, has: Mapping[str, str]) -> dict[str, str]:
        """Values of `asked` attributes that some page of the subject has, so that a gold page exists."""
        names = _some(rng, [name for name, _ in self.attributes], self.asked)
        return {name: has[name] for name in names}


class _Words:
    """Words not given before."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._given: set[str] = set()

    def some(self, count: int) -> tuple[str, ...]:
        made: list[str] = []
        while len(made) < count:
            word = "".join(_some(self._rng, SYLLABLES, 2))
            if word not in self._given:
                self._given.add(word)
                made.append(word)
        return tuple(made)


def _some(rng: np.random.Generator, choices: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` different ones, in random order."""
    return tuple(choices[int(i)] for i in rng.permutation(len(choices))[:count])


def _one(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
