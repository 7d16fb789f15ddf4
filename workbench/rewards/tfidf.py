"""Similarity of texts by shared words, rare words counting more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from workbench.text import word_weights, words


def tfidf_cosines(text: str, references: Sequence[str]) -> np.ndarray:
    """float64 [n] in [0, 1]: TF-IDF cosine of `text` with each reference, the weights fitted on just these texts.

    As scikit-learn's TfidfVectorizer with its defaults: lower case, words of two or more characters,
    idf = ln((1 + texts) / (1 + texts with the word)) + 1, rows of length 1. A text without words is like nothing.
    """
    counts = [Counter(words(one)) for one in (text, *references)]
    idf = word_weights(counts)
    rows = [{word: tf * idf[word] for word, tf in count.items()} for count in counts]
    lengths = [math.sqrt(sum(weight * weight for weight in row.values())) for row in rows]
    others = zip(rows[1:], lengths[1:], strict=True)
    return np.array([_cosine(rows[0], row, lengths[0] * length) for row, length in others])


def _cosine(one: dict[str, float], other: dict[str, float], lengths: float) -> float:
    if not lengths:
        return 0.0
    return min(1.0, sum(weight * other[word] for word, weight in one.items() if word in other) / lengths)
