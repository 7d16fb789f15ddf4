"""Explore in a bare page, and the page SQL of a served lab: what it answers, and what no visitor gets out of it."""

from __future__ import annotations

import csv
import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.bare import Bare
from tests.browser.conftest import Shoot
from tests.browser.payloads import PAYLOADS, shown
from tests.browser.served import workbench_serve
from tests.browser.test_app import fill
from tests.browser.test_safety import OFFENCES
from widgets.explore import Explore
from workbench.errors import StoreError
from workbench.store import open_store
from workbench.store.visitors import Answer, Limits

SLOW_MS = 60_000
CANARY = "canary-91be7"


def lab_that_answers(table: pa.Table, cut: str = "", until: threading.Event | None = None) -> Any:
    """Stands for a store: every question gets this answer, once `until` is set; cancelling sets it."""
    ended = SimpleNamespace(by="")

    def answer() -> Answer:
        if until is not None:
            until.wait(20)
        if ended.by:
            raise StoreError(ended.by)
        return Answer(table, cut, 0.25)

    def cancel() -> None:
        if until is not None:
            ended.by = "cancelled"
            until.set()

    question = SimpleNamespace(answer=answer, cancel=cancel)
    visitors = SimpleNamespace(ask=lambda sql: question, limits=Limits(), make_ready=lambda: None)
    return SimpleNamespace(path=Path("lab"), visitors=visitors)


def numbers(rows: int) -> pa.Table:
    return pa.table({"n": list(range(rows)), "text": [f"row {n}, with a comma" for n in range(rows)]})


def box(page: Page | Locator) -> Locator:
    return page.get_by_label("SQL", exact=True)


def told(page: Page | Locator) -> Locator:
    return page.locator(".wb-told")


# ---------------------------------------------------------------- in a bare page


def test_control_enter_runs_and_pages_turn(bare: Bare):
    el = bare.attach(Explore(lab_that_answers(numbers(250), "rows")))
    expect(el.get_by_role("button", name="Did training help?")).to_be_visible()
    box(el).fill("from numbers")
    box(el).press("Control+Enter")
    expect(told(el)).to_have_text(
        "the first 250 rows in 0.25 s. The rest is left out: add WHERE, GROUP BY or LIMIT.", timeout=20_000
    )
    assert [one for one in bare.sent if one["kind"] == "ask"] == [{"kind": "ask", "sql": "from numbers", "number": 1}]
    expect(el.locator("tbody tr")).to_have_count(100)
    el.locator(".wb-explore").focus()
    bare.page.keyboard.press("]")
    bare.page.keyboard.press("]")
    expect(el.locator("tbody tr")).to_have_count(50)
    expect(el.locator("tbody tr").last).to_contain_text("row 249")
    bare.page.keyboard.press("]")  # there is no further page
    bare.page.keyboard.press("[")
    expect(el.locator("tbody td").first).to_have_text("100")


def test_the_answer_comes_as_csv(bare: Bare, tmp_path: Path):
    table = pa.table({'a "name"': ["x,y", None, 'say "hi"\nthere'], "n": [0.1, None, 2.0]})
    el = bare.attach(Explore(lab_that_answers(table), "from t"))
    el.get_by_role("button", name="Run", exact=True).click()
    expect(el.locator("tbody tr")).to_have_count(3)
    with bare.page.expect_download() as download:
        el.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "answer.csv")
    with open(tmp_path / "answer.csv", newline="") as file:
        assert list(csv.reader(file)) == [['a "name"', "n"], ["x,y", "0.1"], ["", ""], ['say "hi"\nthere', "2"]]


def test_what_came_with_the_address_waits_in_the_box(bare: Bare):
    el = bare.attach(Explore(lab_that_answers(numbers(1)), "drop table runs"))
    expect(box(el)).to_have_value("drop table runs")
    expect(el.get_by_role("button", name="Did training help?")).to_be_visible()
    assert [one["kind"] for one in bare.sent] == ["hello"]


