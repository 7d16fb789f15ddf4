"""Labs of an older schema, made into labs of today's: a backup first, then one step a version.

A step only adds: tables, columns, rows, views. It never alters a column's type (DuckDB 1.5.5 then answers wrongly) and
changes no recorded row; what rows of an older version lack is said where they are read.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from workbench.errors import StoreError
from workbench.store import catalog, lake
from workbench.store.places import place_of
from workbench.store.rows import now
from workbench.store.schema import VERSION
from workbench.store.views import VIEWS, table_settings

Step = Callable[[lake.Connection], None]

STEPS: dict[int, Step] = {}
"""What makes a lab of this version one of the next."""


def step(version: int) -> Callable[[Step], Step]:
    """Register the step from `version` to the next. It runs inside a transaction and may run again once it is done."""

    def register(made: Step) -> Step:
        STEPS[version] = made
        return made

    return register


@step(1)
def _two(connection: lake.Connection) -> None:
    """Version 2: how far journals are folded. And the shape of a score (scorings.shapes) has a sixth element, the
    score's own name: rows of version 1 may have five, and keep them; `scoring._build` reads both."""
    connection.execute("create table if not exists journals (journal VARCHAR, position BIGINT, recorded TIMESTAMP)")


@step(2)
def _three(connection: lake.Connection) -> None:
    """Version 3: vectors of texts that encoders made."""
    connection.execute("create table if not exists vectors (key VARCHAR, vector FLOAT[], recorded TIMESTAMP)")


@dataclass(frozen=True)
class Migrated:
    """What was done."""

    before: int
    after: int
    backup: Path | None  # None: nothing had to be done


def migrate(path: str | Path, *, deadline_s: float = 60.0) -> Migrated:
    """Bring a lab to this workbench's schema. Interrupted, it leaves a lab that it can go on with.

    Args:
        path: the lab's folder. No other process writes to it meanwhile (they wait for the lock).
        deadline_s: how long to wait for those that do, seconds.

    Raises:
        StoreError: there is no lab, it is of a newer workbench, or it (or its backup) cannot be written; then nothing
            is lost, and the message says where the backup is.
        StoreBusy: another process held the write lock.
    """
    lab = Path(path).expanduser().absolute()
    place = place_of(lab)
    if not place.is_made:
        raise StoreError(f"no lab in {str(lab)!r}: it holds no {catalog.NAME}")
    with lake.locked(lab, deadline_s=deadline_s):
        with contextlib.closing(lake.connect(lab, read_only=True)) as reader:
            before = version_of(reader)
        if before is None:
            raise StoreError(f"lab {str(lab)!r} was never made to its end and holds nothing; open it once to make it")
        check_not_newer(lab, before)
        if before == VERSION:
            return Migrated(before, before, None)
        backup = place.back_up(f"schema-{before}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            _take_steps(lab, before)
        except (duckdb.Error, OSError) as error:
            raise StoreError(
                f"lab {str(lab)!r} could not be brought to schema {VERSION}: {error}. No row is lost; run the command "
                f"again once the cause is mended. The lab as it was: {backup}"
            ) from error
    return Migrated(before, VERSION, backup)


def _take_steps(lab: Path, before: int) -> None:
    with contextlib.closing(lake.connect(lab, read_only=False)) as connection:
        for version in range(before, VERSION):
            with lake.transaction(connection):
                STEPS[version](connection)
            if version + 1 == VERSION:
                for setting in table_settings():  # they need the tables committed, and may be made again
                    connection.execute(setting)
            with lake.transaction(connection):
                if version + 1 == VERSION:
                    for view in VIEWS:
                        connection.execute(f"create or replace view {view.name} as {view.sql}")
                row = {"version": version + 1, "now": now()}
                connection.execute("insert into lab values ($version, $now)", row)


def version_of(connection: lake.Connection) -> int | None:
    """Schema version of a lab; None where it was never made to its end."""
    try:
        return connection.execute("select max(version) from lab").fetchall()[0][0]
    except duckdb.CatalogException:
        return None


def check_version(lab: Path, version: int) -> None:
    """Raises StoreError where a lab is of another version, and says what to run."""
    check_not_newer(lab, version)
    if version < VERSION:
        raise StoreError(
            f"lab {str(lab)!r} has schema {version}, of an older workbench; this one works with {VERSION}. Run: "
            f"workbench migrate {shlex.quote(str(lab))}   (it keeps a backup, and changes no recorded row)"
        )


def check_not_newer(lab: Path, version: int) -> None:
    """Raises StoreError where a lab is of a newer version."""
    if version > VERSION:
        raise StoreError(
            f"lab {str(lab)!r} has schema {version}, of a newer workbench; this one knows {VERSION}. Run: "
            "pip install --upgrade reward-workbench"
        )
