"""Browsing a lab: a page at a time of runs, tasks and trajectories, sorted and filtered by the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import SettingError, UnknownName
from workbench.scores import Status
from workbench.store.queries import spread
from workbench.store.reading import Reader
from workbench.store.sums import RETURNS, Sums

PART = "part:"
"""Before the name of a reward's part: the column of what that part paid."""

MOST_ROWS = 500
"""Rows of one page."""

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class Query:
    """What to show of a listing. Columns go by name; what a part paid is the column ``part:NAME``."""

    sort: str = ""  # a column; "": the listing's own order
    descending: bool = False
    text: str = ""  # in the texts of a row, upper or lower case
    equal: Mapping[str, str] = field(default_factory=dict)  # by column
    ranges: Mapping[str, Range] = field(default_factory=dict)  # by column, both ends included; None: no end
    offset: int = 0
    limit: int = 50

    def __post_init__(self) -> None:
        if self.offset < 0 or not 1 <= self.limit <= MOST_ROWS:
            raise SettingError(
                f"a page starts at row 0 or later and has 1 to {MOST_ROWS} rows, got offset {self.offset} and "
                f"limit {self.limit}"
            )

    @property
    def columns(self) -> set[str]:
        """The columns that decide which rows come, and in which order."""
        return {*self.equal, *self.ranges, *([self.sort] if self.sort else [])}


NOTHING_ASKED = Query()


@dataclass(frozen=True)
class Paid:
    """What a trajectory was paid: by one part over all its steps, or by all parts together."""

    value: float | None  # a part's before weighting; None: not scored
    status: Status
    edited: bool = False  # a person changed one of its scores
    pays: float | None = None  # the value times its weight


UNPAID = Paid(None, Status.NOT_APPLICABLE)


@dataclass(frozen=True)
class Page:
    """Rows of a listing by column name, and how many there are on all pages together."""

    rows: list[dict[str, Any]]
    total: int


@dataclass(frozen=True)
class _Listing:
    columns: tuple[str, ...]
    texts: tuple[str, ...]  # the columns that `Query.text` is looked for in
    order: str  # of rows that the query does not order


RUNS = _Listing(
    ("run", "kind", "status", "started", "finished", "updates", "trajectories", "return", "unscored"),
    ("run", "kind"),
    "started desc, run",
)
RUN_ROWS = f"""
    select r.run, r.settings->>'kind' as kind, r.status, r.started, r.finished,
           t.updates, coalesce(t.trajectories, 0) as trajectories, p.mean as return,
           coalesce(t.trajectories, 0) - coalesce(p.scored, 0) as unscored
    from runs r
    left join (
        select run, max(update) as updates, count(*) as trajectories from trajectories group by all
    ) t using (run)
    left join (select run, avg(value) as mean, count(value) as scored from ({RETURNS}) group by all) p using (run)
"""

TASKS = _Listing(
    ("task", "question", "golds", "kind", "hops", "trajectories", "return", "spread", "unscored"),
    ("task", "question", "golds"),
    "task",
)
TASK_ROWS = f"""
    select t.task, any_value(k.question) as question, any_value(k.golds) as golds, any_value(k.kind) as kind,
           any_value(k.hops) as hops, count(*) as trajectories, avg(p.value) as return,
           {spread("p.value")} as spread, count(*) - count(p.value) as unscored
    from trajectories t join tasks k on k.task_key = t.task_key
    left join (select * from ({RETURNS}) where run = $run) p using (run, tree, trajectory)
    where t.run = $run group by t.task
"""

TRAJECTORIES = _Listing(
    (
        *("update", "task", "tree", "trajectory", "question", "golds", "answer", "ended", "end_reason"),
        *("hops", "steps", "searches", "own_tokens", "return"),
    ),
    ("question", "answer"),
    "update, tree, number",
)
TRAJECTORY_ROWS = """
    select t.update, t.task, t.tree, t.trajectory, t.number, k.question, k.golds, t.answer, t.ended, t.end_reason,
           t.hops, t.steps, t.searches, t.own_tokens{columns}
    from trajectories t join tasks k on k.task_key = t.task_key {joins}
    where t.run = $run
"""
RETURN_JOIN = (
    f"left join (select * from ({RETURNS}) where run = $run) p on p.tree = t.tree and p.trajectory = t.trajectory"
)
PART_JOIN = """
    left join memory.main.sums part{n}
    on part{n}.run = $run and part{n}.part = $name{n} and part{n}.tree = t.tree and part{n}.trajectory = t.trajectory
"""

PAID = """
    select tree, trajectory, part, value, weighted, edited from memory.main.sums
    where run = $run and tree in (select unnest($trees))
"""

PARTS = """
    select part, min(node) from scores_log
    semi join (select max(pass) as pass from scorings where run = $run group by tree) newest using (pass)
    where run = $run and term group by part order by min(node), part
"""

UPDATES = "select distinct update from trees where run = $run order by update"


