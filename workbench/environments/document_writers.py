"""Who writes the documents of a simulated search engine: a rule over a corpus, or a language model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.environments.simulated_search import Asked
from workbench.errors import MissingGold, SettingError
from workbench.protocols import Engine
from workbench.retrieval import SearchIndex
from workbench.text import normalize_answer
from workbench.trajectory import Hit, Task

# ---------------------------------------------------------------- by rule


@dataclass(frozen=True)
class RuleWriter:
    """Documents from a corpus, no model needed.

    Useful: the gold page that fits the query best, and its neighbours by BM25. Noisy: neighbours in which no gold
    answer stands, of the task or of one of its sub-questions. They come in random order, so that the place of a
    document says nothing.

    Raises:
        MissingGold: useful documents are due and the task has no gold pages.
    """

    index: SearchIndex
    k: int = 5  # documents a query
    pool: int = 5  # of so many best neighbours `k` are drawn; as many as `k`: the best
    searched: int = 50  # pages looked through for them

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.pool <= self.searched:
            raise SettingError(f"1 <= k <= pool <= searched is needed, got {self.k}, {self.pool}, {self.searched}")

    def __call__(self, asked: Sequence[Asked]) -> list[tuple[Hit, ...] | str]:
        """The documents of each query, at most `k`, ranked from 0 as they come."""
        found = self.index.search([one.query for one in asked], self.searched)
        return [self._documents(one, hits) for one, hits in zip(asked, found, strict=True)]

    def _documents(self, asked: Asked, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        rng = np.random.default_rng(asked.seed)
        gold = asked.task.gold_pages
        first = [self._gold_page(asked, hits)] if asked.useful else []
        barred = gold if asked.useful else gold | {hit.id for hit in hits if says_gold(hit, asked.task)}
        others = [hit for hit in hits if hit.id not in barred][: self.pool]
        drawn = sorted(rng.permutation(len(others))[: self.k - len(first)].tolist())
        chosen = first + [others[n] for n in drawn]
        order = rng.permutation(len(chosen))
        return tuple(
            Hit(hit.id, hit.title, hit.text, hit.score, rank, asked.query)
            for rank, hit in enumerate(chosen[n] for n in order)
        )

    def _gold_page(self, asked: Asked, hits: Sequence[Hit]) -> Hit:
        if not asked.task.gold_pages:
            raise MissingGold(f"task {asked.task.id!r} has no gold_pages, so that nothing useful can be shown")
        known = next((hit for hit in hits if hit.id in asked.task.gold_pages), None)
        if known is not None:
            return known
        page = self.index[min(asked.task.gold_pages)]
        return Hit(page.id, page.title, page.text, query=asked.query)


def says_gold(hit: Hit, task: Task) -> bool:
    """Whether a gold answer of the task or its sub-questions stands in the hit, as whole words, both normalised."""
    text = f" {normalize_answer(f'{hit.title} {hit.text}')} "
    golds = [*task.golds, *(gold for question in task.sub_questions for gold in question.golds)]
    return any(f" {normalize_answer(gold)} " in text for gold in golds if normalize_answer(gold))


# ---------------------------------------------------------------- by a language model

USEFUL_PROMPT = (
    "You are the search engine behind a quiz. Somebody who wants to answer the question sends you the query below. "
    "Write {k} useful documents for the query, of about 30 words each, from which the question can be answered.\n"
    "Question: {question}\nAnswer: {golds}\nQuery: {query}\n"
    "Begin each document with its number, as in 'Doc 1:', and write nothing else.\nDoc 1:"
)
NOISY_PROMPT = (
    "You are the search engine behind a quiz. Somebody who wants to answer the question sends you the query below. "
    "Write {k} noisy documents for the query, of about 30 words each: they are on the subject, do not hold the answer "
    "and do not help to find it.\n"
    "Question: {question}\nAnswer: {golds}\nQuery: {query}\n"
    "Begin each document with its number, as in 'Doc 1:', and write nothing else.\nDoc 1:"
)

Write = Callable[[Sequence[str], Sequence[int]], Sequence[str]]
"""From prompts, with a seed each, to what was written after them."""


@dataclass(frozen=True)
class LanguageWriter:
    """Documents by a language model, which is told the question and its golds, and whether to be of use.

    What it writes is cut before document k + 1. A text in which no document can be found fails its call. The published
    simulators were fine-tuned for this (3B to 14B); with a prompt alone they do worse. Source: ZeroSearch
    (arXiv:2505.04588), the prompts in words of our own.
    """

    write: Write  # `written_by(engine)`, or any other
    k: int = 5  # documents a query
    useful_prompt: str = USEFUL_PROMPT  # both hold {k}, {question}, {golds} and {query}
    noisy_prompt: str = NOISY_PROMPT

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SettingError(f"k must be at least 1, got {self.k}")

    def __call__(self, asked: Sequence[Asked]) -> list[tuple[Hit, ...] | str]:
        """The documents of each query, or why its text has none."""
        texts = self.write([self.prompt(one) for one in asked], [one.seed for one in asked])
        return [self._read(one, text) for one, text in zip(asked, texts, strict=True)]

    def prompt(self, asked: Asked) -> str:
        """What the model is told."""
        told = {"k": str(self.k), "question": asked.task.question, "query": asked.query}
        told["golds"] = " or ".join(asked.task.golds)
        template = self.useful_prompt if asked.useful else self.noisy_prompt
        return re.sub(r"\{(k|question|golds|query)\}", lambda match: told[match.group(1)], template)

    def _read(self, asked: Asked, text: str) -> tuple[Hit, ...] | str:
        found = documents_in(text, self.k)
        if not found:
            return f"the simulated engine wrote no document: {text[:60]!r}"
        return tuple(Hit(_id(said), title, said, rank=n, query=asked.query) for n, (title, said) in enumerate(found))


def documents_in(text: str, k: int) -> list[tuple[str, str]]:
    """Titles and texts of documents 1 to `k`, empty ones left out. What comes from "Doc k+1" on is cut; what stands
    before the first number is the first document, for a prompt that ended on its number.

    >>> documents_in(" Oslo is a city.\\nDoc 2(Title: Frost) It is cold.\\nDoc 3: Too many.", 2)
    [('', 'Oslo is a city.'), ('Frost', 'It is cold.')]
    """
    first, *rest = re.split(r"(?:^|\n)\s*Doc\s+(\d+)\s*(?:\(Title:([^)\n]*)\))?\s*:?", text)
    kept = [("", first)]
    for number, title, said in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        if int(number) > k:
            break
        kept.append(((title or "").strip(' "'), said))
    return [(title, " ".join(said.split())) for title, said in kept if said.strip()][:k]


def written_by(engine: Engine, *, max_tokens: int = 600, temperature: float = 0.8) -> Write:
    """An engine as a writer; the lengths and the temperature are those published."""
    tokenizer: Any = engine.tokenizer

    def write(prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        ids = [np.array(tokenizer.encode(prompt, add_special_tokens=False), np.int32) for prompt in prompts]
        made = engine.generate(ids, max_tokens=max_tokens, temperature=temperature, stop=(), seeds=seeds)
        return [one.text for one in made]

    return write


def _id(text: str) -> str:
    """The same text, the same id."""
    return f"written-{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=6).hexdigest()}"
