"""AdaSearch's toy: questions some of which an agent knows, some of which it believes it knows, some of several hops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.agents.tabular import Action, TabularPolicy
from workbench.protocols import Limits, Outcome, Prefix, Turn
from workbench.trajectory import Call, Span, SubQuestion, Task

MEMORIES = ("right",) * 4 + ("wrong",) * 2 + ("empty",) * 4
CONFIDENCE = {"right": 1.0, "wrong": 0.7, "empty": 0.0}
"""How sure the agent feels, on average: of what it knows, of what it has wrong, of what it has not."""


def questions(
    count: int, seed: int, *, noise: float = 0.35, hop_noise: float = 1.2, hops: Sequence[int] = (1, 2, 3)
) -> list[Task]:
    """Tasks with, in extras, what memory holds, and how sure and how long they feel: both seen through noise."""
    rng = np.random.default_rng(seed)
    tasks = []
    for n in range(count):
        memory, need = MEMORIES[n % len(MEMORIES)], hops[int(rng.integers(len(hops)))]
        felt = {"memory": memory, "need": need, "sure": CONFIDENCE[memory] + noise * rng.standard_normal()}
        felt["long"] = need + hop_noise * rng.standard_normal()
        subs = tuple(SubQuestion(f"hop {hop}?") for hop in range(need))
        tasks.append(Task(f"q{n}", f"Question {n}?", (f"gold {n}",), sub_questions=subs, kind=memory, extras=felt))
    return tasks


@dataclass(frozen=True)
class Library:
    """Answers a question that was searched often enough with `found`, else with `lucky`."""

    found: float = 0.9
    lucky: float = 0.2
    limits: Limits = field(default_factory=lambda: Limits(turns=1))
    tools: tuple = ()

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[tuple[Task, float], str]:
        return (task, float(rng.random())), ""

    def step(self, state: tuple[Task, float], calls: Sequence[Call]) -> Outcome:
        task, luck = state
        enough = len(calls) >= task.extras["need"]
        told = task.golds[0] if luck < (self.found if enough else self.lucky) else "something else"
        return Outcome(state, tuple(calls), (told,))


def searcher(*, alone: bool) -> TabularPolicy:
    """Linear in how sure and how long a question feels. `alone`: one agent that answers or searches, once to three
    times; else the three roles of AdaSearch over one table."""
    actions: dict[str, Action] = {"recall": _recall} | {f"search {k}": _searching(k) for k in (1, 2, 3)}
    actions |= {} if alone else {"yes": _assessing("yes"), "no": _assessing("no")}
    searches = tuple(name for name in actions if name.startswith("search"))
    roles = {"decide": ("yes", "no"), "param": ("recall",), "search": searches}
    return TabularPolicy(actions, _felt, width=9, roles=None if alone else roles)


def _felt(prefix: Prefix) -> np.ndarray:
    """float [9]: 1, sure and long in the block of the role; all 0 after a search, when nothing is left to choose."""
    felt_D = np.zeros(9)
    if not prefix.steps:
        start = 3 * {"agent": 0, "decide": 1, "search": 2, "param": 2}[prefix.role]
        felt_D[start : start + 3] = 1.0, prefix.task.extras["sure"] - 0.5, prefix.task.extras["long"] - 2.0
    return felt_D


def _recall(prefix: Prefix) -> str:
    if prefix.steps:
        return prefix.observation
    return prefix.task.golds[0] if prefix.task.extras["memory"] == "right" else "a guess"


def _searching(times: int) -> Action:
    def act(prefix: Prefix) -> Turn | str:
        if prefix.steps:
            return prefix.observation
        query = {"query": prefix.task.question}
        return Turn(f"search {times}", tuple(Call("search", query) for _ in range(times)))

    return act


def _assessing(label: str) -> Action:
    return lambda prefix: Turn(label, spans=(Span("assessment", label),), answered=True)
