"""Nothing is overwritten: edits, labels and scorings as rows, and a lab as it was at any moment."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_trajectory, a_tree
from tests.store.trees import facts
from workbench.errors import SettingError, StoreError, UnknownName, UnknownRun
from workbench.scores import Level, Scores
from workbench.spec import code_version, dumps, part
from workbench.store import Store, lake, open_store
from workbench.store.asking import Asking
from workbench.trajectory import Tree


@part
class Fixed:
    """Stands for a reward; pays `amount`."""

    amount: float = 1.0


def rollout(name: str, *, pages: list[str] | None = None) -> Tree:
    return a_tree(a_trajectory(pages or ["p1"], answer="Paris", id="t"), id=name)


def paid(store: Store, run: str, tree: Tree, amount: float) -> None:
    """Score the tree's one trajectory."""
    told = {"reward": dumps(Fixed(amount)), "version": code_version(Fixed(amount))}
    store.record_scores([tree], [[Scores.trajectory(amount, f"paid {amount}")]], run=run, **told)


def newest(store: Store) -> int:
    """The lab's newest snapshot, with everything recorded so far in it."""
    store.flush()
    return int(store.snapshots().snapshot.iloc[-1])


# ---------------------------------------------------------------- who said what


def test_undo_and_redo_are_rows_like_any_other(lab: Path):
    with open_store(lab) as store:
        run, tree = store.start_run({}), rollout("a")
        store.record_trees([tree], run=run)
        paid(store, run, tree, 1.0)

        def edit(new: float | None, why: str, who: str) -> float:
            store.edit(run, "a", "t", "reward", new, why, who=who)
            return store.sql("select value from scores where run = $run", run=run).value[0]

        in_force = [edit(0.25, "it guessed", "ann"), edit(None, "undo", "bob"), edit(0.25, "redo", "bob")]
        assert in_force == [0.25, 1.0, 0.25]
        rows = store.history(run)
    assert rows.what.tolist() == ["scored", "edit", "edit", "edit"]
    assert rows.who.tolist()[1:] == ["ann", "bob", "bob"] and rows.why.tolist()[1:] == ["it guessed", "undo", "redo"]
    # the first edit met 1.0; the undo met 0.25 and named no value of its own; the redo met 1.0 again
    assert rows.old.tolist()[1:] == [1.0, 0.25, 1.0]
    assert rows.new.fillna(-1).tolist()[1:] == [0.25, -1, 0.25]
    assert rows.recorded.is_monotonic_increasing and set(rows.reward.iloc[1:]) == {rows.reward[0]}


def test_labels_keep_what_was_said_before(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        store.record_trees([rollout("a"), rollout("b")], run=run)
        store.label(run, "a", "t", "helpful", 1.0, "found it", step=0, who="ann")
        store.label(run, "a", "t", "helpful", 0.0, "it did not", step=0, who="ann")
        store.label(run, "a", "t", "helpful", 1.0, step=0, who="bob")
        store.label(run, "a", "t", "helpful", float("nan"), "withdrawn", step=0, who="ann")
        store.label(run, "b", "t", "helpful", 1.0, who="ann")
        rows = store.history(run, "a", "t")
        assert store.history(run, "b").step.isna().tolist() == [True]  # the whole trajectory
        assert store.history(run, "a", "no such").empty
    assert rows.who.tolist() == ["ann", "ann", "bob", "ann"]
    assert set(rows.step) == {0} and set(rows.part) == {"helpful"}
    assert rows.old.fillna(-1).tolist() == [-1, 1.0, -1, 0.0]
    assert rows.new.fillna(-1).tolist() == [1.0, 0.0, 1.0, -1]


def test_an_unknown_run_has_no_history(lab: Path):
    with open_store(lab) as store, pytest.raises(UnknownRun, match="no run 'r1'"):
        store.history("r1")


def test_every_score_leads_to_the_settings_and_the_code_that_gave_it(lab: Path):
    with open_store(lab) as store:
        run, tree = store.start_run({}), rollout("a")
        store.record_trees([tree], run=run)
        for amount, code in ((1.0, "v1"), (2.0, "v1"), (2.0, "v2")):  # other settings, then other code
            scores = [[Scores.trajectory(amount)]]
            store.record_scores([tree], scores, run=run, reward=dumps(Fixed(amount)), version=code)
        rows = store.sql(
            "select l.value, r.code, r.spec->>'amount' as amount from scores_log l join rewards r using (reward) "
            "order by l.pass"
        )
        held = store.versions()
    assert rows.to_numpy().tolist() == [[1.0, "v1", "1.0"], [2.0, "v1", "2.0"], [2.0, "v2", "2.0"]]
    assert held.code.tolist() == ["v2", "v1", "v1"] and held.trees.tolist() == [1, 1, 1]  # last used first
    assert held.version.nunique() == 3


# ---------------------------------------------------------------- as it was


def state(store: Asking, run: str) -> dict[str, Any]:
    """What a person would ask: trees, scores as given and in force, labels, a page of trajectories."""
    trees = store.trees(run)
    in_force = (
        "select s.tree, s.step, s.value, s.why, s.edited, s.reward, r.value as total, r.missing "
        "from scores s join returns r using (run, tree, trajectory) order by all"
    )
    return {
        "trees": [facts(tree) for tree in trees],
        "given": repr(store.scores(run, trees)),
        "scores": store.sql(in_force).to_dict("list"),
        "labels": store.sql("select tree, value, who from labels order by label").to_dict("list"),
        "rows": store.browsing.trajectories(run).rows,
    }


def test_a_lab_as_it_was_answers_exactly_after_tidying_too(lab: Path):
    told: dict[int, dict[str, Any]] = {}
    with open_store(lab) as store:
        run = store.start_run({}, name="r")
        for n in range(2):
            tree = rollout(f"tree {n}", pages=[f"p{n}"])
            store.record_trees([tree], run=run, update=n)
            paid(store, run, tree, 1.0 + n)
            store.flush()
        told[newest(store)] = state(store, run)
        store.edit(run, "tree 0", "t", "reward", 0.5, "edited", who="ann")
        store.label(run, "tree 1", "t", "helpful", 1.0, who="bob")
        told[newest(store)] = state(store, run)
        paid(store, run, rollout("tree 0", pages=["p0"]), 7.0)  # another version takes force, the edit falls away
        told[newest(store)] = state(store, run)
        store.record_trees([rollout("tree 9")], run=run)
        store.tidy()
        with contextlib.closing(lake.connect(lab, read_only=False)) as connection:  # merged files go at once
            gone = connection.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)").fetchall()
            left = connection.execute("from ducklake_list_files('lake', 'step_rows')").fetchall()
        assert sum("step_rows" in path for (path,) in gone) == 3
        assert len(left) == 1
        store.record_trees([rollout("tree 10")], run=run)
        store.flush()
        for snapshot, then in told.items():
            with store.at(snapshot) as past:
                assert state(past, run) == then, snapshot
    assert len({str(then) for then in told.values()}) == len(told)  # every moment was another


