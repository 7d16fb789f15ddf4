"""Math-Shepherd: solutions whose steps are marked + or - by rolling out from them.

Layout of the data set peiyi9979/Math-Shepherd (its card): `input` is the problem and the steps, each closed by the
token "ки"; `label` is the same text with + or - in its place (in an older version behind it). The marks were made by a
program: they are scores of the steps, 1 and 0, not labels of a person. Solutions of one problem form a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workbench.errors import FormatError
from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows, parquet_rows
from workbench.formats.losses import all_but
from workbench.formats.reading import Rollout, each, task_named, together
from workbench.formats.solutions import solution, stated
from workbench.scores import Scores

MARK = "ки"
MARKS = {"+": 1.0, "-": 0.0}


def sniff(head: Head) -> float:
    if {"input", "label", "task"} <= head.columns.keys():
        return 0.9
    return 1.0 if head.has("input", "label") and MARK in str(head.row["input"]) else 0.0


def read(path: Path) -> Iterator[Read]:
    rows = parquet_rows(path) if Head.of(path).is_parquet else json_rows(path)
    return together(each(rows, lambda row: [_rollout(row)]))


def _rollout(row: Row) -> Rollout:
    pieces = str(row.value["input"]).split(MARK)
    marks = _marks(pieces, str(row.value["label"]))
    problem, first, rest = pieces[0].partition("Step 1:")
    steps = [(first + rest).strip(), *(piece.removeprefix(" ?").strip() for piece in pieces[1:-1])]
    task = task_named(problem.strip(), kind=str(row.value.get("task") or ""))
    name = str(row.number)
    answer = stated(steps[-1], "The answer is:", "####")
    scores = Scores.steps(np.array([MARKS[mark] for mark in marks]))
    scores.name = "MathShepherd"
    return Rollout(task.id, solution(name, task, steps, answer=answer), scores, size=row.size)


def _marks(pieces: list[str], label: str) -> list[str]:
    """The sign of each step, found where the token stood."""
    if label.count(MARK) == len(pieces) - 1:
        found = [piece.strip()[:1] for piece in label.split(MARK)[1:]]
    else:
        found, at = [], 0
        for piece in pieces[:-1]:
            at += len(piece)
            found.append(label[at : at + 1])
            at += 1
    if not found or set(found) - MARKS.keys():
        raise FormatError(f"its label has {found} where the {len(pieces) - 1} steps end; expected + or -")
    return found


FORMAT = Format(
    "math_shepherd",
    "Math-Shepherd: steps marked + and - by rollouts",
    (".jsonl", ".parquet"),
    sniff,
    read,
    None,
    all_but("steps task.question task.kind scores scores.steps scores.names"),
)
