from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.errors import SettingError
from workbench.training.losses import KL, PolicyLoss, clipped_policy_loss, kl_estimate


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_k3_by_hand():
    # logp -1.0, reference -1.2: e^-0.2 + 0.2 - 1 = 0.018731; the other way e^0.2 - 0.2 - 1 = 0.021403
    np.testing.assert_allclose(
        kl_estimate(tensor(-1.0, -1.2), tensor(-1.2, -1.0), "k3"), [0.018731, 0.021403], atol=1e-6
    )


def test_k1_and_k2_by_hand():
    assert kl_estimate(tensor(-1.0), tensor(-1.2), "k1").item() == pytest.approx(0.2)
    assert kl_estimate(tensor(-1.0), tensor(-1.2), "k2").item() == pytest.approx(0.02)


def test_estimators_agree_with_the_exact_kl_on_a_five_token_softmax():
    # expectation over the policy: k1 and k3 are exactly KL(p || q)
    p, q = tensor(0.1, 0.3, -0.2, 0.8, 0.0).softmax(0), tensor(0.0, 0.5, 0.1, 0.2, -0.4).softmax(0)
    exact = (p * (p.log() - q.log())).sum()
    for estimator in ("k1", "k3"):
        torch.testing.assert_close((p * kl_estimate(p.log(), q.log(), estimator)).sum(), exact)


def test_what_each_estimator_pulls_towards_on_a_five_token_softmax():
    # expected gradients over the policy: k2 that of KL(p || q), k3 that of KL(q || p), k1 none at all
    logits = tensor(0.1, 0.3, -0.2, 0.8, 0.0).requires_grad_()
    logq = tensor(0.0, 0.5, 0.1, 0.2, -0.4).log_softmax(0)

    def gradient(of):
        (found,) = torch.autograd.grad(of(logits.log_softmax(0)), logits)
        return found

    def as_loss(estimator):
        return gradient(lambda logp: (logp.detach().exp() * kl_estimate(logp, logq, estimator)).sum())

    reverse = gradient(lambda logp: (logp.exp() * (logp - logq)).sum())
    forward = gradient(lambda logp: (logq.exp() * (logq - logp)).sum())
    torch.testing.assert_close(as_loss("k1"), tensor(0, 0, 0, 0, 0), atol=1e-7, rtol=0)
    torch.testing.assert_close(as_loss("k2"), reverse)
    torch.testing.assert_close(as_loss("k3"), forward)
    # k1 taken off the reward is the true gradient again: it weighs the token's own gradient, and carries none
    paid = gradient(lambda logp: (logp.detach().exp() * kl_estimate(logp, logq, "k1").detach() * logp).sum())
    torch.testing.assert_close(paid, reverse)


def loss_of(settings, logp, before, advantages, sampler=None, weights=None, **more):
    logp_T = tensor(*logp).requires_grad_()
    before_T = tensor(*before)
    terms = clipped_policy_loss(
        settings,
        logp_T=logp_T,
        before_T=before_T,
        sampler_T=before_T if sampler is None else tensor(*sampler),
        advantages_T=tensor(*advantages),
        weights_T=torch.ones_like(before_T) if weights is None else tensor(*weights),
        **more,
    )
    terms.loss.backward()
    return terms, logp_T.grad


def test_at_ratio_one_the_gradient_is_minus_the_advantage():
    terms, grad_T = loss_of(PolicyLoss(), (-1.0, -2.0), (-1.0, -2.0), (0.5, -0.25))
    np.testing.assert_allclose(grad_T, [-0.5, 0.25])
    assert terms.loss.item() == pytest.approx(-0.25) and terms.clipped == 0


def test_the_clip_by_hand():
    # ratio 1.5: a positive advantage is held at 1.2 and pulls no more; a negative one keeps pulling (pessimistic bound)
    half = float(np.log(1.5))
    terms, grad_T = loss_of(PolicyLoss(), (half, half), (0.0, 0.0), (1.0, -1.0))
    assert terms.loss.item() == pytest.approx(-1.2 + 1.5) and terms.clipped == 1
    np.testing.assert_allclose(grad_T, [0.0, 1.5])
    higher, _ = loss_of(PolicyLoss(clip_high=0.28), (half,), (0.0,), (1.0,))
    assert higher.loss.item() == pytest.approx(-1.28)


