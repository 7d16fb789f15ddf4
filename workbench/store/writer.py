"""The writer: what is recorded is put in a journal at once, and a thread folds the journal into the lake.

A recording is acknowledged when it has reached the disk in this process's journal (a few milliseconds, whatever other
processes do). The thread gathers for a moment and then folds everything, in one transaction, under the lab's lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import duckdb

from workbench.errors import StoreBusy, StoreError, WorkbenchError
from workbench.store import lake, upkeep
from workbench.store.folding import SPOILT, Folder, Refused
from workbench.store.journal import Found, Journal, Journals, packed
from workbench.store.overlay import is_said
from workbench.store.rows import Rows

log = logging.getLogger(__name__)

LOOK_EVERY = 20
"""Commits of this process after which it looks whether small files should be merged."""

AGAIN_S = 2.0
"""Seconds after a failed commit before it is tried again, where nobody asks sooner."""

PATIENCE_S = 0.5
"""Seconds that a question waits for rows to be folded where a commit has failed before."""

Job = Callable[[lake.Connection], Any]
"""Something to do inside a write transaction."""


class Writer:
    """Keeps rows in a journal, and folds the journal (and those of dead writers) into the lake."""

    def __init__(self, lab: Path, *, deadline_s: float, linger_s: float) -> None:
        self.lab = lab
        self.deadline_s = deadline_s  # for the lock, and for a locked catalog
        self.linger_s = linger_s  # how long the first row waits for company
        self._process = os.getpid()
        self._journals = Journals(lab / "journal")
        self._appending = threading.Lock()  # not the condition: nobody waits for the disk in there
        self._block = threading.local()  # .together: this thread is in such a block
        self._change = threading.Condition()  # over everything below
        self._jobs: list[tuple[Job, Future]] = []
        self._said: list[tuple[Rows, Journal, int]] = []  # edits and labels that the lake does not hold
        self._unsaid: tuple[Journal, int] | None = None  # where the last of the other rows ends
        self._adopted = False  # journals of dead writers wait
        self._asked = self._answered = 0  # passes of the thread over everything there is
        self._failure: StoreError | None = None  # of the last pass
        self._failures = 0
        self._told = False  # the caller knows of the failure
        self._refused: list[Refused] = []
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="workbench store writer", daemon=True)
        self._folder: Folder | None = None
        self._commits, self._look_at = 0, LOOK_EVERY

    # ------------------------------------------------------------ for callers

    def adopt(self) -> None:
        """Take over the journals of dead writers; the thread folds them."""
        with self._change:
            if self._journals.adopt():
                self._adopted = True
                self._wake()

    def put(self, rows: Rows) -> None:
        """Keep `rows`: on return they are on disk.

        Raises:
            StoreError: the disk is full (nothing was kept), or earlier rows were refused (neither).
        """
        self._check_usable()
        self._tell()
        record = packed(rows)
        with self._appending:
            place = self._journals.append(record, sync=not getattr(self._block, "together", False))
        with self._change:
            if _is_folded(*place):
                return  # by the thread, meanwhile
            if is_said(rows):
                self._said.append((rows, *place))
            else:
                self._unsaid = place
            self._wake()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is put in the block is on disk at its end: one wait for the disk instead of one each."""
        if getattr(self._block, "together", False):
            yield
            return
        self._block.together = True
        try:
            yield
        finally:
            self._block.together = False
            with self._appending:
                self._journals.sync()

    def run(self, job: Job) -> Any:
        """What `job` returns, done in a transaction of its own.

        Raises:
            StoreBusy: the lock was not had in time; nothing was done.
        """
        future: Future = Future()
        self._check_usable()
        self._tell()
        with self._change:
            self._jobs.append((job, future))
            self._asked += 1
            self._wake()
        return future.result()

    def flush(self) -> None:
        """Return when everything put so far is in the lake. Where the lock is not had in time, warn and return.

        Raises:
            StoreError: a commit failed for another reason; the rows stay in the journal.
        """
        self._check_process()
        self._raise_refusal()
        with self._change:
            failure = self._wait(None) if self._journals.waiting() else None
            self._told = self._told or (failure is not None and not isinstance(failure, StoreBusy))
        if failure is not None and not isinstance(failure, StoreBusy):
            raise failure
        self._tell()

    def settle(self) -> list[Rows]:
        """Before a question: fold what only the lake can show. Returns the edits and labels that still wait.

        Never raises for a commit that failed: a question is answered from what there is, with a warning.
        """
        self._check_process()
        self._raise_refusal()
        with self._change:
            if self._adopted or (self._unsaid is not None and not _is_folded(*self._unsaid)):
                self._wait(None if self._failure is None else PATIENCE_S)
        self._tell()
        with self._change:
            return [rows for rows, *_ in self._said]

    def close(self) -> None:
        """Fold everything put so far (a failed commit is tried once more) and stop.

        Raises:
            StoreError: a commit failed, or rows were refused. What is not folded stays in the journal.
        """
        if self._closed or self._process != os.getpid():
            return
        try:
            first = self._flush_error()  # it may be older than what was put last
            last = self._flush_error() if first else None
            if told := last or (first if isinstance(first, Refused) else None):
                raise told
        finally:
            self._stop()

    def _stop(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._disconnect()
        self._journals.close()
        for _, future in self._jobs:
            future.set_exception(StoreError(f"lab {str(self.lab)!r} was closed meanwhile; open it again"))

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
        except (WorkbenchError, RuntimeWarning) as error:
            print(f"lab {str(self.lab)!r} at exit: {error}", file=sys.stderr)

    def _wake(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        self._change.notify_all()

    def _wait(self, patience_s: float | None) -> StoreError | None:
        """Wait until the thread has been over everything there is now. Returns what kept it from folding it."""
        self._asked += 1
        asked, failures = self._asked, self._failures
        self._wake()

        def answered() -> bool:
            busy = self._failures != failures and isinstance(self._failure, StoreBusy)
            return self._answered >= asked or busy or self._closed

        self._change.wait_for(answered, patience_s)
        return self._failure

    def _check_process(self) -> None:
        if self._process != os.getpid():  # the thread, and whoever held the condition, stayed in the other process
            raise StoreError(f"lab {str(self.lab)!r} was opened before this process was forked; open it again here")

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise StoreError(f"lab {str(self.lab)!r} is closed; open it again to go on")

    def _raise_refusal(self) -> None:
        with self._change:
            if self._refused:
                raise self._refused.pop(0)

    def _tell(self) -> None:
        """Raise what was refused; warn of a failing commit, once until one has succeeded again."""
        self._raise_refusal()
        with self._change:
            failure = None if self._told else self._failure
            self._told = self._told or failure is not None
        if failure is not None:
            warnings.warn(str(failure), RuntimeWarning, stacklevel=4)

    # ------------------------------------------------------------ in the thread

    def _loop(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(self._has_work, AGAIN_S if self._failure is not None else None)
                self._change.wait_for(self._is_asked, self.linger_s)
                if self._closed:
                    return
                asked, jobs, self._jobs = self._asked, self._jobs, []
            failure = self._passed(jobs)
            with self._change:
                self._answered, self._failure = asked, failure
                self._failures += failure is not None
                self._told = self._told and failure is not None
                self._change.notify_all()
            self._tidy_now_and_then()

    def _is_asked(self) -> bool:
        return self._closed or self._asked > self._answered

    def _has_work(self) -> bool:
        return self._is_asked() or (self._failure is None and bool(self._journals.waiting()))

    def _passed(self, jobs: list[tuple[Job, Future]]) -> StoreError | None:
        """Do the jobs and fold everything there is. Returns what went wrong; then the rest waits in the journals."""
        for job, future in jobs:
            self._do(job, future)
        failed: StoreError | None = None
        self._journals.adopt()
        for journal, end in self._journals.waiting():
            try:
                self._fold(journal, end)
            except StoreBusy as busy:
                return StoreBusy(f"{busy}. {_waits(self._journals.folder)}")
            except Exception as failure:  # another journal may do better
                self._disconnect()
                failed = failed or _not_folded(self.lab, self._journals.folder, failure)
        self._journals.drop_folded()
        with self._change:
            self._adopted = self._adopted and failed is not None
        return failed

    def _do(self, job: Job, future: Future) -> None:
        def attempt() -> Any:
            with lake.transaction(self._connected().connection) as connection:
                return job(connection)

        try:
            future.set_result(self._commit(attempt))
        except WorkbenchError as error:
            future.set_exception(error)
        except Exception as error:
            self._disconnect()
            future.set_exception(_not_done(self.lab, error))

    def _commit(self, attempt: Callable[[], Any]) -> Any:
        with lake.locked(self.lab, deadline_s=self.deadline_s):
            done = lake.retried(attempt, deadline_s=self.deadline_s)
        self._commits += 1
        return done

    def _connected(self) -> Folder:
        if self._folder is None:
            self._folder = Folder(lake.connect(self.lab, read_only=False, threads=1))
        return self._folder

    def _disconnect(self) -> None:
        if self._folder is not None:
            self._folder.connection.close()
            self._folder = None

    def _fold(self, journal: Journal, end: int) -> None:
        """Fold one journal up to `end`."""
        doubtful = not journal.certain
        if doubtful:
            journal.folded = max(journal.folded, min(self._connected().position(journal.name), end))
        found = journal.read(journal.folded, end)
        if found.corrupt or found.unfinished:
            self._say_damaged(journal, found)
        if found.items:
            journal.certain = False  # a commit that fails may have been made all the same
            self._write(journal, found.items, doubtful)
        journal.folded, journal.certain = end, True
        with self._change:
            self._said = [said for said in self._said if not _is_folded(*said[1:])]

    def _write(self, journal: Journal, items: Sequence[tuple[Rows, int]], doubtful: bool) -> None:
        """Commit records; where that cannot be done at once, one by one, so that no other waits for a spoilt one."""
        end = items[-1][1]
        folder = self._connected()
        try:
            refused = self._commit(lambda: folder.fold(items, journal.name, end, doubtful=doubtful))
        except SPOILT as error:
            self._disconnect()
            if len(items) > 1:
                for item in items:
                    self._write(journal, [item], doubtful=True)
                return
            copy = journal.keep_copy()
            refused = [Refused(f"a recording does not fit the lab and was left out: {error}. It is kept in {copy}")]
            without = self._connected()
            self._commit(lambda: without.fold([], journal.name, end))
        if journal.adopted:
            for refusal in refused:
                log.warning("lab %r, what a process that ended left behind: %s", str(self.lab), refusal)
        else:
            with self._change:
                self._refused += refused

    def _say_damaged(self, journal: Journal, found: Found) -> None:
        if found.unfinished:
            log.warning(
                "lab %r: a process ended while it wrote its journal; %d bytes of a last recording, which was not "
                "acknowledged, are dropped",
                *(str(self.lab), found.unfinished),
            )
        if found.corrupt:
            log.warning(
                "lab %r: %d bytes of a journal cannot be read and are left out; the file is kept as %s",
                *(str(self.lab), found.corrupt, journal.keep_copy()),
            )

    def _tidy_now_and_then(self) -> None:
        if self._commits < self._look_at or self._folder is None:
            return
        self._look_at = self._commits + LOOK_EVERY
        try:
            if upkeep.is_untidy(self._folder.connection):
                small = upkeep.WHILE_WRITING
                upkeep.tidy(self.lab, self._folder.connection, deadline_s=self.deadline_s, small=small)
                self._disconnect()  # what DuckDB remembers of every file it wrote and merged goes with it
        except (StoreError, duckdb.Error) as error:
            log.info("lab %r was not tidied this time: %s", str(self.lab), error)


def _is_folded(journal: Journal, end: int) -> bool:
    return journal.folded >= end


def _waits(folder: Path) -> str:
    return f"What was recorded is safe in {str(folder)!r} and comes in with the next commit, or when the lab is opened"


def _not_folded(lab: Path, folder: Path, failure: Exception) -> StoreError:
    mend = "mend the cause (a full disk, a missing folder, a server that is away) and call flush()"
    return _caused(failure, f"rows could not be written to lab {str(lab)!r}: {failure}. {_waits(folder)}; {mend}")


def _not_done(lab: Path, failure: Exception) -> StoreError:
    return _caused(failure, f"lab {str(lab)!r} could not be written: {failure}. Nothing was changed")


def _caused(failure: Exception, message: str) -> StoreError:
    error = StoreError(message)
    error.__cause__ = failure
    return error
