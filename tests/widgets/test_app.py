"""The pages of the served app as functions of a visit, the table they are made of, and the server that shows them."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from tests.training.seekers import seeking
from tests.widgets.serving import serving
from widgets import app
from widgets.form import Form
from widgets.pages.asking import address_of, query_from
from widgets.pages.browse import browse
from widgets.pages.step import step
from widgets.pages.stored_run import StoredRun, keep_reading
from widgets.pages.train import train
from widgets.pages.trainer import Trainer
from widgets.pages.visit import Shown, Signing, Visit
from widgets.rollout_table import Column, RolloutTable
from widgets.run_monitor import RunMonitor
from widgets.step_through import StepThrough
from workbench.cli import main
from workbench.errors import SettingError, UnknownName, UnknownRun
from workbench.scores import Part, Scores, Status
from workbench.spec import dumps
from workbench.store import Store, open_store
from workbench.store.browsing import Page, Query
from workbench.training.run import Run
from workbench.trajectory import Tree


@pytest.fixture(scope="module")
def empty_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "lab"
    open_store(folder).close()
    return folder


@pytest.fixture(scope="module")
def full_lab(empty_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with the run "one", see `filled`."""
    folder = shutil.copytree(empty_lab, tmp_path_factory.mktemp("full") / "lab")
    with open_store(folder) as opened:
        filled(opened)
    return folder


@pytest.fixture
def store(empty_lab: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty lab."""
    with open_store(shutil.copytree(empty_lab, tmp_path / "a lab")) as opened:
        yield opened


@pytest.fixture
def full(full_lab: Path, tmp_path: Path) -> Iterator[Store]:
    """A lab of one's own with the run "one"."""
    with open_store(shutil.copytree(full_lab, tmp_path / "full")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """Visits end with the test."""
    ENDS.clear()
    yield
    for end in ENDS:
        end()


ENDS: list[Callable[[], None]] = []


def no_training(*_: Any, **__: Any) -> Any:
    raise AssertionError("no test starts a training here")


def visit(
    store: Store,
    who: str | None = None,
    trainer: Trainer | None = None,
    followed: list[str] | None = None,
    **asked: str,
) -> Visit:
    """A visit whose query string is `asked`; `followed` takes what it shows in the address bar."""
    follow = [].append if followed is None else followed.append
    return Visit(store, trainer or Trainer(store, no_training), who, asked, follow, ENDS.append)


def scored(exact: float, gains: list[float]) -> Scores:
    parts = (Part("ExactMatch", 1.0, Scores.trajectory(exact)), Part("Gain", 0.5, Scores.steps(gains)))
    return Scores(np.zeros(len(gains)), np.full(len(gains), Status.SCORED), parts=parts)


def filled(store: Store, *, run: str = "one", trees: int = 3, kind: str = "rollout") -> list[Tree]:
    """A run whose tree n, of update n, has a right and a wrong trajectory."""
    made = []
    store.start_run({"kind": kind}, name=run)
    for n in range(trees):
        task = replace(a_task(f"task-{n}"), question=f"Question {n}?")
        members = [a_trajectory(["p1"], answer=said, id=f"{run}.{n}.{said}", task=task) for said in ("Paris", "Rome")]
        tree = a_tree(*members, id=f"tree-{n}")
        store.record_trees([tree], run=run, update=n)
        store.record_scores([tree], [[scored(1.0, [0.5, np.nan]), scored(0.0, [0.25, np.nan])]], run=run)
        made.append(tree)
    return made


def told(component: Any) -> list[tuple[dict[str, Any], Any]]:
    """From now on: what the component tells its page, as (message, data)."""
    heard: list[tuple[dict[str, Any], Any]] = []

    def send(content: Any, buffers: Any = None) -> None:
        heard.append((content, json.loads(buffers[0]) if buffers else None))

    component.send = send
    return heard


def only(shown: Shown, kind: type) -> Any:
    [found] = [part for part in shown.parts if isinstance(part, kind)]
    return found


def rows_of(table: RolloutTable) -> list[list[Any]]:
    """The rows that a page would show."""
    heard = told(table)
    table.hear_hello()
    return [row["cells"] for message, data in heard if message["kind"] == "rows" for row in data]


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(sort="part:Exact Match & more", descending=True, text="a=b&c ü", offset=100),
        Query(equal={"ended": "answered", "task": "a/b?c"}),
        Query(ranges={"part:x.y": (0.5, None), "steps": (None, 3.0), "update": (-1.0, 1e6)}),
    ],
)
def test_an_address_brings_the_same_query_back(query: Query):
    plain = RolloutTable([], lambda _: Page([], 0), asked=query).asked
    asked = dict(parse_qsl(address_of(plain, run="r1")[1:]))
    assert asked.pop("run") == "r1"
    assert query_from(asked) == query