def test_a_time_means_what_the_tables_held_by_then(lab: Path):
    with open_store(lab) as store:
        store.start_run({}, name="first")
        store.flush()
        when = store.snapshots().recorded.iloc[-1].to_pydatetime()
        store.start_run({}, name="second")
        elsewhere = when.replace(tzinfo=datetime.UTC).astimezone(datetime.timezone(datetime.timedelta(hours=5)))
        for told in (when, when.isoformat(), elsewhere, elsewhere.isoformat()):
            with store.at(told) as past:
                assert past.runs() == ["first"]
                assert past.recorded == when and f"as it was at snapshot {past.snapshot}, " in repr(past)
        with store.at(datetime.datetime.now(datetime.UTC)) as past:
            assert past.runs() == ["first", "second"]


def test_snapshots_say_what_each_did(lab: Path):
    with open_store(lab) as store:
        run, tree = store.start_run({}), rollout("a")
        store.record_trees([tree], run=run)
        store.record_scores([tree], [[Scores.trajectory(1.0, level=Level.GROUP)]], run=run)
        store.edit(run, "a", "t", "reward", 0.5, "because")
        store.flush()
        rows = store.snapshots()
        assert rows.recorded.is_monotonic_increasing and rows.snapshot.is_monotonic_increasing
        assert "added to" in rows.what.iloc[-1] and "edits" in rows.what.iloc[-1]
        store.tidy()
        assert store.snapshots().what.iloc[-1].startswith("tidied")


def test_what_is_no_moment_of_the_lab_is_told(lab: Path):
    ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    with open_store(lab) as store:
        with pytest.raises(UnknownName, match=r"no snapshot 99999; this lab has \d+ to \d+"):
            store.at(99999)
        for wrong in ("yesterday", True, None, 1.5):
            with pytest.raises(
                SettingError, match="expected a time, a text such as '2026-03-01 12:00', or a snapshot's"
            ):
                store.at(wrong)  # type: ignore[arg-type]
        with pytest.raises(SettingError, match="lies in the future; times without a zone are UTC"):
            store.at(ahead)
        with pytest.raises(StoreError, match="the lab was made at .* UTC, after 2001-01-01 00:00:00 UTC"):
            store.at("2001-01-01")
        with pytest.raises(UnknownName):
            store.at(0)  # DuckLake's, before there was a lab


def test_the_past_can_be_asked_and_not_written(lab: Path):
    with open_store(lab) as store:
        store.start_run({})
        past = store.at(newest(store))
    assert past.runs() == ["r1"]  # it stays open on its own
    assert not hasattr(past, "record_trees") and not hasattr(past, "edit")
    with pytest.raises(StoreError, match="only reads"):
        past.sql("delete from run_events")
    past.close()
    with pytest.raises(StoreError, match="closed"):
        past.runs()
