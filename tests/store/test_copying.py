"""A lab handed on: one plain DuckDB file, a folder of Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import workbench as wb
from tests.builders import a_task, a_trajectory, a_tree
from workbench.cli import main
from workbench.errors import SettingError, UnknownRun
from workbench.scores import Level, Scores
from workbench.spec import dumps
from workbench.store import Store, copying, open_store
from workbench.store.copying import BOOKKEEPING
from workbench.store.schema import TABLES, Relation
from workbench.store.views import RELATIONS, VIEWS

COPIED = [relation for relation in RELATIONS if relation.name not in BOOKKEEPING]


@pytest.fixture(scope="module")
def store(new_lab: Callable[[], Path]) -> Iterator[Store]:
    """Two runs with something in every table: tokens, shared steps, token scores, an edit, labels, a plan, a report."""
    with open_store(new_lab()) as store:
        for name in ("r1", "r2"):
            run = store.start_run({"kind": "test"}, name=name)
            task = a_task(f"task of {name}")
            first = a_trajectory(["p1"], answer="Paris", id="t0", tokens=2, task=task)
            second = a_trajectory(answer="Lyon", id="t1", tokens=2, task=task, shared=first.steps[:1])
            tree = a_tree(first, second, id=f"tree of {name}")
            store.record_trees([tree], run=run)
            reward = 1.0 * wb.ExactMatch() + (0.5 if name == "r1" else 0.25) * wb.CoverageGain()
            wb.rescore(store, reward, run, progress=False)
            tokens = Scores(np.array([0.5, np.nan, 1.0, 2.0]), np.array([0, 1, 0, 0]), level=Level.TOKEN)
            other = a_tree(a_trajectory(["p1"], answer="Paris", id="t", tokens=2, task=task), id="tokens")
            store.record_trees([other], run=run)
            store.record_scores([other], [[tokens]], run=run, reward=dumps(wb.ExactMatch()))
            store.edit(run, tree.id, "t0", "ExactMatch", 0.25, "it's a guess", who="ann")
            store.label(run, tree.id, "t0", "helpful", 1.0, step=0, who="bob")
            store.record_plan("{}", run=run, update=0)
            store.record_report({"loss": 0.5}, run=run, update=0)
        store.vectors["encoder-text"] = np.array([0.6, 0.8], np.float32)
        yield store


@pytest.fixture(scope="module")
def copied(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copied") / "lab.duckdb"
    told = store.copy_to(path)
    assert dict(zip(told.table, told.rows, strict=True))["trajectories"] == 6
    return path


def rows(frame: pd.DataFrame) -> list[str]:
    """Rows in an order of their own, as one can compare them."""
    return sorted(repr([_plain(value) for value in row]) for row in frame.to_numpy())


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if pd.isna(value):
        return None
    if isinstance(value, float | int | np.number):
        return float(value)  # pandas reads whole numbers with gaps as floats
    return str(value)


def test_any_duckdb_opens_the_file_and_every_table_and_view_is_there(store: Store, copied: Path):
    with duckdb.connect(copied, read_only=True) as plain:
        for relation in COPIED:
            given = plain.execute(f"select * from {relation.name}").df()
            assert list(given.columns) == [column.name for column in relation.columns]
            assert len(given), f"{relation.name} is empty: the test shows nothing"
            assert rows(given) == rows(store.sql(f"select * from {relation.name}")), relation.name
        loaded = plain.execute("select extension_name from duckdb_extensions() where loaded").fetchall()
        assert {"ducklake", "sqlite_scanner"}.isdisjoint(name for (name,) in loaded)
    with duckdb.connect() as other:  # beside a database of one's own, under any name
        other.execute(f"attach '{copied}' as theirs (read_only)")
        assert other.execute("select count(*) from theirs.scores").fetchall() == [(len(store.sql("from scores")),)]


def test_what_columns_mean_stands_in_the_file(copied: Path):
    with duckdb.connect(copied, read_only=True) as plain:
        told = dict(plain.execute("select table_name || '.' || column_name, comment from duckdb_columns()").fetchall())
        tables = dict(plain.execute("select table_name, comment from duckdb_tables()").fetchall())
        tables |= dict(plain.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
        about = dict(plain.execute("from about_this_copy").fetchall())
    for relation in COPIED:
        assert tables[relation.name] == relation.meaning
        assert all(told[f"{relation.name}.{column.name}"] == column.meaning for column in relation.columns)
    assert about["runs"] == "all" and about["NULL in a number"] == "not scored, or not known; never 0"
    assert "escaped texts" not in about


def test_some_runs_can_be_handed_on(store: Store, tmp_path: Path):
    store.copy_to(tmp_path / "one.duckdb", "r2")
    with duckdb.connect(tmp_path / "one.duckdb", read_only=True) as plain:
        for relation in COPIED:
            if any(column.name == "run" for column in relation.columns):
                assert plain.execute(f"select distinct run from {relation.name}").fetchall() == [("r2",)], relation.name
        assert plain.execute("select task from tasks").fetchall() == [("task of r2",)]
        # two rewards: the sum with weight 0.25, and the one of the token scores, which both runs share
        assert plain.execute("select count(*), count(*) filter (spec like '%0.25%') from rewards").fetchall() == [
            (2, 1)
        ]
    with pytest.raises(UnknownRun, match="no run 'r3'"):
        store.copy_to(tmp_path / "none.duckdb", "r3")


def test_a_folder_of_parquet_reads_in_pandas_and_by_its_own_sql(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "tables"
    told = store.copy_to(folder)
    held = dict(zip(told.table, told.rows, strict=True))
    for relation in COPIED:
        if (folder / relation.name).is_dir():
            table = pq.read_table(folder / relation.name)
            assert table.column_names == [column.name for column in relation.columns]
            assert len(table) == held[relation.name] == len(store.sql(f"select * from {relation.name}"))
    scores = pd.read_parquet(folder / "scores")
    assert rows(scores) == rows(store.sql("select * from scores"))
    monkeypatch.chdir(folder)
    with duckdb.connect() as plain:
        plain.execute((folder / "lab.sql").read_text())
        for relation in COPIED:
            assert rows(plain.execute(f"select * from {relation.name}").df()) == rows(
                store.sql(f"select * from {relation.name}")
            ), relation.name
    readme = (folder / "README.md").read_text()
    for relation in COPIED:
        assert f"## {relation.name}\n\n{relation.meaning}" in readme
        assert all(f"| {column.name} | {column.type.lower()} |" in readme for column in relation.columns)
    assert {path.name for path in tmp_path.iterdir()} == {"tables"}  # nothing half-written is left


def test_every_table_is_copied_but_what_says_something_of_the_folder_alone():
    assert {table.name for table in TABLES} - {relation.name for relation in COPIED} <= {"journals"}
    assert {view.name for view in VIEWS} <= {relation.name for relation in COPIED}


def test_a_copy_never_takes_the_place_of_something(store: Store, tmp_path: Path):
    (tmp_path / "taken.duckdb").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for name in ("taken.duckdb", "full"):
        with pytest.raises(SettingError, match=f"{name} is there already; a copy is written to a new place"):
            store.copy_to(tmp_path / name)
    assert (tmp_path / "taken.duckdb").read_text() == (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    store.copy_to(tmp_path / "empty")
    assert (tmp_path / "empty" / "README.md").exists()


def test_a_copy_that_fails_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copying, "VIEWS", (Relation("broken", "Asks for nothing.", (), "select"),))
    for name in ("lab.duckdb", "tables"):
        with pytest.raises(duckdb.Error):
            store.copy_to(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_copy_holds_one_moment_while_others_write(lab: Path):
    with open_store(lab) as store, open_store(lab) as other:
        run = store.start_run({})
        store.record_trees([a_tree(a_trajectory(["p1"]), id="a")], run=run)

        def take(cursor: duckdb.DuckDBPyConnection, table: Relation, query: str) -> int:
            if table.name == "trees":
                other.record_trees([a_tree(a_trajectory(["p1"]), id="b")], run=run)
                other.flush()
            return cursor.execute(f"select count(*) from ({query})").fetchall()[0][0]

        made = copying._each_table(store._reader, None, take)
        assert made.rows["trees"] == made.rows["trajectories"] == made.rows["step_rows"] == 1
        assert len(store.trees(run)) == 2


def test_texts_that_a_database_cannot_store_are_told(lab: Path, tmp_path: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        tree = a_tree(a_trajectory(["a\0b"], answer="\ud800", id="it's \0"), id="tree")
        store.record_trees([tree], run=run)
        store.copy_to(tmp_path / "lab.duckdb")
    with duckdb.connect(tmp_path / "lab.duckdb", read_only=True) as plain:
        about = dict(plain.execute("from about_this_copy").fetchall())["escaped texts"]
        (trajectory,) = plain.execute("select trajectory from trajectories").fetchall()[0]
    assert "trajectories.trajectory: 1" in about and "trajectories.answer: 1" in about and "tasks" not in about
    # what it says to do brings the text back
    assert trajectory[1:].encode("ascii").decode("unicode_escape") == "it's \0"


def test_a_lab_as_it_was_can_be_handed_on(lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with open_store(lab) as store:
        store.start_run({}, name="first")
        store.flush()
        snapshot = int(store.snapshots().snapshot.iloc[-1])
        store.start_run({}, name="second")
    path = tmp_path / "then.duckdb"
    assert main(["copy", str(path), "--lab", str(lab), "--at", str(snapshot), "--runs", "first"]) == 0
    assert "run_events" in capsys.readouterr().out
    with duckdb.connect(path, read_only=True) as plain:
        assert plain.execute("select run from runs").fetchall() == [("first",)]
        about = dict(plain.execute("from about_this_copy").fetchall())
    assert about["snapshot"] == f"{snapshot} of the lab it was made from" and about["runs"] == "first"
    assert main(["copy", str(tmp_path / "x.duckdb"), "--lab", str(lab), "--at", "tomorrow"]) == 2
    assert "expected a time" in capsys.readouterr().err
