"""What dumps of tagged text have in common: a prompt, a response, golds and numbers a row."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Mapping
from typing import Any

from workbench.errors import FormatError
from workbench.formats.files import Row
from workbench.formats.paying import reward_and_metrics
from workbench.formats.reading import Rollout, first_of, rest_of, task_named, text_id, texts
from workbench.formats.tags import end_of, steps_of
from workbench.trajectory import Trajectory

ASSISTANT = re.compile(
    r".*(?:<\|im_start\|>assistant\n|<\|start_header_id\|>assistant<\|end_header_id\|>\n\n)", re.DOTALL
)
QUESTION = re.compile(r"Question: ?(.+?)\s*(?:\n|<\||$)")
QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
PRINTED = re.compile(rf"\[(?:(?:{QUOTED.pattern})[\s,]*)+\]")


def question_in(prompt: str) -> str:
    """What stands behind the last "Question:" of a prompt, else the whole prompt."""
    found = QUESTION.findall(prompt)
    return found[-1] if found else prompt.strip()


def parted(text: str) -> tuple[str, str]:
    """Prompt and response of one text: parted where the last turn of an assistant begins, else behind the question."""
    if match := ASSISTANT.match(text):
        return match[0], text[match.end() :]
    if match := QUESTION.search(text):
        return text[: match.end()], text[match.end() :]
    return "", text


def golds_in(value: Any) -> tuple[str, ...]:
    """Golds as verl and Search-R1 keep them: a text, a list, or ``{"target": [...]}``.

    A list may stand as numpy prints it, ``['Ed' 'Edward']``: verl's ray_trainer writes an array so (``default=str``).
    """
    golds = value.get("target") if isinstance(value, Mapping) else value
    if isinstance(golds, str) and PRINTED.fullmatch(golds.strip()):
        with contextlib.suppress(SyntaxError, ValueError):
            return texts([ast.literal_eval(text) for text in QUOTED.findall(golds)])
    return texts(golds)


def tagged(row: Row, prompt: str, response: str, golds: Any, *, used: tuple[str, ...], key: str = "") -> Rollout:
    """A rollout from prompt and response; numbers beside the score are metrics, the rest stays in extras.

    Args:
        used: keys of the row that have a home.
        key: of the tree; "": the prompt's.
    """
    value: Mapping[str, Any] = row.value
    if not isinstance(prompt, str) or not isinstance(response, str):
        raise FormatError(f"prompt and response must be texts, got {type(prompt).__name__}, {type(response).__name__}")
    update, name = int(value.get("step") or 0), str(row.number)
    question = str(value.get("question") or question_in(prompt))
    task = task_named(question, first_of(value, "task_id", "question_id", "id"), golds=golds_in(golds))
    steps = steps_of(response, name, prompt)
    end, reason = end_of(steps)
    beside = rest_of(value, *used)
    beside = {k: v == "True" if v in ("True", "False") else v for k, v in beside.items()}  # numpy's, as text
    numbers = {k: v for k, v in beside.items() if isinstance(v, bool | int | float)}
    extras = {k: v for k, v in beside.items() if k not in numbers}
    scored = next((k for k in ("score", "reward", "em") if k in value), None)
    scores = None if scored is None else reward_and_metrics(value[scored], _without(numbers, scored))
    trajectory = Trajectory(name, task, steps, end, reason, extras=extras)
    tree = key or (f"{task.id}@{update}" if update else task.id)
    return Rollout(f"{update} {key or text_id('p', prompt)}", trajectory, scores, (), update, row.size, tree)


def _without(numbers: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in numbers.items() if key != name}
