"""From a file into a lab, a batch at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from workbench.errors import StoreError, WorkbenchError
from workbench.formats.contract import BadRow, Format, Read, Record
from workbench.formats.going_on import Held, mark_of
from workbench.formats.registry import format_named, guess
from workbench.protocols import Recorder

BATCH = 1 << 21
"""Characters of text that are recorded at a time."""

SHOWN = 10
"""Bad rows that are kept; the others are counted."""


class Lab(Recorder, Protocol):
    """A recorder that keeps labels too, and can be waited for, as the store."""

    def flush(self) -> None: ...

    def together(self) -> AbstractContextManager[None]: ...

    def sql(self, query: str, **values: Any) -> Any: ...

    def label(
        self,
        run: str,
        tree: str,
        trajectory: str,
        name: str,
        value: float,
        why: str = "",
        *,
        step: int | None = None,
        who: str | None = None,
    ) -> str: ...


@dataclass
class Imported:
    """What came of an import, so far."""

    run: str
    format: Format
    trees: int = 0
    trajectories: int = 0
    steps: int = 0
    scored: int = 0  # trajectories
    labels: int = 0
    golds: int = 0  # trees whose task has gold answers
    held: int = 0  # trees that the run held before
    renamed: int = 0  # trees whose id stood before in the file
    bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)  # the first of them

    def leave_out(self, row: BadRow) -> None:
        self.bad += 1
        if len(self.bad_rows) < SHOWN:
            self.bad_rows.append(row)


def import_file(
    lab: Lab,
    path: str | Path,
    format: str | None = None,
    *,
    run: str | None = None,
    go_on: bool = False,
    limit: int | None = None,
    progress: Callable[[Imported], None] = lambda imported: None,
    **settings: Any,
) -> Imported:
    """Record every trajectory of a file in one run of a lab, in a memory that does not grow with the file.

    Args:
        format: its name; None guesses.
        run: name of the run; None: the next free one.
        go_on: `run` holds the beginning of this file: record what is missing.
        limit: at most so many trees.
        progress: told after every batch.
        settings: kept with the run.

    Returns:
        What was read and what was left out; `run` is "" where nothing could be read. Ctrl-C keeps what is recorded,
        and ends the run as interrupted.

    Raises:
        FormatError, UnknownName: no such file or format.
    """
    path = Path(path)
    made = format_named(format) if format is not None else guess(path).format
    source = made.read(path)
    told = {"kind": "import", "file": path.name, "mark": mark_of(path), "format": made.name, "limit": limit, **settings}
    imported = Imported(run if go_on and run else "", made)
    held = Held.by(lab, imported.run) if imported.run else Held()
    try:
        records = itertools.islice(_records(source, imported), limit)
        for batch in _batches(_missing(records, held, imported)):
            imported.run = imported.run or lab.start_run(told, name=run)
            _record(lab, imported, batch)
            lab.flush()  # reading must not run ahead of writing: what waits to be written is memory
            progress(imported)
    except BaseException as stop:
        if imported.run:
            lab.end_run(imported.run, "interrupted" if isinstance(stop, KeyboardInterrupt) else "failed")
        raise
    if imported.run:
        lab.end_run(imported.run, "finished")
    return imported


def _missing(records: Iterable[Record], held: Held, imported: Imported) -> Iterator[Record]:
    """What the run does not hold yet."""
    for record in records:
        if held.has(record):
            imported.held += 1
        else:
            yield held.missing(record)


def _records(source: Iterable[Read], imported: Imported) -> Iterator[Record]:
    """The records, each tree under an id of its own."""
    met: set[int] = set()  # hashes of ids: an id itself may be long
    again: dict[int, int] = {}  # hash of an id that was met again -> how often it was met
    for read in source:
        if isinstance(read, BadRow):
            imported.leave_out(read)
            continue
        key = hash(read.tree.id)
        if key in met:
            again[key] = count = again.get(key, 1) + 1
            imported.renamed += 1
            read = replace(read, tree=replace(read.tree, id=f"{read.tree.id}~{count}"))
        met.add(key)
        yield read


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records, as many as fit."""
    batch: list[Record] = []
    held = 0
    for record in records:
        if batch and held > BATCH:
            yield batch
            batch, held = [], 0
        batch.append(record)
        held += sum(len(step.text) + len(step.observation) for one in record.tree for step in one.steps)
    if batch:
        yield batch


def _record(lab: Lab, imported: Imported, batch: Iterable[Record]) -> None:
    with lab.together():
        for update, records in itertools.groupby(batch, key=lambda record: record.update):
            _keep_or_leave_out(lab, imported, list(records), update)


def _keep_or_leave_out(lab: Lab, imported: Imported, records: Sequence[Record], update: int) -> None:
    try:
        _keep(lab, imported, records, update)
    except StoreError:  # a full disk, say: no fault of the rows
        raise
    except WorkbenchError as error:
        if len(records) == 1:
            imported.leave_out(BadRow(f"tree {records[0].tree.id!r}", str(error)))
            return
        for record in records:
            _keep_or_leave_out(lab, imported, [record], update)


def _keep(lab: Lab, imported: Imported, batch: Sequence[Record], update: int) -> None:
    run = imported.run
    lab.record_trees([record.tree for record in batch], run=run, update=update)
    scored = [record for record in batch if record.scores]
    if scored:
        scores = [list(record.scores) for record in scored]
        version = f"as {imported.format.name} has it"
        lab.record_scores([record.tree for record in scored], scores, run=run, update=update, version=version)
    for record in batch:
        for label in record.labels:
            at = (run, record.tree.id, label.trajectory)
            lab.label(*at, label.name, label.value, label.why, step=label.step, who=label.who)
        imported.labels += len(record.labels)
        imported.golds += bool(record.tree.task.golds)
        imported.trajectories += len(record.tree)
        imported.steps += sum(len(one.steps) for one in record.tree)
        imported.scored += sum(bool((scores.status_S == 0).any()) for scores in record.scores)
    imported.trees += len(batch)
