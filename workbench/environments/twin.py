"""The fictional twin of a world: every name, code and number replaced, the structure kept.

Nothing in a twin can be known by heart, so what a policy gets right there it read. Other seeds give other twins:
training traces over many of them teach to copy rather than to remember.
Source: FictionalHot of ReSeek (arXiv:2510.00568), made there by a language model, here by a syllable generator.
"""

from __future__ import annotations

import re
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


def fictional_twin(world: World, seed: int = 0) -> World:
    """`world` with every entity and value renamed, each the same way wherever it stands.

    Ids get the prefix ``twin<seed>-``. Word counts, capitals, lengths of codes and numbers of digits stay; no new
    name occurs in `world`. The same seed gives the same twin.
    """
    prefix = f"twin{seed}-"
    rename = _Renamer(world, seed)
    pages = {page.id: _renamed(page, rename, prefix) for page in world.pages}
    by_title = {page.title: page for page in pages.values()}

    def task(old: Task) -> Task:
        chain = Chain(tuple(pages[sub.page] for sub in old.sub_questions), tuple(old.extras["path"]))
        return make_task(chain, by_title)

    return World(tuple(pages.values()), tuple(map(task, world.tasks)), tuple(map(task, world.test_tasks)))


def _renamed(page: Page, rename: _Renamer, prefix: str) -> Page:
    facts = {relation: rename(page.kind, relation, value) for relation, value in page.facts.items()}
    return make_page(prefix + page.id, page.kind, rename.name(page.title), facts)


class _Renamer:
    """A new text for each old one, always the same for the same, never one that the world uses."""

    def __init__(self, world: World, seed: int) -> None:
        self._rng = Random(seed)
        self._new: dict[tuple[str, str], str] = {}
        self._names: set[str] = set()
        self._words = {word for page in world.pages for word in _WORD.findall(f"{page.title} {page.text}")}

    def __call__(self, kind: str, relation: str, value: str) -> str:
        """The new text of a fact's value."""
        if (kind, relation) in LEADS_TO or relation == "language":
            return self.name(value)
        return self._once(f"{kind}.{relation}", value, self._code)

    def name(self, old: str) -> str:
        """The new name of an entity."""
        return self._once("name", old, self._name)

    def _once(self, space: str, old: str, make: Callable[[str], str]) -> str:
        if (space, old) not in self._new:
            new = make(old)
            while new == old or new in self._names:
                new = make(old)
            if space == "name":
                self._names.add(new)
            self._new[space, old] = new
        return self._new[space, old]

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
