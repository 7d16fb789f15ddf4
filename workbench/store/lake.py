"""The lake: DuckDB with DuckLake over a SQLite catalog, loaded offline, and the lock that writers take turns with.

Figures behind every setting: a SQLite catalog in WAL mode with one `flock` around each write transaction had no
failed commit in thousands, where the unlocked one had waits of many seconds. Never open the catalog with Python's
own `sqlite3` in a process that has the lab open: closing it would drop the locks of this one (POSIX).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from workbench.errors import MissingPackage, StoreBusy, StoreError
from workbench.store.locks import LockedFile

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection

EXTENSIONS = {"ducklake": "ducklake", "sqlite": "sqlite_scanner"}
"""Package duckdb-extension-<key> holds the extension that DuckDB calls <value>."""

_TRANSIENT = ("database is locked", "Exceeded the maximum retry count")


def connect(lab: Path, *, read_only: bool, threads: int | None = None, snapshot: int | None = None) -> Connection:
    """A DuckDB of its own with the lab attached as `lake`; as it was at `snapshot`, where one is given.

    Raises:
        MissingPackage: the extension packages are missing or made for another duckdb.
        StoreError: the catalog cannot be read.
    """
    config: dict[str, Any] = {
        "autoinstall_known_extensions": "false",  # nothing is fetched from the network
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",  # a table name never means a Python variable
    }
    if threads:
        config["threads"] = threads
    if not read_only:  # a writer reads files only to merge them: what it kept of them would be as large as the lab
        config["enable_external_file_cache"] = "false"
    connection = duckdb.connect(config=config)
    _load_extensions(connection)
    catalog, data = f"ducklake:sqlite:{lab / 'catalog.sqlite'}", f"{lab / 'data'}/"
    mode = ", READ_ONLY" if read_only else ""
    mode += f", SNAPSHOT_VERSION {snapshot}" if snapshot is not None else ""
    attach = (
        f"attach {quoted(catalog)} as lake (DATA_PATH {quoted(data)}, OVERRIDE_DATA_PATH true, "
        f"META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 5000{mode})"
    )
    try:
        retried(lambda: connection.execute(attach), deadline_s=30.0)
    except duckdb.Error as error:
        raise StoreError(f"the lab {str(lab)!r} cannot be read: {error}") from error
    connection.execute("use lake")
    return connection


def cursor(connection: Connection) -> Connection:
    """A fresh cursor that finds the lab's tables by their bare names."""
    fresh = connection.cursor()
    fresh.execute("use lake")
    return fresh


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """All of the block or nothing."""
    connection.execute("begin")
    try:
        yield connection
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # where DuckDB rolled back by itself
            connection.execute("rollback")
        raise


def retried(attempt: Callable[[], T], *, deadline_s: float) -> T:
    """The result of `attempt`, tried again with jitter while the catalog is locked by another process."""
    give_up = time.monotonic() + deadline_s
    wait_s = 0.005
    while True:
        try:
            return attempt()
        except duckdb.Error as error:
            if not any(sign in str(error) for sign in _TRANSIENT) or time.monotonic() > give_up:
                raise
        time.sleep(wait_s * random.uniform(0.5, 1.5))
        wait_s = min(wait_s * 1.5, 0.25)


@contextlib.contextmanager
def locked(lab: Path, *, deadline_s: float) -> Iterator[None]:
    """Hold the lab's write lock. The kernel drops it when the process ends, however it ends.

    Raises:
        StoreBusy: another process held it until the deadline.
        StoreError: the folder cannot be written.
    """
    file = _taken(lab, deadline_s)
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%H:%M:%S")}
        with contextlib.suppress(OSError):  # on a full disk nobody is told who holds it, and that is all
            os.ftruncate(file.descriptor, 0)
            os.write(file.descriptor, json.dumps(holder).encode())
        yield
    finally:
        file.close()


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


def _load_extensions(connection: Connection) -> None:
    # LOAD by path derives the entry point from the file's name, and the sqlite package names its file differently
    with tempfile.TemporaryDirectory() as folder:
        for package, name in EXTENSIONS.items():
            link = Path(folder) / f"{name}.duckdb_extension"
            link.symlink_to(_extension_file(package))
            connection.execute(f"load {quoted(str(link))}")


def _extension_file(package: str) -> Path:
    wanted = f"duckdb-extension-{package}=={duckdb.__version__}"
    found = importlib.util.find_spec(f"duckdb_extension_{package}")
    if found is None or not found.submodule_search_locations:
        raise MissingPackage(f"the store needs the package duckdb-extension-{package}; run: pip install {wanted}")
    folder = Path(found.submodule_search_locations[0]) / "extensions"
    file = folder / f"v{duckdb.__version__}" / f"{package}.duckdb_extension"
    if not file.exists():
        held = ", ".join(sorted(path.name for path in folder.glob("v*"))) or "no version"
        raise MissingPackage(
            f"duckdb {duckdb.__version__} is installed, but duckdb-extension-{package} is made for {held}; run: "
            "pip install duckdb==1.5.5 duckdb-extension-ducklake==1.5.5 duckdb-extension-sqlite==1.5.5"
        )
    return file


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
