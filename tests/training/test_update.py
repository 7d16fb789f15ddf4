from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.batch import Advantages, flat_batch
from workbench.credit import GroupAdvantage
from workbench.errors import CheckFailed, MissingTokens
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.training.learners import learner_for
from workbench.training.lora import add_lora
from workbench.training.losses import KL, PolicyLoss, clipped_policy_loss
from workbench.training.rows import micro_batches, training_rows
from workbench.training.update import train_on, weighted_rows
from workbench.trajectory import Context, End, Origin, Step, Tokens, Trajectory, Tree


@pytest.fixture(scope="module")
def drawn():
    """A tiny language model, four groups of four of its rollouts, and their advantages."""
    policy = speaker()
    trees = rollout(policy, TASKS[:4], Quiet(), group_size=4, progress=False)
    return policy, trees, GroupAdvantage()(flat_batch(trees, score(trees, Letter())))


def gradients(policy, rows, loss, micro):
    """Gradient of one update, flat."""
    learner = learner_for(policy)
    for parameter in learner.parameters():
        parameter.grad = None
    adam = torch.optim.SGD(learner.parameters(), lr=0.0)
    train_on(learner, adam, rows, loss, epochs=1, max_grad_norm=1e9, micro_batch_tokens=micro)
    return torch.cat([p.grad.flatten() for p in learner.parameters()])


@pytest.mark.parametrize("divide_by", ["tokens", "sequences", "constant"])
def test_the_gradient_is_the_same_whatever_the_micro_batch(drawn, divide_by):
    policy, trees, advantages = drawn
    rows, loss = training_rows(trees, advantages), PolicyLoss(divide_by=divide_by)
    whole = gradients(policy, rows, loss, 10**9)
    assert whole.abs().max() > 0
    for micro in (1, 100, 300):
        torch.testing.assert_close(gradients(policy, rows, loss, micro), whole, atol=1e-6, rtol=1e-4)


def test_the_gradient_of_products_in_bfloat16_points_where_that_of_float32_does(drawn):
    policy, trees, advantages = drawn
    rows, loss = training_rows(trees, advantages), PolicyLoss()
    exact = gradients(policy, rows, loss, 10**9)
    policy.engine.compute = torch.bfloat16
    try:
        near = gradients(policy, rows, loss, 10**9)
    finally:
        policy.engine.compute = None
    assert near.dtype == torch.float32
    assert not torch.allclose(near, exact, rtol=1e-4, atol=0)
    assert torch.nn.functional.cosine_similarity(near, exact, dim=0) > 0.99


