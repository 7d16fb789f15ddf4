"""A made-up world of k-hop questions: every page, every answer and every path to it is known.

Organisations are led by people, people were born in towns, towns lie in regions, regions are named after people, and
so on round. A chain question starts at an organisation and follows `hops` of these facts, each on its own page; a
comparison asks which of two organisations was founded first. The names are invented, so nothing is known by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from workbench.errors import SettingError
from workbench.retrieval.pages import Page
from workbench.trajectory import SubQuestion, Task

MOST_HOPS = 6

KINDS = ("organisation", "person", "town", "region")
FIRST_NAMES = ("Ada", "Bruno", "Clara", "David", "Elsa", "Felix", "Greta", "Hugo", "Irma", "Jonas", "Karla", "Ludwig")
ROLES = ("painter", "sailor", "chemist", "poet", "surgeon", "printer", "pilot", "violinist")
BODIES = ("Institute", "Society", "Museum", "Guild", "Observatory", "Academy")
SYLLABLES = tuple(a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ar", "en", "il", "or", "un"))

RELATIONS = {  # kind of the subject: (what a page says, what a question asks for)
    "organisation": ("{} is led by {}.", "the leader of {}"),
    "person": ("{} was born in {}.", "the birthplace of {}"),
    "town": ("{} lies in {}.", "the region around {}"),
    "region": ("{} is named after {}.", "the namesake of {}"),
}


class Entity(NamedTuple):
    """Something with a page. `role` tells people of one name apart; others have none."""

    kind: str
    name: str
    role: str = ""

    @property
    def title(self) -> str:
        return f"{self.name} ({self.role})" if self.role else self.name

    @property
    def mention(self) -> str:
        """How other pages name it."""
        return f"the {self.role} {self.name}" if self.role else self.name


@dataclass(frozen=True)
class HopWorld:
    """Settings of a world; `build` makes it. The same settings make the same world.

    >>> pages, tasks = HopWorld(entities=2, distractors=0).build()
    >>> tasks[0].question
    'What is the birthplace of the leader of Tunpunne Society?'
    """

    hops: int = 2  # facts in a chain question, 1 to 6
    topology: Literal["chain", "comparison", "mixed"] = "chain"  # mixed: every second task is a comparison
    entities: int = 200  # organisations; each is the start of one task
    distractors: int = 400  # pages of the same make that no task needs
    collisions: float = 0.0  # share of distractors that bear the name of a person in a chain, with another role
    dispersion: float = 1.0  # share of chains spread over several pages; the others stand whole on their first
    known: float = 0.0  # share of tasks marked extras["known"]: the agent is to have the answer by heart
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.hops <= MOST_HOPS or self.entities < 2 or self.distractors < 0:
            raise SettingError(f"hops is 1 to {MOST_HOPS}, entities at least 2, distractors at least 0; got {self!r}")
        if not all(0 <= share <= 1 for share in (self.collisions, self.dispersion, self.known)):
            raise SettingError(f"collisions, dispersion and known are shares from 0 to 1; got {self!r}")
        if self.topology not in ("chain", "comparison", "mixed"):
            raise SettingError(f"topology is chain, comparison or mixed; got {self.topology!r}")

    def build(self) -> tuple[tuple[Page, ...], tuple[Task, ...]]:
        """Pages in random order, and one task for each organisation.

        Tasks carry golds, gold pages and sub-questions with acceptable queries (the name with its role, the same with
        the relation). `extras`: "known"; of a chain "entities", the names along it, the answer last, and "roles"
        (empty but for people); of a comparison "entities", the two names.
        """
        rng = np.random.default_rng(self.seed)
        names = _Names(rng)
        chains = [self._chain(names) for _ in range(self.entities)]
        years = rng.permutation(np.arange(1000, 1000 + max(900, self.entities)))[: self.entities].tolist()
        spread = _marked(rng, self.entities, self.dispersion)
        pages: list[Page] = []
        for chain, year, alone in zip(chains, years, spread, strict=True):
            pages += _chain_pages(chain, year, alone, len(pages))
        page_of = {page.title: page.id for page in pages}
        known = _marked(rng, self.entities, self.known)
        tasks = tuple(
            self._task(i, chains, years, page_of, bool(spread[i]), bool(known[i])) for i in range(self.entities)
        )
        pages += self._distractors(chains, names, rng, len(pages))
        return tuple(pages[i] for i in rng.permutation(len(pages))), tasks

    def _chain(self, names: _Names) -> list[Entity]:
        """hops + 1 entities, the answer last."""
        return [names.entity(_kind(hop)) for hop in range(self.hops + 1)]

    def _task(
        self,
        number: int,
        chains: list[list[Entity]],
        years: list[int],
        page_of: dict[str, str],
        spread: bool,
        known: bool,
    ) -> Task:
        compares = self.topology == "comparison" or (self.topology == "mixed" and number % 2 == 1)
        if compares:
            pair = (number, (number + 1) % len(chains))
            return _comparison(number, [chains[i][0] for i in pair], [years[i] for i in pair], page_of, known)
        return _chain_task(number, chains[number], page_of, spread, known)

    def _distractors(
        self, chains: list[list[Entity]], names: _Names, rng: np.random.Generator, first: int
    ) -> list[Page]:
        people = [entity for chain in chains for entity in chain[:-1] if entity.kind == "person"]
        namesakes = round(self.distractors * self.collisions) if people else 0
        pages = []
        for number in range(self.distractors):
            subject = names.entity(KINDS[int(rng.integers(len(KINDS)))])
            if number < namesakes:
                person = people[int(rng.integers(len(people)))]
                subject = person._replace(role=_other(person.role, rng))
            text = _fact(subject, names.entity(_follower(subject.kind)))
            pages.append(Page(f"h{first + number}", subject.title, f"{_intro(subject)}{text}"))
        return pages


class _Names:
    """Entities with names not given before."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def entity(self, kind: str) -> Entity:
        word = self._word()
        if kind == "organisation":
            return Entity(kind, f"{word} {self._pick(BODIES)}")
        if kind == "person":
            return Entity(kind, f"{self._pick(FIRST_NAMES)} {word}", self._pick(ROLES))
        return Entity(kind, word)

    def _word(self) -> str:
        while True:
            word = "".join(self._pick(SYLLABLES) for _ in range(3)).capitalize()
            if word not in self._used:
                self._used.add(word)
                return word

    def _pick(self, choices: tuple[str, ...]) -> str:
        return choices[int(self._rng.integers(len(choices)))]


