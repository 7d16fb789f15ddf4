"""`QueryGain`: how much better a query is than the bare question, and what "better" may mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Literal, Protocol

import numpy as np

from workbench.errors import MissingGold, SettingError
from workbench.protocols import Encoder, Ranker
from workbench.rewards.reward import Reward, length_of
from workbench.rewards.similarity import ENCODER_FAILED, rows_of, texts_of_task
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Group, Task, Trajectory

Asked = tuple[str, Task]
"""A query and the task it is asked for."""


class Measure(Protocol):
    """How good queries are. Declares its range, and what it needs of a task."""

    @property
    def range(self) -> tuple[float, float]: ...

    @property
    def needs(self) -> frozenset[str]: ...

    def __call__(self, asked: Sequence[Asked]) -> list[float]:
        """One number a query; NaN where it cannot be measured (a query without words)."""
        ...


@part
class CosineTo:
    """Mean cosine of the query with the texts that it should be like.

    Raises:
        MissingGold: the task has none.
    """

    encoder: Encoder
    texts: Literal["gold_texts", "golds"] = "gold_texts"  # extras["gold_texts"], or the accepted answers

    range = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if self.texts not in ("gold_texts", "golds"):
            raise SettingError(f"texts is 'gold_texts' or 'golds', got {self.texts!r}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"encoder", self.texts})

    def __call__(self, asked: Sequence[Asked]) -> list[float]:
        wanted = [texts_of_task(task, self.texts, "CosineTo") for _, task in asked]
        pairs = [(query, texts) for (query, _), texts in zip(asked, wanted, strict=True)]
        rows = rows_of(self.encoder, [text for query, texts in pairs for text in (query, *texts)])
        return [self._cosine(rows[query], [rows[text] for text in texts]) for query, texts in pairs]

    def _cosine(self, query: np.ndarray, others: Sequence[np.ndarray]) -> float:
        if not query.any():
            return float("nan")
        return float(np.clip(np.stack(others) @ query, -1.0, 1.0).mean())


@part
class ScoreOfGold:
    """Mean score that an engine gives the gold pages for the query. Longer queries score higher: it can be hacked.

    Raises:
        MissingGold: the task has no gold pages.
    """

    engine: Ranker

    range = (0.0, np.inf)
    needs = frozenset({"gold_pages"})

    def __call__(self, asked: Sequence[Asked]) -> list[float]:
        return [float(self.engine.scores(query, gold_pages(task)).mean()) for query, task in asked]


@part
class RankOfGold:
    """nDCG at `k` of what an engine finds by the query, each gold page counting 1.

    Raises:
        MissingGold: the task has no gold pages.
    """

    engine: Ranker
    k: int = 10

    range = (0.0, 1.0)
    needs = frozenset({"gold_pages"})

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SettingError(f"k is at least 1, got {self.k}")

    def __call__(self, asked: Sequence[Asked]) -> list[float]:
        found = self.engine.search([query for query, _ in asked], self.k)
        return [self._ndcg([hit.id for hit in hits], task) for hits, (_, task) in zip(found, asked, strict=True)]

    def _ndcg(self, ids: Sequence[str], task: Task) -> float:
        gold = gold_pages(task)
        discounts = 1.0 / np.log2(np.arange(2, self.k + 2))
        gained = sum(discounts[rank] for rank, id in enumerate(ids) if id in gold)
        return float(gained / discounts[: len(gold)].sum())


def gold_pages(task: Task) -> list[str]:
    if not task.gold_pages:
        raise MissingGold(f"task {task.id!r} has no gold_pages; a measure of what is found needs at least one")
    return sorted(task.gold_pages)


@part
class QueryGain(Reward):
    """scale * (measure(query) - measure(question)): 0 where the query is no better than the bare question.

    A step is paid the mean over its searches; a query that is empty or without words is paid `fail`, a step without
    search is not applicable, an encoder that fails makes the scores missing. For one that only rewrites, whose query
    is its answer, ``of="answer"`` scores the step that answers.

    With `CosineTo` it is the reward of TongSearch-QR (arXiv:2506.11603, ``reward.py``: scale 10, fail -1), where one
    query a trajectory is due: ``ReduceSteps(QueryGain(...), "last", empty=-1.0)``.

    Raises:
        MissingGold: the task lacks what the measure compares with.
    """

    measure: Measure
    _: KW_ONLY
    scale: float = 10.0
    fail: float = -1.0  # reward units, whatever the scale
    of: Literal["query", "answer"] = "query"

    level = Level.STEP
    causal = True

    def __post_init__(self) -> None:
        if not np.isfinite([self.scale, self.fail]).all() or self.of not in ("query", "answer"):
            raise SettingError(f"scale and fail are finite and of is 'query' or 'answer'; got {self!r}")

    @property
    def range(self) -> tuple[float, float]:
        low, high = self.measure.range
        most = abs(self.scale) * (high - low) if self.scale else 0.0
        return min(-most, self.fail), max(most, self.fail)

    @property
    def needs(self) -> frozenset[str]:
        return self.measure.needs

    def score(self, trajectory: Trajectory) -> Scores:
        return self._scored([trajectory])[0]

    def score_group(self, group: Group) -> list[Scores]:
        return self._scored(list(group))

    def _scored(self, trajectories: Sequence[Trajectory]) -> list[Scores]:
        asked = [(query, t.task) for t in trajectories for s in range(len(t.steps)) for query in self._queries(t, s)]
        asked += [(t.task.question, t.task) for t in trajectories]
        distinct = {(query, id(task)): (query, task) for query, task in asked if query.strip()}
        try:
            measured = dict(zip(distinct, self.measure(list(distinct.values())), strict=True))
        except ENCODER_FAILED as error:
            why = f"the encoder failed: {type(error).__name__}: {error}"
            return [Scores.missing(why, length_of(self.level, t), level=self.level) for t in trajectories]
        return [self._paid(trajectory, measured) for trajectory in trajectories]

    def _queries(self, trajectory: Trajectory, s: int) -> list[str]:
        """What the step asked, empty queries too."""
        step = trajectory.steps[s]
        if self.of == "answer":
            last = s == len(trajectory.steps) - 1 and trajectory.answer is not None
            return [trajectory.answer or ""] if last else []
        return [call.query for call in step.calls if call.valid and "query" in call.arguments]

    def _paid(self, trajectory: Trajectory, measured: dict[tuple[str, int], float]) -> Scores:
        scores = Scores.unscored(len(trajectory.steps))
        task = trajectory.task
        bare = measured.get((task.question, id(task)), np.nan)
        before = 0.0 if np.isnan(bare) else bare  # a question without words is like nothing
        for s in range(len(trajectory.steps)):
            values = [measured.get((query, id(task)), np.nan) for query in self._queries(trajectory, s)]
            if values:
                paid = [self.fail if np.isnan(value) else self.scale * (value - before) for value in values]
                told = ", ".join("nothing to measure" if np.isnan(value) else f"{value:.4g}" for value in values)
                scores.set(s, float(np.mean(paid)), f"{told}; the question alone {before:.4g}")
        return scores
