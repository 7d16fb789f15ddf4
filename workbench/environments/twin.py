"""The fictional twin of a world: every name, code and number replaced, the structure kept.

Nothing in a twin can be known by heart, so what a policy gets right there it read. Other seeds give other twins:
training traces over many of them teach to copy rather than to remember.
Source: FictionalHot of ReSeek (arXiv:2510.00568), made there by a language model, here by a syllable generator.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from random import Random

from workbench.environments.world import LEADS_TO, Chain, Page, World, make_page, make_task
from workbench.trajectory import Task

KEPT_WORDS = frozenset(
    ("Airport", "International", "Regional", "Municipal", "County", "Parish", "City", "and", "of", "the", "de")
    + ("thousand", "feet")
)
"""Words of a name that say what kind of thing it is, or only join."""

_ONSETS = [*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "kh", "kr", "pl", "sh", "sk", "st", "th", "tr"]
_VOWELS = [*"aeiouaeio", "ai", "ia", "ou"]
_CODAS = ["", "", "", "", "l", "m", "n", "r", "s", "t", "k", "nd", "rt", "x"]
_WORD = re.compile(r"[A-Za-z]+|\d+")
_Rename = Callable[[str, str], str]  # (space, old text) -> new text


def fictional_twin(world: World, seed: int = 0) -> World:
    """`world` with every entity and value renamed, each the same way wherever it stands.

    Ids get the prefix ``twin<seed>-``. Word counts, capitals, lengths of codes and numbers of digits stay; no new
    name occurs in `world`. The same seed gives the same twin.
    """
    return _twin(world, _Inventor(world, seed), f"twin{seed}-")


def shuffled_twin(world: World, seed: int = 0) -> World:
    """`world` with its own names dealt anew among the entities of a kind, its values among the facts of a relation.

    Every word is real and hardly a statement true: knowing the world does not help, reading does. Ids get the prefix
    ``shuffled<seed>-``. For training traces only.
    """
    return _twin(world, _Dealer(world, seed), f"shuffled{seed}-")


def _twin(world: World, rename: _Rename, prefix: str) -> World:
    pages = {page.id: _renamed(page, rename, prefix) for page in world.pages}
    by_title = {page.title: page for page in pages.values()}

    def task(old: Task) -> Task:
        chain = Chain(tuple(pages[sub.page] for sub in old.sub_questions), tuple(old.extras["path"]))
        return make_task(chain, by_title)

    return World(tuple(pages.values()), tuple(map(task, world.tasks)), tuple(map(task, world.test_tasks)))


def _renamed(page: Page, rename: _Rename, prefix: str) -> Page:
    facts = {relation: rename(_space(page.kind, relation), value) for relation, value in page.facts.items()}
    return make_page(prefix + page.id, page.kind, rename(page.kind, page.title), facts)


def _space(kind: str, relation: str) -> str:
    """Values of one space are the same thing where they are the same text: names of a kind, or values of a relation."""
    return LEADS_TO.get((kind, relation)) or ("language" if relation == "language" else f"{kind} {relation}")


class _Inventor:
    """A new text for each old one, always the same for the same, never one that the world uses."""

    def __init__(self, world: World, seed: int) -> None:
        self._rng = Random(seed)
        self._new: dict[tuple[str, str], str] = {}
        self._names: set[str] = set()
        self._words = {word for page in world.pages for word in _WORD.findall(f"{page.title} {page.text}")}

    def __call__(self, space: str, old: str) -> str:
        """The new text for `old`. Names are one space, so that no two entities get the same."""
        make = self._code if " " in space else self._name
        key = (space if make == self._code else "", old)
        if key not in self._new:
            new = make(old)
            while new == old or new in self._names:
                new = make(old)
            if make == self._name:
                self._names.add(new)
            self._new[key] = new
        return self._new[key]

    def _name(self, old: str) -> str:
        return re.sub(r"[A-Za-z.']+", lambda found: self._word(found[0]), old)

    def _word(self, old: str) -> str:
        if old in KEPT_WORDS:
            return old
        while True:
            syllables = 1 if len(old) <= 3 else self._rng.choice((2, 2, 3))
            new = "".join(self._rng.choice(_ONSETS) + self._rng.choice(_VOWELS) for _ in range(syllables))
            new += self._rng.choice(_CODAS)
            new = new.capitalize() if old[0].isupper() else new
            if new not in self._words:
                return new

    def _code(self, old: str) -> str:
        """Digits for digits (the first stays non-zero where it was), letters for letters; words of KEPT_WORDS stay."""
        return _WORD.sub(lambda found: found[0] if found[0] in KEPT_WORDS else self._characters(found[0]), old)

    def _characters(self, old: str) -> str:
        new = "".join(self._character(character) for character in old)
        return f"{self._rng.randint(1, 9)}{new[1:]}" if old[0] in "123456789" else new

    def _character(self, old: str) -> str:
        if old.isdigit():
            return str(self._rng.randrange(10))
        letter = self._rng.choice("abcdefghijklmnopqrstuvwxyz")
        return letter.upper() if old.isupper() else letter


class _Dealer:
    """The titles of each kind permuted; so are the values of each space that have no page."""

    def __init__(self, world: World, seed: int) -> None:
        groups: dict[tuple[str, bool], set[str]] = defaultdict(set)
        titles = {(page.kind, page.title) for page in world.pages}
        for page in world.pages:
            told = [(_space(page.kind, relation), value) for relation, value in page.facts.items()]
            for space, text in [(page.kind, page.title), *told]:
                groups[space, (space, text) in titles].add(text)
        rng = Random(seed)
        self._new: dict[tuple[str, str], str] = {}
        for space, has_page in sorted(groups):
            old = sorted(groups[space, has_page])
            self._new.update(((space, text), new) for text, new in zip(old, rng.sample(old, len(old)), strict=True))

    def __call__(self, space: str, old: str) -> str:
        return self._new[space, old]
