"""Encoders that need no model: hashed n-grams, and TF-IDF fitted on a corpus. Both are numpy and microseconds a text.

An encoder turns texts into rows of length 1, so that a cosine is a dot product. It is a part: its settings go into the
store with the reward that holds it. `word_llama` and `sentence_model` hold the real ones.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from workbench.errors import SettingError
from workbench.spec import part
from workbench.text import word_weights, words


@part
class HashedNgrams:
    """Counts of word or character n-grams, hashed (CRC-32) to a fixed width. Cosines lie in [0, 1].

    Characters are those of the words joined by single spaces, one at either end, so that beginnings and endings count.
    """

    width: int = 4096
    unit: Literal["word", "character"] = "word"
    shortest: int = 1  # n of the shortest n-grams
    longest: int = 2

    remember: ClassVar[bool] = False  # quicker made than looked up

    def __post_init__(self) -> None:
        if self.unit not in ("word", "character"):
            raise SettingError(f"unit is 'word' or 'character', got {self.unit!r}")
        if self.width < 1 or not 1 <= self.shortest <= self.longest:
            raise SettingError(f"width is at least 1, and 1 <= shortest <= longest; got {self!r}")

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width]; a row of zeros for a text without words."""
        rows = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            places = [zlib.crc32(gram.encode()) % self.width for gram in self._ngrams(words(text))]
            if places:
                row += np.bincount(places, minlength=self.width)
        return unit_rows(rows)

    def _ngrams(self, said: list[str]) -> Iterator[str]:
        text = f" {' '.join(said)} " if said else ""
        for n in range(self.shortest, self.longest + 1):
            if self.unit == "character":
                yield from (text[i : i + n] for i in range(len(text) - n + 1))
            elif n == 1:
                yield from said
            else:
                yield from (" ".join(said[i : i + n]) for i in range(len(said) - n + 1))


@part
class TfIdf:
    """Counts of words, rare ones weighing more, as fitted on a corpus; other words are not seen. Cosines in [0, 1].

    Make one with `TfIdf.fit`. As scikit-learn's TfidfVectorizer with its defaults.
    """

    weights: Mapping[str, float]  # of each word it knows; in the store they stand in full

    remember: ClassVar[bool] = False

    @classmethod
    def fit(cls, texts: Iterable[str], *, most: int = 4096) -> TfIdf:
        """Weights from `texts`, kept for the `most` words that stand in most of them.

        Raises:
            SettingError: the texts hold no word.
        """
        weights = word_weights(Counter(words(text)) for text in texts)
        if not weights or most < 1:
            raise SettingError(f"TfIdf needs texts with words, and at least one of them kept; got most={most}")
        kept = sorted(weights, key=lambda word: (weights[word], word))[:most]
        return cls({word: weights[word] for word in sorted(kept)})

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, words]; a row of zeros for a text without a known word."""
        rows = np.zeros((len(texts), len(self.weights)), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word, count in Counter(words(text)).items():
                if word in self._column:
                    row[self._column[word]] = count * self.weights[word]
        return unit_rows(rows)

    @cached_property
    def _column(self) -> dict[str, int]:
        return {word: n for n, word in enumerate(self.weights)}

    def __repr__(self) -> str:
        return f"TfIdf({len(self.weights)} words)"


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """The rows, each of length 1; a row of zeros stays."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