def _kind(hop: int) -> str:
    """organisation, then person, town, region, person, town, ..."""
    return KINDS[0] if hop == 0 else KINDS[1 + (hop - 1) % 3]


def _follower(kind: str) -> str:
    return KINDS[KINDS.index(kind) % 3 + 1]


def _fact(subject: Entity, other: Entity) -> str:
    return RELATIONS[subject.kind][0].format(subject.name, other.mention)


def _intro(entity: Entity) -> str:
    return f"{entity.name} was a {entity.role}. " if entity.role else ""


def _chain_pages(chain: list[Entity], year: int, spread: bool, first: int) -> list[Page]:
    facts = [_intro(a) + _fact(a, b) for a, b in zip(chain, chain[1:], strict=False)]
    facts[0] = f"{facts[0]} {chain[0].name} was founded in {year}."
    if not spread:
        return [Page(f"h{first}", chain[0].title, " ".join(facts))]
    return [Page(f"h{first + i}", chain[i].title, fact) for i, fact in enumerate(facts)]


def _chain_task(number: int, chain: list[Entity], page_of: dict[str, str], spread: bool, known: bool) -> Task:
    asked, subs = chain[0].name, []
    for subject, answer in zip(chain, chain[1:], strict=False):
        wanted = RELATIONS[subject.kind][1]
        asked = wanted.format(asked)
        page = page_of[subject.title if spread else chain[0].title]
        queries = (f"{subject.name} {subject.role}".strip(), wanted.format(subject.mention))
        subs.append(SubQuestion(_ask(answer.kind, queries[1]), (answer.name,), page, queries))
    return Task(
        id=f"hop-{number}",
        question=_ask(chain[-1].kind, asked),
        golds=(chain[-1].name,),
        gold_pages=frozenset(sub.page for sub in subs),
        sub_questions=tuple(subs),
        kind=f"{len(subs)}-hop",
        extras={
            "entities": [entity.name for entity in chain],
            "roles": [entity.role for entity in chain],
            "known": known,
        },
    )


def _comparison(number: int, pair: list[Entity], years: list[int], page_of: dict[str, str], known: bool) -> Task:
    older = pair[years.index(min(years))].name
    subs = tuple(
        SubQuestion(f"When was {name} founded?", (str(year),), page_of[name], (name, f"{name} founded"))
        for name, year in zip([entity.name for entity in pair], years, strict=True)
    )
    return Task(
        id=f"hop-{number}",
        question=f"Which was founded first, {pair[0].name} or {pair[1].name}?",
        golds=(older,),
        gold_pages=frozenset(sub.page for sub in subs),
        sub_questions=subs,
        kind="comparison",
        extras={"entities": [pair[0].name, pair[1].name], "known": known},
    )


def _ask(kind: str, thing: str) -> str:
    return f"{'Who' if kind == 'person' else 'What'} is {thing}?"


def _marked(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    """bool [count], True for that share of them, drawn without replacement."""
    return rng.permutation(count) < round(count * share)


def _other(role: str, rng: np.random.Generator) -> str:
    rest = [other for other in ROLES if other != role]
    return rest[int(rng.integers(len(rest)))]
