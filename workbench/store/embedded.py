"""A lab that is all in one folder of this machine: a SQLite catalog, rows beside it, and a file to lock.

Figures behind every setting: a SQLite catalog in WAL mode with one `flock` around each write transaction had no
failed commit in thousands, where the unlocked one had waits of many seconds. Never open the catalog with Python's
own `sqlite3` in a process that has the lab open: closing it would drop the locks of this one (POSIX).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import StoreBusy, StoreError
from workbench.store import catalog
from workbench.store.extensions import quoted
from workbench.store.locks import LockedFile

OWN = ("data", "journal", "backups", "checkpoints", "write.lock", catalog.NAME, catalog.WAL, "catalog.sqlite-shm")
"""What a lab that is not made to its end may hold already."""


@dataclass(frozen=True)
class Embedded:
    """Where such a lab keeps what. See `places.Place`."""

    lab: Path

    extensions = ("ducklake", "sqlite")

    @property
    def data(self) -> str:
        return f"{self.lab / 'data'}/"

    @property
    def is_made(self) -> bool:
        return (self.lab / catalog.NAME).exists()

    def statements(self, *, read_only: bool, snapshot: int | None = None, name: str = "lake") -> list[str]:
        mode = ", READ_ONLY" if read_only else ""
        mode += f", SNAPSHOT_VERSION {snapshot}" if snapshot is not None else ""
        return [
            f"attach {quoted(f'ducklake:sqlite:{self.lab / catalog.NAME}')} as {name} (DATA_PATH {quoted(self.data)}, "
            f"OVERRIDE_DATA_PATH true, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 5000{mode})"
        ]

    def told(self, error: Exception) -> str:
        return str(error)

    @property
    def environment(self) -> dict[str, str]:
        return {}

    @property
    def advice(self) -> str:
        return f"What is damaged, and how to save the rest, says: workbench check {shlex.quote(str(self.lab))}"

    def check_may_be_made(self) -> None:
        """A lab whose catalog is gone shall not be made anew over its rows, and none among other people's files."""
        file = self.lab / catalog.NAME
        gone = "missing" if not file.exists() else "" if file.stat().st_size else "empty"
        if gone and any((self.lab / "data").rglob("*.parquet")):
            raise StoreError(
                f"the catalog of lab {str(self.lab)!r} is {gone}, though its rows are there. Put {catalog.NAME} back "
                f"from a copy, or see what can be saved with: workbench check {shlex.quote(str(self.lab))}"
            )
        others = sorted(entry.name for entry in self.lab.iterdir() if entry.name not in OWN and entry.name[0] != ".")
        if gone and others:
            shown = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
            raise StoreError(
                f"{str(self.lab)!r} is no lab, and holds other things ({shown}); give a folder of its own, such as "
                f"{str(self.lab / 'lab')!r}"
            )

    @property
    def keeps_merged_files(self) -> bool:
        return False  # backups have links of their own to the files of rows

    def back_up(self, name: str) -> Path:
        """Rows are never changed, so their files are linked."""
        target, partial = self.lab / "backups" / name, self.lab / "backups" / f"{name}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            catalog.settle(catalog.copy(self.lab, partial))
            for folder in ("data", "journal"):
                if (self.lab / folder).is_dir():
                    link = _linked if folder == "data" else shutil.copyfile
                    shutil.copytree(self.lab / folder, partial / folder, copy_function=link)
            return partial.rename(target)
        except (OSError, shutil.Error, sqlite3.DatabaseError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise StoreError(f"lab {str(self.lab)!r} could not be backed up, and was left as it is: {error}") from error

    @contextlib.contextmanager
    def locked(self, deadline_s: float) -> Iterator[None]:
        """The kernel drops the lock when the process ends, however it ends."""
        file = _taken(self.lab, deadline_s)
        try:
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%H:%M:%S")}
            with contextlib.suppress(OSError):  # on a full disk nobody is told who holds it, and that is all
                os.ftruncate(file.descriptor, 0)
                os.write(file.descriptor, json.dumps(holder).encode())
            yield
        finally:
            file.close()


def _linked(file: str, target: str) -> None:
    """The file under a second name, where the disk can do that; else a copy."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _taken(lab: Path, deadline_s: float) -> LockedFile:
    give_up = time.monotonic() + deadline_s
    wait_s = 0.001
    while True:
        try:
            file = LockedFile.take(lab / "write.lock", make=True)
        except OSError as error:
            raise StoreError(
                f"the folder of lab {str(lab)!r} cannot be written: {error}. Reading a lab needs that too, for the log "
                "of its catalog; mend the folder, or copy it and open the copy"
            ) from error
        if file is not None:
            return file
        if time.monotonic() > give_up:
            raise StoreBusy(_who_holds(lab, deadline_s))
        time.sleep(wait_s * random.uniform(0.5, 1.5))
        wait_s = min(wait_s * 1.5, 0.02)


def _who_holds(lab: Path, deadline_s: float) -> str:
    try:
        holder = json.loads((lab / "write.lock").read_text())
        who = f"process {holder['pid']} on {holder['host']} has held it since {holder['since']}"
    except (OSError, ValueError, KeyError):
        who = "another process holds it"
    return (
        f"the write lock of lab {str(lab)!r} was not had within {deadline_s:g} s: {who}. Wait, or end that process if "
        "it hangs (the lock goes with it)"
    )
