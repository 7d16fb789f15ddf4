"""A policy that expands a question word by word, for the proof of `tongsearch_qr`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from workbench.agents.tabular import TabularPolicy
from workbench.protocols import Prefix, Turn
from workbench.trajectory import Span, Task


def expanded(task: Task, words: Sequence[str]) -> str:
    """The question with words after it: the query."""
    return " ".join([task.question, *words])


def expander(candidates: int, most: int, *, stops: bool = False, bucket: int | None = None) -> TabularPolicy:
    """Draws `most` of a task's candidate words and answers with the query.

    A word that was said gives way to the next candidate that was not. With `stops` it may end the query before any
    word. Its rows are a subject each, or, with a `bucket`, a subject and how many times so many words were said.
    """

    def said(prefix: Prefix) -> list[str]:
        return [step.text for step in prefix.steps]

    def saying(first: int) -> Callable[[Prefix], Turn]:
        def turn(prefix: Prefix) -> Turn:
            offered, before = prefix.task.extras["candidates"], said(prefix)
            new = next(word for word in [*offered[first:], *offered] if word not in before)
            return _answer(prefix, [*before, new], new) if len(before) + 1 == most else Turn(new)

        return turn

    def stop(prefix: Prefix) -> Turn:
        return _answer(prefix, said(prefix), "stop")

    def features(prefix: Prefix) -> tuple[int, int]:
        return prefix.task.extras["subject"], 0 if bucket is None else len(prefix.steps) // bucket

    actions = {f"word {n}": saying(n) for n in range(candidates)} | ({"stop": stop} if stops else {})
    return TabularPolicy(actions, features, rows=256)


def _answer(prefix: Prefix, words: Sequence[str], text: str) -> Turn:
    return Turn(text, spans=(Span("answer", expanded(prefix.task, words), 0, 1),), answered=True)


def knowing_expander(tasks: Sequence[Task], most: int, *, stop: float = 0.1, bucket: int = 3) -> TabularPolicy:
    """One that knows the words of each subject (e^3 times as likely as others), and stops with this chance."""
    policy = expander(len(tasks[0].extras["candidates"]), most, stops=True, bucket=bucket)
    for task in tasks:
        right = np.array([word in task.extras["names"] for word in task.extras["candidates"]])
        logits = np.where(right, 3.0, 0.0)
        ending = np.log(np.exp(logits).sum()) + np.log(stop / (1 - stop))
        for said in range(0, most, bucket):
            row = policy.row_of.setdefault((task.extras["subject"], said // bucket), len(policy.row_of))
            policy.table.data[row] = policy.table.new_tensor([*logits, ending])
    return policy
