from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.errors import CapabilityError, FormatError, SettingError, TrainingError
from workbench.training.critic import Critic
from workbench.training.losses import KL, PolicyLoss
from workbench.training.method import DAPO, GRPO, GSPO, METHODS, PPO, RLOO, DrGRPO, ReinforcePP
from workbench.training.plan import Optimiser
from workbench.training.run import tasks_of_update
from workbench.training.train import resume, train

FAST = {"optimiser": Optimiser(0.3), "tasks_per_update": 2}


def table_run(updates=20, policy=None, reward=right, method=None, **settings):
    made = {**FAST, **settings}
    return train(policy or guesser(), TASKS, Quiet(), reward, method=method, updates=updates, **made)


def speech_run(updates, policy=None, **settings):
    made = {"optimiser": Optimiser(3e-3), "tasks_per_update": 2, "method": DrGRPO(4), **settings}
    return train(policy or speaker(), TASKS, Quiet(), Letter(), updates=updates, **made)


def weights(run):
    return torch.cat([tensor.flatten() for tensor in run.weights.learner.state().values()])


@pytest.mark.parametrize(
    "method",
    [DrGRPO(), GRPO(kl=0.0), DAPO(8), RLOO(), GSPO(), ReinforcePP(8), PPO(8, critic=Critic(lr=0.05))],
    ids=lambda m: m.name,
)
def test_a_table_learns_the_right_answer(method):
    run = table_run(60, method=method, optimiser=Optimiser(0.1))
    reports = run.finish(show=False)
    assert np.mean([r.mean_return for r in reports[:3]]) < 0.8 < 0.9 < np.mean([r.mean_return for r in reports[-5:]])


def test_every_method_is_its_name_and_goes_into_the_store():
    from workbench.spec import dumps, loads

    for name, make in METHODS.items():
        assert make().name == name and loads(dumps(make())) == make()


def test_a_language_model_learns_to_say_a_letter():
    reports = speech_run(12, optimiser=Optimiser(1e-2)).finish(show=False)
    assert np.mean([r.mean_return for r in reports[-3:]]) > 3 * np.mean([r.mean_return for r in reports[:3]])


def test_the_checks_hold_on_a_sound_run():
    report = next(iter(speech_run(1)))
    names = {check.name for check in report.checks}
    assert names >= {"own tokens", "sampler gap", "trained ids", "weights arrived", "equal groups", "truncated"}
    assert {check.name for check in report.alarms} <= {"truncated"}  # a random model seldom answers
    assert report.sampled_tokens > 0 and json.loads(json.dumps(report.as_json()))["update"] == 1


def test_leaving_the_loop_and_coming_back_is_the_same_as_staying():
    whole, broken = speech_run(4), speech_run(4)
    whole.finish(show=False)
    for _ in broken:
        break
    assert broken.update == 1 and broken.status == "interrupted"
    broken.finish(show=False)
    assert torch.equal(weights(whole), weights(broken))


@pytest.mark.parametrize("method", [DrGRPO(4), GRPO(4)], ids=lambda m: m.name)
def test_a_run_resumed_from_any_checkpoint_ends_at_the_same_weights_bit_for_bit(tmp_path, method):
    whole = speech_run(4, method=method, checkpoints=tmp_path / "a", checkpoint_every=1)
    whole.finish(show=False)
    for update in (1, 3):
        run = resume(tmp_path / "a" / f"update-{update:05d}", speaker(), TASKS, Quiet(), checkpoint_every=0)
        again = run.finish(show=False)
        assert [r.update for r in again] == list(range(update + 1, 5))
        assert torch.equal(weights(whole), weights(run))
        assert [r.mean_return for r in again] == [r.mean_return for r in whole.reports[update:]]


def test_a_table_is_resumed_with_its_features(tmp_path):
    whole = table_run(6, checkpoints=tmp_path, checkpoint_every=2)
    whole.finish(show=False)
    with pytest.raises(SettingError, match="cannot be stored; give it again"):
        resume(tmp_path / "update-00002", guesser(), TASKS, Quiet())
    again = resume(tmp_path / "update-00002", guesser(), TASKS, Quiet(), reward=right)
    again.finish(show=False)
    assert torch.equal(whole.policy.table, again.policy.table)


