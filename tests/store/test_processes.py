"""Several processes on one lab; processes that are killed, forked, or just end."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.store.trees import facts
from tests.store.writing import tree_number
from workbench.errors import StoreBusy, StoreError
from workbench.scores import Scores
from workbench.store import Store, lake, open_store
from workbench.store.extensions import extension_file
from workbench.store.overlay import laid_over

ROOT = Path(__file__).resolve().parents[2]


def started(*arguments: object) -> subprocess.Popen[str]:
    """`python ARGUMENTS` from the root of the repository, with its output to be read."""
    command = [sys.executable, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def writer(lab: Path, run: str, first: int, count: int) -> subprocess.Popen[str]:
    return started("-m", "tests.store.writing", lab, run, first, count)


def finished(process: subprocess.Popen[str]) -> list[str]:
    """Lines that a process printed; fails where it raised."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.splitlines()


def holds_once(lab: Path, run: str, numbers: Sequence[int]) -> None:
    """The run holds these trees with their scores: none lost, none twice, each as it was."""
    with open_store(lab) as store:
        trees = store.trees(run)
        assert sorted(tree.id for tree in trees) == sorted(f"tree-{n}" for n in numbers)
        assert facts(trees) == facts([tree_number(n) for n in sorted(numbers)])
        scores = store.sql("select update, value from scores where run = $run order by update", run=run)
        assert scores.to_numpy().tolist() == [[n, float(n)] for n in sorted(numbers) for _ in range(4)]
        steps = store.sql("select count(*) as n from steps where run = $run", run=run)
        assert steps.n[0] == 8 * len(numbers)


@pytest.mark.parametrize(("writers", "commits"), [(4, 5), pytest.param(8, 15, marks=pytest.mark.slow)])
def test_many_writers_and_readers_lose_nothing_double_nothing_and_see_no_error(lab: Path, writers: int, commits: int):
    with open_store(lab) as store:
        run = store.start_run({}, name="shared")
        many = [tree_number(n) for n in range(10**6, 10**6 + 200)]
        store.record_trees(many, run=run)
        first = [1000 * n for n in range(writers)]
        writing = [writer(lab, run, n, commits) for n in first]
        seen = []
        while any(process.poll() is None for process in writing):
            seen.append(store.sql("select count(*) as n from trees").n[0])
            counted = store.sql("select count(*) as n, count(distinct (tree, trajectory)) as once from returns")
            assert counted.n[0] == counted.once[0]
            store.record_report({"seen": int(seen[-1])}, run=run, update=len(seen))
        for process in writing:
            assert len(finished(process)) == commits
        assert store.reports(run)["seen"].tolist() == seen
        store.record_scores(many, [[Scores.trajectory(0.0)] * 4] * 200, run=run)
    assert seen == sorted(seen)
    with open_store(lab) as store:
        numbers = sorted(int(tree.id.removeprefix("tree-")) for tree in store.trees(run))
        assert numbers == sorted([n + c for n in first for c in range(commits)] + [*range(10**6, 10**6 + 200)])
        returns = store.sql("select count(*) as n, count(distinct (tree, trajectory)) as once from returns")
        assert returns.n[0] == returns.once[0] == 4 * len(numbers)


def test_processes_that_start_at_once_make_one_lab_and_get_runs_of_their_own(tmp_path: Path):
    lab = tmp_path / "lab"
    said = [finished(process) for process in [writer(lab, "new", n, 1) for n in range(2)]]
    assert sorted(lines[0] for lines in said) == ["run r1", "run r2"]
    for n, lines in enumerate(said):
        holds_once(lab, lines[0].removeprefix("run "), [n])


