"""Traces taken apart: one task a step, whose target is what that step called, and the environment to act it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.protocols import Limits, Outcome, Tool
from workbench.trajectory import Call, End, Task, Trajectory


def walkthrough_rows(trace: Trajectory, *, tags: tuple[str, str, str] = ("think", "tool_call", "answer")) -> list[Task]:
    """A task for each step of a good trace: the dialogue up to there as the question, the step's calls as what is due.

    The rows have the trace's golds, and in their extras ``gold_calls`` (a name and parameters each; none where the
    step answers) and ``blocks`` (the tags that the turn must hold), which `ToolCallMatch` and
    ``WellFormed(by_task=True)`` read. A step that could not be read gives no row. Source: the data of ToolRL (Qian et
    al. 2025, arXiv:2504.13958, section 3).

    Args:
        tags: what thought, call and reply are called.
    """
    thought, call, reply = tags
    rows, dialogue = [], trace.task.question
    for s, step in enumerate(trace.steps):
        answers = trace.end is End.ANSWERED and s == len(trace.steps) - 1
        blocks = (thought, *((call,) if step.calls else ()), *((reply,) if answers else ()))
        golds = [{"name": one.tool, "parameters": dict(one.arguments)} for one in step.calls]
        extras = {**trace.task.extras, "gold_calls": golds, "blocks": list(blocks), "trace": trace.id, "step": s}
        if step.valid:
            rows.append(Task(f"{trace.task.id}/{s}", dialogue, trace.task.golds, kind=trace.task.kind, extras=extras))
        dialogue += f"\n{step.text}{step.observation}"
    return rows


@dataclass(frozen=True)
class FirstCalls:
    """Takes down the first calls of a trajectory and ends it there, answered: nothing is called."""

    tools: Sequence[Tool] = ()  # that the prompt describes
    limits: Limits = Limits(turns=1, final_turn=False)

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[Any, str]:
        return None, ""

    def step(self, state: Any, calls: Sequence[Call]) -> Outcome:
        return Outcome(state, tuple(calls), ("",) * len(calls), end=End.ANSWERED)
