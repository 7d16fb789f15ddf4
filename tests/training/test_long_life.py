"""Runs that are killed, started again and again, and cloned."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.errors import SettingError
from workbench.store import open_store
from workbench.training.critic import Critic
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import clone, train

ROOT = Path(__file__).resolve().parents[2]


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.training_process", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return out.splitlines()


@pytest.mark.slow
def test_killed_and_resumed_it_ends_at_the_weights_of_an_unbroken_run_bit_for_bit(tmp_path: Path):
    whole = started(tmp_path / "whole")
    folder, rng, checkpoint, kills = tmp_path / "broken", np.random.default_rng(3), None, 0
    for _ in range(20):
        process = started(folder, *([checkpoint] if checkpoint else []))
        assert process.stdout is not None
        heard = []
        for line in process.stdout:
            heard.append(line.split())
            if kills < 3 and heard[-1][0] == "update" and rng.random() < 0.5:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        process.wait()
        process.stdout.close()
        if heard[-1][0] == "weights":
            break
        checkpoint = max(path.parent for path in folder.rglob("update-*/state.json"))
    assert kills == 3 and heard[-1] == said(whole)[-1].split()


# ---------------------------------------------------------------- clones


def spoken(folder: Path, **settings):
    made = {"method": DrGRPO(4), "optimiser": Optimiser(1e-2), "tasks_per_update": 2, "checkpoints": folder}
    return train(speaker(), TASKS, Quiet(), Letter(), updates=4, checkpoint_every=1, **{**made, **settings})


def test_a_clone_without_a_change_does_what_its_run_did_and_leaves_it_alone(tmp_path: Path):
    run = spoken(tmp_path)
    run.finish(show=False)
    digest, folders = run.weights.digest(), sorted(path.name for path in tmp_path.iterdir())
    other = clone(run, 2)
    assert (other.update, other.continues) == (2, {"run": "run", "update": 2})
    again = other.finish(show=False)
    assert [r.mean_return for r in again] == [r.mean_return for r in run.reports[2:]]
    assert other.weights.digest() == digest == run.weights.digest()
    assert folders == [name for name in sorted(path.name for path in tmp_path.iterdir()) if name in folders]
    assert other.policy.engine.model is not run.policy.engine.model


def test_a_clone_with_a_change_goes_another_way(tmp_path: Path):
    run = spoken(tmp_path)
    run.finish(show=False)
    slower = clone(run, 2, optimiser=Optimiser(1e-4), updates=5)
    reports = slower.finish(show=False)
    assert [r.update for r in reports] == [3, 4, 5] and {r.lr for r in reports} == {1e-4}
    assert slower.weights.digest() != run.weights.digest()
    assert clone(run).update == 4  # from the newest


def test_what_cannot_be_cloned_says_so(tmp_path: Path):
    run = spoken(tmp_path)
    with pytest.raises(SettingError, match="no checkpoint of update 0"):
        clone(run)
    next(iter(run))
    with pytest.raises(SettingError, match="there are: 1"):
        clone(run, 3)
    with pytest.raises(SettingError, match="critic"):
        clone(run, 1, critic=Critic())
    with pytest.raises(SettingError, match="no \\['reword'\\]"):
        clone(run, 1, reword=Letter())


@pytest.mark.parametrize(("cycles", "kept"), [(200, False), pytest.param(25, True, marks=pytest.mark.slow)])
def test_runs_started_and_stopped_in_one_kernel_leave_nothing_behind(tmp_path: Path, cycles: int, kept: bool):
    def once(store) -> None:
        settings = {"method": DrGRPO(2), "tasks_per_update": 1, "optimiser": Optimiser(0.1), "checkpoint_every": 0}
        run = train(guesser(), TASKS, Quiet(), right, updates=1000, recorder=store if kept else None, **settings)
        run.start()
        run.stop()
        run.wait()
        assert run.status == "stopped" and run.update < 1000

    with open_store(tmp_path / "lab") as store:
        for _ in range(10):
            once(store)
        threads, held = threading.active_count(), _objects()
        for _ in range(cycles):
            once(store)
        assert threading.active_count() <= threads
        assert _objects() - held < 60 * cycles  # one run that stayed would hold thousands: tasks, tensors, trees


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
