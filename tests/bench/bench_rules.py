"""How many answers and calls a second the rule rewards score on one core: ``python tests/bench/bench_rules.py``."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.builders import a_task, a_trajectory
from workbench.rewards import GroupRescale, Reward, SetJaccard, TextOverlap, ToolCallMatch
from workbench.trajectory import Call, End, Group, Step, Task, Trajectory

SHORT = "the cat sat on a mat"
LONG = " ".join(f"The river number {n} crosses the town of Basel, which was founded in {1800 + n}." for n in range(5))
GOLD = [{"name": "search", "parameters": {"query": text}} for text in ("a", "b")]


def answering(text: str, references: Sequence[str], count: int) -> list[Trajectory]:
    """Each another answer, so that nothing is remembered."""
    task = a_task(references=tuple(references))
    return [a_trajectory(answer=f"{text} {n}", id=f"{n}", task=task) for n in range(count)]


def calling(count: int) -> list[Trajectory]:
    task = Task("task", "?", extras={"gold_calls": GOLD})
    calls = (Call("search", {"query": "b"}), Call("search", {"query": "a"}))
    return [Trajectory(f"{n}", task, (Step(f"{n}.0", "", calls),), End.ANSWERED) for n in range(count)]


def rate(reward: Reward, trajectories: Sequence[Trajectory], batch: int = 500) -> float:
    """Trajectories a second, the best of the batches."""
    best = 0.0
    for first in range(0, len(trajectories), batch):
        group = Group(tuple(trajectories[first : first + batch]))
        start = time.perf_counter()
        reward(group)
        best = max(best, len(group) / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    for kind in ("bleu", "rouge_l", "f1"):
        for name, text, references in (("6 words", SHORT, [SHORT]), ("75 words, 3 references", LONG, [LONG] * 3)):
            print(
                f"TextOverlap {kind}, {name}: {rate(TextOverlap(kind=kind), answering(text, references, 2000)):,.0f}/s"
            )
    print(f"GroupRescale of ToolCallMatch: {rate(GroupRescale(ToolCallMatch()), calling(2000)):,.0f}/s")
    grains = (ToolCallMatch(), ToolCallMatch(matching="greedy"), ToolCallMatch(grain="coarse"))
    for reward in (*grains, SetJaccard(of="results")):
        print(f"{reward!r}, two calls: {rate(reward, calling(2000)):,.0f}/s")
