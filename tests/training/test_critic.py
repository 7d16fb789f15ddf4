"""The critic: what it learns, what it leaves alone, and training with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.batch import Advantages, flat_batch
from workbench.credit import GAE
from workbench.errors import CapabilityError, CheckFailed, SettingError
from workbench.sampling.rollout import rollout
from workbench.scores import Scores
from workbench.training.critic import Critic, Values
from workbench.training.learners import learner_for
from workbench.training.lora import add_lora
from workbench.training.losses import value_loss
from workbench.training.method import PPO, ReinforcePP
from workbench.training.plan import Optimiser
from workbench.training.rows import micro_batches, training_rows
from workbench.training.train import resume, train


def test_the_loss_of_a_value_by_hand():
    values_T, targets_T, before_T = torch.tensor([0.9, 0.9, 0.1]), torch.tensor([1.0, 1.0, 1.0]), torch.zeros(3)
    torch.testing.assert_close(value_loss(values_T, targets_T, before_T, None), torch.tensor([0.005, 0.005, 0.405]))
    # kept within 0.5 of 0, the first two are 0.5 off; the third has not moved that far
    torch.testing.assert_close(value_loss(values_T, targets_T, before_T, 0.5), torch.tensor([0.125, 0.125, 0.405]))


def test_a_value_that_has_moved_far_enough_is_pushed_no_further():
    values_T = torch.tensor([0.9, 0.4], requires_grad=True)
    value_loss(values_T, torch.ones(2), torch.zeros(2), 0.5).sum().backward()
    assert values_T.grad is not None
    assert values_T.grad[0] == 0 and values_T.grad[1] == pytest.approx(-0.6)


@pytest.fixture(scope="module")
def drawn():
    """A tiny language model, eight of its rollouts with the rows to train on, and a batch: two tasks of four pay 1."""
    policy = speaker()
    trees = rollout(policy, TASKS[:4], Quiet(), group_size=2, progress=False)
    paid = [[Scores.trajectory(float(tree.task.id in ("t0", "t1")))] * len(tree) for tree in trees]
    batch = flat_batch(trees, paid)
    return policy, batch, training_rows(trees, Advantages(batch, np.zeros(len(batch.parent_S))))


def fitted(drawn, critic: Critic, times: int = 1, micro: int = 10**9):
    policy, batch, rows = drawn
    torch.manual_seed(0)
    values = Values(critic, learner_for(policy))
    adam = torch.optim.AdamW(values.parameters(), lr=critic.lr, weight_decay=0.0)
    told = []
    for _ in range(times):
        advantages = GAE()(values.valued(batch, micro_batches(rows, micro)))
        told.append(values.fit(critic, adam, rows, advantages, micro))
    return values, told


def test_a_new_critic_expects_nothing_and_values_every_token_that_is_trained_on(drawn):
    policy, batch, rows = drawn
    valued = Values(Critic(), learner_for(policy)).valued(batch, micro_batches(rows, 500))
    assert (valued.values_T == 0).all() and len(valued.values_T) == batch.tokens_S.sum()
    assert (valued.values_S == 0).all()


@pytest.mark.parametrize("critic", [Critic(lr=0.02, clip=None), Critic("model", lr=3e-3, clip=None)], ids=str)
def test_a_critic_learns_what_comes_after(drawn, critic):
    _, told = fitted(drawn, critic, times=60)
    assert told[0].explained == pytest.approx(0, abs=1e-9)
    assert told[-1].loss < 0.5 * told[0].loss and told[-1].explained > 0.15


@pytest.mark.parametrize("form", ["head", "model"])
def test_a_critic_does_not_move_the_policy(drawn, form):
    learner = learner_for(drawn[0])
    before = {name: tensor.clone() for name, tensor in learner.state().items()}
    fitted(drawn, Critic(form, lr=0.1), times=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state().items())
    assert all(p.grad is None for p in learner.parameters())


@pytest.mark.parametrize("form", ["head", "model"])
def test_the_critic_is_the_same_whatever_the_micro_batch(drawn, form):
    # plain steps: Adam would blow up the last digits of a gradient near 0
    policy, batch, rows = drawn
    made = []
    for micro in (10**9, 100):
        values = Values(Critic(form, clip=None), learner_for(policy))
        sgd = torch.optim.SGD(values.parameters(), lr=0.5)
        advantages = GAE()(values.valued(batch, micro_batches(rows, micro)))
        values.fit(Critic(form, clip=None, max_grad_norm=1e9), sgd, rows, advantages, micro)
        made.append(torch.cat([tensor.flatten() for tensor in values.state().values()]))
    torch.testing.assert_close(made[0], made[1], atol=1e-6, rtol=1e-4)


def test_a_critic_begins_at_its_own_mean_squared_error(drawn):
    _, batch, _ = drawn
    _, (told,) = fitted(drawn, Critic())
    targets_T = GAE(whiten=False)(replace(batch, values_T=np.zeros(len(batch.owner_T)))).targets_T
    assert told.loss == pytest.approx(float((targets_T**2).mean() / 2), rel=1e-5)


def test_a_target_that_is_not_finite_changes_no_weight(drawn):
    policy, batch, rows = drawn
    values = Values(Critic(), learner_for(policy))
    adam = torch.optim.AdamW(values.parameters(), lr=0.1)
    valued = values.valued(batch, [rows])
    targets_T = np.full(len(batch.owner_T), np.inf)
    with pytest.raises(CheckFailed, match="not finite"):
        values.fit(Critic(), adam, rows, Advantages(valued, valued.values_S, targets_T=targets_T), 500)
    assert all(not tensor.any() for tensor in values.state().values())


def test_a_credit_without_targets_teaches_no_critic(drawn):
    policy, batch, rows = drawn
    values = Values(Critic(), learner_for(policy))
    adam = torch.optim.AdamW(values.parameters(), lr=0.1)
    with pytest.raises(SettingError, match="GAE"):
        values.fit(Critic(), adam, rows, Advantages(batch, np.zeros(len(batch.parent_S))), 500)


def test_a_table_has_a_value_for_every_feature_and_no_body_to_copy():
    run = train(guesser(), TASKS, Quiet(), right, method=PPO(8, kl=0.0, critic=Critic(lr=0.05)), updates=40)
    reports = run.finish(show=False)
    assert run.weights.values is not None and np.isnan(reports[-1].kl)
    value = (
        run.weights.values.state()["head.bias"][0] + run.weights.values.state()["head.weight"][0, 0]
    )  # before the first step
    assert abs(float(value) - np.mean([r.mean_return for r in reports[-10:]])) < 0.15
    with pytest.raises(CapabilityError, match="head"):
        train(guesser(), TASKS, Quiet(), right, method=PPO(critic=Critic("model")), updates=1)


def test_a_large_model_has_adapters_in_its_critic_too():
    policy = speaker()
    add_lora(policy.engine)
    values = Values(Critic("model"), learner_for(policy))
    names = [name for name in values.state() if name.startswith("body.")]
    assert names and all("lora" in name for name in names)


# ---------------------------------------------------------------- a run


def test_groups_of_one_are_no_alarm_where_siblings_are_not_compared():
    for method in (PPO(critic=Critic(lr=0.1)), ReinforcePP()):
        report = next(iter(train(guesser(), TASKS, Quiet(), right, method=method, updates=1)))
        assert {"equal groups", "lone rollouts"}.isdisjoint(check.name for check in report.checks)
        assert not report.alarms


@pytest.mark.parametrize("form", ["head", "model"])
def test_a_language_model_learns_with_a_critic(form):
    settings = {"method": PPO(4, critic=Critic(form, lr=1e-4)), "optimiser": Optimiser(1e-2), "tasks_per_update": 2}
    reports = train(speaker(), TASKS, Quiet(), Letter(), updates=12, **settings).finish(show=False)
    assert np.mean([r.mean_return for r in reports[-3:]]) > 3 * np.mean([r.mean_return for r in reports[:3]])


@pytest.mark.parametrize("form", ["head", "model"])
def test_a_run_with_a_critic_is_resumed_bit_for_bit(tmp_path, form):
    def start(**more):
        method = PPO(2, critic=Critic(form, lr=1e-2))
        settings = {"tasks_per_update": 2, "checkpoints": tmp_path / "kept", "checkpoint_every": 1, **more}
        return train(speaker(), TASKS, Quiet(), Letter(), method=method, updates=4, **settings)

    whole = start()
    whole.finish(show=False)
    again = resume(tmp_path / "kept" / "update-00002", speaker(), TASKS, Quiet())
    again.finish(show=False)
    assert whole.weights.values is not None and again.weights.values is not None
    for one, other in ((whole.weights.learner, again.weights.learner), (whole.weights.values, again.weights.values)):
        for name, tensor in one.state().items():
            assert torch.equal(tensor, other.state()[name]), name
    assert [r.value_loss for r in again.reports] == [r.value_loss for r in whole.reports[2:]]


def test_a_run_keeps_the_critic_it_began_with():
    run = train(guesser(), TASKS, Quiet(), right, method=PPO(critic=Critic(lr=0.1)), updates=3)
    run.plan = run.plan.replace(critic=Critic(lr=0.2))
    with pytest.raises(SettingError, match="keeps the critic it began with"):
        run.plan = run.plan.replace(critic=None)
    assert run.plan.critic == Critic(lr=0.2)


@pytest.mark.parametrize(("name", "value"), [("form", "table"), ("epochs", 0), ("lr", -1.0), ("clip", 0.0)])
def test_settings_outside_what_is_allowed_are_refused(name, value):
    with pytest.raises(SettingError, match=str(value)):
        Critic(**{name: value})
