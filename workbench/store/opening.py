"""Opening a lab, and making it on first use."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb

from workbench.errors import StoreError
from workbench.store import lake
from workbench.store.migrating import check_version, version_of
from workbench.store.places import place_of
from workbench.store.rows import now
from workbench.store.schema import VERSION
from workbench.store.store import Store
from workbench.store.views import statements


def open_store(path: str | Path = "lab", *, lock_timeout_s: float = 60.0) -> Store:
    """Open a lab folder, making it on first use. Several processes may have it open at once.

    What processes that were killed left in their journals comes in now.

    Args:
        path: the folder. It holds the catalog (catalog.sqlite), the rows (data/), the write lock, and what was recorded
            and is not in the tables yet (journal/).
        lock_timeout_s: how long a commit waits for those of other processes, seconds; after that it warns, and tries
            again. What is recorded is on disk before.

    Raises:
        StoreError: the path is a file, or the lab cannot be read or was made by a newer workbench.
        StoreBusy: another process held the write lock while the lab had to be made.
        MissingPackage: an extension package is missing or made for another duckdb.
    """
    lab = Path(path).expanduser().absolute()
    try:
        if lab.exists() and not lab.is_dir():
            raise StoreError(f"a lab is a folder, and {str(lab)!r} is a file; give another path")
        lab.mkdir(parents=True, exist_ok=True)
        reader = _made(lab)
        if reader is None:
            place_of(lab).check_may_be_made()  # before the lock leaves a file
            with lake.locked(lab, deadline_s=lock_timeout_s):
                make(lab)
            reader = lake.connect(lab, read_only=True)
    except PermissionError as error:
        raise StoreError(
            f"lab {str(lab)!r} cannot be opened: {error.strerror}: {error.filename!r}. A lab's folder must be "
            "writable, also to read it: readers leave notes there for writers. Copy it to where you may write"
        ) from error
    except (StoreError, duckdb.Error) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        if not isinstance(cause, duckdb.Error):
            raise
        raise StoreError(
            f"lab {str(lab)!r} cannot be read: {place_of(lab).told(cause)}. {place_of(lab).advice}"
        ) from cause
    return Store(lab, reader, lock_timeout_s=lock_timeout_s)


def _made(lab: Path) -> lake.Connection | None:
    """A connection to a lab that is made already; None where it is not, or not to the end."""
    if not place_of(lab).is_made:
        return None
    with contextlib.suppress(
        StoreError, duckdb.Error
    ):  # someone may be making it; what is really wrong shows again in make
        reader = lake.connect(lab, read_only=True)
        if version_of(reader) == VERSION:
            return reader
        reader.close()
    return None


def make(lab: Path) -> None:
    """Make the tables of a lab where they are missing; the lock is held.

    Raises:
        StoreError: it is of another schema.
    """
    place_of(lab).check_may_be_made()
    with contextlib.closing(lake.connect(lab, read_only=False)) as connection:
        version = version_of(connection)
        if version is not None:
            check_version(lab, version)
            return
        create, settings = statements()
        for statement in ("begin", *create, "commit", "begin", *settings, "commit"):
            connection.execute(statement)
        connection.execute("insert into lab values ($version, $now)", {"version": VERSION, "now": now()})
