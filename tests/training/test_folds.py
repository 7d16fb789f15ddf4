"""Curricula, phases and an early stop: what they decide, and runs that follow them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.errors import SettingError
from workbench.training.folds import Curriculum, EarlyStop, Folds, Phases, TaskSchedule
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser, Plan
from workbench.training.report import Report
from workbench.training.schedules import Ramp
from workbench.training.train import clone, resume, train
from workbench.trajectory import SubQuestion

STAGES = (TASKS[:2], TASKS[2:4], TASKS[4:])
PLAN = Plan.of(DrGRPO(2), TASKS, right)


def report(update: int, mean: float, **parts: float) -> Report:
    settings = dict.fromkeys(Report.__dataclass_fields__, 0.0) | {"run": "r", "checks": (), "ends": {}}
    return Report(**{**settings, "update": update, "mean_return": mean, "parts": parts})


def decided(fold, means, plan=PLAN):
    """The plans after each report, until the fold has had enough. Its state goes through JSON every time."""
    state, plan = fold.begin(plan)
    plans = [plan]
    for update, mean in enumerate(means, 1):
        state, made = fold(json.loads(json.dumps(state)), report(update, mean), plan)
        plans.append(made)
        if made is None:
            break
        plan = made
    return plans


def test_a_curriculum_by_hand():
    fold = Curriculum(STAGES, reach=0.5, window=2)
    plans = decided(fold, [0.9, 0.0, 0.9, 0.9, 0.9, 0.6, 1.0, 1.0])
    # 0.9, 0.0: not reached; 0.0, 0.9: 0.45; 0.9, 0.9: on; a new stage needs two updates of its own
    assert [len(plan.tasks) for plan in plans] == [2, 2, 2, 2, 4, 4, 5, 5, 5]
    alone = decided(replace(fold, keep=False), [0.9] * 4)
    assert [plan.tasks for plan in alone][::2] == [tuple(stage) for stage in STAGES]


def test_a_curriculum_by_hops():
    sub = SubQuestion("Which?", ("x",))
    tasks = [replace(task, sub_questions=(sub,) * (1 + n % 3)) for n, task in enumerate(TASKS)]
    fold = Curriculum.by_hops(tasks, reach=0.5)
    assert [sorted({task.hops for task in stage}) for stage in fold.stages] == [[1], [2], [3]]


def test_an_early_stop_by_hand():
    fold = EarlyStop(3, window=2, least=0.05)
    # means of two: .1, .25, .28, .29, .295: the last rise of more than .05 comes with the third update
    plans = decided(fold, [0.0, 0.2, 0.3, 0.26, 0.32, 0.27, 0.9])
    assert len(plans) == 7 and plans[-1] is None
    assert None not in decided(fold, [0.1 * n for n in range(30)])


def test_an_early_stop_reads_a_part_and_refuses_what_is_not_there():
    fold = EarlyStop(1, of="ExactMatch", window=1)
    state, plan = fold.begin(PLAN)
    state, plan = fold(state, report(1, 0.0, ExactMatch=0.5), plan)
    assert state["best"] == 0.5
    with pytest.raises(SettingError, match="no number 'F1'; its parts are \\['ExactMatch'\\]"):
        replace(fold, of="F1")(state, report(2, 0.0, ExactMatch=0.5), plan)


def test_an_update_in_which_nothing_was_scored_is_no_reason_to_go_on_or_stop():
    nan = float("nan")
    assert None not in decided(EarlyStop(2, window=1), [0.5, nan, nan, nan, 0.6])
    assert [len(p.tasks) for p in decided(Curriculum(STAGES, reach=0.5, window=2), [0.9, nan, 0.9, 0.9])][-1] == 4


def test_phases_and_several_folds_at_once():
    fold = Folds([Phases({1: {"epochs": 2}, 3: {"epochs": 5}}), Curriculum(STAGES, reach=0.5, window=1), EarlyStop(2)])
    plans = decided(fold, [0.9, 0.9, 0.9])
    assert [plan.epochs for plan in plans] == [2, 2, 5, 5]
    assert [len(plan.tasks) for plan in plans] == [2, 4, 5, 5]


def test_numbers_of_the_tasks_follow_the_update():
    fold = TaskSchedule({"noise": Ramp(0.0, 0.5, 100, shape="exponential", base=4)})
    plans = decided(fold, [0.0] * 100)
    assert len(plans) == 101 and all(len({task.extras["noise"] for task in plan.tasks}) == 1 for plan in plans)
    noises = [plan.tasks[0].extras["noise"] for plan in plans]  # before update 1, 2, ... 101
    assert [noises[n - 1] for n in (25, 50, 75, 100, 101)] == pytest.approx(
        [0.069036, 0.166667, 0.304738, 0.5, 0.5], abs=1e-6
    )
    assert [task.id for task in plans[50].tasks] == [task.id for task in TASKS]


def test_numbers_of_the_tasks_come_back_with_a_checkpoint_and_follow_a_curriculum():
    fold = Folds([Curriculum(STAGES, reach=0.5, window=1), TaskSchedule({"noise": Ramp(0.0, 1.0, 10)})])
    state, plan = fold.begin(PLAN)
    state, plan = fold(state, report(1, 0.9), plan)
    assert fold.tasks(json.loads(json.dumps(state)), TASKS) == plan.tasks
    assert [task.extras for task in plan.tasks] == [{"noise": 0.2}] * 4


@pytest.mark.parametrize("make", [lambda: Curriculum([], reach=1), lambda: Curriculum([TASKS, []], reach=1)])
def test_a_stage_without_tasks_is_refused(make):
    with pytest.raises(SettingError, match="each with tasks"):
        make()


# ---------------------------------------------------------------- runs


def test_a_run_that_has_had_enough_is_finished():
    run = train(guesser(), TASKS, Quiet(), right, updates=50, fold=EarlyStop(2, window=1, least=10.0))
    reports = run.finish(show=False)
    assert len(reports) == 3 and run.status == "finished" and run.updates == 3


def spoken(folder: Path, fold, **settings):
    made = {"method": DrGRPO(4), "optimiser": Optimiser(1e-2), "tasks_per_update": 2, "checkpoints": folder}
    return train(speaker(), TASKS, Quiet(), Letter(), updates=4, checkpoint_every=1, fold=fold, **{**made, **settings})


def test_a_run_under_a_curriculum_is_resumed_and_cloned_bit_for_bit(tmp_path: Path):
    fold = Curriculum(STAGES, reach=-1.0, window=1)
    run = spoken(tmp_path, fold)
    run.finish(show=False)
    assert [len(plan.tasks) for _, plan in run.plans] == [2, 4, 5]
    assert {tree.task.id for tree in run.latest.trees} <= {task.id for task in TASKS}
    again = resume(tmp_path / "update-00001", speaker(), TASKS, Quiet(), fold=fold)
    again.finish(show=False)
    other = clone(run, 1)
    other.finish(show=False)
    assert again.weights.digest() == run.weights.digest() == other.weights.digest()
    run.roll_back(1)
    run.updates = 4
    run.finish(show=False)
    assert other.weights.digest() == run.weights.digest()


def test_a_run_under_a_schedule_of_its_tasks_is_resumed_with_the_same_tasks(tmp_path: Path):
    fold = TaskSchedule({"noise": Ramp(0.0, 1.0, 4)})
    run = spoken(tmp_path, fold)
    seen = [{tree.task.extras["noise"] for tree in run.latest.trees} for _ in run]
    assert seen == [{0.25}, {0.5}, {0.75}, {1.0}]
    again = resume(tmp_path / "update-00002", speaker(), TASKS, Quiet(), fold=fold)
    assert [{tree.task.extras["noise"] for tree in again.latest.trees} for _ in again] == seen[2:]
    assert again.weights.digest() == run.weights.digest()


def test_a_fold_must_be_given_again(tmp_path: Path):
    spoken(tmp_path, EarlyStop(9)).finish(show=False)
    with pytest.raises(SettingError, match="made with a fold .* give it again"):
        resume(tmp_path / "update-00001", speaker(), TASKS, Quiet())
    plain = tmp_path / "plain"
    spoken(plain, None).finish(show=False)
    with pytest.raises(SettingError, match="leave fold out"):
        resume(plain / "update-00001", speaker(), TASKS, Quiet(), fold=EarlyStop(9))


def test_a_plan_swapped_by_hand_is_what_the_fold_goes_on_from():
    run = train(guesser(), TASKS, Quiet(), right, updates=4, fold=Curriculum(STAGES, reach=-1.0, window=1))
    steps = iter(run)
    next(steps)
    run.plan = run.plan.replace(epochs=3)
    next(steps)
    assert run.plan.epochs == 3 and len(run.plan.tasks) == 5