def test_importance_weights_are_truncated_and_carry_no_gradient():
    # trainer/sampler ratios e^1 and e^-1; cap 2
    settings = PolicyLoss(importance_cap=2.0)
    terms, grad_T = loss_of(settings, (0.0, 0.0), (0.0, 0.0), (1.0, 1.0), sampler=(-1.0, 1.0))
    assert terms.loss.item() == pytest.approx(-(2.0 + np.exp(-1)))
    np.testing.assert_allclose(grad_T, [-2.0, -np.exp(-1)])
    off, _ = loss_of(PolicyLoss(importance_cap=None), (0.0,), (0.0,), (1.0,), sampler=(-1.0,))
    assert off.loss.item() == pytest.approx(-1.0)


def test_tokens_that_the_sampler_saw_otherwise_can_be_left_out():
    # ratios e^1, e^-1 and e^0.5; beyond 2 and 1/2 they count nothing
    settings = PolicyLoss(importance_cap=2.0, beyond_cap="mask")
    zeros = (0.0, 0.0, 0.0)
    terms, grad_T = loss_of(settings, zeros, zeros, (1.0, 1.0, 1.0), sampler=(-1.0, 1.0, -0.5))
    assert terms.loss.item() == pytest.approx(-np.exp(0.5))
    np.testing.assert_allclose(grad_T, [0.0, 0.0, -np.exp(0.5)])


@pytest.mark.parametrize(
    ("divide_by", "expected"),
    [
        # trajectory 7 has one token, trajectory 9 has three
        ("tokens", [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ("sequences", [1 / 2, 1 / 6, 1 / 6, 1 / 6]),
        ("constant", [1 / 20, 1 / 20, 1 / 20, 1 / 20]),
    ],
)
def test_what_the_sum_is_divided_by(divide_by, expected):
    weights_T = PolicyLoss(divide_by=divide_by, length=10).weights(np.array([7, 9, 9, 9]))
    np.testing.assert_allclose(weights_T, expected)


def test_kl_in_the_loss_adds_its_weighted_estimate():
    settings = PolicyLoss(kl=KL(0.5, "k2"))
    terms, _ = loss_of(settings, (-1.0,), (-1.0,), (0.0,), weights=(0.1,), reference_T=tensor(-1.2))
    assert terms.loss.item() == pytest.approx(0.5 * 0.1 * 0.02) and terms.kl == pytest.approx(0.02)


def test_a_kl_in_the_reward_must_be_k1():
    with pytest.raises(SettingError, match="k1"):
        KL(0.1, "k3", into="reward")


def test_an_entropy_bonus_lowers_the_loss():
    settings = PolicyLoss(entropy=0.1)
    terms, _ = loss_of(settings, (-1.0,), (-1.0,), (0.0,), entropy_T=tensor(2.0))
    assert terms.loss.item() == pytest.approx(-0.2) and terms.entropy == 2.0


def test_one_ratio_a_trajectory_by_hand():
    # two trajectories: token ratios e^0.2, e^0.4 and e^-0.1; of the whole e^0.3 and e^-0.1
    settings = PolicyLoss(ratio="sequence", divide_by="sequences", importance_cap=None)
    numbers = torch.tensor([7, 9, 7])
    weights = settings.weights(numbers.numpy())
    told = {"weights": tuple(weights), "trajectory_T": numbers}
    terms, grad_T = loss_of(settings, (0.2, -0.1, 0.4), (0.0, 0.0, 0.0), (1.0, -1.0, 1.0), **told)
    # the first is held at 1.2, the second is free: -(1.2 - e^-0.1) / 2
    assert terms.loss.item() == pytest.approx(-(1.2 - np.exp(-0.1)) / 2)
    np.testing.assert_allclose(grad_T, [0.0, np.exp(-0.1) / 2, 0.0])
    free, grad_T = loss_of(
        PolicyLoss(ratio="sequence", clip_high=1.0, divide_by="sequences", importance_cap=None),
        *((0.2, -0.1, 0.4), (0.0, 0.0, 0.0), (1.0, -1.0, 1.0)),
        **told,
    )
    # GSPO eq. 10: every token of a trajectory has the same gradient, its ratio over its length
    np.testing.assert_allclose(grad_T, [np.exp(0.3) / 4, np.exp(-0.1) / 2, np.exp(0.3) / 4] * np.array([-1, 1, -1]))
    assert free.loss.item() == pytest.approx(-(np.exp(0.3) - np.exp(-0.1)) / 2)
