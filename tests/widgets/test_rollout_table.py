"""A table that asks for its rows: what the page is told, and what it may ask."""

from __future__ import annotations

from tests.widgets.visits import rows_of, told
from widgets.rollout_table import Column, RolloutTable
from workbench.errors import UnknownName
from workbench.store.browsing import Page, Query

COLUMNS = [
    Column("name", "name", "text"),
    Column("paid", "paid", "paid"),
    Column("part:A", "A", "paid"),
    Column("golds", "golds", "list"),
]


def numbers(query: Query) -> Page:
    """Seven rows."""
    rows = [
        {"name": f"<b>{n}", "paid": None if n == 0 else n / 2, "parts": {}, "golds": '["x", "y"]', "id": n}
        for n in range(7)
    ]
    if query.sort == "nope":
        raise UnknownName.among("column", query.sort, ["name"])
    return Page(rows[query.offset : query.offset + query.limit], 7)


def test_the_page_is_told_columns_and_rows_and_what_is_not_scored():
    table = RolloutTable(COLUMNS, numbers, opens=("id",), asked=Query(limit=2))
    heard = told(table)
    table.hear_hello()
    (columns, shown), (message, rows) = heard
    assert columns["kind"] == "columns" and [column["label"] for column in shown] == ["name", "paid", "A", "golds"]
    assert (message["kind"], message["total"], message["number"]) == ("rows", 7, 0)
    unscored, unpaid = {"value": None, "status": 1, "pays": None}, {"value": None, "status": 1, "edited": False}
    assert rows[0] == {"cells": ["<b>0", unscored, {**unpaid, "pays": None}, "x, y"], "open": {"id": 0}}
    assert rows[1]["cells"][1] == {"value": 0.5, "status": 0, "pays": 0.5}


def test_a_question_of_the_page_is_answered_with_its_number_and_remembered():
    table = RolloutTable(COLUMNS, numbers)
    heard = told(table)
    table._hear(
        None, {"kind": "page", "number": 4, "sort": "name", "offset": 4, "limit": 2, "ranges": {"paid": [1, None]}}, []
    )
    [(message, rows)] = heard
    assert (message["number"], [row["cells"][0] for row in rows]) == (4, ["<b>4", "<b>5"])
    assert table.asked["sort"] == "name" and table.asked["ranges"] == {"paid": [1, None]}
    heard.clear()
    table.hear_hello()  # the page was drawn again
    assert heard[1][0]["query"]["offset"] == 4


def test_a_page_that_is_no_more_becomes_the_last_one():
    table = RolloutTable(COLUMNS, numbers, asked=Query(offset=50, limit=3))
    heard = told(table)
    table.hear_hello()
    message, rows = heard[1]
    assert message["query"]["offset"] == 6 and len(rows) == 1


def test_what_cannot_be_asked_is_told_to_the_page():
    table = RolloutTable(COLUMNS, numbers)
    heard = told(table)
    table._hear(None, {"kind": "page", "sort": "nope"}, [])
    table._hear(None, {"kind": "page", "limit": 10_000}, [])
    assert [message["kind"] for message, _ in heard] == ["trouble", "trouble"]
    assert "no column 'nope'" in heard[0][0]["says"] and "1 to 500 rows" in heard[1][0]["says"]


def test_a_table_without_a_kernel_shows_texts_as_texts():
    table = RolloutTable(COLUMNS, numbers, label="<i>seven")
    rows_of(table)
    picture = table.picture()
    assert "&lt;b&gt;0" in picture and "&lt;i&gt;seven" in picture and "<b>" not in picture
    assert repr(table) == "RolloutTable('<i>seven', 7 rows)"
