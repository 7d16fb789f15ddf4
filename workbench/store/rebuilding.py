"""A lab made again without its catalog: from Parquet files, from rows that stood in the catalog's file, from journals.

Without the catalog nobody knows which files were merged into others, or were left by a process that was killed: a row
that comes twice is taken once, and rows of an unfinished write may come in.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from workbench.plain import dumps, unescape
from workbench.store import catalog, lake
from workbench.store.journal import read_records
from workbench.store.parquet import why_unreadable
from workbench.store.rows import arrow, now, time_id, tree_rows
from workbench.store.schema import TABLE, VERSION
from workbench.store.views import statements
from workbench.trajectory import Task, Tree

Note = tuple[str, Path | None, str]
"""Table, file (None: rows that no file holds), and what is wrong with it."""

KEYS = {
    "run_events": ("run", "event", "recorded"),
    "tasks": ("task_key",),
    "trees": ("run", "tree"),
    "trajectories": ("run", "tree", "trajectory"),
    "step_rows": ("run", "tree", "trajectory", "step"),
    "shared_steps": ("run", "tree", "trajectory", "step"),
    "search_rows": ("run", "tree", "trajectory", "step", "call"),
    "rewards": ("reward",),
    "scorings": ("pass",),
    "scores_log": ("pass", "trajectory", "node", "step"),
    "token_scores": ("pass", "trajectory", "node"),
    "edits": ("edit",),
    "labels": ("label",),
    "plans": ("run", "update", "recorded"),
    "reports": ("run", "update", "recorded"),
    "vectors": ("key",),
}
"""What tells the rows of a table apart. Tables without a key are not rebuilt: they tell of the lab's own files."""


def rebuild(lab: Path, files: Sequence[Path], salvage: Path, journals: Sequence[Path]) -> list[Note]:
    """Fill a new lab in the folder `lab`.

    Args:
        files: Parquet files, in folders named for their tables.
        salvage: a copy of the damaged catalog, where there is one; it is changed.
        journals: journals of the damaged lab.

    Returns:
        What could not be read.
    """
    notes: list[Note] = []
    with contextlib.closing(lake.connect(lab, read_only=False)) as connection:
        create, settings = statements()
        for statement in ("begin", *create, "commit", "begin", *settings, "commit"):
            connection.execute(statement)
        with lake.transaction(connection):
            for path in files:
                notes += _take_file(connection, path)
            notes += _take_inlined(connection, salvage)
            for path in journals:
                found = read_records(path.read_bytes())
                for rows, _ in found.items:
                    _take_tables(connection, rows.tables.items())
                if found.corrupt:
                    notes.append(("", path, f"{found.corrupt:,} bytes of the journal are damaged"))
            notes += _fill_gaps(connection)
            connection.execute("insert into lab values ($version, $now)", {"version": VERSION, "now": now()})
    return notes


def _take_file(connection: lake.Connection, path: Path) -> list[Note]:
    table = path.relative_to(next(parent for parent in path.parents if parent.name == "main")).parts[0]
    if table not in KEYS:
        return []
    why = why_unreadable(path)  # an error in the transaction would end it
    if why:
        return [(table, path, why)]
    _insert(connection, table, f"read_parquet({lake.quoted(str(path))})")
    return []


def _take_inlined(connection: lake.Connection, salvage: Path) -> list[Note]:
    notes: list[Note] = []
    if not salvage.exists():
        return notes
    try:
        for columns, rows, trouble in catalog.inlined(salvage):
            own = [name for name in columns if name not in ("row_id", "begin_snapshot", "end_snapshot")]
            table = next((name for name in KEYS if [column.name for column in TABLE[name].columns] == own), "")
            if trouble:
                notes.append((table, None, trouble))
            if table and rows:
                texts = zip(*([None if v is None else str(v) for v in row[-len(own) :]] for row in rows), strict=True)
                columns_of = {name: pa.array(values, pa.string()) for name, values in zip(own, texts, strict=True)}
                _take_tables(connection, [(table, pa.table(columns_of))])
    except sqlite3.DatabaseError as error:
        notes.append(("", None, f"small writes in the catalog cannot be read: {error}"))
    return notes


def _take_tables(connection: lake.Connection, tables: Iterable[tuple[str, pa.Table]]) -> None:
    for name, table in tables:
        if name in KEYS and len(table):
            connection.register("incoming", table)
            _insert(connection, name, "incoming")
            connection.unregister("incoming")


