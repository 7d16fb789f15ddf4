"""ProcessBench: solutions with the first wrong step found by experts.

Layout of the data set Qwen/ProcessBench (its card): id, generator, problem, steps, final_answer_correct, and label, the
index of the first wrong step or -1. The steps before it are labelled correct (1), itself wrong (0); of later ones
nothing is said. Solutions of one problem form a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows, parquet_rows
from workbench.formats.losses import all_but
from workbench.formats.paying import paid
from workbench.formats.reading import Rollout, each, rest_of, task_named, together
from workbench.formats.solutions import labels, solution

HELD = ("id", "generator", "problem", "steps", "final_answer_correct", "label")


def sniff(head: Head) -> float:
    if {"problem", "steps", "label", "final_answer_correct"} <= head.columns.keys():
        return 1.0
    return 1.0 if head.has("problem", "steps", "label", "final_answer_correct") else 0.0


def read(path: Path) -> Iterator[Read]:
    rows = parquet_rows(path) if Head.of(path).is_parquet else json_rows(path)
    return together(each(rows, lambda row: [_rollout(row)]))


def _rollout(row: Row) -> Rollout:
    value = row.value
    task, name = task_named(value["problem"]), str(value.get("id") or row.number)
    steps, wrong = list(value["steps"]), int(value["label"])
    made = solution(name, task, steps, policy=str(value.get("generator") or ""), extras=rest_of(value, *HELD))
    said = [1.0] * len(steps) if wrong < 0 else [*[1.0] * wrong, 0.0]
    scores = paid(value["final_answer_correct"], name="final_answer_correct")
    return Rollout(task.id, made, scores, labels(name, said[: len(steps)], "ProcessBench"), size=row.size)


FORMAT = Format(
    "processbench",
    "ProcessBench: the first wrong step, found by experts",
    (".json", ".jsonl", ".parquet"),
    sniff,
    read,
    None,
    all_but("steps step.policy task.question trajectory.id trajectory.extras scores scores.names labels"),
)
