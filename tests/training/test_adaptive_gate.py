from __future__ import annotations

import json

import pytest

from tests.training.test_folds import PLAN, report
from tests.training.worlds import TASKS, Quiet, guesser, right
from workbench.errors import SettingError
from workbench.rewards import Residual, reward_of
from workbench.training.adaptive_gate import AdaptiveGate
from workbench.training.train import resume, train

PROCESS = reward_of(lambda t: 0.5, name="process")


def paying(beta: float) -> dict:
    return {"reward": Residual(right, PROCESS, beta)}


GATE = AdaptiveGate(paying)


def test_the_moves_of_subsearch():
    assert GATE.beta_at(0.15, ema=0.25, slope=0.0) == pytest.approx(0.154)  # .15 + .2 * .4 * .05
    assert GATE.beta_at(0.15, ema=0.85, slope=0.001) == pytest.approx(0.1448)  # .15 - .2 * .2 * .13
    assert GATE.beta_at(0.15, ema=0.25, slope=0.01) == 0.15  # low and rising: left alone
    assert GATE.beta_at(0.15, ema=0.85, slope=0.0) == 0.15  # good and flat


def test_a_move_is_at_most_what_it_says_and_beta_stays_within_its_ends():
    steep = AdaptiveGate(paying, gain=10.0, start=0.1)
    assert steep.beta_at(0.1, ema=0.0, slope=0.0) == pytest.approx(0.11)
    assert steep.beta_at(0.1, ema=0.9, slope=0.1) == pytest.approx(0.09)
    assert steep.beta_at(0.195, ema=0.0, slope=0.0) == 0.2 and steep.beta_at(0.025, ema=0.99, slope=0.1) == 0.02


def test_the_average_follows_the_outcome_and_the_plan_the_coefficient():
    state, plan = GATE.begin(PLAN)
    assert plan.reward.beta == 0.2
    # outcome 1: ema .02, slope .02: low and rising, so nothing; then 0: ema .0196, slope -.0004: a plateau, at the top
    state, plan = GATE(state, report(1, 1.0), plan)
    assert state == {"beta": 0.2, "ema": pytest.approx(0.02), "slope": pytest.approx(0.02)}
    state, plan = GATE(json.loads(json.dumps(state)), report(2, 0.0), plan)
    assert state["ema"] == pytest.approx(0.0196) and plan.reward.beta == 0.2


def test_the_published_code_moves_once_a_rollout():
    fold = AdaptiveGate(paying, per="rollout", decay=0.5)
    state, plan = fold.begin(PLAN)
    told = report(1, 1.0)
    state, _ = fold(state, told.__class__(**{**told.__dict__, "rollouts": 3}), plan)
    assert state["ema"] == pytest.approx(0.875)  # 1 - 0.5 ** 3


def test_an_update_without_an_outcome_changes_nothing():
    state, plan = GATE.begin(PLAN)
    assert GATE(state, report(1, float("nan")), plan) == (state, plan)


def test_a_part_of_the_reward_may_be_the_outcome():
    fold = AdaptiveGate(paying, of="ExactMatch", decay=0.0)
    state, plan = fold.begin(PLAN)
    assert fold(state, report(1, 0.0, ExactMatch=0.7), plan)[0]["ema"] == pytest.approx(0.7)


def test_a_run_follows_the_gate_and_goes_on_from_a_checkpoint_with_its_state(tmp_path):
    fold = AdaptiveGate(paying, start=0.1, high=0.3, flat=1.0, gain=1.0)
    whole = train(guesser(), TASKS, Quiet(), right, updates=6, fold=fold, checkpoints=tmp_path / "a")
    whole.finish()
    betas = [plan.reward.beta for _, plan in whole.plans]
    assert betas[0] == 0.1 and betas == sorted(betas) and betas[-1] > 0.12
    first = train(guesser(), TASKS, Quiet(), right, updates=3, fold=fold, checkpoints=tmp_path / "b")
    first.finish()
    # the plan holds a plain function, which no checkpoint can hold: it is given again, with the beta reached
    again = first.plan.reward
    second = resume(first.checkpoints()[-1].folder, guesser(), TASKS, Quiet(), reward=again, updates=6, fold=fold)
    second.finish()
    assert second.plan.reward.beta == whole.plan.reward.beta


def test_settings_that_make_no_gate_are_refused():
    for settings in ({"start": 0.5}, {"decay": 1.0}, {"most": 0.0}, {"per": "sample"}):
        with pytest.raises(SettingError):
            AdaptiveGate(paying, **settings)
