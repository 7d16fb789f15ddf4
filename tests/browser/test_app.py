"""The served app in a browser: browse, sort, open, step, edit, train; logged in or not; each visit for itself."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.bare import Bare
from tests.browser.chromium import Trap
from tests.browser.conftest import Shoot
from tests.browser.served import workbench_serve
from tests.builders import a_task, a_trajectory, a_tree
from widgets.rollout_table import Column, RolloutTable, part_column
from workbench.scores import Part, Scores, Status
from workbench.store import Store, open_store
from workbench.store.browsing import Page as Rows
from workbench.store.browsing import Paid, Query

SLOW_MS = 60_000  # a server on a busy machine


# ---------------------------------------------------------------- the table alone

COLUMNS = [
    Column("name", "name", "text"),
    Column("return", "return", "paid", filter="range"),
    part_column("Gain"),
    Column("ended", "end", "end", filter="choice", choices=("answered", "failed")),
    Column("steps", "steps", "number", minor=True, filter="range"),
]


def numbers(query: Query) -> Rows:
    """120 rows; the first three are 0, missing and not applicable."""
    values = [n for n in range(120) if query.text in f"row {n}"]
    low, high = query.ranges.get("steps", (None, None))
    values = [n for n in values if (low is None or n >= low) and (high is None or n <= high)]
    values.sort(reverse=query.descending)
    return Rows([row(n) for n in values[query.offset : query.offset + query.limit]], len(values))


def row(n: int) -> dict[str, Any]:
    kinds = [Paid(0.0, Status.SCORED, False, 0.0), Paid(None, Status.MISSING), Paid(None, Status.NOT_APPLICABLE)]
    paid = kinds[n] if n < 3 else Paid(n / 8, Status.SCORED, n == 3, -n / 8)
    return {"name": f"row {n}", "return": paid, "parts": {"Gain": paid}, "ended": "answered", "steps": n, "id": n}


@pytest.fixture
def table(bare: Bare) -> Iterator[RolloutTable]:
    made = RolloutTable(COLUMNS, numbers, opens=("id",), finds="name", label="Numbers")
    bare.attach(made)
    expect(bare.page.locator("tbody tr")).to_have_count(50)
    yield made
    made.close()


def names(page: Page) -> list[str]:
    return page.locator(".wb-opens").all_inner_texts()


def test_zero_missing_and_not_applicable_look_different(bare: Bare, table: RolloutTable, shoot: Shoot):
    shown = bare.page.locator("tbody tr td:nth-child(2)")
    assert shown.all_inner_texts()[:4] == ["0", "missing", "n/a", "+0.375"]
    looks = [shown.nth(n).locator("span").get_attribute("class") for n in range(4)]
    assert len(set(looks)) == 4 and "wb-edited" in (looks[3] or "") and "wb-minus" in (looks[3] or "")
    shoot(bare.page, "table")


def test_rows_are_walked_and_opened_with_the_keyboard(bare: Bare, table: RolloutTable):
    page = bare.page
    page.locator(".wb-rollout-table").focus()
    for key in ("ArrowDown", "ArrowDown", "j", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator(".wb-opens:focus")).to_have_text("row 1")
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert table.opened == {"id": 1}


def test_pages_turn_with_keys_and_buttons(bare: Bare, table: RolloutTable):
    page, told = bare.page, bare.page.locator(".wb-told")
    expect(told).to_have_text("1–50 of 120")
    page.locator(".wb-rollout-table").focus()
    page.keyboard.press("]")
    expect(told).to_have_text("51–100 of 120")
    expect(page.locator(".wb-opens:focus")).to_have_text("row 50")
    page.get_by_role("button", name="Next page").click()
    expect(told).to_have_text("101–120 of 120")
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.locator(".wb-opens").first.focus()
    page.keyboard.press("ArrowUp")  # over the edge: to the last row of the page before
    expect(page.locator(".wb-opens:focus")).to_have_text("row 99")
    page.keyboard.press("Home")
    expect(told).to_have_text("1–50 of 120")


def test_a_header_says_how_it_is_sorted(bare: Bare, table: RolloutTable):
    head = bare.page.get_by_role("columnheader", name="steps")
    expect(head).to_have_attribute("aria-sort", "none")
    for direction, first in (("descending", "row 119"), ("ascending", "row 0"), ("none", "row 0")):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", direction)
        expect(bare.page.locator(".wb-opens").first).to_have_text(first)


def test_texts_and_numbers_are_filtered_and_the_filters_taken_off(bare: Bare, table: RolloutTable, shoot: Shoot):
    page, told = bare.page, bare.page.locator(".wb-told")
    page.locator(".wb-rollout-table").focus()
    page.keyboard.press("/")
    page.keyboard.type("row 11")
    expect(told).to_have_text("1–11 of 11")
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    page.get_by_label("Column to filter by").select_option("steps")
    page.get_by_label("from", exact=True).fill("112")
    page.get_by_label("to", exact=True).fill("115")
    page.keyboard.press("Enter")
    expect(told).to_have_text("1–4 of 4")
    assert table.asked["ranges"] == {"steps": [112, 115]}
    shoot(page, "table filtered")
    page.get_by_role("button", name="Remove the filter steps: from 112 to 115").click()
    expect(told).to_have_text("1–11 of 11")
    page.get_by_label("Find in name").fill("nothing like it")
    expect(page.locator(".wb-empty")).to_have_text("No row fits these filters.")


def test_quick_changes_end_with_the_last_one(bare: Bare, table: RolloutTable):
    head = bare.page.get_by_role("columnheader", name="steps").get_by_role("button")
    for _ in range(7):
        head.click()
    expect(bare.page.get_by_role("columnheader", name="steps")).to_have_attribute("aria-sort", "descending")
    expect(bare.page.locator(".wb-opens").first).to_have_text("row 119")
    assert bare.page.locator("tbody").get_attribute("aria-busy") is None


# ---------------------------------------------------------------- the app


def scored(exact: Scores, gains: list[float]) -> Scores:
    parts = (Part("ExactMatch", 1.0, exact), Part("Gain", 0.5, Scores.steps(gains)))
    return Scores(np.zeros(len(gains)), np.full(len(gains), Status.SCORED), parts=parts)


def fill(store: Store) -> None:
    """The run "one": 30 trees of two trajectories, a right and a wrong one; Gain grows with the tree's number."""
    store.start_run({"kind": "rollout"}, name="one")
    trees, scores = [], []
    for n in range(30):
        task = replace(a_task(f"task-{n:02}"), question=f"Question {n:02}: which town is it, and in which country?")
        members = [
            a_trajectory(["p1", "x"], answer=said, id=f"{n:02}.{said}", task=task, tokens=4)
            for said in ("Paris", "Rome")
        ]
        trees.append(a_tree(*members, id=f"tree-{n:02}"))
        wrong = Scores.missing("the judge did not answer") if n == 0 else Scores.trajectory(0.0, "Rome is no gold")
        right = Scores.trajectory(1.0, "as asked")
        scores.append([scored(right, [n / 32, np.nan]), scored(wrong, [np.nan, np.nan])])
    store.record_trees(trees, run="one", update=1)
    store.record_scores(trees, scores, run="one")
    store.end_run("one", "finished")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "lab"
    with open_store(folder) as store:
        fill(store)
    return folder


