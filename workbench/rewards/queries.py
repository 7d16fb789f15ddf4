"""Rewards for the search queries: `SearchKeyMatch` and `RepeatedQueries`."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

import numpy as np

from workbench.errors import MissingGold, SettingError
from workbench.rewards.answers import token_f1
from workbench.rewards.evidence import is_search
from workbench.rewards.reward import Reward
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Trajectory


@part
class SearchKeyMatch(Reward):
    """How well the queries asked match those a hop needs: mean over the hops of the best word F1, in [0, 1].

    The keys of a hop are ``SubQuestion.queries``, of which any one will do. `over`: with ``"max"`` a hop is worth its
    best query of the whole trajectory (StepSearch's paper); with ``"last"`` each query counts for the one hop it fits
    best, and a later query for the same hop replaces the earlier one even if it is worse (its published code).
    Source: StepSearch (arXiv:2505.15107), ``qa_step.py``. Its sum with the rest is::

        final = TokenF1(yes_no=False, digits=4) + 0.618 * SearchKeyMatch()
        steps = CoverageGain(by="similarity") - RepeatedDocuments(by="text")
        gate = WellFormed(turn=None, last=("answer",), stray="before")
        stepsearch = Gate(gate, final + 0.6 * steps, otherwise=-1.0)

    Raises:
        MissingGold: no sub-question of the task carries queries.
    """

    _: KW_ONLY
    over: Literal["max", "last"] = "max"
    digits: int | None = 4  # each F1 is rounded to this many digits; None: not

    range = (0.0, 1.0)
    needs = frozenset({"sub_questions"})

    def __post_init__(self) -> None:
        if self.over not in ("max", "last"):
            raise SettingError(f"over is 'max' or 'last', got {self.over!r}")

    def score(self, trajectory: Trajectory) -> Scores:
        hops = [question.queries for question in trajectory.task.sub_questions if question.queries]
        if not hops:
            raise MissingGold(f"task {trajectory.task.id!r} has no sub-question with queries; SearchKeyMatch needs one")
        queries = [query for step in trajectory.steps for query in step.queries]
        if not queries:
            return Scores.trajectory(0.0, "no search")
        fit_QK = np.array([[self._best(query, keys) for keys in hops] for query in queries])
        worth_K = fit_QK.max(axis=0) if self.over == "max" else _last(fit_QK)
        told = ", ".join(f"{keys[0]!r} {worth:.4g}" for keys, worth in zip(hops, worth_K, strict=True))
        return Scores.trajectory(float(worth_K.mean()), told)

    def _best(self, query: str, keys: tuple[str, ...]) -> float:
        best = max(token_f1(normalize_answer(query), normalize_answer(key)) for key in keys)
        return best if self.digits is None else round(best, self.digits)


def _last(fit_QK: np.ndarray) -> np.ndarray:
    worth_K = np.zeros(fit_QK.shape[1])
    for fit_K in fit_QK:
        if fit_K.max() > 0:
            worth_K[fit_K.argmax()] = fit_K.max()
    return worth_K


@part
class RepeatedQueries(Reward):
    """How far a search asks again what was asked before, in [0, 1]: the mean over its queries. Give it a negative
    weight.

    `by`: a query counts as asked before where an earlier one is the same text (``"exact"``), the same once both are
    normalised (``"normalized"``), or, between 0 and 1, by the share of its runs of `n` words that were said before, in
    it or in an earlier one (``"ngrams"``; a query of fewer words is one run). Queries of one step count as asked one
    after another.

    ReSeek (arXiv:2510.00568) takes an identical query after a rejected result for a broken rule. Over one text,
    ``1 - RepeatedQueries(by="ngrams", n=3)`` is R3's share of unrepeated trigrams (arXiv:2402.03469).
    """

    _: KW_ONLY
    by: Literal["exact", "normalized", "ngrams"] = "normalized"
    n: int = 2  # words in a run

    level = Level.STEP
    range = (0.0, 1.0)
    causal = True

    def __post_init__(self) -> None:
        if self.by not in ("exact", "normalized", "ngrams") or self.n < 1:
            raise SettingError(f"by is 'exact', 'normalized' or 'ngrams' and n at least 1, got {self.by!r}, {self.n}")

    def score(self, trajectory: Trajectory) -> Scores:
        asked: set[str] = set()
        scores = Scores.unscored(len(trajectory.steps))
        for s, step in enumerate(trajectory.steps):
            queries = [call.query for call in step.calls if call.valid and call.query]
            if not is_search(step) or not queries:
                continue
            shares = []
            for query in queries:
                runs = self._runs(query)
                new = set(runs) - asked
                asked |= new
                shares.append(1.0 - len(new) / len(runs))
            worst = max(zip(shares, queries, strict=True))
            scores.set(s, float(np.mean(shares)), f"{worst[0]:.3g} of {worst[1]!r} was asked before")
        return scores

    def _runs(self, query: str) -> list[str]:
        """What is compared: the query, or its runs of words."""
        if self.by == "exact":
            return [query]
        words = normalize_answer(query).split()
        if self.by == "normalized" or len(words) <= self.n:
            return [" ".join(words)]
        return [" ".join(words[i : i + self.n]) for i in range(len(words) - self.n + 1)]
