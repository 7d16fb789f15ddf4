"""That what was read is of the types our words promise: a file may hold a number where a text belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from workbench.errors import FormatError
from workbench.trajectory import Call, End, Hit, Span, Step, SubQuestion, Task, Trajectory

TEXT, NUMBER, WHOLE, TRUTH, MAPPING, NOTHING = str, Real, int, bool, Mapping, type(None)

FIELDS: dict[type, dict[str, Any]] = {
    Task: {"id": TEXT, "question": TEXT, "kind": TEXT, "extras": MAPPING},
    SubQuestion: {"question": TEXT, "page": TEXT},
    Trajectory: {"id": TEXT, "end": End, "end_reason": TEXT, "role": TEXT, "fork": WHOLE, "extras": MAPPING},
    Step: dict.fromkeys(("id", "text", "observation", "role", "policy"), TEXT)
    | {"native_reward": NUMBER, "seconds": NUMBER, "episode": WHOLE, "valid": TRUTH},
    Call: {"tool": TEXT, "arguments": MAPPING, "result": (TEXT, NOTHING), "error": (TEXT, NOTHING)}
    | {"cost": NUMBER, "seconds": NUMBER, "valid": TRUTH},
    Hit: dict.fromkeys(("id", "title", "text", "query"), TEXT)
    | {"score": NUMBER, "rank": WHOLE, "shown": (WHOLE, NOTHING)},
    Span: {"name": TEXT, "text": TEXT, "start": (WHOLE, NOTHING), "stop": (WHOLE, NOTHING)},
}
"""The fields that a file fills, and what they may hold."""

LARGEST = 2**31


def check(trajectory: Trajectory) -> None:
    """Raises FormatError where a field holds a value of another type, or a whole number of more than 32 bits."""
    _check_task(trajectory.task)
    _check(trajectory)
    for step in trajectory.steps:
        _check(step)
        for span in step.spans:
            _check(span)
        for call in step.calls:
            _check(call)
            for hit in call.hits:
                _check(hit)
        if step.context is not None:
            _check_texts("context", [step.context.text])


def _check_task(task: Task) -> None:
    _check(task)
    _check_texts("golds", task.golds)
    _check_texts("gold_pages", task.gold_pages)
    for one in task.sub_questions:
        _check(one)
        _check_texts("golds of a sub-question", one.golds)


def _check(held: Any) -> None:
    for name, kind in FIELDS[type(held)].items():
        value = getattr(held, name)
        if not isinstance(value, kind):
            what = type(held).__name__.lower()
            raise FormatError(f"{name} of a {what} is of type {type(value).__name__}: {value!r:.80}")
        if type(value) is int and not -LARGEST <= value < LARGEST:
            raise FormatError(f"{name} of a {type(held).__name__.lower()} is {value}; it may have 32 bits")


def _check_texts(name: str, values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise FormatError(f"{name} must hold texts, got {value!r:.80}")
