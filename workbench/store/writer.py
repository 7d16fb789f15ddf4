"""The writer: one thread a process that gathers rows and commits them, many at a time, under the lab's lock."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import StoreError, WorkbenchError
from workbench.plain import unescape
from workbench.store import lake, queries, upkeep
from workbench.store.rows import Rows

ONCE = {"tasks": "task_key", "rewards": "reward"}
"""Tables that hold each key once, with the key's column."""

LOOK_EVERY = 20
"""Commits of this process after which it looks whether small files should be merged."""

Job = Callable[[lake.Connection], Any]
"""Something to do inside a write transaction."""

Recorded = dict[tuple[str, str], tuple[int, str]]
"""Update and digest of trees that the lab holds, by run and tree."""


class Refused(StoreError):
    """Rows that contradict what the lab holds. They were dropped."""


class Writer:
    """Queues rows and jobs, in order; a thread commits what has gathered.

    A failed commit changes nothing: what it held stays queued, the error is raised at the next call, and then the
    commit is tried again.
    """

    def __init__(self, lab: Path, *, deadline_s: float, linger_s: float) -> None:
        self.lab = lab
        self.deadline_s = deadline_s  # for the lock, and for a locked catalog
        self.linger_s = linger_s  # how long the first row waits for company
        self._process = os.getpid()
        self._change = threading.Condition()
        self._queue: list[tuple[Rows | Job, Future]] = []
        self._hurry = False  # someone waits: do not linger
        self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._loop, name="workbench store writer", daemon=True)
        self._connection: lake.Connection | None = None
        self._commits = 0
        self._known: dict[str, set[str]] = {table: set() for table in ONCE}

    def put(self, item: Rows | Job) -> Future:
        """Queue `item`. The future holds the result of a job once it is committed."""
        future: Future = Future()
        self._check_usable()
        with self._change:
            self._raise_error()
            self._queue.append((item, future))
            if not self._thread.is_alive():
                self._thread.start()
            self._change.notify_all()
        return future

    def run(self, job: Job) -> Any:
        """Commit everything queued and `job`, and return what it returned."""
        future = self.put(job)
        self.flush()
        return future.result()

    def flush(self) -> None:
        """Return when everything queued so far is committed; raise what kept it from being so."""
        self._check_process()
        with self._change:
            self._raise_error()
            if self._queue:
                last = self._queue[-1][1]
                self._hurry = True
                self._change.notify_all()
                self._change.wait_for(lambda: self._error is not None or last.done())
                self._raise_error()

    def close(self) -> None:
        """Commit everything queued (a failed commit is tried once more) and stop."""
        if self._closed or self._process != os.getpid():
            return
        first = self._flush_error()  # it may be older than what is queued now
        last = self._flush_error() if first else None
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._disconnect()
        told = last or (first if isinstance(first, Refused) else None)
        if told is not None:
            raise told

    def _flush_error(self) -> StoreError | None:
        try:
            self.flush()
        except StoreError as error:
            return error
        return None

    def close_at_exit(self) -> None:
        """`close`, with an error told instead of raised: nobody is left to catch it."""
        if threading.current_thread() is self._thread:  # collected by chance in here; it cannot wait for itself
            threading.Thread(target=self.close_at_exit).start()
            return
        try:
            self.close()
        except WorkbenchError as error:
            lost = f"{len(self._queue)} recordings are lost: " if self._queue else ""
            print(f"lab {str(self.lab)!r} at exit: {lost}{error}", file=sys.stderr)

    def _check_process(self) -> None:
        if self._process != os.getpid():  # the thread, and whoever held the condition, stayed in the other process
            raise StoreError(f"lab {str(self.lab)!r} was opened before this process was forked; open it again here")

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise StoreError(f"lab {str(self.lab)!r} is closed; open it again to go on")

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            self._change.notify_all()  # the thread may try again
            raise error

    # ------------------------------------------------------------ in the thread

    def _loop(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or (self._queue and self._error is None))
                if self._closed:
                    return
                self._change.wait_for(lambda: self._hurry or self._closed, timeout=self.linger_s)
                taken, self._hurry = list(self._queue), False
            try:
                self._write(taken)
            except Exception as failure:  # whatever it was: the caller gets it, and what was not committed stays queued
                self._disconnect()
                with self._change:
                    self._error = failure if isinstance(failure, WorkbenchError) else _told(self.lab, failure)
                    self._change.notify_all()

    def _write(self, taken: Sequence[tuple[Rows | Job, Future]]) -> None:
        """Commit what was taken off the queue's front."""
        results = self._commit([item for item, _ in taken])
        with self._change:
            del self._queue[: len(taken)]
            self._error = _settle(taken, results)
            self._change.notify_all()
        self._commits += 1
        if self._commits % LOOK_EVERY == 0 and self._connection is not None and upkeep.is_untidy(self._connection):
            upkeep.tidy(self.lab, self._connection, deadline_s=self.deadline_s)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, items: Sequence[Rows | Job]) -> list[Any]:
        """Everything in one transaction. For each item its result, or the error that refused it."""
        with lake.locked(self.lab, deadline_s=self.deadline_s):
            return lake.retried(lambda: self._attempt(items), deadline_s=self.deadline_s)

    def _attempt(self, items: Sequence[Rows | Job]) -> list[Any]:
        if self._connection is None:
            self._connection = lake.connect(self.lab, read_only=False, threads=1)
        with lake.transaction(self._connection) as connection:
            known = _recorded(connection, [item for item in items if isinstance(item, Rows)])
            tables: dict[str, list[pa.Table]] = {}
            results = []
            for item in items:
                if isinstance(item, Rows):
                    kept, refusal = _without_known(item, known)
                    for name, table in kept.items():
                        tables.setdefault(name, []).append(table)
                    results.append(refusal)
                else:
                    results.append(_outcome(item, connection))
            for name, pieces in tables.items():
                self._insert(connection, name, pa.concat_tables(pieces))
        return results

    def _insert(self, connection: lake.Connection, name: str, table: pa.Table) -> None:
        if name in ONCE:
            table = self._unknown_only(connection, name, table)
        if len(table):
            connection.register("incoming", table)
            connection.execute(f"insert into {name} by name select * from incoming")
            connection.unregister("incoming")

    def _unknown_only(self, connection: lake.Connection, name: str, table: pa.Table) -> pa.Table:
        """The rows whose key the lab does not hold yet, each once."""
        key, known = ONCE[name], self._known[name]
        row_of = {value: row for row, value in enumerate(table.column(key).to_pylist())}
        fresh = [value for value in row_of if value not in known]
        if fresh:
            query = f"select {key} from {name} where {key} in (select unnest($keys))"
            known |= {value for (value,) in connection.execute(query, {"keys": fresh}).fetchall()}
        return table.take(pa.array([row_of[value] for value in fresh if value not in known], pa.int64()))