@pytest.mark.parametrize(("name", "text"), [("page", "x"), ("from.steps", "nan"), ("to.part:A", "1e400")])
def test_an_address_with_a_number_that_is_none_says_so(name: str, text: str):
    with pytest.raises(SettingError, match=f"the address asks {name}='{text}', which is no number"):
        query_from({name: text})


# ---------------------------------------------------------------- the table

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


# ---------------------------------------------------------------- browse


def test_an_empty_lab_says_what_to_type(store: Store):
    table = only(browse(visit(store)), RolloutTable)
    assert rows_of(table) == []
    assert "workbench rollout" in table.empty and str(store.path) in table.empty


def test_runs_lead_to_their_trajectories(full: Store):
    table = only(browse(visit(full)), RolloutTable)
    heard = told(table)
    table.hear_hello()
    [row] = heard[1][1]
    # two returns a tree: 1 + 0.5 * 0.5 and 0.5 * 0.25
    assert row["cells"][:3] == ["one", "rollout", "running"] and row["cells"][-2]["value"] == 0.6875
    assert (table.link, row["open"]) == ("./", {"run": "one"})


def test_trajectories_have_a_column_for_each_part(full: Store):
    shown = browse(visit(full, run="one", sort="-part:Gain", **{"is.ended": "answered"}))
    table = only(shown, RolloutTable)
    assert [column.name for column in table.columns][3:6] == ["return", "part:ExactMatch", "part:Gain"]
    rows = rows_of(table)
    assert [row[5]["value"] for row in rows] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert shown.title == "Trajectories of one" and table.link == "step?run=one"


def test_the_address_follows_the_table(full: Store):
    followed: list[str] = []
    table = only(browse(visit(full, followed=followed, run="one", show="tasks")), RolloutTable)
    told(table)
    table.hear_page(sort="spread", descending=True, text="2?")
    assert followed[-1] == "?run=one&show=tasks&sort=-spread&find=2%3F"
    assert [row["task"] for row in table.page.rows] == ["task-2"]


def test_a_task_leads_to_its_trajectories(full: Store):
    tasks = only(browse(visit(full, run="one", show="tasks")), RolloutTable)
    assert tasks.link == "./?run=one" and tasks.opens == ["task"]
    rows = rows_of(only(browse(visit(full, run="one", task="task-1")), RolloutTable))
    assert [row[0] for row in rows] == ["Question 1?", "Question 1?"]


def test_a_run_that_is_not_there_says_which_are(full: Store):
    with pytest.raises(UnknownRun, match="no run 'on' in this lab; known: one. Did you mean 'one'"):
        browse(visit(full, run="on"))


# ---------------------------------------------------------------- step


def test_step_begins_with_the_newest_update_and_follows_where_one_is(full: Store):
    followed: list[str] = []
    view = only(step(visit(full, followed=followed)), StepThrough)
    assert view.at == {"tree": "tree-2", "trajectory": "one.2.Paris", "step": 0}
    view.go(trajectory="one.2.Rome", step=1)
    assert followed == [
        "?run=one&tree=tree-2&trajectory=one.2.Paris&step=0",
        "?run=one&tree=tree-2&trajectory=one.2.Rome&step=1",
    ]


def test_step_shows_the_place_that_the_address_names(full: Store):
    asked = {"run": "one", "tree": "tree-0", "trajectory": "one.0.Rome", "step": "1"}
    shown = step(visit(full, **asked))
    assert only(shown, StepThrough).at == {"tree": "tree-0", "trajectory": "one.0.Rome", "step": 1}
    assert shown.title == "Step through one, update 0"
    # a link that names the tree alone
    assert only(step(visit(full, tree="tree-1")), StepThrough).at["tree"] == "tree-1"


