"""A run steered through its lab: by another process, from the command line, with every request on record."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.cli import main
from workbench.errors import SettingError, UnknownName, UnknownRun
from workbench.store import Store, open_store
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.run import Run
from workbench.training.train import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        yield store


def started(store: Store, updates: int = 10_000) -> Run:
    settings = {"method": DrGRPO(2), "tasks_per_update": 1, "optimiser": Optimiser(1e-3), "checkpoint_every": 1}
    return train(speaker(), TASKS, Quiet(), 2 * Letter(), updates=updates, recorder=store, **settings).start()


def answered(store: Store, run: str, count: int) -> list[str]:
    """What came of the first `count` requests, once that is said."""
    for _ in range(600):
        answers = [answer for answer in store.steered(run)["answer"] if isinstance(answer, str)]
        if len(answers) >= count:
            return answers
        time.sleep(0.05)
    raise AssertionError(f"no answer: {store.steered(run)}")


def ended(run: Run) -> None:
    run.stop()
    run.wait(60)


def elsewhere(lab: Path, *requests: str) -> None:
    """Requests of another process: calls on `store`."""
    lines = ["import workbench as wb", "from tests.training.worlds import Letter", f"store = wb.open({str(lab)!r})"]
    code = "\n".join([*lines, *requests, "store.close()"])
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.slow
def test_another_process_pauses_changes_rolls_back_and_stops_a_run(store: Store):
    run = started(store)
    elsewhere(store.path, "store.steer('r1', 'pause', who='ann')")
    assert answered(store, "r1", 1)[0].startswith("done after update")
    assert run.paused
    change = "store.steer('r1', 'change', weights={'Letter': 0.5}, epochs=2)"
    elsewhere(store.path, change, "store.steer('r1', 'roll back', update=1)")
    answers = answered(store, "r1", 3)
    assert "Letter: weight 2 → 0.5" in answers[1] and "epochs: 1 → 2" in answers[1]
    assert answers[2] == "rolled back to update 1"
    elsewhere(store.path, "store.steer('r1.2', 'resume')", "store.steer('r1.2', 'stop')")
    run.wait(60)
    assert (run.status, run.name) == ("stopped", "r1.2")
    asked = store.steered("r1")
    assert asked["who"][0] == "ann" and asked["what"].tolist() == ["pause", "change", "roll back"]
    assert (asked["answered"] >= asked["recorded"]).all()
    assert json.loads(asked["told"][2]) == {"update": 1}
    assert len(store.runs()) == 2 and store.sql("select count(*) n from runs")["n"][0] == 2


def test_tasks_and_rewards_come_whole(store: Store):
    run = started(store)
    store.steer("r1", "change", tasks=TASKS[3:], reward=Letter("a"), optimiser=Optimiser(1e-4))
    [answer] = answered(store, "r1", 1)
    assert "reward" in answer and "tasks" in answer
    assert run.plan.tasks == tuple(TASKS[3:]) and run.plan.reward == Letter("a") and run.plan.optimiser.lr == 1e-4
    ended(run)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"reword": 1}, "no \\['reword'\\]"),
        ({"weights": {"F1": 1.0}}, "no term 'F1'"),
        ({"epochs": 0}, "at least 1, got"),
        ({"tasks_per_update": "two"}, "not supported"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_run_goes_on(store: Store, told, says):
    run = started(store)
    store.steer("r1", "change", **told)
    [answer] = answered(store, "r1", 1)
    assert answer.startswith("refused: ")
    assert re.search(says, answer)
    before = run.update
    while run.update < before + 2:
        assert run.driven
        time.sleep(0.05)
    ended(run)


def test_a_request_is_looked_at_before_it_is_kept(store: Store):
    with pytest.raises(UnknownRun):
        store.steer("r9", "pause")
    run = started(store)
    with pytest.raises(UnknownName, match="pause"):
        store.steer("r1", "pausse")
    with pytest.raises(SettingError, match="asked alone"):
        store.steer("r1", "stop", update=3)
    with pytest.raises(SettingError, match="which update"):
        store.steer("r1", "roll back")
    with pytest.raises(SettingError, match="what to change"):
        store.steer("r1", "change")
    with pytest.raises(SettingError, match="list of Task"):
        store.steer("r1", "change", tasks=["t1"])
    ended(run)
    store.flush()
    with pytest.raises(SettingError, match="has ended"):
        store.steer("r1", "pause")
    assert not len(store.steered())


def test_from_the_command_line(store: Store, capsys: pytest.CaptureFixture[str]):
    run = started(store)
    lab = ["--lab", str(store.path)]
    assert main(["steer", "r1", "change", "--weight", "Letter=0.25", "--lr", "1e-5", *lab]) == 0
    assert "weight 2 → 0.25" in capsys.readouterr().out and run.plan.optimiser.lr == 1e-5
    assert main(["steer", "r1", "stop", *lab]) == 0
    run.wait(60)
    assert main(["steer", "r1", "asked", *lab]) == 0
    assert "change" in capsys.readouterr().out
    assert main(["steer", "r1", "pause", *lab]) != 0
    assert "has ended" in capsys.readouterr().err
