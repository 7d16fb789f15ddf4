"""Texts as they are compared: answers as benchmarks normalise them, words as TF-IDF weighs them."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterable

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WORD = re.compile(r"\b\w\w+\b")


def normalize_answer(text: str) -> str:
    """Lower-case, delete ASCII punctuation, drop the articles a/an/the, squeeze white space, in this order.

    The order matters: punctuation is deleted, not replaced by a space, so ``"U.S.A."`` becomes ``"usa"``.
    Source: SQuAD's evaluation script, as used by Search-R1 (arXiv:2503.09516, ``qa_em.py``).

    >>> normalize_answer("The  Beatles!")
    'beatles'
    >>> normalize_answer("an apple's core")
    'apples core'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_words(text: str) -> list[str]:
    """The words of the normalised answer, repeats kept."""
    return normalize_answer(text).split()


def words(text: str) -> list[str]:
    """The words of a text, repeats kept: lower case, two or more word characters (scikit-learn's default rule)."""
    return _WORD.findall(text.lower())


def word_weights(counts: Iterable[Counter[str]]) -> dict[str, float]:
    """Weight of each word in texts given by their counts: ln((1 + texts) / (1 + texts with the word)) + 1."""
    found = list(counts)
    documents = Counter(word for count in found for word in count)
    return {word: math.log((1 + len(found)) / (1 + df)) + 1 for word, df in documents.items()}