def test_resuming_with_other_tasks_or_weights_is_refused(tmp_path):
    speech_run(1, checkpoints=tmp_path).finish(show=False)
    folder = tmp_path / "update-00001"
    with pytest.raises(SettingError, match="other tasks"):
        resume(folder, speaker(), TASKS[:3], Quiet())
    with pytest.raises(SettingError, match="base weights"):
        resume(folder, speaker(seed=9), TASKS, Quiet())
    with pytest.raises(FormatError, match="update-00001"):
        resume(tmp_path / "update-00009", speaker(), TASKS, Quiet())


def test_a_new_plan_counts_from_the_next_update():
    run = table_run(3)
    lrs = []
    for report in run:
        lrs.append(report.lr)
        run.plan = run.plan.replace(optimiser=Optimiser(0.1), tasks_per_update=3)
    assert lrs == [0.3, 0.1, 0.1]
    assert [report.rollouts for report in run.reports] == [16, 24, 24]
    with pytest.raises(SettingError, match="a plan has no"):
        run.plan.replace(rewards=right)


def test_a_thread_is_paused_resumed_and_stopped_between_updates():
    run = table_run(10_000).start()
    with pytest.raises(TrainingError, match="already"):
        next(iter(run))
    run.pause()
    for _ in range(200):
        if run.status == "paused":
            break
        threading.Event().wait(0.05)
    held = run.update
    assert run.status == "paused"
    threading.Event().wait(0.2)
    assert run.update == held
    run.resume()
    while run.update == held:
        threading.Event().wait(0.01)
    run.stop()
    run.wait(20)
    assert run.status == "stopped" and run.update < 10_000


def test_an_error_in_the_thread_is_raised_by_wait():
    from workbench.rewards import reward_of

    def breaks(trajectory):
        raise RuntimeError("judge fell over")

    run = table_run(3, reward=reward_of(breaks)).start()
    with pytest.raises(RuntimeError, match="judge fell over"):
        run.wait(20)
    assert run.status == "failed"


def test_each_pass_draws_every_task_once_in_a_new_order():
    tasks = list(range(10))
    first = [task for u in range(5) for task in tasks_of_update(tasks, 2 * u, 2, seed=0)]
    second = tasks_of_update(tasks, 10, 10, seed=0)
    assert sorted(first) == sorted(second) == tasks and first != second


def test_a_kl_in_the_reward_is_a_term_of_its_own():
    method = DrGRPO(4)
    from dataclasses import replace

    method = replace(method, loss=PolicyLoss(kl=KL(0.5, "k1", into="reward")))
    reports = speech_run(3, method=method).finish(show=False)
    assert list(reports[0].parts)[-1] == "kl"
    assert abs(reports[0].parts["kl"]) < 1e-3 < abs(reports[2].parts["kl"])


def test_what_cannot_be_trained_says_so():
    from tests.tiny_model import tiny_tokenizer
    from workbench.agents.language_policy import LanguagePolicy
    from workbench.agents.scripted import ScriptedEngine

    script = LanguagePolicy(ScriptedEngine(lambda text, rng: "x", tiny_tokenizer()))
    with pytest.raises(CapabilityError, match="cannot be trained here"):
        train(script, TASKS, Quiet(), right)
    with pytest.raises(SettingError, match="greedy"):
        train(speaker().at(0.0), TASKS, Quiet(), right)
    with pytest.raises(SettingError, match="at least one task"):
        train(guesser(), [], Quiet(), right)


def test_ctrl_c_in_an_update_keeps_it_whole():
    import signal

    run = table_run(5)
    inner = run.weights.learn

    def train_and_interrupt(*args):
        signal.raise_signal(signal.SIGINT)  # Ctrl-C just before the optimiser's step
        return inner(*args)

    run.weights.learn = train_and_interrupt
    with pytest.raises(KeyboardInterrupt):
        next(iter(run))
    assert run.update == 1 and len(run.reports) == 1 and run.policy.weights_version == 1
