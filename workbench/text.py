"""Answer text as question-answering benchmarks compare it."""

from __future__ import annotations

import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


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
