"""Small builders of tasks, trajectories, trees and batches, for the tests of any room.

``a_trajectory(("p1", "x"), None, answer="Paris")`` is an agent that searches once, is shown the pages p1 and x, then
answers Paris. Turns are written with Search-R1's tags. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.batch import FlatBatch, flat_batch
from workbench.scores import Scores
from workbench.trajectory import (
    Call,
    Context,
    End,
    Group,
    Hit,
    Origin,
    Span,
    Step,
    SubQuestion,
    Task,
    Tokens,
    Trajectory,
    Tree,
)

Pages = Sequence[str] | None


def a_task(
    id: str = "task",
    *,
    golds: Iterable[str] = ("Paris",),
    gold_pages: Iterable[str] = ("p1", "p2"),
    sub_questions: Sequence[SubQuestion] = (),
    **extras: Any,
) -> Task:
    """A question with the answer Paris and the gold pages p1 and p2."""
    return Task(id, "Capital of France?", tuple(golds), frozenset(gold_pages), tuple(sub_questions), extras=extras)


def a_step(
    id: str,
    pages: Pages = None,
    *,
    query: str = "capital of France",
    answer: str | None = None,
    text: str | None = None,
    tokens: int = 0,
    texts: Mapping[str, str] | None = None,
) -> Step:
    """One turn: a search that brings `pages`, an answer, or (both None) a thought.

    Args:
        text: the turn as written; default Search-R1's tags around "thought" and the query or answer.
        tokens: own tokens; the observation of a search has two more. 0: imported as text.
        texts: text of each page; default "text of <page>".
    """
    action = "" if answer is None else f"<answer>{answer}</answer>"
    spans, calls, observation = [Span("think", "thought")], (), ""
    if pages is not None:
        action = f"<search>{query}</search>"
        hits = tuple(
            Hit(page, f"Title of {page}", (texts or {}).get(page, f"text of {page}"), rank=rank, query=query)
            for rank, page in enumerate(pages)
        )
        calls = (Call("search", {"query": query}, hits),)
        spans.append(Span("query", query))
        shown = "".join(f"Doc {hit.rank + 1}(Title: {hit.title}) {hit.text}\n" for hit in hits)
        observation = f"\n\n<information>{shown}</information>\n\n"
    if answer is not None:
        spans.append(Span("answer", answer))
    written = f"<think>thought</think>{action}" if text is None else text
    ids = own_then_foreign(tokens, 2 if calls else 0) if tokens else None
    return Step(id, written, calls, tuple(spans), observation, ids)


def own_then_foreign(own: int, foreign: int) -> Tokens:
    """Tokens numbered from 1: `own` sampled ones of logprob -1, then `foreign` ones."""
    turn = Tokens.sampled(np.arange(1, own + 1), np.full(own, -1.0))
    return Tokens.join([turn, Tokens.foreign(np.arange(own + 1, own + foreign + 1), Origin.ENVIRONMENT)])


def a_trajectory(
    *pages: Pages,
    answer: str | None = None,
    id: str = "t",
    task: Task | None = None,
    golds: Iterable[str] = ("Paris",),
    gold_pages: Iterable[str] = ("p1", "p2"),
    queries: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    tokens: int = 0,
    end: End | None = None,
    shared: Sequence[Step] = (),
) -> Trajectory:
    """A trajectory of one step for each of `pages` (the pages a search brings, or None: no search).

    An `answer` stands in the last step; where that is a search, a further step is added for it. Without one the
    trajectory is truncated, unless `end` says otherwise. Step ids are ``<id>.0``, ``<id>.1`` ...

    Args:
        queries: of the searches, in order; default "capital of France" for all.
        tokens: own tokens a step; 0: text only. The first step then starts from a prompt of two tokens.
        shared: steps that come before, as they are (a prefix that siblings share).
    """
    rows: list[Pages] = list(pages)
    if answer is not None and (not rows or rows[-1] is not None):
        rows.append(None)
    asked = iter(queries)
    steps = list(shared)
    for n, found in enumerate(rows):
        query = next(asked, "capital of France") if found is not None else ""
        said = answer if n == len(rows) - 1 else None
        steps.append(a_step(f"{id}.{n}", found, query=query, answer=said, tokens=tokens, texts=texts))
    if tokens and steps and steps[0].context is None:
        steps[0] = _with_prompt(steps[0])
    ended = end or (End.ANSWERED if answer is not None else End.TRUNCATED)
    return Trajectory(id, task or a_task(golds=golds, gold_pages=gold_pages), tuple(steps), ended)


def _with_prompt(step: Step) -> Step:
    from dataclasses import replace

    return replace(step, context=Context("Question: Capital of France?", Tokens.foreign([101, 102])))


def a_tree(*trajectories: Trajectory, id: str = "tree") -> Tree:
    """A tree of trajectories of one task."""
    return Tree(id, trajectories[0].task, trajectories)


def a_group(*trajectories: Trajectory) -> Group:
    """The trajectories as one group."""
    return Group(trajectories)


def a_batch(*groups: Sequence[Sequence[float]], tokens: int = 1, ends: Mapping[str, End] | None = None) -> FlatBatch:
    """A batch of one term from the step rewards of each trajectory of each group; NaN: not applicable.

    ``a_batch([[0, 1], [0, 0]], [[1]])`` is two groups, the first of two trajectories with two steps each. Trajectories
    are called ``0.0``, ``0.1`` ... (group, member); `ends` says how some of them ended, the others answered.
    """
    trees, scores = [], []
    for p, group in enumerate(groups):
        members = []
        for g, rewards_S in enumerate(group):
            id = f"{p}.{g}"
            end = (ends or {}).get(id, End.ANSWERED)
            members.append(a_trajectory(*[None] * len(rewards_S), id=id, tokens=tokens, end=end))
        trees.append(a_tree(*members, id=str(p)))
        scores.append([Scores.steps(rewards_S) for rewards_S in group])
    return flat_batch(trees, scores)
