"""What every trajectory was paid by every part, added up once and kept in memory for tables that sort by it.

Adding up the view `scores` anew for each page would take most of a second at a million steps. What the view says of a
tree changes only with a new scoring of the tree or an edit in it, so only such trees are added up again. A trajectory
and part takes about a hundred bytes.
"""

from __future__ import annotations

import threading

from workbench.plain import escape
from workbench.store import lake
from workbench.store.reading import Reader

RETURNS = """
    select run, tree, trajectory, case when count(*) = count(weighted) then sum(weighted) end as value
    from memory.main.sums group by run, tree, trajectory
"""
"""The view `returns`, from the sums."""

_TABLES = (
    """
    create table if not exists memory.main.sums (
        run varchar, tree varchar, trajectory varchar, part varchar,
        value double,     -- before weighting; NULL: a score is missing
        weighted double,
        edited boolean
    )
    """,
    "create table if not exists memory.main.summed (run varchar, tree varchar, signature varchar)",
    "create table if not exists memory.main.stale (run varchar, tree varchar, signature varchar)",
)

_COUNTS = "select (select count(*) from scorings), (select count(*) from edits)"

_FIND_STALE = """
    insert into memory.main.stale from (
        select s.run, s.tree, concat_ws(' ', max(s.pass)::varchar, any_value(e.edit)::varchar) as signature
        from scorings s left join (select run, tree, max(edit) as edit from edits group by all) e using (run, tree)
        where $run is null or s.run = $run
        group by s.run, s.tree
    ) anti join memory.main.summed using (run, tree, signature)
"""

_TAKE_OVER = (
    "delete from memory.main.sums where (run, tree) in (select (run, tree) from memory.main.stale)",
    "delete from memory.main.summed where (run, tree) in (select (run, tree) from memory.main.stale)",
    """
    insert into memory.main.sums
    select run, tree, trajectory, part,
           case when count(*) = count(value) then sum(value) end,
           case when count(*) = count(value) then sum(weight * value) end,
           bool_or(edited)
    from scores semi join memory.main.stale using (run, tree)
    group by run, tree, trajectory, part
    """,
    "insert into memory.main.summed from memory.main.stale",
    "delete from memory.main.stale",
)


class Sums:
    """The table memory.main.sums beside a lab."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._counts: dict[str | None, tuple] = {}  # scorings and edits that the lab held when a run was taken over

    def refresh(self, run: str | None = None) -> None:
        """Take over what is new in a run; None: in all of them."""
        with self._lock:
            [counts] = self._reader.rows(_COUNTS)
            if counts not in (self._counts.get(run), self._counts.get(None)):
                self._reader.work(lambda cursor: _take_over(cursor, run))
                self._counts[run] = counts


def _take_over(cursor: lake.Connection, run: str | None) -> None:
    with lake.transaction(cursor):
        for table in _TABLES:
            cursor.execute(table)
        cursor.execute(_FIND_STALE, {"run": None if run is None else escape(run)})
        for statement in _TAKE_OVER:
            cursor.execute(statement)
