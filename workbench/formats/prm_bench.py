"""PRMBench: solutions into which a model put wrong steps, with its own account of which.

Layout of ssmisya/PRMBench (mr_eval/tasks/prmtest_classified/data), as kept with question, steps, step_labels (1 or -1),
error_steps (from 1), category and reason; the origin's names modified_question, modified_process are read too. Each row
is a tree of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.reading import Rollout, alone, each, first_of, rest_of, task_named
from workbench.formats.solutions import labels, solution

HELD = ("id", "idx", "question", "modified_question", "steps", "modified_process", "step_labels", "reason", "category")


def sniff(head: Head) -> float:
    if head.has("modified_process", "error_steps"):
        return 1.0
    return 1.0 if head.has("steps", "step_labels", "error_steps") else 0.0


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [alone(_rollout(row))])


def _rollout(row: Row) -> Rollout:
    value = row.value
    question = str(first_of(value, "modified_question", "question"))
    name = str(first_of(value, "id", "idx") or row.number)
    task = task_named(question, name, kind=str(first_of(value, "category", "classification") or ""))
    steps = list(first_of(value, "modified_process", "steps"))
    wrong = {int(number) for number in value.get("error_steps") or ()}
    marks = value.get("step_labels") or [-1 if s + 1 in wrong else 1 for s in range(len(steps))]
    why = str(value.get("reason") or "")
    made = solution(name, task, steps, extras=rest_of(value, *HELD))
    said = labels(name, marks, "PRMBench")
    said = tuple(replace(label, why=why) if label.value < 0 else label for label in said)
    return Rollout(name, made, None, said, size=row.size)


FORMAT = Format(
    "prm_bench",
    "PRMBench: steps that a model made wrong",
    (".jsonl",),
    sniff,
    read,
    None,
    all_but("steps task.id task.question task.kind trajectory.id trajectory.extras labels"),
)
