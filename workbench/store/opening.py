"""Opening a lab, and making it on first use."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb

from workbench.errors import StoreError
from workbench.store import lake
from workbench.store.rows import now
from workbench.store.schema import VERSION
from workbench.store.store import Store
from workbench.store.views import statements


def open_store(path: str | Path = "lab", *, lock_timeout_s: float = 60.0) -> Store:
    """Open a lab folder, making it on first use. Several processes may have it open at once.

    Args:
        path: the folder. It holds the catalog (catalog.sqlite), the rows (data/) and the write lock.
        lock_timeout_s: how long a write waits for those of other processes, seconds.

    Raises:
        StoreError: the path is a file, or the lab cannot be read or was made by a newer workbench.
        StoreBusy: another process held the write lock while the lab had to be made.
        MissingPackage: an extension package is missing or made for another duckdb.
    """
    lab = Path(path).expanduser().absolute()
    if lab.exists() and not lab.is_dir():
        raise StoreError(f"a lab is a folder, and {str(lab)!r} is a file; give another path")
    lab.mkdir(parents=True, exist_ok=True)
    reader = _made(lab)
    if reader is None:
        with lake.locked(lab, deadline_s=lock_timeout_s):
            _make(lab)
        reader = lake.connect(lab, read_only=True)
    return Store(lab, reader, lock_timeout_s=lock_timeout_s)


def _made(lab: Path) -> lake.Connection | None:
    """A connection to a lab that is made already; None where it is not, or not to the end."""
    if not (lab / "catalog.sqlite").exists():
        return None
    with contextlib.suppress(StoreError):  # someone may be making it; what is really wrong shows again in _make
        reader = lake.connect(lab, read_only=True)
        if _version(reader) == VERSION:
            return reader
        reader.close()
    return None


def _make(lab: Path) -> None:
    with contextlib.closing(lake.connect(lab, read_only=False)) as connection:
        version = _version(connection)
        if version is None:
            create, settings = statements()
            for statement in ("begin", *create, "commit", "begin", *settings, "commit"):
                connection.execute(statement)
            connection.execute("insert into lab values ($version, $now)", {"version": VERSION, "now": now()})
        elif version != VERSION:
            raise StoreError(
                f"lab {str(lab)!r} has schema {version} and this workbench knows {VERSION}; open it with the workbench "
                "that made it, or install the newest"
            )


def _version(connection: lake.Connection) -> int | None:
    """Schema version of the lab, None where it was never made to the end."""
    try:
        return connection.execute("select max(version) from lab").fetchall()[0][0]
    except duckdb.CatalogException:
        return None
