"""Explore without a page: what it tells, what it refuses, how answers become cells."""

from __future__ import annotations

import datetime
import json
import math
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from widgets.explore import EXAMPLES, Explore, columns_of
from widgets.pages.explore import explore
from widgets.pages.visit import Visit
from workbench.errors import SettingError
from workbench.store import Store, open_store
from workbench.store.views import RELATIONS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("explore") / "lab") as store:
        store.start_run({"command": "x"}, name="one")
        store.flush()
        yield store


class Heard:
    """What a component says to its page; `wait` for a kind of message."""

    def __init__(self, component: Explore) -> None:
        self.all: list[tuple[dict[str, Any], Any]] = []
        self._came = threading.Condition()
        component.send = self._hear  # type: ignore[method-assign]

    def _hear(self, content: Any, buffers: Any = None) -> None:
        with self._came:
            self.all.append((content, json.loads(buffers[0]) if buffers else None))
            self._came.notify_all()

    def wait(self, kind: str) -> tuple[dict[str, Any], Any]:
        with self._came:
            assert self._came.wait_for(lambda: any(one["kind"] == kind for one, _ in self.all), 60), self.all
            return next((one, data) for one, data in reversed(self.all) if one["kind"] == kind)


def test_it_tells_what_can_be_asked_and_runs_nothing_by_itself(store: Store):
    view = Explore(store, "select 1")
    heard = Heard(view)
    view.hear_hello()
    [(told, data)] = heard.all
    assert told["kind"] == "known" and told["rows"] == store.visitors.limits.rows
    assert [table["name"] for table in data["tables"]] == [relation.name for relation in RELATIONS]
    assert view.answer is None and view.asked == "select 1"
    with pytest.raises(SettingError, match="nothing was answered yet"):
        _ = view.frame


def test_a_question_is_answered_and_told_again_to_a_page_that_is_drawn_anew(store: Store):
    view = Explore(store)
    heard = Heard(view)
    view.hear_ask("select run, 2.5 as x from runs", number=7)
    told, data = heard.wait("answer")
    assert (told["number"], told["rows"], told["cut"]) == (7, 1, "")
    assert [(one["name"], one["kind"], one["cells"]) for one in data] == [
        ("run", "text", ["one"]),
        ("x", "number", ["2.5"]),
    ]
    assert view.frame["run"].tolist() == ["one"] and view.asked == "select run, 2.5 as x from runs"
    assert "2.5 as x" in repr(view) and "<td>one</td>" in view.picture() and "1 rows" in view.still
    heard.all.clear()
    view.hear_hello()
    assert [one["kind"] for one, _ in heard.all] == ["known", "answer"]


def test_what_may_not_be_asked_is_refused_with_a_reason(store: Store):
    view = Explore(store)
    heard = Heard(view)
    view.hear_ask("from read_text('/etc/passwd')", number=1)
    told, _ = heard.wait("refused")
    assert "no table function 'read_text'" in told["says"] and told["number"] == 1
    with pytest.raises(SettingError, match="nothing is in the box"):
        view.hear_ask("  ")


def test_a_question_under_way_is_cancelled_and_a_second_refused(store: Store):
    view = Explore(store)
    heard = Heard(view)
    view.hear_ask("select count(*) from range(1000000000000) t(n) where n < 0", number=1)
    with pytest.raises(SettingError, match="a question of yours is being answered"):
        view.hear_ask("select 1")
    view.hear_cancel()
    assert heard.wait("refused")[0]["says"] == "cancelled"
    view.hear_cancel()  # nothing is under way: nothing happens


def test_closing_the_page_ends_its_question(store: Store):
    view = Explore(store)
    view.hear_ask("select count(*) from range(1000000000000) t(n) where n < 0")
    question = view._question
    view.close()
    assert question is not None and question._ended_by == "cancel"


@pytest.mark.parametrize(("title", "sql"), EXAMPLES)
def test_every_example_is_answered(store: Store, title: str, sql: str):
    assert title.endswith("?")
    store.visitors.ask(sql).answer()


def test_cells_are_what_a_page_can_show():
    table = pa.table(
        {
            "whole": pa.array([1, 2**60, None], pa.int64()),
            "broken": pa.array([0.5, math.inf, None]),
            "exact": pa.array([Decimal("1.10"), None, None]),
            "yes": pa.array([True, None, False]),
            "when": pa.array([datetime.datetime(2025, 1, 2, 3), None, None]),
            "list": pa.array([[1, None], [], None]),
            "struct": pa.array([{"a": "x"}, {"a": None}, None]),
            "bytes": pa.array([b"\xff\x00", b"", None]),
        }
    )
    assert {one["name"]: one["cells"] for one in columns_of(table)} == {
        "whole": [1, str(2**60), None],  # JavaScript has no whole numbers beyond 2^53
        "broken": [0.5, "inf", None],
        "exact": ["1.10", None, None],
        "yes": [True, None, False],
        "when": ["2025-01-02 03:00:00.000000", None, None],
        "list": ["[1, null]", "[]", None],
        "struct": ['{"a": "x"}', '{"a": null}', None],
        "bytes": ["ff00", "", None],
    }


def test_two_columns_of_one_name_stay_two():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert [(one["name"], one["cells"]) for one in columns_of(table)] == [("a", [1]), ("a", [2])]


def test_the_page_fills_the_box_from_the_address_and_shows_there_what_was_asked(store: Store):
    followed: list[str] = []
    visit = Visit(store, SimpleNamespace(), asked={"sql": "from runs"}, follow=followed.append)  # type: ignore[arg-type]
    shown = explore(visit)
    [view] = shown.parts
    assert isinstance(view, Explore) and view.asked == "from runs" and view.answer is None
    assert "has not run" in shown.says and followed == []
    heard = Heard(view)
    view.hear_ask("select 'a b'")
    heard.wait("answer")
    assert followed == ["?sql=select+%27a+b%27"]
    view.asked = "x" * 3000
    assert followed[-1] == ""


def test_a_page_without_an_address_says_nothing(store: Store):
    assert explore(Visit(store, SimpleNamespace())).says == ""  # type: ignore[arg-type]


def test_a_lab_folder_gives_the_box_its_name(store: Store):
    assert Explore(store).label == f"SQL over {Path(store.path).name}"
