"""A policy with four ways to search for what a comparison needs, for the proof of `subsearch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from workbench.agents.tabular import TabularPolicy
from workbench.protocols import Prefix, Turn
from workbench.trajectory import Call, Span, Task

WAYS = ("rephrased", "copied", "doubled", "split")
AT_FIRST = (0.47, 0.45, 0.06, 0.02)


PHRASINGS = ("founded", "founded in", "was founded", "was founded in", "led", "is led by", "was led by", "in")


def queries(way: str, task: Task, phrasing: str) -> list[str]:
    """What each way to search asks. Rollouts phrase it differently, so that no two are paid quite the same."""
    one, other = task.extras["entities"]
    return {
        "rephrased": [f"{one} or {other} {phrasing}"],
        "copied": [f"{task.question}"],
        "doubled": [f"{one} {phrasing}"] * 2,
        "split": [f"{one} {phrasing}", f"{other} {phrasing}"],
    }[way]


def searcher(good: float, else_: float, at_first: Sequence[float] = AT_FIRST) -> TabularPolicy:
    """Searches in one of the ways, then answers: rightly by chance `good` after a split, `else_` after the others."""

    def act(way: str) -> Callable[[Prefix], Turn]:
        def turn(prefix: Prefix) -> Turn:
            if prefix.steps:
                chance = good if prefix.steps[0].text == "split" else else_
                lucky = int(prefix.key, 16) / 2**48 < chance  # the key is drawn for the rollout
                said = prefix.task.golds[0] if lucky else "unknown"
                return Turn("answer", spans=(Span("answer", said, 0, 1),), answered=True)
            calls = tuple(
                Call("search", {"query": query})
                for query in queries(way, prefix.task, PHRASINGS[int(prefix.key[-1], 16) % 8])
            )
            return Turn(way, calls=calls)

        return turn

    policy = TabularPolicy({way: act(way) for way in WAYS}, lambda prefix: len(prefix.steps), rows=2)
    policy.row_of[0] = 0
    policy.table.data[0] = policy.table.new_tensor(np.log(at_first))
    return policy
