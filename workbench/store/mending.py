"""Damaged labs: what exactly is lost, and a new lab with everything that can still be read.

The damaged lab is only read. Where its catalog is whole, the new lab is a copy of it without the files that are
damaged: history, edits and snapshots come along. Where the catalog itself is lost, the tables are filled again from
the Parquet files, from small writes that can still be read in the catalog's file, and from the journals.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from workbench.errors import StoreError
from workbench.plain import unescape
from workbench.store import catalog, lake
from workbench.store.catalog import DataFile
from workbench.store.journal import read_records
from workbench.store.parquet import row_count, why_unreadable, why_unreadable_in
from workbench.store.places import place_of
from workbench.store.rebuilding import rebuild
from workbench.store.schema import TABLES
from workbench.store.team import Team

FILES_OF = """
    select m.value || s.path || t.path || f.path, f.record_count, f.end_snapshot is null
    from __ducklake_metadata_lake.ducklake_data_file f
    join __ducklake_metadata_lake.ducklake_table t on t.table_id = f.table_id and t.end_snapshot is null
    join __ducklake_metadata_lake.ducklake_schema s on s.schema_id = t.schema_id and s.end_snapshot is null
    join __ducklake_metadata_lake.ducklake_metadata m on m.key = 'data_path'
    where t.table_name = $table order by f.data_file_id
"""
"""Address, rows and whether it is read today, of every file of a table."""


@dataclass(frozen=True)
class Loss:
    """A file whose rows cannot be read."""

    table: str
    file: str  # relative to the lab
    why: str
    rows: int | None = None  # None: nobody knows
    runs: str = ""  # whose rows they are, as far as the catalog says
    current: bool = True  # False: only older snapshots need it


@dataclass(frozen=True)
class Health:
    """What a lab's files are like."""

    lab: Path
    catalog: str  # what is wrong with the catalog; "" where nothing is
    losses: tuple[Loss, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)  # that can be read, by table
    journal_bytes: int = 0  # damaged bytes in journals
    notes: tuple[str, ...] = ()  # what a lab made without its catalog lacks

    @property
    def whole(self) -> bool:
        """True where nothing is wrong."""
        return not (self.catalog or self.losses or self.journal_bytes)


def check(path: str | Path) -> Health:
    """Read every file of a lab to its end.

    Raises:
        StoreError: there is no lab, not even a damaged one.
    """
    lab = lab_at(path)
    if isinstance(place_of(lab), Team):
        return _checked_team(lab)
    with tempfile.TemporaryDirectory() as folder:
        copied, trouble = _copied(lab, Path(folder))
        if trouble:
            losses, rows = _unlisted(lab)
        else:
            losses, rows = _listed(lab, copied)
            for names, found, _ in catalog.inlined(copied):
                table = table_of(names)
                if table:
                    ended = names.index("end_snapshot")
                    rows[table] = rows.get(table, 0) + sum(row[ended] is None for row in found)
    damaged = sum(journal_trouble(file) for file in journals(lab))
    return Health(lab, trouble, tuple(losses), rows, damaged)


