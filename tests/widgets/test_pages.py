"""The pages of the served app as functions of a visit: browse, step, train, and the addresses that lead to them."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from tests.builders import a_trajectory, a_tree
from tests.training.seekers import seeking
from tests.widgets.visits import filled, no_training, only, rows_of, scored, told, visit
from widgets.form import Form
from widgets.pages.asking import address_of, query_from
from widgets.pages.browse import browse
from widgets.pages.step import step
from widgets.pages.stored_run import StoredRun, keep_reading
from widgets.pages.train import train
from widgets.pages.trainer import Trainer
from widgets.pages.visit import Signing
from widgets.rollout_table import RolloutTable
from widgets.run_monitor import RunMonitor
from widgets.step_through import StepThrough
from workbench.errors import SettingError, UnknownName, UnknownRun
from workbench.spec import dumps
from workbench.store import Store
from workbench.store.browsing import Page, Query
from workbench.training.run import Run

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
        ({"method": "TRPO"}, "no method 'TRPO'; known: DAPO"),
        ({"reward": "ExactMach()"}, "no reward 'ExactMach'.*Did you mean 'ExactMatch'"),
        ({"reward": "__import__('os')"}, "no reward '__import__'"),
    ],
)
def test_answers_that_cannot_be_trained_with_are_refused(store: Store, answers: dict[str, Any], says: str):
    trainer = Trainer(store, no_training)
    with pytest.raises((SettingError, UnknownName), match=says):
        trainer.start({**ANSWERS, **answers}, None)
    assert trainer.training is None