def test_rows_of_a_trajectory_stay_together_where_its_ratio_is_one_number(drawn):
    policy, trees, advantages = drawn
    rows = training_rows(trees, advantages)
    halves = [replace(row, number=row.number // 2) for row in rows]  # as if each pair were two segments of one
    for micro in (1, 300):
        batches = micro_batches(halves, micro, whole=True)
        assert sorted(row.number for batch in batches for row in batch) == sorted(row.number for row in halves)
        assert all(len({row.number for row in batch}) * 2 == len(batch) for batch in batches)
    loss = PolicyLoss(ratio="sequence", divide_by="sequences")
    whole = gradients(policy, halves, loss, 10**9)
    torch.testing.assert_close(gradients(policy, halves, loss, 1), whole, atol=1e-6, rtol=1e-4)


def test_the_gradient_is_that_of_the_formula(drawn):
    # written out plainly: mean over trajectories of sum over own tokens of -A logp, over the constant length
    policy, trees, advantages = drawn
    loss = PolicyLoss(length=10, importance_cap=None)
    ours = gradients(policy, training_rows(trees, advantages), loss, 500)
    model = policy.engine.model
    model.zero_grad()
    total, trajectories = 0.0, [t for tree in trees for t in tree]
    for trajectory, advantage_S in zip(trajectories, advantages.by_trajectory(), strict=True):
        (segment,) = trajectory.segments()
        logp_T = model(input_ids=torch.tensor(segment.tokens.ids_T).long()[None]).logits[0].log_softmax(-1)
        for t in np.flatnonzero(segment.tokens.own_T):
            total = total - logp_T[t - 1, segment.tokens.ids_T[t]] * advantage_S[segment.step_T[t]]
    (total / (len(trajectories) * 10)).backward()
    torch.testing.assert_close(ours, torch.cat([p.grad.flatten() for p in model.parameters()]), atol=1e-6, rtol=1e-3)


def test_foreign_tokens_get_no_gradient_and_their_logprobs_do_not_matter(drawn):
    policy, trees, advantages = drawn
    rows = weighted_rows(training_rows(trees, advantages), PolicyLoss())
    row = next(row for row in rows if (row.tokens.origins_T == Origin.ENVIRONMENT).sum() > 8)
    assert not row.train_T[row.tokens.origins_T != Origin.SAMPLED].any()
    embeddings = policy.engine.model.get_input_embeddings()(torch.tensor(row.tokens.ids_T).long())[None].detach()
    logits_TV = policy.engine.model(inputs_embeds=embeddings).logits[0].requires_grad_()
    logits_TV.retain_grad()
    at = np.flatnonzero(row.train_T)
    logp_T = logits_TV.log_softmax(-1)[at - 1, row.tokens.ids_T[at]]
    terms = clipped_policy_loss(
        PolicyLoss(),
        logp_T=logp_T,
        before_T=logp_T.detach(),
        sampler_T=torch.tensor(row.tokens.logprobs_T[at]),
        advantages_T=torch.tensor(row.advantages_T[at]),
        weights_T=torch.tensor(row.weights_T[at]),
    )
    (grad_TV,) = torch.autograd.grad(terms.loss, logits_TV)
    foreign = np.setdiff1d(np.arange(len(row)), at) - 1  # places whose next token is foreign
    assert (grad_TV[foreign[foreign >= 0]] == 0).all() and (grad_TV[at - 1].abs().sum() > 0)


def test_the_ratio_is_one_before_the_first_step(drawn):
    policy, trees, advantages = drawn
    learner = learner_for(policy)
    rows = training_rows(trees, advantages)
    adam = torch.optim.SGD(learner.parameters(), lr=0.0)
    done = train_on(learner, adam, rows, PolicyLoss(), epochs=2, max_grad_norm=1.0, micro_batch_tokens=400)
    assert done.clipped == 0 and done.moved == 0
    np.testing.assert_allclose(done.before_T, done.sampler_T, atol=1e-4)


def test_rows_without_advantage_are_counted_and_not_computed(drawn):
    policy, trees, advantages = drawn
    none = Advantages(advantages.batch, np.zeros_like(advantages.values_S))
    rows = training_rows(trees, none)
    assert len(rows) == 16 and weighted_rows(rows, PolicyLoss()) == []
    assert len(weighted_rows(rows, PolicyLoss(kl=KL(0.1)))) == 16
    half = advantages.values_S.copy()
    half[advantages.batch.path(0)] = 0
    kept = weighted_rows(training_rows(trees, Advantages(advantages.batch, half)), PolicyLoss(length=10))
    assert all(row.weights_T[row.train_T][0] == pytest.approx(1 / 160) for row in kept)


def test_a_shared_prefix_is_trained_on_once():
    def step(key, n, context=None):
        tokens = Tokens.join([Tokens.sampled([n, n], [-1.0, -1.0]), Tokens.foreign([9])])
        return Step(key, "x", tokens=tokens, context=context)

    prompt = Context("?", Tokens.foreign([1, 2, 3]))
    shared = step("a.0", 4, prompt)
    task = TASKS[0]
    paths = [Trajectory(f"{k}", task, (shared, step(f"{k}.1", k)), End.ANSWERED, fork=1) for k in (5, 6)]
    trees = [Tree("tree", task, tuple(paths))]
    rewards = {"5": 1.0, "6": 0.0}
    from workbench.rewards import reward_of

    batch = flat_batch(trees, score(trees, reward_of(lambda t: rewards[t.id])))
    rows = training_rows(trees, GroupAdvantage()(batch))
    assert [int(row.train_T.sum()) for row in rows] == [4, 2]  # the second row reads the prefix and trains its own step
    np.testing.assert_allclose(rows[0].advantages_T[rows[0].train_T], [0, 0, 0.5, 0.5])
    np.testing.assert_allclose(rows[1].advantages_T[rows[1].train_T], [-0.5, -0.5])


def test_micro_batches_hold_rows_of_like_length_within_the_limit(drawn):
    rows = training_rows(drawn[1], drawn[2])
    batches = micro_batches(rows, 300)
    assert sum(len(batch) for batch in batches) == len(rows)
    assert all(len(batch) == 1 or len(batch) * max(len(row) for row in batch) <= 300 for batch in batches)


def test_text_only_trajectories_are_refused():
    trajectory = Trajectory("t", TASKS[0], (Step("t.0", "said"),), End.ANSWERED)
    trees = [Tree("tree", TASKS[0], (trajectory,))]
    batch = flat_batch(trees, score(trees, right))
    with pytest.raises(MissingTokens, match="no token ids"):
        training_rows(trees, GroupAdvantage()(batch))


def test_a_gradient_that_is_not_finite_changes_nothing():
    policy = speaker(3)
    trees = rollout(policy, TASKS[:2], Quiet(), group_size=2, progress=False)
    batch = flat_batch(trees, score(trees, Letter()))
    broken = Advantages(batch, np.full(len(batch.parent_S), np.inf))
    learner = learner_for(policy)
    before = copy.deepcopy({name: tensor.clone() for name, tensor in learner.state().items()})
    with pytest.raises(CheckFailed, match="not finite"):
        train_on(
            learner,
            torch.optim.AdamW(learner.parameters()),
            training_rows(trees, broken),
            PolicyLoss(),
            epochs=1,
            max_grad_norm=1.0,
            micro_batch_tokens=999,
        )
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state().items())


def test_lora_trains_its_adapters_alone_and_the_bare_model_is_the_reference():
    policy = speaker(1)
    add_lora(policy.engine, rank=2)
    trees = rollout(policy, TASKS[:2], Quiet(), group_size=4, progress=False)
    advantages = GroupAdvantage()(flat_batch(trees, score(trees, Letter())))
    learner = learner_for(policy)
    assert all("lora" in name for name in learner.state())
    adam = torch.optim.AdamW(learner.parameters(), lr=1e-2)
    settings = {"epochs": 1, "max_grad_norm": 1.0, "micro_batch_tokens": 999}
    rows = training_rows(trees, advantages)
    first = train_on(learner, adam, rows, PolicyLoss(kl=KL(0.1)), **settings)
    second = train_on(learner, adam, rows, PolicyLoss(kl=KL(0.1)), **settings)
    assert first.kl == pytest.approx(0, abs=1e-6) and second.kl > 1e-6 and first.moved > 0


def test_a_table_and_its_formula():
    # two actions, one step, logits 0: d/d logit of -A log p is A (p - onehot); advantages +-0.5, constant length 1
    policy = guesser()
    trees = rollout(policy, TASKS[:1], Quiet(), group_size=64, progress=False)
    advantages = GroupAdvantage()(flat_batch(trees, score(trees, right)))
    learner = learner_for(policy)
    rows = training_rows(trees, advantages)
    adam = torch.optim.SGD(learner.parameters(), lr=1.0)
    train_on(learner, adam, rows, PolicyLoss(length=1), epochs=1, max_grad_norm=1e9, micro_batch_tokens=10**9)
    table = policy.table.detach()[policy.row_of[0]]
    assert table[1] > 0 > table[2]  # yes was praised, no was blamed
    assert table.sum().abs() < 1e-5
