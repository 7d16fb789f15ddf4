"""Keeping a lab quick: every commit leaves small files, and a hundred small files read slower than a large one."""

from __future__ import annotations

from pathlib import Path

import duckdb

from workbench.errors import StoreError
from workbench.store import lake
from workbench.store.places import place_of
from workbench.store.schema import TABLES

SMALL_BYTES = 16 * 2**20
"""Files below this size are merged; larger ones stay as they are, so that a merge stays quick however old the lab."""

WHILE_WRITING = 2 * 2**20
"""The same for what a writer merges by itself. All that goes into a file is sorted in memory, ten times its size and
more where texts pack well, and a writer may be an import that was promised a small one."""

MANY = 100
"""A lab with more small files than this is merged by its writers."""

KEPT_HOURS = 25
"""A merged file stays at least an hour of it: another process may be reading it.

DuckLake 1.5.5 compares times as texts in a SQLite catalog, where a day begins at its end: all that was merged on the
day of the limit counts as older. 25 hours back, that is a day of which the last hour is over.
"""


def is_untidy(connection: lake.Connection) -> bool:
    """True where the lab holds many files that are small even for a writer."""
    count = "select count(*) from __ducklake_metadata_lake.ducklake_data_file"
    where = f"where end_snapshot is null and file_size_bytes < {WHILE_WRITING}"
    found = connection.execute(f"{count} {where}").fetchall()
    return found[0][0] > MANY


def tidy(lab: Path, connection: lake.Connection, *, deadline_s: float, small: int = SMALL_BYTES) -> None:
    """Write out rows that wait in the catalog and merge small files. All rows and all older versions stay.

    The lock is taken for one new file at a time, so that other processes write in between. A new file is about as
    large as `small`, in bytes: the memory that is needed grows with it, and not with the lab.
    """
    connection.execute(f"set ducklake_target_file_size = '{small}B'")
    for table in TABLES:
        with lake.locked(lab, deadline_s=deadline_s):
            _run(connection, f"call ducklake_flush_inlined_data('lake', table_name => '{table.name}')", deadline_s)
        limits = f"max_file_size => {small}, max_compacted_files => 1"
        merge = f"call ducklake_merge_adjacent_files('lake', '{table.name}', {limits})"
        merged = True
        while merged:
            with lake.locked(lab, deadline_s=deadline_s):
                merged = bool(_run(connection, merge, deadline_s))
    if place_of(lab).keeps_merged_files:
        return
    with lake.locked(lab, deadline_s=deadline_s):
        before = f"now() - interval '{KEPT_HOURS} hours'"
        _run(connection, f"call ducklake_cleanup_old_files('lake', older_than => {before})", deadline_s)


def _run(connection: lake.Connection, statement: str, deadline_s: float) -> list[tuple]:
    try:
        return lake.retried(lambda: connection.execute(statement).fetchall(), deadline_s=deadline_s)
    except duckdb.Error as error:
        raise StoreError(f"the lab's small files could not be merged (no row is lost): {error}") from error
