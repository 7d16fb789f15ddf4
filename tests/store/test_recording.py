"""Runs, trees, plans and reports as a training records them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from tests.store.trees import facts
from workbench.errors import SettingError, StoreError, UnknownName, UnknownRun
from workbench.protocols import Recorder
from workbench.scores import Scores
from workbench.spec import code_version, dumps, part
from workbench.store import Store, open_store


@pytest.fixture(scope="module")
def store(new_lab: Callable[[], Path]) -> Iterator[Store]:
    with open_store(new_lab()) as store:
        yield store


@part
class Half:
    """Pays a half. `share` is a setting."""

    share: float = 0.5


def test_a_store_is_a_recorder(store: Store):
    assert isinstance(store, Recorder)


def test_runs_are_numbered_or_named_and_never_share_a_name(lab: Path):
    with open_store(lab) as store:
        assert [store.start_run({}), store.start_run({}, name="r3"), store.start_run({}), store.start_run({})] == [
            "r1",
            "r3",
            "r2",
            "r4",
        ]
        with pytest.raises(SettingError, match="run 'r3' is there already; choose another name"):
            store.start_run({}, name="r3")
        assert store.runs() == ["r1", "r3", "r2", "r4"]


def test_a_run_without_letters_in_its_name_is_refused(store: Store):
    with pytest.raises(SettingError, match="a run's name needs letters, got ' '"):
        store.start_run({}, name=" ")


def test_a_run_tells_when_it_went_on_how_it_ended_and_what_it_was_started_with(store: Store):
    run = store.start_run({"reward": Half(0.25), "lr": np.float32(0.5), "kl": math.inf})
    row = store.sql("select * from runs where run = $run", run=run).iloc[0]
    assert row.status == "running"
    assert row.settings == '{"reward": {"part": "Half", "share": 0.25}, "lr": 0.5, "kl": {"$float": "inf"}}'
    store.end_run(run, "finished")
    row = store.sql("select * from runs where run = $run", run=run).iloc[0]
    assert row.status == "finished"
    assert row.started <= row.finished


def test_settings_that_cannot_be_stored_are_refused(store: Store):
    with pytest.raises(SettingError, match="function cannot be stored"):
        store.start_run({"reward": lambda group: []})


def test_an_unknown_run_is_named_with_the_nearest_one(store: Store):
    store.start_run({}, name="baseline")
    for call in (
        lambda: store.trees("basline"),
        lambda: store.record_trees([], run="basline"),
        lambda: store.mean_return_by_update("basline"),
        lambda: store.record_report({}, run="basline", update=1),
    ):
        with pytest.raises(UnknownRun, match=r"no run 'basline' in lab.*Did you mean 'baseline'\?"):
            call()


def test_trees_come_back_by_update_task_and_limit(store: Store):
    run = store.start_run({})
    for update in (1, 0):
        trees = [a_tree(a_trajectory(None, task=a_task(task)), id=f"{task}-{update}") for task in ("b", "a")]
        store.record_trees(trees, run=run, update=update)
    assert [tree.id for tree in store.trees(run)] == ["b-0", "a-0", "b-1", "a-1"]
    assert [tree.id for tree in store.trees(run, update=1)] == ["b-1", "a-1"]
    assert [tree.id for tree in store.trees(run, task="a")] == ["a-0", "a-1"]
    assert [tree.id for tree in store.trees(run, limit=3)] == ["b-0", "a-0", "b-1"]
    assert store.trees(run, update=7) == []
    assert store.tree("a-1").task.id == "a"


def test_an_unknown_tree_is_named_with_the_nearest_one(store: Store):
    run = store.start_run({})
    store.record_trees([a_tree(a_trajectory(None), id="tree-1")], run=run)
    with pytest.raises(UnknownName, match=r"no tree 'tre-1'.*Did you mean 'tree-1'\?"):
        store.tree("tre-1", run=run)


def test_a_tree_in_two_runs_asks_which(store: Store):
    tree = a_tree(a_trajectory(None), id="in two runs")
    runs = [store.start_run({}), store.start_run({})]
    for run in runs:
        store.record_trees([tree], run=run)
    with pytest.raises(StoreError, match=f"runs {runs[0]}, {runs[1]} all hold a tree 'in two runs'; say which"):
        store.tree("in two runs")
    assert facts(store.tree("in two runs", run=runs[1])) == facts(tree)


def test_recording_a_tree_again_keeps_one(store: Store):
    run = store.start_run({})
    trees = [a_tree(a_trajectory(["p1"], answer="Paris", id=name), id=name) for name in ("a", "b")]
    store.record_trees(trees[:1], run=run, update=3)
    store.record_trees(trees, run=run)
    store.flush()
    with open_store(store.path) as other:  # nor does another process, which only sees what is on disk
        other.record_trees(trees, run=run)
        assert [tree.id for tree in other.trees(run)] == ["b", "a"]
    counts = store.sql("select count(*) as rows, count(distinct tree) as trees from steps where run = $run", run=run)
    assert (counts.rows[0], counts.trees[0]) == (4, 2)


def test_another_tree_of_the_same_id_is_refused_and_the_rest_is_kept(store: Store):
    run = store.start_run({})
    store.record_trees([a_tree(a_trajectory(["p1"]), id="same")], run=run, update=2)
    other = [a_tree(a_trajectory(["p2"]), id="same"), a_tree(a_trajectory(["p2"]), id="new")]
    store.record_trees(other, run=run)
    with pytest.raises(StoreError, match=r"holds another tree with the id 'same' already \(of update 2\)"):
        store.flush()
    kept = store.trees(run)
    assert [(tree.id, tree.trajectories[0].steps[0].hits[0].id) for tree in kept] == [("new", "p2"), ("same", "p1")]


def test_a_task_is_stored_once_for_each_content(store: Store):
    run = store.start_run({})
    for n, golds in enumerate((("Paris",), ("Paris",), ("Lyon",))):
        task = a_task("stored once", golds=golds)
        store.record_trees([a_tree(a_trajectory(None, task=task), id=str(n))], run=run)
    assert len(store.sql("from tasks where task = 'stored once'")) == 2
    assert [tree.task.golds for tree in store.trees(run)] == [("Paris",), ("Paris",), ("Lyon",)]


def test_reports_come_back_as_a_table_with_nan_for_unknown(store: Store):
    run = store.start_run({})
    store.record_report({"loss": 0.5, "kl": math.nan, "mean": {"ExactMatch": 0.25}}, run=run, update=1)
    store.record_report({"loss": math.inf, "kl": 0.125, "mean": {"ExactMatch": np.float64(0.5)}}, run=run, update=2)
    frame = store.reports(run)
    assert list(frame.columns) == ["update", "loss", "kl", "mean.ExactMatch"]
    np.testing.assert_array_equal(frame.to_numpy(float), [[1, 0.5, math.nan, 0.25], [2, math.inf, 0.125, 0.5]])
    asked = store.sql("select (report->>'kl')::double as kl from reports where run = $run order by update", run=run)
    np.testing.assert_array_equal(asked.kl, [math.nan, 0.125])  # NULL in SQL


def test_a_report_of_nothing_known_is_nan_not_none(store: Store):
    run = store.start_run({})
    store.record_report({"kl": math.nan}, run=run, update=1)
    assert math.isnan(store.reports(run).kl[0])


def test_plans_are_kept_as_versions(store: Store):
    run = store.start_run({})
    for update, share in ((1, 0.5), (4, 0.25)):
        store.record_plan(dumps({"reward": Half(share)}), run=run, update=update)
    rows = store.sql("select update, plan->>'$.reward.share' as share from plans where run = $run order by 1", run=run)
    assert rows.to_numpy().tolist() == [[1, "0.5"], [4, "0.25"]]


def test_a_reward_is_stored_once_and_comes_back_as_it_was(store: Store):
    run = store.start_run({})
    tree = a_tree(a_trajectory(None))
    store.record_trees([tree], run=run)
    for _ in range(2):
        given = {"reward": dumps(Half(0.75)), "version": code_version(Half(0.75))}
        store.record_scores([tree], [[Scores.trajectory(0.75)]], run=run, **given)
    (version,) = store.sql("select reward from rewards where spec like '%0.75%'").reward
    assert store.reward(version) == Half(0.75)


def test_an_unknown_reward_version_is_told(store: Store):
    with pytest.raises(UnknownName, match="no reward version 'v9'"):
        store.reward("v9")


def test_scores_without_the_settings_of_a_reward_say_so(store: Store):
    run = store.start_run({})
    tree = a_tree(a_trajectory(None))
    store.record_scores([tree], [[Scores.trajectory(1.0)]], run=run)
    (version,) = store.sql("select distinct reward from scores where run = $run", run=run).reward
    with pytest.raises(StoreError, match="recorded without the settings of their reward"):
        store.reward(version)


def test_a_tree_that_was_not_scored_is_named(store: Store):
    run = store.start_run({})
    tree = a_tree(a_trajectory(None), id="unscored")
    store.record_trees([tree], run=run)
    with pytest.raises(UnknownName, match="in tree 'unscored' of run"):
        store.scores(run, [tree])


def test_closing_keeps_what_was_recorded_after_a_refusal(lab: Path):
    store = open_store(lab)
    run = store.start_run({})
    store.record_trees([a_tree(a_trajectory(["p1"]), id="same")], run=run)
    store.flush()
    store.record_trees([a_tree(a_trajectory(["p2"]), id="same")], run=run)
    store.record_trees([a_tree(a_trajectory(["p2"]), id="new")], run=run)
    with pytest.raises(StoreError, match="holds another tree with the id 'same'"):
        store.close()
    with open_store(lab) as store:
        assert [tree.id for tree in store.trees(run)] == ["same", "new"]


def test_a_store_that_nobody_holds_any_more_has_written_everything(lab: Path):
    store = open_store(lab)
    run = store.start_run({})
    store.record_trees([a_tree(a_trajectory(["p1"]))], run=run)
    del store
    with open_store(lab) as store:
        assert len(store.trees(run)) == 1


def test_threads_may_share_a_store(store: Store):
    run = store.start_run({})

    def work(thread: int) -> int:
        for n in range(5):
            store.record_trees([a_tree(a_trajectory(None), id=f"{thread}-{n}")], run=run)
        return sum(tree.id.startswith(f"{thread}-") for tree in store.trees(run))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [5, 5, 5, 5]
    assert len(store.trees(run)) == 20


def test_a_store_closed_by_another_thread_meanwhile_says_so(lab: Path, monkeypatch: pytest.MonkeyPatch):
    store = open_store(lab)
    monkeypatch.setattr(store._reader, "_before", store._reader.close)  # as late as it can be
    with pytest.raises(StoreError, match="is closed; open it again"):
        store.sql("select 1")
    store.close()


def test_a_store_closed_in_the_middle_of_an_answer_says_so(lab: Path):
    store = open_store(lab)

    def answer(cursor: Any) -> Any:
        found = cursor.execute("select 1")
        store.close()
        cursor.close()
        return found.fetchall()

    with pytest.raises(StoreError, match="is closed; open it again"):
        store._reader.work(answer)


def test_a_closed_store_says_so(lab: Path):
    store = open_store(lab)
    run = store.start_run({})
    store.close()
    store.close()
    for call in (store.runs, lambda: store.record_trees([], run=run)):
        with pytest.raises(StoreError, match="is closed; open it again"):
            call()
