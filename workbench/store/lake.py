"""The lake: DuckDB with DuckLake over the catalog of a lab, wherever that is (`places.py`)."""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb

from workbench.errors import StoreError
from workbench.store.extensions import Connection, instance, quoted
from workbench.store.places import place_of

__all__ = ["Connection", "connect", "cursor", "locked", "quoted", "retried", "transaction"]

T = TypeVar("T")

_TRANSIENT = ("database is locked", "Exceeded the maximum retry count")


def connect(lab: Path, *, read_only: bool, threads: int | None = None, snapshot: int | None = None) -> Connection:
    """A DuckDB of its own with the lab attached as `lake`; as it was at `snapshot`, where one is given.

    Raises:
        MissingPackage: the extension packages are missing or made for another duckdb.
        StoreError: the catalog cannot be read.
    """
    place = place_of(lab)
    connection = instance(place.extensions, threads=threads)
    if not read_only:  # a writer reads files only to merge them: what it kept of them would be as large as the lab
        connection.execute("set enable_external_file_cache = false")
    try:
        for statement in place.statements(read_only=read_only, snapshot=snapshot):
            retried(functools.partial(connection.execute, statement), deadline_s=30.0)
    except duckdb.Error as error:
        connection.close()
        raise StoreError(f"the lab {str(lab)!r} cannot be read: {place.told(error)}") from error
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


def locked(lab: Path, *, deadline_s: float) -> contextlib.AbstractContextManager[None]:
    """Hold the lab's write lock for a block. It goes with the process that holds it, however that ends.

    Raises:
        StoreBusy: another process held it until the deadline.
        StoreError: it cannot be taken at all.
    """
    return place_of(lab).locked(deadline_s)