def _insert(connection: lake.Connection, table: str, source: str) -> None:
    """Rows of `source` that the table does not hold yet."""
    given = {name for name, *_ in connection.execute(f"describe select * from {source}").fetchall()}
    columns = [column for column in TABLE[table].columns if column.name in given]
    shown = ", ".join(f"{column.name}::{column.type} as {column.name}" for column in columns)
    same = " and ".join(f"held.{key} is not distinct from came.{key}" for key in KEYS[table])
    once = ", ".join(KEYS[table])
    connection.execute(
        f"insert into {table} by name select came.* from (select {shown} from {source}) came "
        f"where not exists (from {table} held where {same}) "
        f"qualify row_number() over (partition by {once}) = 1"
    )


# ---------------------------------------------------------------- what other rows tell


def _fill_gaps(connection: lake.Connection) -> list[Note]:
    """Rows that stood in the catalog alone and without which others are not found: made up from those others."""
    connection.execute(
        """
        insert into run_events
        select distinct run, 'start', null, '{"kind": "recovered"}', now()::timestamp
        from (select run from trajectories union select run from scores_log union select run from reports)
        where run not in (select run from run_events where event = 'start')
        """
    )
    notes = [_made_up_tasks(connection), _made_up_trees(connection), _made_up_scorings(connection)]
    return [note for note in notes if note is not None]


def _made_up_tasks(connection: lake.Connection) -> Note | None:
    lost = connection.execute(
        """
        select task_key, any_value(task), any_value(kind), any_value(hops) from trajectories
        where task_key not in (select task_key from tasks) group by task_key
        """
    ).fetchall()
    for key, task, kind, hops in lost:
        bare = Tree("", Task(unescape(task), "(lost with the catalog)", kind=unescape(kind)), ())
        row = tree_rows([bare], run="", update=0).tables["tasks"].to_pylist()[0] | {"task_key": key, "hops": hops}
        connection.execute("insert into tasks values (" + ", ".join(["?"] * len(row)) + ")", list(row.values()))
    return ("tasks", None, f"{len(lost):,} tasks: questions and golds are lost, their ids are kept") if lost else None


def _made_up_trees(connection: lake.Connection) -> Note | None:
    lost = connection.execute(
        """
        select run, any_value(update), any_value(task), tree, any_value(task_key), count(*)
        from trajectories anti join trees using (run, tree) group by run, tree
        """
    ).fetchall()
    made = [(*row, "{}", "recovered", time_id(), now()) for row in lost]
    _take_tables(connection, [("trees", arrow("trees", made))])
    return ("trees", None, f"{len(lost):,} trees: what was noted of them (extras) is lost") if lost else None


def _made_up_scorings(connection: lake.Connection) -> Note | None:
    nodes = connection.execute(
        """
        select l.pass::varchar, l.run, l.update, l.task, l.tree, l.reward, t.number, t.trajectory, l.node,
               any_value(l.part), any_value(l.weight), any_value(l.place), any_value(l.level)
        from scores_log l join trajectories t using (run, tree, trajectory)
        where l.pass not in (select pass from scorings) group by all order by all
        """
    ).fetchall()
    passes: dict[tuple, dict[int, dict[int, list]]] = {}
    for *place, number, _, node, part, weight, level_place, level in nodes:
        shape = [0 if node else -1, part, weight, level_place, level, part]
        passes.setdefault(tuple(place), {}).setdefault(number, {})[node] = shape
    counted = "select (run, tree), max(number) + 1 from trajectories group by all"
    sizes = dict(connection.execute(counted).fetchall())
    made = [(*place, _shapes(sizes[place[1], place[4]], nodes_of), now()) for place, nodes_of in passes.items()]
    _take_tables(connection, [("scorings", arrow("scorings", made))])
    says = f"{len(made):,} scorings: their parts stand side by side, how they were nested is lost"
    return ("scorings", None, says) if made else None


def _shapes(trajectories: int, nodes_of: Mapping[int, Mapping[int, list]]) -> str:
    """The column scorings.shapes of a tree, from the nodes of its trajectories by their numbers."""
    gap = [0, "lost", 1.0, "end", "trajectory", "lost"]
    shapes = [
        [nodes.get(node, gap if node else [-1, *gap[1:]]) for node in range(max(nodes, default=0) + 1)]
        for nodes in (nodes_of.get(number, {}) for number in range(trajectories))
    ]
    return dumps({"shapes": shapes, "of": list(range(trajectories))})
