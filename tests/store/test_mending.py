"""Damaged labs: what each error says, what `check` names, and what `recover` brings back."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_trajectory, a_tree
from tests.store.test_migrating import FULL
from tests.store.trees import facts
from workbench.cli import main
from workbench.errors import StoreError, UnknownRun
from workbench.scores import Scores
from workbench.store import Store, mending, open_store
from workbench.trajectory import Tree

pytestmark = pytest.mark.embedded("harms its files")

RUNS = ("one", "two")


def trees_of(run: str) -> list[Tree]:
    return [a_tree(a_trajectory(["p1"], answer=run, id=f"t{n}", tokens=3), id=f"{run}-{n}") for n in range(60)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of 60 trees, in files of their own; an edit and a label, which stand in the catalog."""
    lab = tmp_path_factory.mktemp("whole") / "lab"
    with open_store(lab) as store:
        for run in RUNS:
            store.start_run({}, name=run)
            store.record_trees(trees_of(run), run=run, update=2)
            store.record_scores(trees_of(run), [[Scores.trajectory(0.5)] for _ in range(60)], run=run)
            store.flush()
        store.edit("one", "one-1", "t1", "reward", 1.0, "seen", who="ann")
        store.label("two", "two-1", "t1", "correct", 1.0, who="bob")
    return lab


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "lab")


def file_of(lab: Path, table: str, number: int = 0) -> Path:
    return sorted((lab / "data" / "main" / table).glob("*.parquet"))[number]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    """Other bytes in the first column, the footer as it was."""
    held = bytearray(path.read_bytes())
    held[8:200] = bytes(192)
    path.write_bytes(held)


