"""RolloutTable: a table of any length, of which the page asks for one sheet at a time."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

import traitlets

from widgets.component import Component
from workbench.scores import Status
from workbench.store.browsing import PART, UNPAID, Page, Paid, Query

Fetch = Callable[[Query], Page]
"""Answers a query: `Browsing.runs`, or `partial(browsing.trajectories, run)`."""


@dataclass(frozen=True)
class Column:
    """One column, and how it may be filtered.

    `kind`: text, number, paid (a reward: a value, missing, or not applicable), time, list (JSON of texts) or end.
    """

    name: str
    label: str
    kind: str = "number"
    says: str = ""  # what it means
    minor: bool = False  # left out where there is little room
    filter: str = ""  # "range" (numbers from, to) or "choice"
    choices: tuple[str, ...] = ()


def part_column(name: str) -> Column:
    """The column of what a part of the reward paid."""
    return Column(PART + name, name, "paid", "sum over the trajectory, before weighting", minor=True, filter="range")


class RolloutTable(Component):
    """A table that asks for its rows: ↑ and ↓ choose, Enter opens, [ and ] turn the page, / finds, ? lists the keys.

    Args:
        columns: what is shown. The first of kind text is what opens a row.
        fetch: answers a query with a page of rows.
        opens: the values of a row that say which it is.
        asked: the query to begin with.
        link: address that a row opens, its `opens` are added as a query string; "": `opened` says which row it was.
        label: what the table shows, for those who do not see it.
        empty: what to read where there are no rows at all.
    """

    asked = traitlets.Dict(help="kernel to page: the query in force, as Query's fields").tag(sync=True)
    opened = traitlets.Dict(help="page to kernel: the row opened last, its `opens`").tag(sync=True)
    link = traitlets.Unicode(help="kernel to page: address that a row opens").tag(sync=True)
    label = traitlets.Unicode("Rows").tag(sync=True)
    finds = traitlets.Unicode(help="kernel to page: where the text is looked for; empty: nowhere").tag(sync=True)

    def __init__(
        self,
        columns: Sequence[Column],
        fetch: Fetch,
        *,
        opens: Sequence[str] = (),
        asked: Query = Query(),  # noqa: B008 - frozen
        empty: str = "Nothing is here yet.",
        **traits: Any,
    ) -> None:
        self.columns, self.fetch, self.opens, self.empty = list(columns), fetch, list(opens), empty
        self.page = Page([], 0)
        self._query = asked
        super().__init__(asked=_plain(asked), **traits)

    # ------------------------------------------------------------ what the page asks

    def hear_hello(self) -> None:
        """A page was drawn: its columns, then the rows of the query in force."""
        self.say("columns", [asdict(column) for column in self.columns], empty=self.empty)
        self._answer(self._query, 0)

    def hear_page(
        self,
        number: int = 0,
        sort: str = "",
        descending: bool = False,
        text: str = "",
        equal: Mapping[str, str] | None = None,
        ranges: Mapping[str, Sequence[float | None]] | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> None:
        """The rows of a query. `number` comes back with them, so that the page knows which answer it is."""
        pairs = {name: (low, high) for name, (low, high) in (ranges or {}).items()}
        self._answer(Query(sort, descending, text, dict(equal or {}), pairs, offset, limit), number)

    def _answer(self, query: Query, number: int) -> None:
        page = self.fetch(query)
        if not page.rows and page.total:  # rows went away, or the address was of a page that is no more
            query = replace(query, offset=(page.total - 1) // query.limit * query.limit)
            page = self.fetch(query)
        self._query, self.page = query, page
        self.asked = _plain(query)
        self.still = repr(self)
        rows = [{"cells": self._cells(row), "open": {name: row[name] for name in self.opens}} for row in page.rows]
        self.say("rows", rows, number=number, total=page.total, query=_plain(query))

    def hear_open(self, row: Mapping[str, Any]) -> None:
        """A row was opened, and there is no link to follow."""
        self.opened = {**row}

    def _cells(self, row: Mapping[str, Any]) -> list[Any]:
        return [_cell(column, row) for column in self.columns]

    # ------------------------------------------------------------ without a page

    def __repr__(self) -> str:
        return f"RolloutTable({self.label!r}, {self.page.total:,} rows)"

    def picture(self) -> str:
        """The rows in view as a table."""
        head = "".join(f"<th>{escape(column.label)}</th>" for column in self.columns)
        lines = ["".join(f"<td>{escape(_word(cell))}</td>" for cell in self._cells(row)) for row in self.page.rows]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return (
            f"<table><caption>{escape(repr(self))}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def _plain(query: Query) -> dict[str, Any]:
    told = asdict(query)
    return {**told, "ranges": {name: list(pair) for name, pair in query.ranges.items()}}


def _cell(column: Column, row: Mapping[str, Any]) -> Any:
    """A value as the page draws it."""
    parts = row.get("parts", {})
    value = parts.get(column.name.removeprefix(PART), UNPAID) if column.name.startswith(PART) else row[column.name]
    if isinstance(value, Paid):
        return {"value": value.value, "status": int(value.status), "edited": value.edited, "pays": value.pays}
    if column.kind == "paid":  # a plain mean
        return {"value": value, "status": int(Status.NOT_APPLICABLE if value is None else Status.SCORED), "pays": value}
    if column.kind == "list":
        return ", ".join(json.loads(value)) if value else ""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime.datetime) else value


def _word(cell: Any) -> str:
    if isinstance(cell, dict):
        return (
            ("missing" if cell["status"] == Status.MISSING else "n/a")
            if cell["value"] is None
            else f"{cell['value']:.3g}"
        )
    return "" if cell is None else str(cell)