def _outcome(job: Job, connection: lake.Connection) -> Any:
    """The job's result. A refusal (an error of ours) is a result too, and spoils nothing else."""
    try:
        return job(connection)
    except WorkbenchError as refusal:
        return refusal


def _settle(taken: Sequence[tuple[Rows | Job, Future]], results: Sequence[Any]) -> Exception | None:
    """Give every future its result. Returns the first refusal of rows: nobody waits for those."""
    refused = None
    for (item, future), result in zip(taken, results, strict=True):
        if isinstance(result, Exception) and not isinstance(item, Rows):
            future.set_exception(result)
        else:
            future.set_result(result)
            refused = refused or (result if isinstance(result, Exception) else None)
    return refused


def _told(lab: Path, failure: Exception) -> StoreError:
    error = StoreError(
        f"rows could not be written to lab {str(lab)!r}: {failure}. They are kept in memory and tried again at the "
        "next call; mend the cause (a full disk, a missing folder) and call flush()"
    )
    error.__cause__ = failure
    return error


# ---------------------------------------------------------------- what the lab holds already


def _recorded(connection: lake.Connection, items: Sequence[Rows]) -> Recorded:
    """What the lab holds of the trees that `items` record or score."""
    runs = {item.run for item in items}
    trees = {tree for item in items for tree in item.trees}
    if not trees:
        return {}
    rows = connection.execute(queries.RECORDED, {"runs": sorted(runs), "trees": sorted(trees)}).fetchall()
    return {(run, tree): (update, digest) for run, tree, update, digest in rows}


def _without_known(item: Rows, known: Recorded) -> tuple[dict[str, pa.Table], Refused | None]:
    """The tables of `item` without the trees that are recorded already; new ones join `known`."""
    if item.scored:
        return _at_their_update(item, known), None
    held = {tree for tree in item.digests if (item.run, tree) in known}
    other = sorted(tree for tree in held if known[item.run, tree][1] != item.digests[tree])
    known |= {(item.run, tree): (item.update, digest) for tree, digest in item.digests.items() if tree not in held}
    refusal = None
    if other:
        refusal = Refused(
            f"run {unescape(item.run)!r} holds another tree with the id {unescape(other[0])!r} already (of update "
            f"{known[item.run, other[0]][0]}), so this one was not recorded; tree ids must be unique in a run"
        )
    tables = item.tables
    if held:
        gone = pa.array(sorted(held))
        tables = {
            name: table if name in ONCE else table.filter(pc.invert(pc.is_in(table.column("tree"), value_set=gone)))
            for name, table in tables.items()
        }
    return tables, refusal


def _at_their_update(item: Rows, known: Recorded) -> dict[str, pa.Table]:
    """Scores stand at the update that their tree was recorded for, whenever they are given."""
    update_of = {tree: known.get((item.run, tree), (item.update, ""))[0] for tree in item.trees}
    if set(update_of.values()) <= {item.update}:
        return item.tables
    tables = {}
    for name, table in item.tables.items():
        if name not in ONCE:
            updates = pa.array([update_of[tree] for tree in table.column("tree").to_pylist()], pa.int32())
            table = table.set_column(table.column_names.index("update"), "update", updates)
        tables[name] = table
    return tables
