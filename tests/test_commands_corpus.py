"""corpus index, search, serve and show, for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.retrieval import RemoteIndex

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, pages in (
        ("films", [("f1", "Ed Wood", "A film by Tim Burton.\x1b[31m"), ("f2", "Big Fish", "Another film.")]),
        ("cities", [("c1", "Lyon", "A city in France.")]),
    ):
        rows = [{"id": page_id, "title": title, "text": text} for page_id, title, text in pages]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_corpora_are_indexed_together_and_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["corpus", "index", "films.jsonl", "cities.jsonl", "--out", "both", "--b", "0.4"]) == 0
    assert "3 pages indexed in both" in capsys.readouterr().out
    assert json.loads((tmp_path / "both" / "index.json").read_text())["settings"]["b"] == 0.4
    assert main(["corpus", "search", "both", "Who made Ed Wood?", "-k", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1. Ed Wood  (f1, score ") and "Tim Burton" in out and "\x1b" not in out
    assert main(["corpus", "search", "films.jsonl", "the of"]) == 0
    assert "no page shares a word" in capsys.readouterr().out


def test_a_corpus_is_described(capsys: pytest.CaptureFixture[str]):
    assert main(["corpus", "show", "films.jsonl"]) == 0
    out = capsys.readouterr().out
    # five words ("Burton.\x1b[31m" is one) and two
    assert out.startswith("2 pages, 4 words on average, 5 at most") and "\nBig Fish  (f2)\n  Another film." in out
    assert "\x1b" not in out


def test_the_same_page_twice_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["corpus", "index", "films.jsonl", "films.jsonl", "--out", "both"]) == 2
    assert "id 'f1' of an earlier page" in capsys.readouterr().err
    assert not Path("both").exists()


def test_a_folder_with_other_things_is_no_place_for_an_index(capsys: pytest.CaptureFixture[str]):
    assert main(["corpus", "index", "films.jsonl", "--out", "."]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_a_corpus_is_served_until_ctrl_c():
    command = [sys.executable, "-m", "workbench.cli", "corpus", "serve", "films.jsonl", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as it:
        assert it.stdout is not None
        url = it.stdout.readline().split()[2].rstrip(";")
        [[hit]] = RemoteIndex(url).search(["Burton"], k=1)
        it.send_signal(signal.SIGINT)
        assert it.wait(timeout=60) == 0
    assert hit.id == "f1"
