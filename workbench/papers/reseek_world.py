"""ReSeek's toy: a chase over several hops, with a hint at every result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from workbench.agents.tabular import TabularPolicy
from workbench.protocols import Limits, Outcome, Prefix, Turn
from workbench.trajectory import Call, Hit, Span, Task

GOLD = "Oslo"
TASK = Task("chase", "Where does the chain end?", golds=(GOLD,))


@dataclass(frozen=True)
class Found:
    """What a rollout will be shown, search by search."""

    useful_n: tuple[bool, ...]
    hint_n: tuple[bool, ...]
    legible: bool
    searches: int = 0


@dataclass(frozen=True)
class Chase:
    """Every search brings a page that is of use (it names the gold) or not, with a hint that is mostly right."""

    searches: int = 8
    useful: float = 0.45  # share of the results
    wrong_hint: float = 0.1  # share of the hints
    legible: float = 0.8  # chance that an answer read off useful pages is right
    tools: tuple = field(default=(), init=False)

    @property
    def limits(self) -> Limits:
        return Limits(turns=self.searches)

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[Found, str]:
        useful_n = rng.random(self.searches) < self.useful
        hint_n = useful_n ^ (rng.random(self.searches) < self.wrong_hint)
        return Found(tuple(useful_n.tolist()), tuple(hint_n.tolist()), bool(rng.random() < self.legible)), ""

    def step(self, state: Found, calls: Sequence[Call]) -> Outcome:
        n = state.searches
        page = f"On the way lies {GOLD}." if state.useful_n[n] else "Nothing of the kind."
        found = replace(calls[0], hits=(Hit(f"h{n}", "", page),), result="legible" if state.legible else "smudged")
        hint = "looks right" if state.hint_n[n] else "looks wrong"
        return Outcome(replace(state, searches=n + 1), (found,), (hint,))


def judging_table(hops: int = 4, label: str = "table") -> TabularPolicy:
    """Says yes or no to every result by its hint, goes on to the next hop after yes, answers after the last."""

    def says(word: str) -> Callable[[Prefix], Turn | Call]:
        return lambda prefix: _turn(prefix, word, hops)

    def hint(prefix: Prefix) -> str:
        return prefix.observation if prefix.steps else "start"

    return TabularPolicy({"Yes": says("Yes"), "No": says("No")}, hint, rows=3, label=label)


def _turn(prefix: Prefix, word: str, hops: int) -> Turn | Call:
    if not prefix.steps:
        return Call("search", {"query": "hop 1"})
    labels = [*(step.span("judge") for step in prefix.steps[1:]), word]
    accepted = [step for step, label in zip(prefix.steps, labels, strict=True) if label == "Yes"]
    judged = Span("judge", word)
    if len(accepted) < hops:
        return Turn(word, (Call("search", {"query": f"hop {len(accepted) + 1}"}),), (judged,))
    read = all(GOLD in step.hits[0].text and step.calls[0].result == "legible" for step in accepted)
    return Turn(word, spans=(judged, Span("answer", GOLD if read else "unknown")), answered=True)