@pytest.fixture(scope="module")
def app(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab served to this machine, without a login."""
    pytest.importorskip("panel", reason="panel is not installed; pip install -e '.[test]'")
    with workbench_serve(filled, tmp_path_factory.mktemp("server"), "--no-show") as address:
        yield address


@pytest.fixture
def big(page: Page) -> Page:
    """A page that waits for a busy machine."""
    page.set_default_timeout(SLOW_MS)
    return page


expect.set_options(timeout=20_000)


def told(page: Page) -> Any:
    return page.locator(".wb-told")


def test_browse_sort_by_a_part_open_and_step(app: str, big: Page, shoot: Shoot):
    big.goto(app)
    big.get_by_role("link", name="one", exact=True).click()
    expect(told(big)).to_have_text("1–50 of 60", timeout=SLOW_MS)
    big.get_by_role("columnheader", name="Gain").get_by_role("button").click()
    expect(big.locator(".wb-opens").first).to_contain_text("Question 29")
    expect(big).to_have_url(re.compile(r"\?run=one&sort=-part%3AGain$"))
    shoot(big, "trajectories")
    big.locator(".wb-rollout-table").focus()
    big.keyboard.press("ArrowDown")
    big.keyboard.press("ArrowDown")
    big.keyboard.press("Enter")
    expect(big.locator(".wb-step-through h2")).to_contain_text("Question 28", timeout=SLOW_MS)
    expect(big).to_have_url(re.compile(r"/step\?run=one&tree=tree-28&trajectory=28.Paris&step=0$"))
    shoot(big, "step")
    big.locator(".wb-step-through").focus()
    big.keyboard.press("j")
    expect(big).to_have_url(re.compile(r"&step=1$"))
    big.go_back()  # one press, however many steps were made
    expect(big.locator(".wb-opens").first).to_contain_text("Question 29", timeout=SLOW_MS)
    expect(big.get_by_role("columnheader", name="Gain")).to_have_attribute("aria-sort", "descending")


def test_filters_and_page_are_in_the_address_and_come_back_with_it(app: str, big: Page):
    big.goto(f"{app}/?run=one")
    expect(told(big)).to_have_text("1–50 of 60", timeout=SLOW_MS)
    big.get_by_role("button", name="Next page").click()
    expect(told(big)).to_have_text("51–60 of 60")
    big.reload()
    expect(told(big)).to_have_text("51–60 of 60", timeout=SLOW_MS)
    big.get_by_label("Find in question and answer").fill("question 0")
    expect(told(big)).to_have_text("1–20 of 20")
    big.get_by_role("button", name="Filter by number").click()
    big.get_by_label("Column to filter by").select_option("part:Gain")
    big.get_by_label("from", exact=True).fill("0.25")
    big.keyboard.press("Enter")
    expect(told(big)).to_have_text("1–2 of 2")  # trees 8 and 9
    expect(big).to_have_url(re.compile(r"\?run=one&find=question\+0&from.part%3AGain=0.25$"))
    big.reload()
    expect(told(big)).to_have_text("1–2 of 2", timeout=SLOW_MS)
    expect(big.get_by_label("Find in question and answer")).to_have_value("question 0")


def test_tasks_lead_to_their_trajectories(app: str, big: Page, shoot: Shoot):
    big.goto(f"{app}/?run=one&show=tasks")
    expect(told(big)).to_have_text("1–30 of 30", timeout=SLOW_MS)
    shoot(big, "tasks")
    big.get_by_role("link", name="Question 07").click()
    expect(told(big)).to_have_text("1–2 of 2", timeout=SLOW_MS)
    big.get_by_role("button", name="Remove the filter task: task-07").click()
    expect(told(big)).to_have_text("1–50 of 60")


def test_the_pages_are_reached_with_the_keyboard(app: str, big: Page):
    big.goto(app)
    expect(told(big)).to_be_visible(timeout=SLOW_MS)
    focus = big.locator(":focus")
    for name in ("To the page", "Browse", "Step"):
        big.keyboard.press("Tab")
        expect(focus).to_have_text(name)
    big.keyboard.press("Enter")
    expect(big.locator(".wb-step-through")).to_be_visible(timeout=SLOW_MS)
    expect(big.locator('[aria-current="page"]')).to_have_text("Step")
    expect(big.get_by_label("update")).to_have_value("1")


def test_a_wrong_address_says_what_is_there_and_leads_on(app: str, big: Page, shoot: Shoot):
    big.goto(f"{app}/?run=%3Cimg%20src=x%20onerror=alert(1)%3E")
    expect(big.get_by_role("alert")).to_contain_text("no run '<img src=x onerror=alert(1)>' in this lab; known: one")
    shoot(big, "wrong address")
    big.get_by_role("link", name="the page without what the address asks").click()
    expect(told(big)).to_have_text("1–1 of 1", timeout=SLOW_MS)


def test_two_visits_are_apart(app: str, big: Page, chromium: Browser, trap: Trap):
    address = f"{app}/step?run=one&tree=tree-03"
    other: BrowserContext = chromium.new_context()
    trap.watch(other)
    second = other.new_page()
    for page in (big, second):
        page.goto(address)
        expect(page.locator(".wb-step-through h2")).to_contain_text("Question 03", timeout=SLOW_MS)
    big.locator(".wb-step-through").focus()
    big.keyboard.press("j")
    expect(big).to_have_url(re.compile(r"&step=1$"))
    second.wait_for_timeout(500)
    assert second.url.endswith("&step=0")
    expect(second.locator(".wb-detail").first).to_contain_text("Step 1 of")
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_wide_and_narrow_light_and_dark(app: str, big: Page, shoot: Shoot, width: int, scheme: Any):
    big.set_viewport_size({"width": width, "height": 860})
    big.emulate_media(color_scheme=scheme)
    places = {"runs": "/", "trajectories": "/?run=one", "step": "/step?run=one&tree=tree-05", "train": "/train"}
    for name, path in places.items():
        big.goto(app + path)
        expect(big.locator("main .wb").last).to_be_visible(timeout=SLOW_MS)
        big.wait_for_timeout(800)
        shoot(big, f"{name} {width} {scheme}")
        assert big.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width} pixels"
        assert big.locator("main .wb").last.get_attribute("data-theme") == scheme


def test_nobody_finds_a_barrier_on_a_page(app: str, big: Page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    rules = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
    for path in ("/", "/?run=one", "/?run=nope", "/step?run=one&tree=tree-05", "/train"):
        big.goto(app + path)
        expect(big.locator(".wb").last).to_be_visible(timeout=SLOW_MS)
        big.wait_for_timeout(800)
        found = axe.Axe().run(big, options=rules)
        assert not found.response["violations"], f"{path}: {found.generate_report()[:3000]}"


@pytest.mark.slow
def test_a_small_training_is_started_watched_and_browsed(app: str, big: Page, shoot: Shoot):
    big.goto(f"{app}/train")
    expect(big.get_by_text("No run of this lab is a training yet")).to_be_visible(timeout=SLOW_MS)
    for label, value in (("updates", "2"), ("tasks an update", "2"), ("rollouts a task", "2")):
        big.get_by_label(label, exact=True).fill(value)
    big.get_by_label("reward").fill("ExactMach()")
    big.get_by_role("button", name="Start a training").click()
    expect(big.locator(".wb-form .wb-line")).to_contain_text("Did you mean 'ExactMatch'", timeout=SLOW_MS)
    big.get_by_label("reward").fill("ExactMatch() + 0.5 * CoverageGain()")
    big.get_by_role("button", name="Start a training").click()
    expect(big).to_have_url(re.compile(r"/train\?run=r\d+$"), timeout=2 * SLOW_MS)
    expect(big.locator(".wb-run-monitor")).to_contain_text("finished", timeout=3 * SLOW_MS)
    expect(big.locator(".wb-run-monitor")).to_contain_text("update 2 of 2")
    shoot(big, "trained")
    big.get_by_role("link", name="its trajectories").click()
    expect(told(big)).to_have_text("1–8 of 8", timeout=SLOW_MS)


def test_an_empty_lab_says_what_to_type_and_a_page_without_its_server_that_it_is_gone(
    big: Page, tmp_path: Path, trap: Trap, shoot: Shoot
):
    trap.expect("WebSocket|ERR_CONNECTION_REFUSED|Lost|closed")
    open_store(tmp_path / "lab").close()
    with workbench_serve(tmp_path / "lab", tmp_path / "server", "--no-show") as address:
        big.goto(address)
        expect(big.locator(".wb-empty")).to_contain_text("workbench rollout", timeout=SLOW_MS)
        shoot(big, "empty lab")
        big.get_by_role("link", name="Step").click()
        expect(big.get_by_role("status").first).to_contain_text("This lab holds no rollouts yet")
        big.get_by_role("link", name="Browse").click()
        expect(told(big)).to_have_text("no rows", timeout=SLOW_MS)
    expect(big.get_by_role("alert")).to_contain_text("The server does not answer")
    shoot(big, "server gone")


# ---------------------------------------------------------------- logged in


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A lab of its own with a login: its address and folder. ann and bob have the password `correct horse`."""
    pytest.importorskip("panel", reason="panel is not installed; pip install -e '.[test]'")
    folder = tmp_path_factory.mktemp("guarded")
    with open_store(folder / "lab") as store:
        fill(store)
    users = str(folder / "users.json")
    for name in ("ann", "bob"):
        add = [sys.executable, "-m", "workbench.cli", "users", "add", name, "--file", users]
        subprocess.run(add, input="correct horse\n", text=True, check=True, stdout=subprocess.DEVNULL)
    with ExitStack() as servers:
        address = workbench_serve(folder / "lab", folder / "server", "--no-show", "--auth", users)
        yield servers.enter_context(address), folder / "lab"


def log_in(page: Page, name: str, password: str = "correct horse") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def edits(folder: Path) -> list[list[Any]]:
    """Who edited what, as soon as something is written."""
    with open_store(folder) as store:
        for _ in range(200):
            rows = store.sql("select who, trajectory, part, new, why from edits")
            if len(rows):
                return rows.to_numpy().tolist()
            time.sleep(0.1)
    return []


def test_an_edit_after_the_login_carries_the_name(guarded: tuple[str, Path], big: Page, trap: Trap, shoot: Shoot):
    trap.expect("401")  # the wrong password
    address, folder = guarded
    big.goto(f"{address}/step?run=one&tree=tree-12&trajectory=12.Rome")
    shoot(big, "login")
    log_in(big, "ann", "wrong horse")
    expect(big.get_by_role("alert")).to_have_text("This name and this password do not belong together.")
    expect(big.get_by_label("Name")).to_have_value("ann")
    shoot(big, "login refused")
    log_in(big, "ann")
    expect(big.locator(".wb-step-through h2")).to_contain_text("Question 12", timeout=SLOW_MS)
    expect(big.locator("header")).to_contain_text("ann")
    big.get_by_role("button", name="Edit").first.click()
    big.get_by_label(re.compile("value", re.IGNORECASE)).first.fill("0.5")
    big.get_by_label(re.compile("why|reason", re.IGNORECASE)).first.fill("Rome counts half")
    big.keyboard.press("Enter")
    expect(big.locator(".wb-edited").first).to_be_visible()
    assert edits(folder) == [["ann", "12.Rome", "ExactMatch", 0.5, "Rome counts half"]]
    big.goto(f"{address}/?run=one&find=question+12&sort=-return")
    expect(told(big)).to_have_text("1–2 of 2", timeout=SLOW_MS)
    edited = big.locator("tbody tr").nth(1).locator(".wb-edited")
    assert edited.all_inner_texts() == ["+0.5", "+0.5"]  # the part and the return
    big.get_by_role("link", name="Log out").click()
    big.get_by_role("button", name="Log out ann").click()
    expect(big.get_by_role("button", name="Log in")).to_be_visible()
    big.goto(f"{address}/train")
    expect(big).to_have_url(re.compile(r"/login\?next=%2Ftrain$"))


def test_the_login_page_is_dark_where_the_rest_is(guarded: tuple[str, Path], big: Page, shoot: Shoot):
    big.emulate_media(color_scheme="dark")
    big.set_viewport_size({"width": 390, "height": 700})
    big.goto(f"{guarded[0]}/login")
    shoot(big, "login 390 dark")
    assert big.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 28)"
