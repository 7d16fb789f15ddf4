"""import and export for real, through the command line."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.builders import a_trajectory, a_tree
from tests.formats.losing import whole
from tests.formats.samples import CHAT, SAMPLES, verl_row
from tests.formats.strategies import rich_record
from tests.store.trees import facts
from workbench.cli import main
from workbench.commands.export_command import records_of
from workbench.errors import SettingError
from workbench.formats import Record, import_file, read, write
from workbench.scores import Scores
from workbench.store import open_store

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_file(name: str, rows: list[dict], more: str = "") -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows) + more)


def test_a_file_is_guessed_read_told_and_kept(capsys: pytest.CaptureFixture[str]):
    rows_file("dump.jsonl", [verl_row(1.0), verl_row(None), verl_row(0.0)], "{cut off\n")
    assert main(["import", "dump.jsonl"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("dump.jsonl looks like verl: verl's rollout dump")
    assert "Run r1 in lab: 1 trees, 3 trajectories, 6 steps" in out and "paid: 2 trajectories scored" in out
    assert "1 rows left out:\n  dump.jsonl, line 4: not JSON" in out
    assert re.search(r"verl cannot carry: token ids and logprobs; .*; \d+ more", out)
    assert '  workbench score r1 "ExactMatch()"' in out and "  workbench serve lab" in out
    with open_store("lab") as store:
        run = store.sql("select status, settings->>'format' as format, settings->>'command' as command from runs")
        assert run.iloc[0].tolist() == ["finished", "verl", "workbench import dump.jsonl"]
        paid = store.sql("select trajectory, value from scores where part = 'reward' order by trajectory")
        assert paid.value.tolist()[0] == 1.0 and paid.value.isna().tolist() == [False, True, False]
        assert store.sql("select update from trees").iloc[0, 0] == 7
        hits = store.sql("select hits from searches limit 1").iloc[0, 0]
        assert hits == 2


def test_scores_are_asked_after_an_import_as_the_command_says(capsys: pytest.CaptureFixture[str]):
    rows_file("dump.jsonl", [verl_row(1.0)])
    assert main(["import", "dump.jsonl", "--run", "first"]) == 0
    assert main(["score", "first", "ExactMatch()"]) == 0
    assert main(["sql", "select part, avg(value) as paid from scores where run = 'first' group by part"]) == 0
    assert "ExactMatch  " in capsys.readouterr().out


def test_a_guess_that_is_not_sure_says_so(capsys: pytest.CaptureFixture[str]):
    rows_file("rows.jsonl", [{"output": "<answer>x</answer>", "input": "?"}])
    assert main(["import", "rows.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "rows.jsonl looks like search_r1" in out and "not sure (40%)" in out and "--format NAME says it" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["import"], "import needs a file"),
        (["import", "absent.jsonl"], "no file absent.jsonl"),
        (["import", "notes.txt"], "notes.txt is in no format that is known: it begins with b'hello'"),
        (["import", "chat.jsonl", "--format", "opnai"], "no format 'opnai'; known:"),
        (["import", "chat.jsonl", "--format", "verl"], "nothing in chat.jsonl could be read as verl\n1 rows left out"),
        (["export", "r1", "out.jsonl"], "no lab in 'lab'"),
    ],
)
def test_what_cannot_be_done_says_what_can(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    Path("notes.txt").write_text("hello")
    rows_file("chat.jsonl", [{"messages": CHAT}])
    assert main(argv) == 2
    assert said in capsys.readouterr().err
    if Path("lab").exists():  # an import that read nothing leaves no run behind
        with open_store("lab") as store:
            assert store.runs() == []


def test_the_list_of_formats_says_what_each_lacks(capsys: pytest.CaptureFixture[str]):
    assert main(["import", "--list"]) == 0
    out = capsys.readouterr().out
    assert "jsonl (.jsonl; read and written)\n    our own" in out and "    jsonl carries everything" in out
    assert "inspect (.eval, .json; read)" in out and "    inspect cannot carry: token ids" in out


def test_only_the_first_trees_where_a_limit_is_given(capsys: pytest.CaptureFixture[str]):
    rows_file("dump.jsonl", [verl_row(1.0, step) for step in range(1, 9)])
    assert main(["import", "dump.jsonl", "--limit", "3"]) == 0
    assert "3 trees, 3 trajectories" in capsys.readouterr().out


def test_trees_of_one_id_get_ids_of_their_own(capsys: pytest.CaptureFixture[str]):
    rows_file("rows.jsonl", [*SAMPLES["fireact"], *SAMPLES["fireact"]])
    assert main(["import", "rows.jsonl"]) == 0
    assert "1 trees had an id that came before" in capsys.readouterr().out
    with open_store("lab") as store:
        assert [tree.id for tree in store.trees("r1")] == ["f1", "f1~2"]


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("file", ["run.jsonl", "run.jsonl.gz", "run.parquet"])
def test_a_run_goes_out_and_comes_back_as_it_was(file: str, capsys: pytest.CaptureFixture[str]):
    record = rich_record()
    for scores in record.scores:
        scores.name = "reward"  # the store calls every sum so
    write([record], "given.jsonl", "jsonl")
    assert main(["import", "given.jsonl", "--run", "a"]) == 0
    assert main(["export", "a", file]) == 0
    assert "1 trees, 2 trajectories of run a written to" in capsys.readouterr().out
    [back] = read(file)
    assert isinstance(back, Record)
    assert whole(back, facts)[0] == facts(record.tree) and back.update == record.update
    assert all(one.same_as(two) for one, two in zip(back.scores, record.scores, strict=True))
    assert back.labels == record.labels


def test_labels_that_were_withdrawn_or_said_again_go_out_once():
    write([rich_record()], "given.jsonl", "jsonl")
    with open_store("lab") as store:
        import_file(store, "given.jsonl", run="a")
        at = ("a", "tree", "a")
        store.label(*at, "helpful", 0.0, "on second thought", step=1, who="ann")
        store.label(*at, "clear", 1.0, step=0, who="ben")
        store.label(*at, "clear", float("nan"), step=0, who="ben")
        [record] = records_of(store, "a")
    assert [(label.name, label.value, label.why) for label in record.labels] == [("helpful", 0.0, "on second thought")]


@pytest.mark.parametrize("format", ["openai", "verifiers", "verl", "trl"])
def test_exports_for_others_are_read_here_too(format: str, capsys: pytest.CaptureFixture[str]):
    write([rich_record()], "given.jsonl", "jsonl")
    file = "out.parquet" if format == "trl" else "out.jsonl"
    assert main(["import", "given.jsonl"]) == 0
    assert main(["export", "r1", file, "--format", format]) == 0
    assert f"{format} cannot carry: " in capsys.readouterr().out
    assert main(["import", file]) == 0
    assert f"looks like {format}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["export", "r2", "out.jsonl"], "no run 'r2'"),
        (["export", "r1", "out.txt"], "out.txt does not say how it is to be written"),
        (
            ["export", "r1", "out.jsonl", "--format", "inspect"],
            "inspect is only read here; written can be: jsonl, openai",
        ),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    rows_file("chat.jsonl", [{"messages": CHAT}])
    assert main(["import", "chat.jsonl"]) == 0
    assert main(argv) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().glob("*out*"))


def test_an_export_overwrites_no_file(capsys: pytest.CaptureFixture[str]):
    rows_file("chat.jsonl", [{"messages": CHAT}])
    assert main(["import", "chat.jsonl"]) == 0
    Path("out.jsonl").write_text("mine")
    assert main(["export", "r1", "out.jsonl"]) == 2
    assert "out.jsonl is there already; export to a new file" in capsys.readouterr().err
    assert Path("out.jsonl").read_text() == "mine"


def test_trees_are_exported_in_order_of_recording():
    rows_file("rows.jsonl", [{"messages": [{"role": "user", "content": f"{n}?"}, CHAT[4]]} for n in range(5)])
    with open_store("lab") as store:
        import_file(store, "rows.jsonl")
        assert [record.tree.task.question for record in records_of(store, "r1")] == [f"{n}?" for n in range(5)]


def test_scores_and_labels_go_with_trees_of_any_name():
    with open_store("lab") as store:
        run, tree = store.start_run({}), a_tree(a_trajectory(answer="Paris", id="t\0"), id="tree \0\ud800")
        store.record_trees([tree], run=run, update=2)
        store.record_scores([tree], [[Scores.trajectory(1.0)]], run=run)
        store.label(run, tree.id, "t\0", "helpful", 1.0, who="ann\0")
        [record] = records_of(store, run)
    assert (record.tree.id, record.update, record.scores[0].value) == (tree.id, 2, 1.0)
    assert [(label.trajectory, label.who) for label in record.labels] == [("t\0", "ann\0")]


def test_an_error_in_the_middle_ends_the_run_as_failed():
    write([rich_record()], "given.jsonl", "jsonl")

    def stop(_: object) -> None:
        raise SettingError("stopped")

    with open_store("lab") as store:
        with pytest.raises(SettingError):
            import_file(store, "given.jsonl", progress=stop)
        assert store.sql("select status from runs").iloc[0, 0] == "failed"


def test_ctrl_c_keeps_what_was_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from workbench.commands import import_command
    from workbench.formats import importing

    def press(imported: importing.Imported) -> None:
        if imported.trees == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(importing, "BATCH", 0)  # a batch a tree
    monkeypatch.setattr(import_command, "_progress", lambda: press)
    rows_file("rows.jsonl", [{"messages": [{"role": "user", "content": f"{n}?"}, CHAT[4]]} for n in range(9)])
    assert main(["import", "rows.jsonl"]) == 130
    assert "interrupted; what was read so far is kept in lab" in capsys.readouterr().err
    with open_store("lab") as store:
        assert store.sql("select status from runs").iloc[0, 0] == "interrupted"
        assert store.sql("select count(*) from trees").iloc[0, 0] == 3
