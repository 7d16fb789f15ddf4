"""Pairs: losses by hand, and a policy that learns which rollout is better."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from tests.builders import a_trajectory
from tests.training.worlds import TASKS, Quiet, speaker
from workbench.errors import SettingError
from workbench.sampling.rollout import rollout
from workbench.training.learners import learner_for
from workbench.training.plan import Optimiser
from workbench.training.preferences import dpo, dpo_loss, pairwise_loss
from workbench.training.sft import sft_rows


def test_the_losses_by_hand():
    gain_P = torch.tensor([0.0, 1.0, -3.0])
    expected = [math.log(2), math.log(1 + math.exp(-0.1)), math.log(1 + math.exp(0.3))]
    torch.testing.assert_close(dpo_loss(gain_P, 0.1), torch.tensor(expected))
    # a tenth of the pairs the wrong way round: 0.9 log(1 + e^-0.1) + 0.1 log(1 + e^0.1)
    smoothed = 0.9 * math.log(1 + math.exp(-0.1)) + 0.1 * math.log(1 + math.exp(0.1))
    assert float(dpo_loss(gain_P, 0.1, 0.1)[1]) == pytest.approx(smoothed)
    scores = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(pairwise_loss(*scores), torch.tensor([math.log(1 + math.exp(-1)), math.log(1 + math.e)]))
    assert float(pairwise_loss(*scores, 1.0)[0]) == pytest.approx(math.log(2))


def test_the_gradient_of_dpo_weighs_a_pair_by_how_wrong_it_is():
    gain_P = torch.tensor([-2.0, 2.0], requires_grad=True)
    dpo_loss(gain_P, 0.5).sum().backward()
    assert gain_P.grad is not None
    # -beta sigmoid(-beta gain), eq. 7's gradient
    np.testing.assert_allclose(gain_P.grad.numpy(), [-0.5 / (1 + math.exp(-1)), -0.5 / (1 + math.exp(1))], rtol=1e-6)


def logp(policy, trajectory) -> float:
    return float(learner_for(policy).likelihood(sft_rows(trajectory)).logp_T.detach().sum())


@pytest.fixture(scope="module")
def drawn():
    policy = speaker()
    trees = rollout(policy, TASKS, Quiet(), group_size=2, progress=False)
    return policy, [(tree.trajectories[0], tree.trajectories[1]) for tree in trees]


def test_the_chosen_become_likelier_than_the_rejected(drawn):
    policy, pairs = copy.deepcopy(drawn[0]), drawn[1]
    before = [logp(policy, a) - logp(policy, b) for a, b in pairs]
    learned = dpo(policy, pairs, updates=15, pairs_per_update=5, optimiser=Optimiser(3e-3), progress=False)
    assert learned[0].loss == pytest.approx(math.log(2), abs=1e-5)  # nothing gained yet
    assert learned[-1].accuracy == 1.0 and learned[-1].loss < 0.5 * learned[0].loss
    assert all(logp(policy, a) - logp(policy, b) > gap + 5 for (a, b), gap in zip(pairs, before, strict=True))
    assert policy.engine.weights_version == drawn[0].engine.weights_version + 1


def test_what_is_learned_does_not_depend_on_the_micro_batch(drawn):
    made = []
    for most in (1, 10**6):
        policy = copy.deepcopy(drawn[0])
        dpo(policy, drawn[1], updates=1, pairs_per_update=5, micro_batch_tokens=most, progress=False)
        made.append(torch.cat([p.grad.flatten() for p in policy.engine.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(made[0], made[1], atol=1e-5, rtol=1e-3)


def test_pairs_that_are_none_are_refused(drawn):
    policy, pairs = drawn
    with pytest.raises(SettingError, match="one task, got 't0' and 't1'"):
        dpo(policy, [(pairs[0][0], pairs[1][0])], updates=1)
    with pytest.raises(SettingError, match="0 pairs"):
        dpo(policy, [], updates=1)
    text = a_trajectory(None, id="said", task=TASKS[0])
    with pytest.raises(Exception, match="token"):
        dpo(policy, [(pairs[0][0], text)], updates=1)
