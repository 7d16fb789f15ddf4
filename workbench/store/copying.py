"""A lab handed on: one plain DuckDB file, or a folder of Parquet files. Neither needs the workbench, nor DuckLake.

A copy holds one moment of the lab (a time or snapshot of it where a `Past` is copied), whole or some of its runs.
Every table and view keeps its name, its columns and what they mean.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from workbench.errors import SettingError
from workbench.plain import MARK, escape
from workbench.store import lake
from workbench.store.reading import Reader
from workbench.store.rows import time_id
from workbench.store.schema import TABLE, TABLES, Relation
from workbench.store.views import VIEWS

BOOKKEEPING = {"journals"}
"""Tables that say something of the lab's folder alone."""

ANSWERED = {"runs", "scores", "returns"}
"""Views that a folder of Parquet holds as rows; the others repeat texts, and lab.sql makes them."""

OF_RUNS = {
    "tasks": "task_key in (from (select task_key, run from trees union select task_key, run from trajectories) "
    "select task_key where {runs})",
    "rewards": "reward in (select reward from scorings where {runs})",
    "lab": "true",
    "vectors": "false",
}
"""Which rows of a table without a column `run` belong to some runs. Vectors can be made again."""

ESCAPED = (
    "a text that begins with U+FDD0 held a NUL or half a character, which a database cannot store; what follows is "
    "Python's unicode_escape of it: text[1:].encode('ascii').decode('unicode_escape'). Such texts stand in {found}"
)

ABOUT = Relation("about_this_copy", "What this copy was made of.", ())


@dataclass(frozen=True)
class _Copy:
    """What every copy says of itself."""

    snapshot: int
    runs: Sequence[str] | None
    rows: dict[str, int]  # by table
    escaped: dict[str, int]  # texts that could not be stored as they were, by table and column

    def told(self) -> Iterator[tuple[str, str]]:
        """Names and sentences."""
        yield "runs", "all" if self.runs is None else ", ".join(map(escape, self.runs))
        yield "snapshot", f"{self.snapshot} of the lab it was made from"
        yield "times", "UTC"
        yield "NULL in a number", "not scored, or not known; never 0"
        if self.escaped:
            found = ", ".join(f"{place}: {count}" for place, count in sorted(self.escaped.items()))
            yield "escaped texts", ESCAPED.format(found=found)


def copy_lab(reader: Reader, path: Path, runs: Sequence[str] | None) -> pd.DataFrame:
    """Write `path`: a DuckDB file where it ends in .duckdb or .db, else a folder of Parquet files.

    Returns:
        One row a table: table, rows.

    Raises:
        SettingError: there is something at `path` already.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise SettingError(f"{path} is there already; a copy is written to a new place")
    path.parent.mkdir(parents=True, exist_ok=True)
    partly = path.with_name(f".partly-{path.name}")
    write = _write_file if path.suffix in (".duckdb", ".db") else _write_folder
    try:
        made = write(reader, partly, runs)
        if path.is_dir():
            path.rmdir()
        partly.replace(path)
    finally:
        _remove(partly)
    return pd.DataFrame({"table": made.rows.keys(), "rows": made.rows.values()})


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _selected(table: Relation, runs: Sequence[str] | None) -> str:
    """The rows of `table` that belong to the runs."""
    if runs is None:
        return f"from {table.name}"
    named = f"run in ({', '.join(lake.quoted(escape(run)) for run in runs)})"
    where = named if any(column.name == "run" for column in table.columns) else OF_RUNS[table.name].format(runs=named)
    return f"from {table.name} where {where}"


def _each_table(
    reader: Reader, runs: Sequence[str] | None, take: Callable[[lake.Connection, Relation, str], int]
) -> _Copy:
    """Hand every table's rows to `take`, all of one moment; it says how many they were."""

    def job(cursor: lake.Connection) -> _Copy:
        with lake.transaction(cursor):  # one snapshot for all tables
            [(snapshot,)] = cursor.execute("select id from lake.current_snapshot()").fetchall()
            rows = {table.name: take(cursor, table, _selected(table, runs)) for table in _tables()}
            escaped = {place: count for table in _tables() for place, count in _escaped(cursor, table, runs)}
            return _Copy(snapshot, runs, rows, escaped)

    return reader.work(job)


def _tables() -> list[Relation]:
    return [table for table in TABLES if table.name not in BOOKKEEPING]


def _escaped(cursor: lake.Connection, table: Relation, runs: Sequence[str] | None) -> Iterator[tuple[str, int]]:
    texts = [column.name for column in table.columns if column.type == "VARCHAR"]
    counts = ", ".join(f"count(*) filter (contains({name}, chr({ord(MARK)})))" for name in texts)
    if texts:
        [found] = cursor.execute(f"select {counts} {_selected(table, runs)}").fetchall()
        yield from ((f"{table.name}.{name}", count) for name, count in zip(texts, found, strict=True) if count)


