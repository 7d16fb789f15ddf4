"""Several processes on one lab; processes that are killed, forked, or just end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.store.trees import facts
from tests.store.writing import tree_number
from workbench.errors import StoreBusy, StoreError
from workbench.store import lake, open_store

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


@pytest.mark.parametrize("commits", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_two_writers_and_a_reader_lose_nothing_double_nothing_and_see_no_error(tmp_path: Path, commits: int):
    lab = tmp_path / "lab"  # made by whichever comes first
    with open_store(lab) as store:
        run = store.start_run({}, name="shared")
        writers = [writer(lab, run, 0, commits), writer(lab, run, 1000, commits)]
        seen = []
        while any(process.poll() is None for process in writers):
            seen.append(store.sql("select count(*) as n from trees").n[0])
            counted = store.sql("select count(*) as n, count(distinct (tree, trajectory)) as once from returns")
            assert counted.n[0] == counted.once[0]
        for process in writers:
            assert len(finished(process)) == commits
    assert seen == sorted(seen)
    holds_once(lab, "shared", [*range(commits), *range(1000, 1000 + commits)])


def test_processes_that_start_at_once_make_one_lab_and_get_runs_of_their_own(tmp_path: Path):
    lab = tmp_path / "lab"
    said = [finished(process) for process in [writer(lab, "new", n, 1) for n in range(2)]]
    assert sorted(lines[0] for lines in said) == ["run r1", "run r2"]
    for n, lines in enumerate(said):
        holds_once(lab, lines[0].removeprefix("run "), [n])


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_a_lab_with_all_that_it_had_acknowledged(lab: Path, kills: int):
    with open_store(lab) as store:
        store.start_run({}, name="killed")
    acknowledged: set[str] = set()
    for kill in range(kills):
        process = writer(lab, "killed", 100 * kill, 0)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        time.sleep(0.013 * (kill % 17))  # anywhere inside a commit
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        acknowledged |= {line.strip() for line in lines}
    with open_store(lab) as store:
        kept = [int(tree.id.removeprefix("tree-")) for tree in store.trees("killed")]
    assert acknowledged <= {f"tree-{n}" for n in kept}
    holds_once(lab, "killed", kept)
    assert finished(writer(lab, "killed", 9000, 1)) == ["tree-9000"]  # and it can be written to
    holds_once(lab, "killed", [*kept, 9000])


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


def test_a_lock_that_is_not_had_in_time_says_who_holds_it_and_loses_no_row(lab: Path):
    with open_store(lab, lock_timeout_s=0.2) as store:
        run = store.start_run({})
        with lake.locked(lab, deadline_s=1.0):
            store.record_trees([tree_number(0)], run=run)
            with pytest.raises(StoreBusy, match=r"not had within 0\.2 s: process \d+ on .* kept in memory and written"):
                store.flush()
        assert [tree.id for tree in store.trees(run)] == ["tree-0"]


def test_a_failed_write_is_told_at_the_next_call_and_made_good_later(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        (lab / "data").mkdir(exist_ok=True)
        (lab / "data").rename(lab / "away")
        (lab / "data").write_text("in the way")  # no folder: no file can be written
        store.record_trees([tree_number(0)], run=run)
        deadline = time.monotonic() + 30
        with pytest.raises(StoreError, match="rows could not be written.*kept in memory"):
            while time.monotonic() < deadline:
                store.record_report({}, run=run, update=0)
                time.sleep(0.05)
        (lab / "data").unlink()
        (lab / "away").rename(lab / "data")
        store.record_trees([tree_number(1)], run=run)
        assert [tree.id for tree in store.trees(run)] == ["tree-0", "tree-1"]
    with open_store(lab) as store:
        assert len(store.trees(run)) == 2


def test_rows_that_cannot_be_written_at_exit_are_told_of(lab: Path):
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
    assert "at exit: 1 recordings are lost: rows could not be written" in err


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
    with pytest.raises(StoreError, match="has schema 99 and this workbench knows 1"):
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
        lake._extension_file("nonesuch")