class Browsing:
    """Pages of a lab: `Store.browsing`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sums = Sums(reader)

    def runs(self, query: Query = NOTHING_ASKED) -> Page:
        """Runs, newest first: updates, trajectories, mean return [reward units], unscored trajectories."""
        self._sums.refresh()
        return self._page(RUN_ROWS, RUNS, query, {})

    def tasks(self, run: str, query: Query = NOTHING_ASKED) -> Page:
        """Tasks of a run: trajectories, mean and spread (population standard deviation) of their returns."""
        self._sums.refresh(run)
        return self._page(TASK_ROWS, TASKS, query, {"run": run})

    def trajectories(self, run: str, query: Query = NOTHING_ASKED) -> Page:
        """Trajectories of a run.

        Returns:
            A page whose rows hold, beside their columns, `return`: Paid, and `parts`: Paid by name of the part (a part
            that says nothing of a trajectory is left out).
        """
        self._sums.refresh(run)
        parts = sorted(name for name in query.columns if name.startswith(PART))
        listing = _Listing((*TRAJECTORIES.columns, *parts), TRAJECTORIES.texts, TRAJECTORIES.order)
        given = {f"name{n}": name.removeprefix(PART) for n, name in enumerate(parts)}
        rows = _trajectory_rows(len(parts), paid="return" in query.columns)
        page = self._page(rows, listing, query, {"run": run, **given})
        return Page(self._with_parts(run, page.rows), page.total)

    def parts(self, run: str) -> list[str]:
        """Names of the parts that scored something in a run, in the order of its reward."""
        return [part for part, _ in self._reader.rows(PARTS, run=run)]

    def updates(self, run: str) -> list[int]:
        """The updates for which a run holds trees."""
        return [update for (update,) in self._reader.rows(UPDATES, run=run)]

    def _page(self, inner: str, listing: _Listing, query: Query, given: Mapping[str, Any]) -> Page:
        where, parameters = _conditions(listing, query)
        asked = (
            f"select *, count(*) over () as found from ({inner}) where {where} order by {_order(listing, query)} "
            "limit $limit offset $offset"
        )
        parameters |= {**given, "limit": query.limit, "offset": query.offset}
        found = self._reader.columns(asked, **parameters)
        totals = found.pop("found")
        if not totals and query.offset:
            counted = f"select count(*) from ({inner}) where {where}"
            used = {name: value for name, value in parameters.items() if name not in ("limit", "offset")}
            return Page([], self._reader.rows(counted, **used)[0][0])
        return Page(_records(found), totals[0] if totals else 0)

    def _with_parts(self, run: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`rows` with what each was paid."""
        trees = sorted({row["tree"] for row in rows})
        paid: dict[tuple[str, str], list[tuple]] = {}
        for tree, trajectory, *part in self._reader.rows(PAID, run=run, trees=trees) if rows else ():
            paid.setdefault((tree, trajectory), []).append(tuple(part))
        return [{**row, **_paid(paid.get((row["tree"], row["trajectory"]), []))} for row in rows]


def _conditions(listing: _Listing, query: Query) -> tuple[str, dict[str, Any]]:
    """What a row must hold, as SQL with its parameters."""
    where, given = ["true"], dict[str, Any]()
    if query.text:
        given["text"] = query.text
        where.append(" or ".join(f"contains(lower(coalesce({name}, '')), lower($text))" for name in listing.texts))
    for n, (name, value) in enumerate(query.equal.items()):
        given[f"equal{n}"] = value
        where.append(f"{_column(name, listing)} = $equal{n}")
    for n, (name, (low, high)) in enumerate(query.ranges.items()):
        for end, sign, bound in (("low", ">=", low), ("high", "<=", high)):
            if bound is not None:
                given[f"{end}{n}"] = bound
                where.append(f"{_column(name, listing)} {sign} ${end}{n}")
    return " and ".join(f"({one})" for one in where), given


def _order(listing: _Listing, query: Query) -> str:
    """Unscored rows come last, whichever way the scored ones go."""
    if not query.sort:
        return listing.order
    return f"{_column(query.sort, listing)} {'desc' if query.descending else 'asc'} nulls last, {listing.order}"


def _column(name: str, listing: _Listing) -> str:
    """The column in SQL. Only names that the listing has ever reach it, and parts go by number."""
    if name not in listing.columns:
        raise UnknownName.among("column", name, listing.columns, where="this listing")
    parts = [one for one in listing.columns if one.startswith(PART)]
    return f"part{parts.index(name)}" if name in parts else f'"{name}"'


def _trajectory_rows(parts: int, *, paid: bool) -> str:
    """SQL of the trajectories with the parts that the query asks about as columns part0, part1 ..., and return."""
    columns = [f", part{n}.value as part{n}" for n in range(parts)] + [', p.value as "return"'] * paid
    joins = [PART_JOIN.format(n=n) for n in range(parts)] + [RETURN_JOIN] * paid
    return TRAJECTORY_ROWS.format(columns="".join(columns), joins=" ".join(joins))


def _paid(parts: Sequence[tuple]) -> dict[str, Any]:
    """Return and parts of a trajectory, from (part, value, weighted value, edited) a part."""
    made = {name: _one_paid(value, weighted, edited) for name, value, weighted, edited in sorted(parts)}
    if not parts:
        return {"return": UNPAID, "parts": {}}
    total = None if any(part[2] is None for part in parts) else sum(part[2] for part in parts)
    return {"return": _one_paid(total, total, any(part[3] for part in parts)), "parts": made}


def _one_paid(value: float | None, weighted: float | None, edited: bool) -> Paid:
    return Paid(value, Status.MISSING if value is None else Status.SCORED, edited, weighted)


def _records(columns: Mapping[str, list]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
