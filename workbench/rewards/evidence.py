"""Rewards for what a search brought back: `CoverageGain` and `RepeatedDocuments`, one value a search step.

A step that makes no search is not applicable; a search that brought nothing back scores 0. Only what the agent was
shown counts (`Hit.shown`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Literal

import numpy as np

from workbench.errors import MissingGold, SettingError
from workbench.rewards.reward import Reward
from workbench.rewards.tfidf import tfidf_cosines
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Hit, Step, Task, Trajectory

BY = ("id", "similarity", "answer")
MODES = ("marginal", "single", "union")


@part
class CoverageGain(Reward):
    """Share of the gold evidence that a search covers, in [0, 1].

    `mode`: what the search covers that no earlier one did (``"marginal"``, whose sum over the steps is at most 1),
    what it covers itself (``"single"``, recall of the step), or what all searches so far cover (``"union"``).

    `by`: what a gold item is and when a hit covers it:

    - ``"id"``: a gold page of the task, by its id;
    - ``"similarity"``: a text of ``task.extras["gold_texts"]``, to the degree of its TF-IDF cosine with the best hit
      (both normalised, the weights fitted per hit), as StepSearch does it (arXiv:2505.15107, section 3;
      ``submodule.py``);
    - ``"answer"``: an answer that must be read on the way: the golds of each sub-question, or of the task where it
      has none; covered where one of them stands in a hit.

    ``ReduceSteps(CoverageGain(mode="single"), "max")`` is InForage's gain before its weight (arXiv:2505.09316).

    Raises:
        MissingGold: the task carries none of these.
    """

    _: KW_ONLY
    by: Literal["id", "similarity", "answer"] = "id"
    mode: Literal["marginal", "single", "union"] = "marginal"

    level = Level.STEP
    range = (0.0, 1.0)
    causal = True

    def __post_init__(self) -> None:
        if self.by not in BY or self.mode not in MODES:
            raise SettingError(f"by is one of {BY} and mode one of {MODES}, got {self.by!r} and {self.mode!r}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({{"id": "gold_pages", "similarity": "gold_texts", "answer": "golds"}[self.by]})

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return (0.0, 1.0 if self.mode == "marginal" else float(steps))

    def score(self, trajectory: Trajectory) -> Scores:
        items = gold_items(trajectory.task, self.by)
        covered_n = np.zeros(len(items))
        scores = Scores.unscored(len(trajectory.steps))
        for s, step in enumerate(trajectory.steps):
            if not is_search(step):
                continue
            now_n = self._covers(seen_hits(step), items)
            gain_n = np.maximum(now_n - covered_n, 0.0)
            covered_n = np.maximum(now_n, covered_n)
            paid_n = {"marginal": gain_n, "single": now_n, "union": covered_n}[self.mode]
            scores.set(s, float(paid_n.mean()), _what_is_new(gain_n, items))
        return scores

    def _covers(self, hits: Sequence[Hit], items: Sequence[tuple[str, ...]]) -> np.ndarray:
        """float64 [n] in [0, 1]: how far these hits cover each gold item."""
        if not hits:
            return np.zeros(len(items))
        if self.by == "id":
            ids = {hit.id for hit in hits}
            return np.array([float(page in ids) for (page,) in items])
        if self.by == "similarity":
            texts = [text for (text,) in items]
            return np.stack([tfidf_cosines(normalize_answer(seen_text(hit)), texts) for hit in hits]).max(axis=0)
        shown = [normalize_answer(f"{hit.title} {seen_text(hit)}") for hit in hits]
        return np.array([float(any(gold in text for gold in golds for text in shown)) for golds in items])


def gold_items(task: Task, by: str) -> list[tuple[str, ...]]:
    """The gold items of a task, each as the texts of which any one will do.

    Raises:
        MissingGold: it has none.
    """
    items: list[tuple[str, ...]]
    if by == "id":
        items = [(page,) for page in sorted(task.gold_pages)]
    elif by == "similarity":
        items = [(normalize_answer(text),) for text in task.extras.get("gold_texts", ())]
    else:
        answers = [question.golds for question in task.sub_questions if question.golds] or [task.golds]
        items = [tuple(normalize_answer(gold) for gold in golds) for golds in answers]
    if not items or any(not golds or "" in golds for golds in items):
        where = {"id": "gold_pages", "similarity": "extras['gold_texts']", "answer": "golds, of the task or its hops"}
        raise MissingGold(f"task {task.id!r} lacks {where[by]}; CoverageGain(by={by!r}) needs at least one, none empty")
    return items


def _what_is_new(gain_n: np.ndarray, items: Sequence[tuple[str, ...]]) -> str:
    new = [f"{golds[0][:40]!r} {gain:.2g}" for gain, golds in zip(gain_n, items, strict=True) if gain > 0.005]
    return f"new: {', '.join(new)}" if new else "nothing new"


@part
class RepeatedDocuments(Reward):
    """Share of a search's documents that the agent was shown before, in [0, 1]. Give it a negative weight.

    Source: StepSearch's redundancy penalty (arXiv:2505.15107, section 3), which compares texts. SmartSearch calls a
    query novel where ``RepeatedDocuments(by="text", same_step=False, more_than=1)`` is 0.
    """

    _: KW_ONLY
    by: Literal["id", "text"] = "id"
    same_step: bool = True  # a document twice in one step counts as well (StepSearch's code; its paper: no)
    more_than: int | None = None  # pay 1 where more documents than this are repeats, else 0; None: their share

    level = Level.STEP
    range = (0.0, 1.0)
    causal = True

    def __post_init__(self) -> None:
        if self.by not in ("id", "text"):
            raise SettingError(f"by is 'id' or 'text', got {self.by!r}")

    def score(self, trajectory: Trajectory) -> Scores:
        known: set[str] = set()
        scores = Scores.unscored(len(trajectory.steps))
        for s, step in enumerate(trajectory.steps):
            if not is_search(step):
                continue
            keys = [hit.id if self.by == "id" else seen_text(hit) for hit in seen_hits(step)]
            repeats = sum(key in known or (self.same_step and key in keys[:k]) for k, key in enumerate(keys))
            known.update(keys)
            scores.set(s, self._paid(repeats, len(keys)), f"{repeats} of {len(keys)} documents seen before")
        return scores

    def _paid(self, repeats: int, documents: int) -> float:
        if self.more_than is not None:
            return float(repeats > self.more_than)
        return repeats / documents if documents else 0.0


def is_search(step: Step) -> bool:
    """Whether the step made a call that was carried out and asks for documents."""
    return any(call.valid and ("query" in call.arguments or call.hits) for call in step.calls)


def seen_hits(step: Step) -> list[Hit]:
    """The hits of which the agent was shown something."""
    return [hit for hit in step.hits if hit.shown != 0]


def seen_text(hit: Hit) -> str:
    """The text of a hit as far as the agent was shown it."""
    return hit.text[: hit.shown]