# ---------------------------------------------------------------- one DuckDB file


def _write_file(reader: Reader, path: Path, runs: Sequence[str] | None) -> _Copy:
    name = f"copy_{time_id().replace('-', '')}"  # several may be made at once

    def take(cursor: lake.Connection, table: Relation, rows: str) -> int:
        cursor.execute(f"create or replace table {name}.{table.name} as {rows}")
        return cursor.execute(f"select count(*) from {name}.{table.name}").fetchall()[0][0]

    _remove(path)
    reader.work(lambda cursor: cursor.execute(f"attach {lake.quoted(str(path))} as {name}"))
    try:
        made = _each_table(reader, runs, take)
    finally:
        reader.work(lambda cursor: cursor.execute(f"detach {name}"))
    with contextlib.closing(duckdb.connect(str(path))) as plain:  # as whoever gets it opens it
        for view in VIEWS:
            plain.execute(f"create view {view.name} as {view.sql}")
        plain.execute(f"create table {ABOUT.name} (name varchar, says varchar)")
        plain.executemany(f"insert into {ABOUT.name} values (?, ?)", [*made.told()])
        for relation in (*VIEWS, *_tables(), ABOUT):
            for comment in _comments(relation):
                plain.execute(comment)
    return made


def _comments(relation: Relation) -> Iterator[str]:
    kind = "view" if relation.sql else "table"
    yield f"comment on {kind} {relation.name} is {lake.quoted(relation.meaning)}"
    for column in relation.columns:
        yield f'comment on column {relation.name}."{column.name}" is {lake.quoted(column.meaning)}'


# ---------------------------------------------------------------- a folder of Parquet files


def _write_folder(reader: Reader, folder: Path, runs: Sequence[str] | None) -> _Copy:
    def take(cursor: lake.Connection, table: Relation, rows: str) -> int:
        return _to_parquet(cursor, rows, folder / table.name, TABLE[table.name].row_group)

    _remove(folder)
    folder.mkdir()
    made = _each_table(reader, runs, take)
    with contextlib.closing(duckdb.connect()) as plain:
        for table in _tables():
            plain.execute(f"create view {table.name} as from read_parquet({lake.quoted(f'{folder}/{table.name}/*')})")
        for view in VIEWS:
            plain.execute(f"create view {view.name} as {view.sql}")
        for view in VIEWS:
            if view.name in ANSWERED:
                made.rows[view.name] = _to_parquet(plain, f"from {view.name}", folder / view.name, None)
    (folder / "lab.sql").write_text(_as_views(made), encoding="utf-8")
    (folder / "README.md").write_text(_readme(made), encoding="utf-8")
    return made


def _to_parquet(connection: lake.Connection, rows: str, folder: Path, row_group: int | None) -> int:
    folder.mkdir(exist_ok=True)
    size = f", row_group_size {row_group}" if row_group else ""
    target = lake.quoted(str(folder / "0.parquet"))
    return connection.execute(f"copy ({rows}) to {target} (format parquet, compression zstd{size})").fetchall()[0][0]


def _as_views(made: _Copy) -> str:
    """SQL that makes everything in the folder readable by its name."""
    lines = ["-- in this folder: duckdb -init lab.sql"]
    lines += [f"create view {name} as from read_parquet('{name}/*.parquet');" for name in made.rows]
    lines += [f"create view {view.name} as {view.sql.strip()};" for view in VIEWS if view.name not in made.rows]
    return "\n".join(lines) + "\n"


def _readme(made: _Copy) -> str:
    """What is in the folder, and what every column means."""
    lines = ["# Trajectories of search agents, with what they were paid and what people said of them", ""]
    lines += ["One folder a table, each with Parquet files. In pandas: `pandas.read_parquet('scores')`. In DuckDB, in"]
    lines += ["this folder: `duckdb -init lab.sql` makes every table and view readable by its name.", ""]
    lines += [f"- {name}: {says}" for name, says in made.told()]
    for relation in (*VIEWS, *_tables()):
        held = f"{made.rows[relation.name]:,} rows" if relation.name in made.rows else "a view: see lab.sql"
        lines += ["", f"## {relation.name}", "", f"{relation.meaning} ({held})", "", "| column | type | meaning |"]
        lines += ["|---|---|---|"]
        lines += [f"| {c.name} | {c.type.lower()} | {c.meaning.replace('|', '/')} |" for c in relation.columns]
    return "\n".join(lines) + "\n"