def test_the_chooser_offers_runs_with_rollouts_and_their_updates(full: Store):
    full.start_run({}, name="nothing")
    form = only(step(visit(full)), Form)
    assert [(field.name, field.value, field.choices) for field in form.fields] == [
        ("run", "one", ("one",)),
        ("update", "2", ("0", "1", "2")),
    ]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"run": "two"}, "no run with rollouts 'two' in this lab; known: one"),
        ({"run": "one", "tree": "tree-9"}, "run 'one' holds no tree 'tree-9'"),
        ({"tree": "tree-9"}, "no tree 'tree-9'"),
        ({"run": "one", "update": "7"}, "no rollouts of update 7; it holds those of 0 to 2"),
        ({"tree": "tree-0", "trajectory": "t"}, "no trajectory 't' in tree 'tree-0'"),
        ({"tree": "tree-0", "step": "9"}, "step 9 of trajectory 'one.0.Paris': its steps are 0 to 1"),
    ],
)
def test_a_place_that_is_not_there_says_what_is(full: Store, asked: dict[str, str], says: str):
    with pytest.raises((UnknownName, SettingError), match=says):
        step(visit(full, **asked))


def test_earlier_edits_are_in_force_and_new_ones_carry_the_login_name(full: Store):
    full.edit("one", "tree-2", "one.2.Rome", "Gain", 0.75, "found more", step=0, who="bob")
    view = only(step(visit(full, "ann", tree="tree-2", trajectory="one.2.Rome")), StepThrough)
    told(view)
    assert view.scores[view.trees.index(view.tree)][1].parts[1].scores.values_S[0] == 0.75
    view.edit("one.2.Rome", "ExactMatch", 1.0, "Rome counts too")
    made = full.sql("select who, old, new, why from edits order by edit").to_numpy().tolist()
    assert made == [["bob", 0.25, 0.75, "found more"], ["ann", 0.0, 1.0, "Rome counts too"]]


def test_nobody_signs_with_another_name(full: Store):
    Signing(full, "ann").edit("one", "tree-0", "one.0.Rome", "Gain", 1.0, "x", step=0, who="bob")
    assert full.sql("select who from edits")["who"].tolist() == ["ann"]
    run = Signing(full, "ann").start_run({"kind": "train"})
    settings = json.loads(full.sql("select settings from runs where run = $run", run=run)["settings"][0])
    assert settings == {"kind": "train", "who": "ann"}


def test_step_reads_what_was_never_scored(store: Store):
    store.start_run({}, name="bare")
    store.record_trees([a_tree(a_trajectory(["p1"], answer="Paris"))], run="bare")
    assert only(step(visit(store)), StepThrough).scores is None


def test_step_in_an_empty_lab_points_to_browse(store: Store):
    shown = step(visit(store))
    assert not shown.parts and "no rollouts yet" in shown.says


# ---------------------------------------------------------------- a stored run


def report(update: int, run: str = "t") -> dict[str, Any]:
    """What a page needs of a report."""
    return {"run": run, "update": update, "mean_return": update / 4, "parts": {"A": float("nan")}, "checks": []}


def training(store: Store, updates: int = 3) -> str:
    """A recorded training: three updates planned, none done."""
    trees = filled(store, run="t", kind="train")
    run = store.start_run({"kind": "train", "updates": updates}, name="train-1")
    store.record_plan(dumps(seeking(1).plan.spec()), run=run, update=1)
    store.record_trees(trees[:1], run=run, update=1)
    store.record_scores(trees[:1], [[scored(1.0, [0.5, np.nan]), scored(0.0, [0.25, np.nan])]], run=run)
    return run


def test_a_stored_run_is_read_again_where_something_is_new(store: Store):
    run = StoredRun(store, training(store))
    assert (run.status, run.update, run.updates, run.steers, run.latest) == ("running", 0, 3, False, None)
    assert len(run.plans) == 1 and run.plans[0][0] == 1 and run.plans[0][1]["reward"]["part"] == "WeightedSum"
    assert not run.read()
    store.record_report(report(1), run="train-1", update=1)
    assert run.read() and run.update == 1 and run.reports[0]["parts"] == {"A": None}
    assert run.latest is not None and len(run.latest.trees) == 1 and run.latest.scores[0][0].total is not None
    store.end_run("train-1", "finished")
    assert run.read() and run.status == "finished" and not run.read()