@pytest.mark.parametrize("kills", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_writers_killed_at_any_moment_leave_all_that_they_acknowledged_and_nothing_twice(lab: Path, kills: int):
    with open_store(lab) as store:
        store.start_run({}, name="killed")
    lines = finished(started("-m", "tests.store.killing", lab, "killed", kills, 7))
    check_killed(lab, "killed", lines)
    assert finished(writer(lab, "killed", 1, 1)) == ["tree-1"]  # and it can be written to


def check_killed(lab: Path, run: str, lines: Sequence[str]) -> None:
    """Every acknowledged row is there, none twice, each as it was; returns once the lab is whole."""
    assert not [line for line in lines if line.startswith("error")]
    with open_store(lab) as store:
        trees = store.trees(run)
        labels = store.sql("select tree, value::integer as k from labels").itertuples(index=False)
        labels = [(int(tree.removeprefix("tree-")), k) for tree, k in labels]
        scores = store.sql("select update from scores")["update"].tolist()
        steps = store.sql("select count(*) as n from steps").n[0]
    kept = [int(tree.id.removeprefix("tree-")) for tree in trees]
    said = [tuple(int(word) for word in line.split()[1:]) for line in lines]
    assert {n for n, *k in said if not k} <= set(kept)
    assert {(n, *k) for n, *k in said if k} <= set(labels)
    assert len(labels) == len(set(labels))
    assert facts(trees) == facts([tree_number(n) for n in kept])
    assert len(set(kept)) == len(kept)
    assert steps == 8 * len(kept)
    assert set(Counter(scores).values()) <= {4}  # one a trajectory, never eight
    assert {n for n, *k in said if not k} <= set(scores)
    assert not list((lab / "journal").glob("*.journal"))


def test_a_process_that_just_ends_has_written_everything(lab: Path):
    code = f"""
from tests.store.writing import tree_number
from workbench.store import open_store
store = open_store({str(lab)!r})
run = store.start_run({{}})
store.record_trees([tree_number(1)], run=run, update=1)
print(run)
"""
    assert finished(started("-c", code)) == ["r1"]
    with open_store(lab) as store:
        assert facts(store.trees("r1")) == facts([tree_number(1)])


def test_a_forked_process_is_told_to_open_the_lab_itself(lab: Path):
    code = f"""
import os
from workbench.store import open_store
store = open_store({str(lab)!r})
run = store.start_run({{}})
child = os.fork()
if not child:
    try:
        store.record_report({{}}, run=run, update=1)
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
store.record_report({{"loss": 1.0}}, run=run, update=1)
print(len(store.reports(run)))
"""
    told, count = finished(started("-W", "ignore", "-c", code))
    assert "was opened before this process was forked; open it again here" in told
    assert count == "1"


def test_a_lock_that_is_not_had_in_time_is_a_warning_that_names_its_holder_once(lab: Path):
    with open_store(lab, lock_timeout_s=0.2) as store:
        run = store.start_run({})
        with lake.locked(lab, deadline_s=1.0):
            store.record_trees([tree_number(0)], run=run)
            with pytest.warns(RuntimeWarning, match=r"not had within 0\.2 s: process \d+ on .* is safe in '.*journal'"):
                store.flush()
            store.record_trees([tree_number(1)], run=run)  # still acknowledged, and nothing is said again
            store.flush()
            assert store.trees(run) == []  # a question is answered from what there is
        store.flush()
        assert [tree.id for tree in store.trees(run)] == ["tree-0", "tree-1"]
        with lake.locked(lab, deadline_s=1.0):
            store.record_trees([tree_number(2)], run=run)
            with pytest.warns(RuntimeWarning, match="not had within"):  # another time, another warning
                store.flush()


def test_edits_and_labels_show_at_once_where_they_were_made_whoever_holds_the_lock(lab: Path):
    with open_store(lab) as store, open_store(lab) as other:
        run = store.start_run({})
        store.record_trees([tree_number(0)], run=run)
        store.record_scores([tree_number(0)], [[Scores.trajectory(0.25)] * 4], run=run)
        store.flush()
        with lake.locked(lab, deadline_s=1.0):
            store.label(run, "tree-0", "0.0", "correct", 1.0)
            store.edit(run, "tree-0", "0.1", "reward", 0.75, "the page says so")
            store.edit(run, "tree-0", "0.1", "reward", 0.5, "half of it")
            assert shown(store) == ([1.0], [0.25, 0.5, 0.25, 0.25], [0.25, 0.75], [0.25, 0.5, 0.25, 0.25])
            assert shown(other) == ([], [0.25] * 4, [], [0.25] * 4)
        store.flush()
        assert shown(store) == shown(other) == ([1.0], [0.25, 0.5, 0.25, 0.25], [0.25, 0.75], [0.25, 0.5, 0.25, 0.25])


def test_a_label_that_the_lake_holds_by_now_is_not_shown_twice(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        with lake.locked(lab, deadline_s=5.0):
            store.label(run, "tree-0", "0.0", "correct", 1.0)
            waiting = store._writer.settle()  # as a question finds it that is asked while the label is folded
        store.flush()
        assert len(waiting) == 1
        assert store._writer.settle() == []
        with contextlib.closing(lake.connect(lab, read_only=True)) as connection:
            cursor = laid_over(lake.cursor(connection), waiting)
            assert cursor.execute("select count(*) from labels").fetchall() == [(1,)]


def shown(store: Store) -> tuple[list, list, list, list]:
    """Labels, scores in force, what edits say stood before, and returns as a page shows them."""
    labels = store.sql("select value from labels").value.tolist()
    scores = store.sql("select value from scores order by trajectory").value.tolist()
    before = store.sql("select old from edits order by edit").old.tolist()
    rows = store.browsing.trajectories("r1").rows
    return labels, scores, before, [row["return"].value for row in rows]


def test_a_run_that_cannot_be_started_in_time_is_not_started_later(lab: Path):
    with open_store(lab, lock_timeout_s=0.1) as store:
        with lake.locked(lab, deadline_s=1.0), pytest.raises(StoreBusy, match="has held it since"):
            store.start_run({})
        assert store.runs() == []
        assert store.start_run({}) == "r1"


@pytest.mark.embedded("puts something in the way of its files")
def test_a_failed_commit_is_told_and_made_good_later(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        (lab / "data").mkdir(exist_ok=True)
        (lab / "data").rename(lab / "away")
        (lab / "data").write_text("in the way")  # no folder: no file can be written
        store.record_trees([tree_number(0)], run=run)
        with pytest.raises(StoreError, match="rows could not be written.*What was recorded is safe in"):
            store.flush()
        store.record_trees([tree_number(1)], run=run)
        (lab / "data").unlink()
        (lab / "away").rename(lab / "data")
        store.flush()
        assert [tree.id for tree in store.trees(run)] == ["tree-0", "tree-1"]
    with open_store(lab) as store:
        assert len(store.trees(run)) == 2


@pytest.mark.embedded("puts something in the way of its files")
def test_a_failed_commit_that_nobody_waits_for_is_a_warning_at_a_later_call(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        shutil.rmtree(lab / "data", ignore_errors=True)
        (lab / "data").write_text("in the way")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for update in itertools.count():
                store.record_report({}, run=run, update=update)
                if told:
                    break
                time.sleep(0.05)
        assert "rows could not be written" in str(told[0].message)
        (lab / "data").unlink()
        store.flush()
        assert store.reports(run)["update"].tolist() == list(range(update + 1))


@pytest.mark.embedded("puts something in the way of its files")
def test_rows_that_cannot_be_written_at_exit_are_told_of_and_come_in_at_the_next_open(lab: Path):
    code = f"""
import pathlib, shutil
from tests.store.writing import tree_number
from workbench.store import open_store
store = open_store({str(lab)!r})
run = store.start_run({{}})
shutil.rmtree({str(lab / "data")!r}, ignore_errors=True)
pathlib.Path({str(lab / "data")!r}).write_text("in the way")
store.record_trees([tree_number(1)], run=run)
"""
    process = started("-c", code)
    _, err = process.communicate(timeout=300)
    assert "at exit: rows could not be written" in err
    (lab / "data").unlink()
    with open_store(lab) as store:
        assert facts(store.trees("r1")) == facts([tree_number(1)])


def test_tidying_keeps_every_row_and_every_older_version(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        for n in range(6):
            store.record_trees([tree_number(n)], run=run, update=n)
            store.flush()
        snapshots = "select max(snapshot_id) as newest from lake.snapshots()"
        before = store.sql(snapshots).newest[0]
        store.tidy()
        assert facts(store.trees(run)) == facts([tree_number(n) for n in range(6)])
        assert len(store.sql("from ducklake_list_files('lake', 'step_rows')")) == 1
        old = store.sql(f"select count(*) as n from step_rows at (version => {before - 1})")
        assert old.n[0] == 5 * 8  # before the sixth tree came


def test_a_lab_of_another_schema_is_refused(lab: Path):
    open_store(lab).close()
    connection = lake.connect(lab, read_only=False)
    connection.execute("insert into lab values (99, now())")
    connection.close()
    with pytest.raises(StoreError, match="has schema 99"):
        open_store(lab)


def test_a_lab_whose_making_was_cut_short_is_made_to_the_end(tmp_path: Path):
    (tmp_path / "lab").mkdir()
    connection = lake.connect(tmp_path / "lab", read_only=False)
    connection.execute(
        "create table run_events (run varchar, event varchar, status varchar, settings varchar, recorded timestamp)"
    )
    connection.close()
    with open_store(tmp_path / "lab") as store:
        assert store.start_run({}) == "r1"


def test_a_file_is_not_a_lab(tmp_path: Path):
    (tmp_path / "lab").write_text("text")
    with pytest.raises(StoreError, match="a lab is a folder, and .* is a file"):
        open_store(tmp_path / "lab")


def test_a_corrupt_catalog_is_told(tmp_path: Path):
    (tmp_path / "catalog.sqlite").write_text("this is no database, though it is long enough to be one" * 20)
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(tmp_path)


def test_a_missing_extension_says_what_to_install():
    with pytest.raises(ImportError, match=r"needs the package duckdb-extension-nonesuch; run: pip install duckdb-ext"):
        extension_file("nonesuch")