def recover(path: str | Path, new: str | Path) -> Health:
    """Make a new lab of everything that can be read in a damaged one, which stays as it is.

    Args:
        new: folder of the new lab; it must not be there.

    Returns:
        What could not be saved, and in `rows` what the new lab holds.

    Raises:
        StoreError: there is nothing to recover, `new` is there already, or there is no room for it.
    """
    lab, target = lab_at(path), Path(new).expanduser().absolute()
    if isinstance(place_of(lab), Team):
        raise StoreError(
            f"{str(lab)!r} is a team's lab: its catalog is mended by restoring PostgreSQL's backup, its files by "
            "restoring the bucket's. What can be read goes into a lab of its own with: workbench fill NEWLAB --from "
            f"{shlex.quote(str(lab))}"
        )
    if target.exists():
        raise StoreError(f"the recovered lab goes into a folder of its own, and {str(target)!r} is there already")
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        health = _recovered(lab, partial)
        partial.rename(target)
    except (OSError, shutil.Error, duckdb.Error, sqlite3.DatabaseError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreError(f"lab {str(lab)!r} could not be recovered into {str(target)!r}: {error}") from error
    return health


def lab_at(path: str | Path) -> Path:
    """The folder, where it holds a lab or what is left of one.

    Raises:
        StoreError: it does not.
    """
    lab = Path(path).expanduser().absolute()
    if not (place_of(lab).is_made or _parquet_files(lab) or journals(lab)):
        what = "there is no such folder" if not lab.is_dir() else "it holds no catalog.sqlite, no rows and no journal"
        raise StoreError(f"no lab in {str(lab)!r}: {what}")
    return lab


def journals(lab: Path) -> list[Path]:
    """Files of what was recorded and may not be in the tables yet."""
    return sorted((lab / "journal").glob("*.journal"))


def journal_trouble(file: Path) -> int:
    """Damaged bytes of a journal."""
    return read_records(file.read_bytes()).corrupt


def table_of(columns: Sequence[str]) -> str:
    """The table that has these columns, and what DuckLake adds; "" where none has."""
    own = [name for name in columns if name not in ("row_id", "begin_snapshot", "end_snapshot")]
    return next((table.name for table in TABLES if [column.name for column in table.columns] == own), "")


# ---------------------------------------------------------------- looking


def _copied(lab: Path, folder: Path) -> tuple[Path, str]:
    """A copy of the catalog, and what is wrong with it."""
    copied = catalog.copy(lab, folder)
    trouble = catalog.trouble(copied)
    if not trouble:
        catalog.settle(copied)
    return copied, trouble


def _listed(lab: Path, copied: Path) -> tuple[list[Loss], dict[str, int]]:
    """Losses and rows of the files that the catalog lists."""
    losses, rows = [], dict[str, int]()
    for file in catalog.data_files(copied):
        why = why_unreadable(lab / file.path, file.bytes, file.rows)
        if why:
            runs = _runs_of(catalog.bounds(copied, file, "run"))
            losses.append(Loss(file.table, file.path, why, file.rows, runs, file.current))
        elif file.current:
            rows[file.table] = rows.get(file.table, 0) + file.rows
    return losses, rows


def _unlisted(lab: Path) -> tuple[list[Loss], dict[str, int]]:
    """Losses and rows of all Parquet files there are, where no catalog says which of them count."""
    losses, rows = [], dict[str, int]()
    for path in _parquet_files(lab):
        table = path.relative_to(lab / "data" / "main").parts[0]
        why = why_unreadable(path)
        if why:
            losses.append(Loss(table, str(path.relative_to(lab)), why))
        else:
            rows[table] = rows.get(table, 0) + row_count(path)
    return losses, rows


def _parquet_files(lab: Path) -> list[Path]:
    return sorted((lab / "data" / "main").glob("*/**/*.parquet"))


def _runs_of(bounds: tuple[str, str] | None) -> str:
    if bounds is None:
        return ""
    first, last = map(unescape, bounds)
    return f"run {first}" if first == last else f"runs from {first} to {last}"


def _checked_team(lab: Path) -> Health:
    """Every file that the catalog lists, read to its end where it lies."""
    damaged = sum(journal_trouble(file) for file in journals(lab))
    losses, rows = [], dict[str, int]()
    try:
        connection = lake.connect(lab, read_only=True)
    except StoreError as error:
        return Health(lab, str(error), journal_bytes=damaged)
    with contextlib.closing(connection):
        for table in TABLES:
            rows[table.name] = 0
            for file, count, current in connection.execute(FILES_OF, {"table": table.name}).fetchall():
                why = why_unreadable_in(connection, file, count)
                if why:
                    losses.append(Loss(table.name, file, why, count, current=current))
                elif current:
                    rows[table.name] += count
            if all(loss.table != table.name for loss in losses):  # with what stands in the catalog
                rows[table.name] = connection.execute(f"select count(*) from {table.name}").fetchall()[0][0]
    return Health(lab, "", tuple(losses), rows, damaged)


# ---------------------------------------------------------------- saving


def _recovered(lab: Path, partial: Path) -> Health:
    copied, trouble = _copied(lab, partial)
    if trouble:
        with tempfile.TemporaryDirectory() as folder:
            salvage = Path(folder) / catalog.NAME
            if copied.exists():
                copied.rename(salvage)
            (partial / catalog.WAL).unlink(missing_ok=True)
            notes = rebuild(partial, _parquet_files(lab), salvage, journals(lab))
        losses = [Loss(table, str(path.relative_to(lab)), why) for table, path, why in notes if path]
        made_up = tuple(why for _, path, why in notes if path is None)
        return Health(lab, trouble, tuple(losses), _held(partial), notes=made_up)
    losses, _ = _listed(lab, copied)
    lost = {loss.file for loss in losses}
    catalog.forget(copied, [file for file in catalog.data_files(copied) if file.path in lost])
    _copy_rows(lab, partial, catalog.data_files(copied))
    if journals(lab):
        shutil.copytree(lab / "journal", partial / "journal")
    damaged = sum(journal_trouble(file) for file in journals(lab))
    return Health(lab, "", tuple(losses), _held(partial), damaged)


def _copy_rows(lab: Path, partial: Path, files: Sequence[DataFile]) -> None:
    for file in files:
        target = partial / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(lab / file.path, target)


def _held(lab: Path) -> dict[str, int]:
    """Rows of every table of a lab, read through its catalog."""
    with contextlib.closing(lake.connect(lab, read_only=True)) as connection:
        names = {
            name
            for (name,) in connection.execute(
                "select table_name from duckdb_tables() where database_name = 'lake'"
            ).fetchall()
        }
        return {
            table.name: connection.execute(f"select count(*) from {table.name}").fetchall()[0][0]
            for table in TABLES
            if table.name in names
        }