def test_a_monitor_watches_a_stored_run_while_it_goes_on(store: Store):
    run = StoredRun(store, training(store))
    seen, troubles = threading.Semaphore(0), []
    end = keep_reading(run, seen.release, troubles.append, every_s=0.01)
    store.record_report(report(1), run="train-1", update=1)
    store.flush()
    assert seen.acquire(timeout=20)
    store.end_run("train-1", "finished")
    assert seen.acquire(timeout=20)
    end()
    assert run.status == "finished" and not troubles


def test_a_monitor_opens_a_group_of_a_stored_run_with_its_own_credit(store: Store):
    store.record_report(report(1), run=training(store), update=1)
    monitor = only(train(visit(store, run="train-1")), RunMonitor)
    told(monitor)
    monitor.hear_hello()
    monitor.hear_open(0)
    assert monitor.opened.tree.id == "tree-0" and monitor.opened.run == "train-1"
    monitor.close()


# ---------------------------------------------------------------- train


def test_a_lab_without_trainings_offers_the_first(store: Store):
    shown = train(visit(store))
    assert "No run of this lab is a training yet" in shown.says
    assert only(shown, Form).folded == ""


def begin(reward: Any, *, updates: int, **settings: Any) -> Run:
    """The small search world in place of the embedded one."""
    return seeking(updates, reward=reward, **settings)


ANSWERS = {
    "reward": "ExactMatch()",
    "method": "DrGRPO",
    "updates": 2,
    "tasks_per_update": 2,
    "group_size": 2,
    "seed": 0,
}


def test_a_training_begins_in_the_server_and_is_recorded_in_the_lab(store: Store):
    trainer = Trainer(store, begin)
    form = only(train(visit(store, "ann", trainer)), Form)
    heard = told(form)
    form.hear_answers(dict(ANSWERS))
    assert trainer.training is not None
    run = trainer.training.run
    assert heard[-1][0] == {"kind": "done", "go": f"train?run={run.name}"}
    run.wait(60)
    assert run.status == "finished" and store.browsing.runs().rows[0]["trajectories"] == 8
    [row] = store.sql("select settings->>'who' as who, status from runs").to_dict("records")
    assert row == {"who": "ann", "status": "finished"}


def test_one_training_runs_at_a_time_and_its_starter_alone_steers_it(store: Store):
    trainer = Trainer(store, begin)
    run = trainer.start({**ANSWERS, "updates": 5000}, "ann")
    run.pause()
    try:
        with pytest.raises(SettingError, match="is under way here, started by ann; one runs at a time"):
            trainer.start(dict(ANSWERS), "ann")
        ann, bob = (train(visit(store, who, trainer)) for who in ("ann", "bob"))
        own, others = only(ann, RunMonitor), only(bob, RunMonitor)
        assert own.run is run and own.run.steers and not ann.says
        assert not others.run.steers and "ann started this training" in bob.says
        with pytest.raises(SettingError):
            others.hear_stop()
        assert run.driven
        others.close()
        own.close()
    finally:
        run.resume()
        trainer.end(60)
    assert run.status == "stopped" and not run.driven


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"updates": 0}, "updates is a whole number from 1 to 10000, got 0"),
        ({"updates": True}, "got True"),
        ({"seed": 1.5}, "seed is a whole number from 0"),
        ({"group_size": "8"}, "group size is a whole number from 2 to 64, got '8'"),
        ({"method": "PPO"}, "no method 'PPO'; known: DAPO"),
        ({"reward": "ExactMach()"}, "no reward 'ExactMach'.*Did you mean 'ExactMatch'"),
        ({"reward": "__import__('os')"}, "no reward '__import__'"),
    ],
)
def test_answers_that_cannot_be_trained_with_are_refused(store: Store, answers: dict[str, Any], says: str):
    trainer = Trainer(store, no_training)
    with pytest.raises((SettingError, UnknownName), match=says):
        trainer.start({**ANSWERS, **answers}, None)
    assert trainer.training is None


