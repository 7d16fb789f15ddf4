"""The catalog's file, without DuckDB: copied while others may be using it, and read where it may be damaged.

Only a copy is ever opened with Python's own `sqlite3`: closing the file itself would drop the locks that this process
holds on it through DuckDB (POSIX).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import StoreBusy

NAME = "catalog.sqlite"
WAL = "catalog.sqlite-wal"

Row = tuple

_DAMAGE = re.compile(r"ducklake-[0-9a-f-]{30,}\.parquet|image is malformed|file is not a database")


def is_damage(error: BaseException) -> bool:
    """Whether DuckDB failed at a file of the lab, rather than at what was asked."""
    return _DAMAGE.search(str(error)) is not None


@dataclass(frozen=True)
class DataFile:
    """A Parquet file that the catalog knows."""

    id: int
    table: str
    path: str  # relative to the lab
    rows: int
    bytes: int
    current: bool  # False: only older snapshots read it


def copy(lab: Path, folder: Path) -> Path:
    """A copy of the catalog in `folder`, with what waits in its -wal beside it.

    Raises:
        StoreBusy: it was written to all the time.
        OSError: there is none, or no room for the copy.
    """
    for _ in range(20):
        before = _stamps(lab)
        for name in (NAME, WAL):
            (folder / name).unlink(missing_ok=True)
            if name in before:
                shutil.copyfile(lab / name, folder / name)
        if _stamps(lab) == before:
            return folder / NAME
        time.sleep(0.1)
    raise StoreBusy(f"the catalog of lab {str(lab)!r} is written to all the time; try again when less is going on")


def _stamps(lab: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for name in (NAME, WAL):
        with contextlib.suppress(FileNotFoundError):
            stat = (lab / name).stat()
            found[name] = (stat.st_size, stat.st_mtime_ns)
    return found


def settle(copied: Path) -> None:
    """Take what waits in the -wal of a copy into it, so that the one file stands alone.

    Raises:
        sqlite3.DatabaseError: it is damaged.
    """
    with contextlib.closing(sqlite3.connect(copied)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def trouble(copied: Path) -> str:
    """What is wrong with a copy of a catalog; "" where nothing is."""
    if not copied.exists():
        return "it is missing"
    if not copied.stat().st_size:
        return "it is empty"
    try:
        with contextlib.closing(sqlite3.connect(copied)) as connection:
            found = [says for (says,) in connection.execute("pragma quick_check(3)").fetchall()]
            if found != ["ok"]:
                return "; ".join(" ".join(str(says).split()) for says in found)
            connection.execute("select count(*) from ducklake_data_file").fetchall()
    except sqlite3.DatabaseError as error:
        return str(error)
    return ""


def data_files(copied: Path) -> list[DataFile]:
    """Every Parquet file that the catalog knows, in the order they were made."""
    query = """
        select f.data_file_id, t.table_name, s.path, t.path, f.path, f.path_is_relative, f.record_count,
               f.file_size_bytes, f.end_snapshot
        from ducklake_data_file f
        join ducklake_table t on t.table_id = f.table_id and t.end_snapshot is null
        join ducklake_schema s on s.schema_id = t.schema_id and s.end_snapshot is null
        order by f.data_file_id
    """
    with contextlib.closing(sqlite3.connect(copied)) as connection:
        rows = connection.execute(query).fetchall()
    return [
        DataFile(id, table, f"data/{schema}{folder}{path}" if relative else path, count, size, end is None)
        for id, table, schema, folder, path, relative, count, size, end in rows
    ]


def bounds(copied: Path, file: DataFile, column: str) -> tuple[str, str] | None:
    """Smallest and largest value of a column in a file, as the catalog has them; None where it has none."""
    query = """
        select c.min_value, c.max_value from ducklake_file_column_stats c
        join ducklake_column n on n.table_id = c.table_id and n.column_id = c.column_id and n.column_name = ?
        where c.data_file_id = ? and c.min_value is not null
    """
    with contextlib.closing(sqlite3.connect(copied)) as connection:
        return connection.execute(query, [column, file.id]).fetchone()


def forget(copied: Path, files: list[DataFile]) -> None:
    """Take files out of a copied catalog: its tables are read without them."""
    with contextlib.closing(sqlite3.connect(copied)) as connection, connection:
        for file in files:
            for table in ("ducklake_data_file", "ducklake_file_column_stats", "ducklake_delete_file"):
                connection.execute(f"delete from {table} where data_file_id = ?", [file.id])


def inlined(copied: Path) -> Iterator[tuple[list[str], list[Row], str]]:
    """Small writes that stand in the catalog itself, as far as they can be read.

    Yields:
        names of the columns, rows, and what kept the rest from being read ("" where nothing did).
    """
    names = "select name from sqlite_master where type = 'table' and name glob 'ducklake_inlined_data_[0-9]*'"
    with contextlib.closing(sqlite3.connect(copied)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        for (name,) in connection.execute(names).fetchall():
            yield _readable(connection, name)


def _readable(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[Row], str]:
    """The rows of a table from its beginning, then from its end, up to where it is damaged."""
    columns: list[str] = []
    rows: dict[int, Row] = {}
    says = ""
    for order in ("asc", "desc"):
        try:
            cursor = connection.execute(f'select rowid, * from "{table}" order by rowid {order}')
            columns = [column for column, *_ in cursor.description][1:]
            for rowid, *row in cursor:
                rows[rowid] = tuple(row)
            break
        except sqlite3.DatabaseError as error:
            says = f"{table}: {error}"
    return columns, list(rows.values()), says
