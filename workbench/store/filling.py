"""A lab filled with everything of another: how the lab of one machine becomes a team's, and back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb

from workbench.errors import SettingError, StoreError
from workbench.store import lake
from workbench.store.extensions import load
from workbench.store.opening import open_store
from workbench.store.places import place_of
from workbench.store.schema import TABLES

LEFT_OUT = {"journals", "lab"}
"""Tables that say something of one lab alone."""


def fill(path: str | Path, source: str | Path, *, lock_timeout_s: float = 60.0) -> dict[str, int]:
    """Take every row of the lab `source` into the lab `path`, in one commit. `source` stays as it is.

    Runs, trees, scores, edits and labels come with the times they were recorded at. Older snapshots do not: `at` knows
    the new lab from now on. Checkpoints and plots are files in the folder of `source`; copy those that are wanted.

    Args:
        path: a lab without runs; made where it is missing (a team's lab: `join_team` before).

    Returns:
        How many rows came, by table.

    Raises:
        SettingError: `path` holds runs already, or both are one lab.
        StoreError: one of the labs cannot be read or written; then nothing was taken.
    """
    target, other = (Path(lab).expanduser().absolute() for lab in (path, source))
    if not place_of(other).is_made:
        raise StoreError(f"no lab in {str(other)!r}")
    for lab in (other, target):
        with open_store(lab, lock_timeout_s=lock_timeout_s) as store:  # what waits in journals comes in, and views do
            store.flush()
            runs = store.runs()
    if runs:
        raise SettingError(
            f"lab {str(target)!r} holds runs already ({', '.join(runs[:3])} ...); fill a lab that holds none"
        )
    try:
        with lake.locked(target, deadline_s=lock_timeout_s):
            return _filled(target, other)
    except duckdb.Error as error:
        raise StoreError(f"lab {str(target)!r} was not filled: {place_of(target).told(error)}") from error


def _filled(target: Path, other: Path) -> dict[str, int]:
    place = place_of(other)
    with contextlib.closing(lake.connect(target, read_only=False)) as connection:
        load(connection, place.extensions)
        for statement in place.statements(read_only=True, name="source"):
            connection.execute(statement)
        with lake.transaction(connection):
            return {
                table.name: connection.execute(
                    f"insert into {table.name} by name select * from source.{table.name}"
                ).fetchall()[0][0]
                for table in TABLES
                if table.name not in LEFT_OUT
            }