# ---------------------------------------------------------------- the server


@pytest.fixture
def address(full: Store) -> Iterator[str]:
    with serving(lambda: app.app_server(full, Trainer(full, no_training))) as found:
        yield found


def get(address: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    connection.request("GET", f"{where.path}?{where.query}", headers=headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_every_page_comes_up_and_names_the_others(address: str):
    for path, title in (("/", "Runs"), ("/step", "Step through one, update 2"), ("/train", "Train")):
        status, text = get(address + path)
        assert status == 200 and f"<h1>{title}</h1>" in text
        assert all(f'href="{there}"' in text for there in ("./", "./step", "./train"))
        assert 'aria-current="page"' in text and "Log out" not in text


def test_what_goes_wrong_is_shown_as_text(address: str):
    status, text = get(address + "/?run=%3Cscript%3Ealert(1)%3C/script%3E")
    assert status == 200 and "no run &#39;&lt;script&gt;alert(1)" in text and "<script>alert" not in text


def test_a_websocket_of_another_site_is_refused(address: str):
    def knock(origin: str) -> int:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "bokeh, token"}
        return get(address + "/ws", {**headers, "Origin": origin})[0]

    assert knock("http://evil.example") == knock(address.replace("127.0.0.1", "evil.example")) == 403


def test_origins_are_this_servers_own_names():
    assert app._own_origins("127.0.0.1", 5006) == ["127.0.0.1:5006", "localhost:5006"]
    everywhere = app._own_origins("0.0.0.0", 80)
    assert f"{socket.gethostname().lower()}:80" in everywhere and "0.0.0.0:80" not in everywhere
    assert "192.0.2.7:80" in app._own_origins("192.0.2.7", 80)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("lab.example.org", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, loopback: bool):
    assert app._is_loopback(address) == loopback


def test_a_server_that_anybody_reaches_is_warned_of(store: Store, capsys: pytest.CaptureFixture[str]):
    class Bound:
        port = 5006

    app._tell(store, Bound(), "127.0.0.1", guarded=False)  # type: ignore[arg-type]
    app._tell(store, Bound(), "0.0.0.0", guarded=True)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    app._tell(store, Bound(), "0.0.0.0", guarded=False)  # type: ignore[arg-type]
    warned = capsys.readouterr().err
    assert "WARNING: other machines reach 0.0.0.0, and nobody has to log in" in warned
    assert "reads every rollout of this lab, edits its rewards and starts trainings" in warned
    assert "--auth users.json" in warned


# ---------------------------------------------------------------- the commands


def typed(*words: str) -> int:
    return main(list(words))


def test_a_port_that_is_taken_says_which_to_type(empty_lab: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert typed("serve", str(empty_lab), "--port", str(port), "--no-show") == 2
    assert f"port {port}: Address already in use. Another port: --port {port + 1}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--address", "192.0.2.1"], "cannot listen on 192.0.2.1, port 5006"),
        (["--port", "0", "--allow-origin", "http://lab.example.org"], "takes HOST or HOST:PORT, without http://"),
        (["--auth", "none.json"], "no users file 'none.json'; make one: workbench users add NAME --file none.json"),
    ],
)
def test_what_cannot_be_served_says_what_to_do(
    empty_lab: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
):
    assert typed("serve", str(empty_lab), "--no-show", *words) == 2
    assert says in capsys.readouterr().err


def test_a_lab_that_is_missing_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert typed("serve", str(tmp_path / "lab"), "--no-show") == 2
    assert "no lab in" in capsys.readouterr().err and not (tmp_path / "lab").exists()


def test_users_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    file = str(tmp_path / "users.json")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\nnot this line\n"))
    assert typed("users", "add", "ann", "--file", file) == 0
    assert "ann can log in: workbench serve --auth" in capsys.readouterr().out
    assert app.Users(file).check("ann", "correct horse")
    assert typed("users", "list", "--file", file) == 0 and capsys.readouterr().out == "ann\n"
    assert typed("users", "remove", "ann", "--file", file) == 0
    capsys.readouterr()
    assert typed("serve", str(tmp_path), "--auth", file) == 2  # no lab there
    assert typed("users", "list", "--file", file) == 0 and "nobody" in capsys.readouterr().out
