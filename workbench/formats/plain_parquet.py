"""Our own Parquet: a row a trajectory with columns to look at, and the whole, lossless, in the column `record`.

`record` holds the tree's line of the format jsonl in the row of its first trajectory and is null in the others: it
alone is read back. (A tree without trajectories is a row of its own.) The other columns are for pandas, DuckDB and
friends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench import plain
from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Row, Table, parquet_rows, read_json
from workbench.formats.paying import total_of
from workbench.formats.reading import each
from workbench.formats.records import record_of, record_text
from workbench.trajectory import Trajectory

COLUMNS = {
    "update": "int32",
    "tree": "string",
    "task": "string",
    "question": "string",
    "golds": "list<string>",
    "trajectory": "string",
    "end": "string",
    "answer": "string",
    "reward": "float64",
    "steps": "int32",
    "searches": "int32",
    "text": "string",
    "record": "string",
}


def sniff(head: Head) -> float:
    return 1.0 if {"tree", "trajectory", "record"} <= head.columns.keys() else 0.0


def read(path: Path) -> Iterator[Read]:
    held = (row for row in parquet_rows(path, ["record"]) if not isinstance(row, Row) or row.value["record"])
    return each(held, lambda row: [_record(row)])


def _record(row: Row) -> Record:
    made = read_json(row.value["record"], row.where, row.number)
    return record_of(made.value if isinstance(made, Row) else {})


def write(records: Iterable[Record], path: Path) -> None:
    import pyarrow as pa

    types = {"list<string>": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(kind) or pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    with Table(path, schema) as table:
        for record in records:
            rows = [_row(record, n, trajectory) for n, trajectory in enumerate(record.tree)] or [{}]
            rows[0]["record"] = record_text(record)
            for row in rows:
                table.write(row)


def _row(record: Record, n: int, trajectory: Trajectory) -> dict[str, Any]:
    task = trajectory.task
    return {
        "reward": total_of(record.scores[n]) if record.scores else None,
        "update": record.update,
        "tree": plain.escape(record.tree.id),
        "task": plain.escape(task.id),
        "question": plain.escape(task.question),
        "golds": [plain.escape(gold) for gold in task.golds],
        "trajectory": plain.escape(trajectory.id),
        "end": str(trajectory.end),
        "answer": None if trajectory.answer is None else plain.escape(trajectory.answer),
        "steps": len(trajectory.steps),
        "searches": sum(len(step.queries) for step in trajectory.steps),
        "text": plain.escape("".join(step.text + step.observation for step in trajectory.steps)),
    }


FORMAT = Format("parquet", "our own, lossless: a row a trajectory", (".parquet",), sniff, read, write)
