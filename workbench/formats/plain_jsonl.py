"""Our own jsonl: one tree a line, nothing lost (see records.py for the layout)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Lines, json_rows
from workbench.formats.reading import each
from workbench.formats.records import record_of, record_text


def sniff(head: Head) -> float:
    if head.has("workbench", "trajectories"):
        return 1.0
    return 0.85 * (head.has("task", "trajectories") and not head.has("is_correct"))  # else rLLM's


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [record_of(row.value)])


def write(records: Iterable[Record], path: Path) -> None:
    with Lines(path) as lines:
        for record in records:
            lines.write_text(record_text(record))


FORMAT = Format("jsonl", "our own, lossless: one tree a line", (".jsonl",), sniff, read, write)