def bytes_of(lab: Path) -> dict[str, str]:
    files = sorted(path for path in lab.rglob("*") if path.is_file())
    return {str(path.relative_to(lab)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def count(lab: Path, *tables: str) -> list[int]:
    with open_store(lab) as store:
        return [int(store.sql(f"select count(*) as n from {table}")["n"][0]) for table in tables]


# ---------------------------------------------------------------- files of rows


def test_a_whole_lab_has_nothing_wrong(whole: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(whole)]) == 0
    out = capsys.readouterr().out
    assert "nothing is damaged" in out and "120 trajectories" in out and "1 edits" in out and "1 labels" in out


@pytest.mark.parametrize(
    ("harm", "says"), [(cut, "^cut off: [0-9,]+ bytes instead of"), (Path.unlink, "^missing$"), (flip, "^damaged: ")]
)
def test_a_damaged_file_is_named_with_its_rows_and_run(damaged: Path, harm: Callable[[Path], None], says: str):
    harm(file_of(damaged, "step_rows", 1))
    [loss] = mending.check(damaged).losses
    assert (loss.table, loss.rows, loss.runs, loss.current) == ("step_rows", 120, "run two", True)
    assert re.search(says, loss.why)


def test_the_rest_of_a_damaged_lab_is_saved(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    flip(file_of(damaged, "step_rows", 1))
    before = bytes_of(damaged)
    assert main(["check", str(damaged)]) == 1
    out = capsys.readouterr().out
    assert "step_rows: 120 rows of run two: data/main/step_rows/" in out and "lost: 120 rows" in out
    new = tmp_path / "new"
    assert main(["recover", str(damaged), str(new)]) == 0
    assert bytes_of(damaged) == before
    assert mending.check(new).whole
    assert count(new, "step_rows", "trajectories", "scores", "edits", "labels") == [120, 120, 120, 1, 1]
    with open_store(new) as store:
        assert [facts(tree) for tree in store.trees("one")] == [facts(tree) for tree in trees_of("one")]
        assert store.sql("select value from scores where edited")["value"].tolist() == [1.0]
        store.start_run({}, name="three")
        store.record_trees(trees_of("three"), run="three")
        assert len(store.trees("three")) == 60


def test_reading_what_is_damaged_says_what_to_run(damaged: Path):
    cut(file_of(damaged, "step_rows", 0))
    with open_store(damaged) as store:
        with pytest.raises(StoreError, match="the lab is damaged: .*workbench check"):
            store.trees("one")
        with pytest.raises(StoreError, match="the lab is damaged: .*workbench check"):
            store.sql("select count(text) from steps")
        assert len(store.trees("two")) == 60  # rows of another file


def test_a_recovered_lab_goes_where_nothing_is(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "new").mkdir()
    assert main(["recover", str(damaged), str(tmp_path / "new")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_on_a_full_disk_no_half_of_a_lab_is_left(damaged: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, "8192", "recover", str(damaged), str(tmp_path / "new")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "could not be recovered" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab"]


TIDY = """
import resource, sys
from workbench.errors import StoreError
from workbench.store import open_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    store.tidy()
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.close()
"""


def test_tidying_a_full_disk_loses_nothing(damaged: Path):
    done = subprocess.run([sys.executable, "-c", TIDY, str(damaged), "40000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "could not be merged (no row is lost)" in done.stdout
    assert mending.check(damaged).whole
    assert count(damaged, "step_rows", "scores", "edits", "labels") == [240, 240 // 2, 1, 1]


# ---------------------------------------------------------------- the catalog


def remove(catalog: Path) -> None:
    catalog.unlink()


def empty(catalog: Path) -> None:
    catalog.write_bytes(b"")


def garbage(catalog: Path) -> None:
    catalog.write_bytes(b"this is not a catalog" * 500)


@pytest.mark.parametrize(
    ("harm", "says"), [(remove, "it is missing"), (empty, "it is empty"), (garbage, "file is not a database")]
)
def test_a_lost_catalog_is_told_and_no_lab_is_made_anew_over_the_rows(
    damaged: Path, harm: Callable[[Path], None], says: str
):
    harm(damaged / "catalog.sqlite")
    (damaged / "catalog.sqlite-wal").unlink(missing_ok=True)
    before = bytes_of(damaged / "data")
    with pytest.raises(StoreError, match="workbench check"):
        open_store(damaged)
    assert mending.check(damaged).catalog == says and bytes_of(damaged / "data") == before


def test_without_the_catalog_rows_come_back_from_their_files(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    garbage(damaged / "catalog.sqlite")
    (damaged / "catalog.sqlite-wal").unlink(missing_ok=True)
    cut(file_of(damaged, "search_rows", 0))
    assert main(["recover", str(damaged), str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert (
        "120 trees: what was noted of them (extras) is lost" in out and "1 tasks: questions and golds are lost" in out
    )
    assert "search_rows: an unknown number of rows: data/main/search_rows/" in out
    tables = ("runs", "trees", "steps", "scores", "search_rows", "edits")
    assert count(tmp_path / "new", *tables) == [2, 120, 240, 120, 60, 0]
    with open_store(tmp_path / "new") as store:
        tree = store.tree("one-7")
        assert [facts(step) for step in tree.trajectories[0].steps] == [
            facts(step) for step in trees_of("one")[7].trajectories[0].steps
        ]
        assert store.scores("one", [tree])[0][0].total == 0.5


def test_small_writes_come_back_from_a_catalog_of_which_one_page_is_lost(damaged: Path, tmp_path: Path):
    catalog = damaged / "catalog.sqlite"
    held = bytearray(catalog.read_bytes())
    page = root_page(damaged, tmp_path, "ducklake_data_file")  # the list of the files of rows
    held[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    catalog.write_bytes(held)
    health = mending.check(damaged)
    assert "malformed" in health.catalog or "page" in health.catalog
    recovered = mending.recover(damaged, tmp_path / "new")
    assert not recovered.losses and not recovered.notes
    assert count(tmp_path / "new", "runs", "trees", "steps", "scores", "edits", "labels") == [2, 120, 240, 120, 1, 1]
    with open_store(tmp_path / "new") as store:
        assert [facts(tree) for tree in store.trees("two")] == [facts(tree) for tree in trees_of("two")]
        assert store.sql("select value from scores where edited")["value"].tolist() == [1.0]


def root_page(lab: Path, tmp_path: Path, table: str) -> int:
    copied = shutil.copyfile(lab / "catalog.sqlite", tmp_path / "looked-at.sqlite")
    connection = sqlite3.connect(copied)
    [page] = connection.execute("select rootpage from sqlite_master where name = ?", [table]).fetchone()
    connection.close()
    return page


def test_rows_that_stand_in_two_files_come_back_once(damaged: Path, tmp_path: Path):
    with open_store(damaged) as store:
        store.tidy()  # merges files, and leaves the old ones for those who read them
    assert len(list((damaged / "data" / "main" / "step_rows").glob("*.parquet"))) == 3
    (damaged / "catalog.sqlite").unlink()
    mending.recover(damaged, tmp_path / "new")
    # tidying wrote the small ones out as well: nothing is lost but the snapshots
    assert count(tmp_path / "new", "runs", "trees", "step_rows", "scores", "edits") == [2, 120, 240, 120, 1]


KILLED = """
import os, sys
from workbench.store import open_store
store = open_store(sys.argv[1])
store.start_run({}, name="three")
store.label("one", "one-1", "t1", "helpful", 1.0)
store.flush()
store.label("one", "one-2", "t2", "helpful", 1.0)
os._exit(9)
"""


def test_what_a_killed_process_left_in_the_wal_and_the_journal_is_there(damaged: Path, tmp_path: Path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(damaged)]).returncode == 9
    left = bytes_of(damaged)
    (damaged / "catalog.sqlite-shm").unlink(missing_ok=True)
    assert mending.check(damaged).whole
    mending.recover(damaged, tmp_path / "new")
    assert {name: kept for name, kept in bytes_of(damaged).items() if "shm" not in name} == {
        name: kept for name, kept in left.items() if "shm" not in name
    }
    for lab in (damaged, tmp_path / "new"):
        with open_store(lab) as store:
            assert store.runs() == ["one", "two", "three"]
        assert count(lab, "labels") == [3]


def test_a_journal_comes_back_though_the_catalog_is_lost(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        store.start_run({}, name="one")
        store.flush()
        store.label("one", "tree", "t", "helpful", 1.0)
        journals = shutil.copytree(tmp_path / "lab" / "journal", tmp_path / "left" / "journal")
    assert list(journals.iterdir())
    mending.recover(tmp_path / "left", tmp_path / "new")
    assert count(tmp_path / "new", "labels") == [1]


# ---------------------------------------------------------------- what is no lab


@pytest.mark.parametrize("command", ["check", "recover"])
def test_a_folder_that_is_no_lab_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str):
    (tmp_path / "notes.txt").write_text("not a lab")
    more = [str(tmp_path / "new")] if command == "recover" else []
    assert main([command, str(tmp_path), *more]) == 2
    assert "no lab in" in capsys.readouterr().err
    assert main([command, str(tmp_path / "nowhere"), *more]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_a_file_is_no_lab(tmp_path: Path):
    (tmp_path / "lab").write_text("")
    with pytest.raises(StoreError, match="a lab is a folder"):
        open_store(tmp_path / "lab")


READ_ONLY = """
import os, sys
from workbench.store import open_store
open_store(sys.argv[2]).close()  # everything is loaded
os.seteuid(65534)
try:
    open_store(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write here")
def test_a_folder_that_cannot_be_written_is_told(damaged: Path, tmp_path: Path):
    for name in ("catalog.sqlite-shm", "catalog.sqlite-wal"):
        (damaged / name).unlink(missing_ok=True)
    for path in (
        *(one for one in tmp_path.parents if one.name.startswith(("pytest-", "popen-"))),
        tmp_path,
        damaged,
        *damaged.rglob("*"),
    ):
        path.chmod(0o755 if path.is_dir() else 0o644)
    command = [sys.executable, "-c", READ_ONLY, str(damaged), str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("StoreError") and "cannot be written" in done.stdout, (done.stdout, done.stderr)


# ---------------------------------------------------------------- names


def asking_of_a_run() -> list[str]:
    """The methods of a store that are told a run."""
    methods = inspect.getmembers(Store, inspect.isfunction)
    return [name for name, made in methods if name[0] != "_" and "run" in inspect.signature(made).parameters]


GIVEN: dict[str, Any] = {
    **{"tree": "one-1", "trajectory": "t1", "part": "reward", "new": 1.0, "why": "", "name": "x", "value": 1.0},
    **{"trees": [], "scores": [], "plan": "{}", "report": {}, "status": "finished", "update": 0, "id": "one-1"},
    "what": "pause",
}


@pytest.mark.parametrize("method", asking_of_a_run())
def test_a_run_that_is_not_there_is_answered_with_the_nearest(whole: Path, tmp_path: Path, method: str):
    given = {**GIVEN, "path": tmp_path / "copy", "old": "a", "v1": "a", "v2": "b", "first": "a", "second": "b"}
    with open_store(whole) as store:
        made = getattr(store, method)
        wanted = inspect.signature(made).parameters
        needed = {n: given[n] for n, one in wanted.items() if one.default is inspect.Parameter.empty and n in given}
        with pytest.raises(UnknownRun, match="no run 'tow' in lab .*; known: one, two. Did you mean 'two'?"):
            result = made(**{**needed, "run": "tow"})
            list(result)
