"""Folding: rows of a journal enter the lake in one transaction with how far it is folded, and so exactly once."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from workbench.errors import StoreError
from workbench.plain import unescape
from workbench.store import lake, queries
from workbench.store.rows import Rows, arrow, now

ONCE = {"tasks": "task_key", "rewards": "reward", "vectors": "key"}
"""Tables that hold each key once, with the key's column."""

Recorded = dict[tuple[str, str], tuple[int, str]]
"""Update and digest of trees that the lab holds, by run and tree."""

SPOILT = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConstraintException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
)
"""Errors of rows that will never fit, however often they are tried."""


class Refused(StoreError):
    """Rows that contradict what the lab holds. They were dropped."""


class Folder:
    """Writes rows through one connection, and remembers which keys the lab holds."""

    def __init__(self, connection: lake.Connection) -> None:
        self.connection = connection
        self._known: dict[str, set[str]] = {table: set() for table in ONCE}

    def position(self, journal: str) -> int:
        """How many bytes of a journal the lake holds."""
        return self.connection.execute(queries.FOLDED, {"journal": journal}).fetchall()[0][0]

    def fold(
        self, records: Sequence[tuple[Rows, int]], journal: str, position: int, *, doubtful: bool = False
    ) -> list[Refused]:
        """Write `records` (rows, and where in the journal they end), and that the journal is folded up to here.

        All or nothing. With `doubtful`, what the lake holds already is left out: a server may have gone on with a
        commit whose process was killed, after it was asked how far that had come. Returns what was refused.
        """
        with lake.transaction(self.connection) as connection:
            held = self.position(journal) if doubtful else 0
            items = [rows for rows, end in records if end > held]
            known = _recorded(connection, items)
            tables: dict[str, list[pa.Table]] = {"journals": [arrow("journals", [(journal, position, now())])]}
            refused = []
            for item in items:
                kept, refusal = _without_known(item, known)
                for name, table in kept.items():
                    tables.setdefault(name, []).append(table)
                refused += [refusal] if refusal else []
            for name, pieces in tables.items():
                self._insert(name, pa.concat_tables(pieces))
        return refused

    def _insert(self, name: str, table: pa.Table) -> None:
        if name in ONCE:
            table = self._unknown_only(name, table)
        if len(table):
            self.connection.register("incoming", table)
            self.connection.execute(f"insert into {name} by name select * from incoming")
            self.connection.unregister("incoming")

    def _unknown_only(self, name: str, table: pa.Table) -> pa.Table:
        """The rows whose key the lab does not hold yet, each once."""
        key, known = ONCE[name], self._known[name]
        row_of = {value: row for row, value in enumerate(table.column(key).to_pylist())}
        fresh = [value for value in row_of if value not in known]
        if fresh:
            query = f"select {key} from {name} where {key} in (select unnest($keys))"
            known |= {value for (value,) in self.connection.execute(query, {"keys": fresh}).fetchall()}
        return table.take(pa.array([row_of[value] for value in fresh if value not in known], pa.int64()))


def _recorded(connection: lake.Connection, items: Sequence[Rows]) -> Recorded:
    """What the lab holds of the trees that `items` record or score."""
    runs = {item.run for item in items}
    trees = {tree for item in items for tree in item.trees}
    if not trees:
        return {}
    rows = connection.execute(queries.RECORDED, {"runs": sorted(runs), "trees": sorted(trees)}).fetchall()
    return {(run, tree): (update, digest) for run, tree, update, digest in rows}


def _without_known(item: Rows, known: Recorded) -> tuple[dict[str, pa.Table], Refused | None]:
    """The tables of `item` without the trees that are recorded already; new ones join `known`."""
    if item.scored:
        return _at_their_update(item, known), None
    held = {tree for tree in item.digests if (item.run, tree) in known}
    other = sorted(tree for tree in held if known[item.run, tree][1] != item.digests[tree])
    known |= {(item.run, tree): (item.update, digest) for tree, digest in item.digests.items() if tree not in held}
    refusal = None
    if other:
        refusal = Refused(
            f"run {unescape(item.run)!r} holds another tree with the id {unescape(other[0])!r} already (of update "
            f"{known[item.run, other[0]][0]}), so this one was not recorded; tree ids must be unique in a run"
        )
    tables = item.tables
    if held:
        gone = pa.array(sorted(held))
        tables = {
            name: table if name in ONCE else table.filter(pc.invert(pc.is_in(table.column("tree"), value_set=gone)))
            for name, table in tables.items()
        }
    return tables, refusal


def _at_their_update(item: Rows, known: Recorded) -> dict[str, pa.Table]:
    """Scores stand at the update that their tree was recorded for, whenever they are given."""
    update_of = {tree: known.get((item.run, tree), (item.update, ""))[0] for tree in item.trees}
    if set(update_of.values()) <= {item.update}:
        return item.tables
    tables = {}
    for name, table in item.tables.items():
        if name not in ONCE:
            updates = pa.array([update_of[tree] for tree in table.column("tree").to_pylist()], pa.int32())
            table = table.set_column(table.column_names.index("update"), "update", updates)
        tables[name] = table
    return tables
