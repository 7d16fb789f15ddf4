"""Known-bad copies of a good text: what a scorer must rank below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from workbench.errors import SettingError

Corruption = Literal["swap", "drop", "pad", "duplicate", "shuffle"]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)

FILLER = "It should be added that there is a great deal more to say about this matter in general."


def corrupted(text: str, kind: Corruption, rng: np.random.Generator, *, others: Sequence[str] = ()) -> str | None:
    """A copy of a good text that is worse in one way; None where the text gives no occasion.

    - ``"swap"``: one name or number (a capitalised word inside a sentence, or digits) becomes another one out of
      `others`, or else out of the text itself;
    - ``"drop"``: one sentence is missing, of two or more;
    - ``"duplicate"``: one sentence stands twice;
    - ``"pad"``: as many filler sentences as there are sentences follow;
    - ``"shuffle"``: the words of every sentence in another order.

    Args:
        rng: decides what is changed.
        others: texts whose names and numbers may be swapped in.

    Raises:
        SettingError: no such kind.
    """
    if kind not in CORRUPTIONS:
        raise SettingError(f"kind is one of {', '.join(CORRUPTIONS)}, got {kind!r}")
    if kind == "swap":
        return _swapped(text, rng, others)
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    return _ON_SENTENCES[kind](sentences, rng)


def _swapped(text: str, rng: np.random.Generator, others: Sequence[str]) -> str | None:
    places = list(_NAMES.finditer(text))
    pool = sorted({name for other in (others or [text]) for name in _NAMES.findall(other)})
    for n in rng.permutation(len(places)):
        old = places[n]
        alike = [name for name in pool if name != old.group() and name[0].isdigit() == old.group()[0].isdigit()]
        if alike:
            return text[: old.start()] + str(rng.choice(alike)) + text[old.end() :]
    return None


_NAMES = re.compile(r"(?<![.!?]\s)(?<!^)\b(?:[A-Z][\w'-]+|\d[\d,.]*\d|\d)\b")


def _dropped(sentences: list[str], rng: np.random.Generator) -> str | None:
    if len(sentences) < 2:
        return None
    out = int(rng.integers(len(sentences)))
    return " ".join(sentences[:out] + sentences[out + 1 :])


def _duplicated(sentences: list[str], rng: np.random.Generator) -> str | None:
    twice = int(rng.integers(len(sentences)))
    return " ".join(sentences[: twice + 1] + sentences[twice:])


def _padded(sentences: list[str], rng: np.random.Generator) -> str | None:
    return " ".join(sentences + [FILLER] * len(sentences))


def _shuffled(sentences: list[str], rng: np.random.Generator) -> str | None:
    cut = [sentence.split() for sentence in sentences]
    if all(len(set(words)) < 2 for words in cut):
        return None
    made = [" ".join(words[n] for n in rng.permutation(len(words))) for words in cut]
    return " ".join(made) if made != sentences else _shuffled(sentences, rng)


_ON_SENTENCES: dict[str, Callable[[list[str], np.random.Generator], str | None]] = {
    "drop": _dropped,
    "duplicate": _duplicated,
    "pad": _padded,
    "shuffle": _shuffled,
}
