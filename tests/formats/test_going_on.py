"""An import that was interrupted goes on: nothing twice, nothing missing, and the person is told how."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.formats.samples import CHAT, verl_row
from tests.formats.strategies import rich_record
from workbench.cli import main
from workbench.commands import import_command
from workbench.formats import Record, importing, read, write
from workbench.formats.going_on import mark_of
from workbench.store import open_store

TABLES = ("trees", "trajectories", "steps", "scores_log", "labels")
TREES = 9


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def a_dump() -> None:
    """Nine trees of two rollouts each, in nine updates."""
    rows = [{**verl_row(float(n % 2), n), "input": f"Question: {n}?"} for n in range(1, TREES + 1) for _ in "ab"]
    Path("dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def counts(lab: str, run: str) -> dict[str, int]:
    with open_store(lab) as store:
        return {
            name: int(store.sql(f"select count(*) from {name} where run = $run", run=run).iloc[0, 0]) for name in TABLES
        }


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Import, and press Ctrl-C once so many trees are recorded."""

    def press(imported: importing.Imported) -> None:
        if imported.trees == after:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(importing, "BATCH", 0)  # a batch a tree
        patched.setattr(import_command, "_progress", lambda: press)
        assert main(["import", "dump.jsonl"]) == 130


def test_after_ctrl_c_the_same_command_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    a_dump()
    interrupted(monkeypatch, after=4)
    assert "what was read so far is kept in lab; the same command goes on from there" in capsys.readouterr().err
    assert counts("lab", "r1")["trees"] == 4
    assert main(["import", "dump.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "Going on with run r1" in out and "5 trees, 10 trajectories" in out and "4 trees were there already" in out
    assert main(["import", "dump.jsonl", "--lab", "other"]) == 0
    assert counts("lab", "r1") == counts("other", "r1")
    with open_store("lab") as store:
        assert store.runs() == ["r1"] and store.sql("select status from runs").iloc[0, 0] == "finished"


def test_a_file_that_is_there_already_is_not_recorded_twice(capsys: pytest.CaptureFixture[str]):
    a_dump()
    assert main(["import", "dump.jsonl"]) == 0
    before = counts("lab", "r1")
    assert main(["import", "dump.jsonl"]) == 0
    assert "dump.jsonl is in lab already, as run r1: nothing to do" in capsys.readouterr().out
    assert counts("lab", "r1") == before
    assert main(["import", "dump.jsonl", "--run", "again"]) == 0  # said in words: once more
    assert counts("lab", "again") == before
    Path("dump.jsonl").write_text(Path("dump.jsonl").read_text() + json.dumps(verl_row(1.0, 99)) + "\n")
    assert main(["import", "dump.jsonl"]) == 0  # another file by now
    with open_store("lab") as store:
        assert store.runs() == ["r1", "again", "r2"]


def test_after_the_first_trees_the_others_come_to_the_same_run(capsys: pytest.CaptureFixture[str]):
    a_dump()
    assert main(["import", "dump.jsonl", "--limit", "2"]) == 0
    assert main(["import", "dump.jsonl"]) == 0
    assert "Going on with run r1" in capsys.readouterr().out
    assert counts("lab", "r1")["trees"] == TREES
    assert main(["import", "dump.jsonl", "--format", "search_r1"]) == 0  # read in another way: another run
    with open_store("lab") as store:
        assert store.runs() == ["r1", "r2"]


def test_an_import_that_was_killed_goes_on_where_it_is_named(capsys: pytest.CaptureFixture[str]):
    # killed after a tree, its scores and one of its labels; and after another tree, before its scores
    record = rich_record()
    labels = (*record.labels, *(type(record.labels[0])("b", None, "clear", 0.0, who, "") for who in ("ann", "ben")))
    other = Record(type(record.tree)("other", record.tree.task, record.tree.trajectories), record.scores, labels)
    write([Record(record.tree, record.scores, labels, 7), other], "given.jsonl", "jsonl")
    with open_store("lab") as store:
        run = store.start_run({"kind": "import", "mark": mark_of(Path("given.jsonl")), "format": "jsonl"})
        store.record_trees([record.tree], run=run, update=7)
        store.record_scores([record.tree], [record.scores], run=run, update=7)
        said = labels[0]
        store.label(run, "tree", said.trajectory, said.name, said.value, said.why, step=said.step, who=said.who)
        store.record_trees([other.tree], run=run)
    assert main(["import", "given.jsonl"]) == 2
    err = capsys.readouterr().err
    assert "its import has not ended" in err and "go on with --run r1" in err
    assert main(["import", "given.jsonl", "--run", "r1"]) == 0
    assert main(["import", "given.jsonl", "--lab", "other"]) == 0
    assert counts("lab", "r1") == counts("other", "r1")
    assert counts("lab", "r1")["labels"] == 6


def test_a_run_of_another_file_is_not_gone_on_with(capsys: pytest.CaptureFixture[str]):
    a_dump()
    Path("chat.jsonl").write_text(json.dumps({"messages": CHAT}) + "\n")
    assert main(["import", "dump.jsonl", "--run", "a"]) == 0
    assert main(["import", "chat.jsonl", "--run", "a"]) == 2
    assert "run 'a' is there already" in capsys.readouterr().err
    assert len(list(read("dump.jsonl"))) == counts("lab", "a")["trees"]
