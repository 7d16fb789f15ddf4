"""`TextOverlap`: BLEU and ROUGE-L of the answer against references, in pure Python."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY
from functools import lru_cache
from typing import Literal

from workbench.errors import MissingGold, SettingError
from workbench.rewards.answers import no_answer
from workbench.rewards.reward import Reward
from workbench.scores import Scores
from workbench.spec import part
from workbench.trajectory import Task, Trajectory

Ngrams = Counter[tuple[str, ...]]

CHOICES = {"kind": ("bleu", "rouge_l", "f1"), "brevity": ("shortest", "none"), "against": ("references", "golds")}


@part
class TextOverlap(Reward):
    """Overlap of the answer with reference texts, in [0, 1]; no answer, or one without a word, scores 0.

    `kind`:

    - ``"bleu"``: brevity * exp(mean over n = 1..`orders` of log p_n), p_n = (m_n + 1) / (t_n + 1) of m_n n-grams of
      the answer that stand in a reference (each as often as in the one that has it most) among t_n; brevity = 1 for
      an answer longer than the shortest reference (L words), else exp(1 - L / words). Words as WMT's tokeniser 13a
      cuts them, case kept;
    - ``"rouge_l"``: F1 of the longest common subsequence of words, lower case, the best over the references;
    - ``"f1"``: 2 b r / (b + r) of the two.

    The 1 added to every order, so also where an answer is too short to have any n-gram of that length, pays short junk:
    two words of no reference get 0.64 before brevity. smooth=False is BLEU as first published (Papineni et al. 2002),
    0 where any order has no match. Source: BLEUBERI (Chang et al. 2025, arXiv:2505.11080), which calls the package
    ``evaluate`` with smooth=True; ROUGE-L as Lin (2004).

    References are ``task.extras["references"]``, or the accepted answers (against="golds").

    Raises:
        MissingGold: there is none, or one has no word.
    """

    _: KW_ONLY
    kind: Literal["bleu", "rouge_l", "f1"] = "bleu"
    orders: int = 4  # longest n-gram of BLEU, words
    smooth: bool = True
    brevity: Literal["shortest", "none"] = "shortest"  # "none": an answer may be as short as it likes
    against: Literal["references", "golds"] = "references"

    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise SettingError(f"{field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}")
        if self.orders < 1:
            raise SettingError(f"orders is at least 1, got {self.orders}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.against})

    @property
    def concerns(self) -> tuple[str, ...]:
        if self.kind != "bleu" or not self.smooth:
            return ()
        junk = 0.5 ** (1 / self.orders)
        return (f"smoothed BLEU pays a wrong word {junk:.2f} where the reference is one word",)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        if self.against == "references":  # a right answer need not be written like any of them
            return self.range
        if right:
            return 1.0, 1.0
        return 0.0, 0.5 ** (1 / self.orders) if self.kind == "bleu" and self.smooth else 0.0  # one word for one

    def score(self, trajectory: Trajectory) -> Scores:
        references = self._references(trajectory.task)
        if trajectory.answer is None:
            return Scores.trajectory(0.0, no_answer(trajectory))
        values = []
        if self.kind != "rouge_l":
            values.append(bleu(trajectory.answer, references, self.orders, smooth=self.smooth, brevity=self.brevity))
        if self.kind != "bleu":
            values.append(rouge_l(trajectory.answer, references))
        value = values[0] if len(values) == 1 else harmonic_mean(*values)
        return Scores.trajectory(value, f"{self.kind} {value:.4g} against {len(references)} references")

    def _references(self, task: Task) -> tuple[str, ...]:
        written = task.golds if self.against == "golds" else task.extras.get("references", ())
        texts = (written,) if isinstance(written, str) else tuple(written)
        where = "golds" if self.against == "golds" else "extras['references'] (or say against='golds')"
        if not texts:
            raise MissingGold(f"task {task.id!r} has no {where}; TextOverlap needs at least one text")
        if blank := [text for text in texts if not words_13a(text)]:
            raise MissingGold(f"a reference of task {task.id!r} has no word: {blank[0]!r}; take it out of its {where}")
        return texts


def bleu(
    text: str, references: Sequence[str], orders: int = 4, *, smooth: bool = True, brevity: str = "shortest"
) -> float:
    """BLEU of a text in [0, 1], see `TextOverlap`; 0 for a text without a word."""
    words = words_13a(text)
    if not words:
        return 0.0
    most, shortest = _known(tuple(references), orders)
    logs = 0.0
    for n in range(1, orders + 1):
        matches, total = _matches(words, n, most), max(len(words) - n + 1, 0)
        if not smooth and not matches:
            return 0.0
        logs += math.log((matches + smooth) / (total + smooth))
    short = brevity == "shortest" and len(words) <= shortest
    return math.exp(logs / orders + (1 - shortest / len(words) if short else 0.0))


def rouge_l(text: str, references: Sequence[str]) -> float:
    """F1 in [0, 1] of the longest common subsequence of words, the best over the references."""
    words = _words_only(text)
    return max(_common_f1(words, _words_only(reference)) for reference in references)


def harmonic_mean(one: float, other: float) -> float:
    """2 a b / (a + b), 0 where both are 0."""
    return 2 * one * other / (one + other) if one + other else 0.0


def _matches(words: Sequence[str], n: int, most: Ngrams) -> int:
    """How many n-grams of the words stand in a reference, each as often as there at most."""
    grams = list(_runs(words, n))
    distinct = set(grams)
    if len(distinct) == len(grams):  # the usual case, and a quick one
        return len(distinct & most.keys())
    return sum(min(count, most[gram]) for gram, count in Counter(grams).items() if gram in most)


def _runs(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Each run of n words."""
    return zip(*(words[start:] for start in range(n)), strict=False)


@lru_cache(maxsize=4096)
def _known(references: tuple[str, ...], orders: int) -> tuple[Ngrams, int]:
    """The most that any reference has of each n-gram, and the length of the shortest, words."""
    most: Ngrams = Counter()
    cut = [words_13a(reference) for reference in references]
    for words in cut:
        for n in range(1, orders + 1):
            most |= Counter(_runs(words, n))
    return most, min(len(words) for words in cut)


_ESCAPES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_SPLITS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),  # punctuation, not . , - '
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),  # . and , unless between digits
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


@lru_cache(maxsize=4096)
def words_13a(text: str) -> tuple[str, ...]:
    """The words of a text as WMT's tokeniser 13a (mteval-v13a) cuts them: punctuation apart, case kept.

    >>> words_13a("It cost 3.50, he said.")
    ('It', 'cost', '3.50', ',', 'he', 'said', '.')
    """
    line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for written, meant in _ESCAPES if "&" in line else ():
        line = line.replace(written, meant)
    line = f" {line} "
    for pattern, written in _SPLITS:
        line = pattern.sub(written, line)
    return tuple(line.split())


@lru_cache(maxsize=4096)
def _words_only(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", text.lower()))


def _common_f1(one: Sequence[str], other: Sequence[str]) -> float:
    common = _common_length(one, other)
    return 2.0 * common / (len(one) + len(other)) if common else 0.0


def _common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence; a column of the table is one integer (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    whole = (1 << len(one)) - 1
    left = whole
    for word in other:
        met = left & places.get(word, 0)
        left = (left + met | left - met) & whole
    return len(one) - left.bit_count()
