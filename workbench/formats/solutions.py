"""Solutions written out step by step, as process-reward data sets hold them: text, no tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workbench.formats.contract import Label
from workbench.trajectory import Context, End, Span, Step, Task, Trajectory


def solution(
    name: str, task: Task, steps: Sequence[str], *, answer: str = "", policy: str = "", extras: Mapping[str, Any] = {}
) -> Trajectory:
    """A trajectory of one step a text, and of the answer where it is known."""
    made = [Step(f"{name}.{s}", text, policy=policy) for s, text in enumerate(steps)]
    made[:1] = [replace(step, context=Context(task.question)) for step in made[:1]]
    if answer and made:
        made[-1] = replace(made[-1], spans=(Span("answer", answer),))
    return Trajectory(name, task, tuple(made), End.ANSWERED, extras=extras)


def labels(name: str, values: Sequence[Any], who: str, *, judged: str = "correct") -> tuple[Label, ...]:
    """A label for each step that has one."""
    pairs = ((s, value) for s, value in enumerate(values) if value is not None)
    return tuple(Label(name, s, judged, float(value), who) for s, value in pairs)


def stated(text: str, *marks: str) -> str:
    """What stands behind the last of these marks, up to the end of the line."""
    found = [text.rpartition(mark)[2].strip() for mark in marks if mark in text]
    return found[0].splitlines()[0].strip() if found and found[0] else ""