def test_a_question_is_cancelled_and_meanwhile_no_other_runs(bare: Bare):
    el = bare.attach(Explore(lab_that_answers(numbers(1), until=threading.Event()), "from slow"))
    el.get_by_role("button", name="Run", exact=True).click()
    expect(el.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    expect(el.locator(".wb-bar").get_by_text(re.compile(r"^\d\.\d s$"))).to_be_visible()
    el.get_by_role("button", name="Cancel").click()
    expect(el.get_by_role("alert").filter(has_text="cancelled")).to_be_visible()
    expect(el.get_by_role("button", name="Run", exact=True)).to_be_enabled()


def test_examples_run_with_a_click_and_earlier_questions_come_back_to_the_box(bare: Bare):
    el = bare.attach(Explore(lab_that_answers(numbers(1))))
    el.get_by_role("button", name="What did people change?").click()
    expect(box(el)).to_have_value(re.compile("^select recorded, who, run"))
    expect(told(el)).to_have_text("1 row in 0.25 s.")
    box(el).fill("select 2")
    box(el).press("Control+Enter")
    earlier = el.locator("details", has=bare.page.get_by_text("Asked before"))
    expect(earlier.get_by_role("button", include_hidden=True)).to_have_count(2)
    el.get_by_text("Asked before").click()
    earlier.get_by_role("button", name="select recorded").click()
    expect(box(el)).to_have_value(re.compile("^select recorded, who, run"))
    assert len([one for one in bare.sent if one["kind"] == "ask"]) == 2  # chosen, not run
    bare.again()
    expect(
        el.locator("details", has=bare.page.get_by_text("Asked before")).get_by_role("button", include_hidden=True)
    ).to_have_count(2)


def test_columns_go_into_the_box_at_the_caret(bare: Bare):
    el = bare.attach(Explore(lab_that_answers(numbers(1)), "select  from scores"))
    el.locator("summary", has_text="scores").first.click()
    box(el).evaluate("(box) => box.setSelectionRange(7, 7)")
    el.get_by_role("button", name=re.compile("^value double")).first.click()
    expect(box(el)).to_have_value("select value from scores")


def test_a_row_of_a_tree_leads_to_its_step(bare: Bare):
    table = pa.table({"run": ["one"], "tree": ["a&b"], "trajectory": ["t1"], "step": [2]})
    el = bare.attach(Explore(lab_that_answers(table), "from steps", link="step"))
    el.get_by_role("button", name="Run", exact=True).click()
    expect(el.get_by_role("link", name="Open tree a&b")).to_have_attribute(
        "href", "step?run=one&tree=a%26b&trajectory=t1&step=2"
    )


def test_no_payload_runs_in_an_answer_an_error_or_the_history(bare: Bare):
    baits = list(PAYLOADS.values())
    sent = [shown(bait) for bait in baits]  # Arrow holds no half characters
    table = pa.Table.from_arrays([pa.array(sent)] * (2 + len(sent)), ["run", "tree", *sent])
    component = Explore(lab_that_answers(table), sent[0], link="step")
    el = bare.attach(component)
    el.get_by_role("button", name="Run", exact=True).click()
    expect(el.locator("tbody tr")).to_have_count(len(baits))
    assert el.evaluate(OFFENCES) == []
    for bait in baits:
        assert el.evaluate("(root, text) => root.textContent.includes(text)", shown(bait)[:300])
    bare.say("refused", says=baits[0])
    expect(el.locator(".wb-wrong")).to_have_text(baits[0])
    assert el.evaluate(OFFENCES) == []


# ---------------------------------------------------------------- the served page


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("asked")
    with open_store(home / "lab") as store:
        fill(store)
    for place in (home, home / "lab"):
        (place / "secret.csv").write_text(f"name\n{CANARY}\n")
    return home


@pytest.fixture(scope="module")
def app(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab served to this machine, without a login."""
    pytest.importorskip("panel", reason="panel is not installed; pip install -e '.[test]'")
    with workbench_serve(home / "lab", tmp_path_factory.mktemp("server"), "--no-show") as address:
        yield address


def bytes_of(folder: Path) -> dict[str, str]:
    """Every file with its bytes hashed, but for what SQLite notes of readers."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ask(page: Page, sql: str) -> str:
    """What the page says to a question: the rows, or why there are none."""
    box(page).fill(sql)
    box(page).press("Control+Enter")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled(timeout=SLOW_MS)  # it was not, meanwhile
    wrong = page.locator(".wb-wrong")
    return wrong.inner_text() if wrong.is_visible() else page.locator(".wb-scroll").inner_text()


ATTACKS = {
    "from read_csv('{home}/secret.csv')": "no table function 'read_csv'",
    "from '{home}/lab/secret.csv'": "no table '",
    "from sqlite_scan('{home}/lab/catalog.sqlite', 'ducklake_data_file')": "no table function 'sqlite_scan'",
    "from glob('/*')": "no table function 'glob'",
    "with a as (from duckdb_secrets()) from a": "no table function 'duckdb_secrets'",
    "copy (from runs) to '{home}/out.csv'": "only a SELECT",
    "copy (from runs) to '{home}/lab/data/out.parquet'": "only a SELECT",
    "attach 'ducklake:sqlite:{home}/lab/catalog.sqlite' as w": "only a SELECT",
    "select 1; delete from edits": "only a SELECT",
    "set memory_limit = '100GB'": "only a SELECT",
    "select getenv('PATH')": "function 'getenv' is not among those",
    "select list_sum(range(1000000000))": "needs more than the 512 MB of memory",
    "select repeat('x', 9000000)": "the first row alone has more than 8 MB",
}


def test_no_visitor_reads_a_file_writes_one_or_stops_the_server(app: str, home: Path, page: Page, shoot: Shoot):
    before = bytes_of(home)
    page.goto(f"{app}/sql")
    expect(page.get_by_role("button", name="Did training help?")).to_be_visible(timeout=SLOW_MS)
    for sql, says in ATTACKS.items():
        answer = ask(page, sql.replace("{home}", str(home)))
        assert says in answer and CANARY not in page.content(), sql
    shoot(page, "refused")
    assert "60" in ask(page, "select count(*) from trajectories")
    assert bytes_of(home) == before


def test_a_link_fills_the_box_and_runs_nothing(app: str, page: Page):
    page.goto(f"{app}/sql?sql={quote('select count(*) as all_of_them from trajectories')}")
    expect(box(page)).to_have_value("select count(*) as all_of_them from trajectories", timeout=SLOW_MS)
    expect(page.get_by_role("status").first).to_contain_text("It has not run")
    expect(page.get_by_role("button", name="Did training help?")).to_be_visible()
    page.wait_for_timeout(1000)
    expect(page.locator(".wb-scroll table")).to_have_count(0)
    box(page).press("Control+Enter")
    expect(page.locator(".wb-scroll td")).to_have_text("60", timeout=SLOW_MS)


@pytest.mark.parametrize("width", [1280, 390])
def test_from_an_example_to_a_step_and_back(app: str, page: Page, shoot: Shoot, width: int):
    page.set_viewport_size({"width": width, "height": 860})
    page.goto(f"{app}/sql")
    if width == 390:
        page.get_by_text("Examples").click(timeout=SLOW_MS)
    page.get_by_role("button", name="Which groups differ most").click(timeout=SLOW_MS)
    expect(page.locator("tbody tr")).to_have_count(30, timeout=SLOW_MS)
    expect(page).to_have_url(re.compile(r"/sql\?sql=select\+run"))
    shoot(page, f"answered {width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("tbody a").first.click()
    expect(page.locator(".wb-step-through h2")).to_be_visible(timeout=SLOW_MS)
    page.go_back()
    expect(box(page)).to_have_value(re.compile("^select run, update, tree"), timeout=SLOW_MS)
    expect(page.get_by_text("Asked before")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".wb-scroll table")).to_have_count(0)
