"""Held-out tasks, looked at while a run goes on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.errors import SettingError
from workbench.store import open_store
from workbench.training.folds import EarlyStop
from workbench.training.held_out import HeldOut
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train

APART = [replace(task, id=f"apart-{task.id}") for task in TASKS]


def test_they_are_looked_at_every_few_updates_and_at_the_end():
    run = train(guesser(), TASKS, Quiet(), right, updates=5, optimiser=Optimiser(0.3), held_out=HeldOut(APART, every=2))
    reports = run.finish(show=False)
    assert [math.isnan(report.held_out) for report in reports] == [True, False, True, False, False]
    last = reports[-1]
    assert last.held_out_low <= last.held_out <= last.held_out_high and "held out" in str(last)
    assert json.loads(json.dumps(reports[0].as_json()))["held_out"] is None


def test_looking_at_them_changes_nothing_of_the_training():
    def ended(**settings):
        made = {"method": DrGRPO(2), "optimiser": Optimiser(1e-2), "tasks_per_update": 2, **settings}
        run = train(speaker(), TASKS, Quiet(), Letter(), updates=3, **made)
        run.finish(show=False)
        return run.weights.digest()

    assert ended() == ended(held_out=HeldOut(APART, every=1, temperature=1.0, samples=2))


def test_they_are_logged_as_a_run_of_their_own(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        held_out = HeldOut(APART[:2], every=2, samples=3, temperature=1.0)
        train(guesser(), TASKS, Quiet(), Letter(), updates=4, recorder=store, held_out=held_out).finish(show=False)
        assert store.runs() == ["r1", "r1.held-out"]
        rows = store.sql(
            "select update, count(*) as n from returns where run = 'r1.held-out' group by all order by all"
        )
        assert rows.to_numpy().tolist() == [[2, 6], [4, 6]]
        status = store.sql("select status, settings->>'of' as of from runs where run = 'r1.held-out'")
        assert status.to_numpy().tolist() == [["finished", "r1"]]


def test_a_run_stops_where_they_rise_no_more():
    fold = EarlyStop(4, of="held_out", window=1, least=2.0)
    run = train(guesser(), TASKS, Quiet(), right, updates=50, fold=fold, held_out=HeldOut(APART, every=2))
    assert len(run.finish(show=False)) == 6  # first seen after two, and four without a rise


def test_a_task_that_is_trained_on_is_not_held_out():
    with pytest.raises(SettingError, match="1 held-out tasks are trained on too, the first is 't0'"):
        train(guesser(), TASKS, Quiet(), right, held_out=HeldOut([TASKS[0], APART[1]]))
    with pytest.raises(SettingError, match="at least one task"):
        HeldOut([])
