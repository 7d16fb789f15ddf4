"""Policy losses on own tokens. Flat tensors [T]: every token of the update that the policy drew and is trained on."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
import torch

from workbench.errors import SettingError
from workbench.spec import part

Estimator = Literal["k1", "k2", "k3"]


def kl_estimate(logp_T: torch.Tensor, reference_T: torch.Tensor, estimator: Estimator) -> torch.Tensor:
    """Per-token estimate [T], in nats, of KL(policy || reference) on tokens drawn by the policy.

    With d = reference - logp: k1 = -d (unbiased, noisy, may be negative), k2 = d^2 / 2 (biased, its gradient is the
    true one on-policy), k3 = exp(d) - d - 1 (unbiased, never negative, clamped to [-10, 10] as in Search-R1).
    Source: Schulman, "Approximating KL divergence" (2020); gradients: Liu et al. 2025, arXiv:2510.01555.
    """
    difference_T = reference_T - logp_T
    if estimator == "k1":
        return -difference_T
    if estimator == "k2":
        return difference_T.square() / 2
    return (difference_T.exp() - difference_T - 1).clamp(-10, 10)


@part
class KL:
    """A pull towards the reference, the policy as it was when the run began.

    `into="reward"` takes coef * k1 per token off the rewards, before credit; `into="loss"` adds coef * estimate to the
    loss.
    """

    coef: float = 0.001
    estimator: Estimator = "k3"
    into: Literal["loss", "reward"] = "loss"

    def __post_init__(self) -> None:
        if self.into == "reward" and self.estimator != "k1":
            raise SettingError(f"a KL in the reward is the k1 estimate, got estimator={self.estimator!r}")


@part
class PolicyLoss:
    """Clipped policy gradient.

    Token loss: -w * min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), r = exp(logp - logp before this update). w is
    the truncated importance weight between trainer and sampler, min(exp(trainer - sampler), importance_cap), both
    before the update (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"); it
    wants logprobs of the whole softmax, which is why no engine here samples with top-p or top-k.

    `divide_by` says what the sum over tokens is divided by, always counted over the whole update:

    * "tokens": all own tokens (DAPO, Yu et al. 2025, arXiv:2503.14476, eq. 8)
    * "sequences": each trajectory's mean first, then their mean (GRPO, arXiv:2402.03300, eq. 3); favours short
      correct and long wrong answers
    * "constant": trajectories x `length` tokens (Dr. GRPO, arXiv:2503.20783): no length bias

    With ``ratio="sequence"`` r is one number a trajectory, the geometric mean of its tokens' ratios (GSPO, Zheng et
    al. 2025, arXiv:2507.18071, eq. 7).
    """

    _: KW_ONLY
    clip_low: float = 0.2
    clip_high: float = 0.2
    ratio: Literal["token", "sequence"] = "token"
    clipped: bool = True  # False: plain policy gradient (REINFORCE)
    divide_by: Literal["tokens", "sequences", "constant"] = "constant"
    length: int = 128  # tokens, for "constant"
    importance_cap: float | None = 2.0  # None: no correction
    beyond_cap: Literal["truncate", "mask"] = "truncate"  # "mask": tokens beyond cap or 1 / cap teach nothing
    entropy: float = 0.0  # coefficient of the entropy bonus, nats
    kl: KL | None = None

    def weights(self, trajectory_T: np.ndarray) -> np.ndarray:
        """float64 [T]: weight of each token in the sum; `trajectory_T` numbers the trajectory of each token."""
        if not len(trajectory_T):
            return np.zeros(0)
        _, index_T, count_N = np.unique(trajectory_T, return_inverse=True, return_counts=True)
        if self.divide_by == "tokens":
            return np.full(len(trajectory_T), 1 / len(trajectory_T))
        if self.divide_by == "sequences":
            return 1 / (len(count_N) * count_N[index_T])
        return np.full(len(trajectory_T), 1 / (len(count_N) * self.length))


def value_loss(
    values_T: torch.Tensor, targets_T: torch.Tensor, before_T: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """[T] half the squared error of a critic. With `clip`, the larger of it and that of the value kept within `clip`
    of what it was before the update: a value that has already moved so far is pushed no further (PPO, as in verl)."""
    error_T = (values_T - targets_T).square()
    if clip is not None:
        error_T = torch.maximum(error_T, (before_T + (values_T - before_T).clamp(-clip, clip) - targets_T).square())
    return error_T / 2


@dataclass
class LossTerms:
    """Sums over tokens of one micro-batch; add them up over the update."""

    loss: torch.Tensor
    clipped: float = 0.0  # weighted by nothing: a count of tokens
    kl: float = 0.0  # sum of the estimate
    entropy: float = 0.0  # sum, nats


def clipped_policy_loss(
    settings: PolicyLoss,
    *,
    logp_T: torch.Tensor,
    before_T: torch.Tensor,
    sampler_T: torch.Tensor,
    advantages_T: torch.Tensor,
    weights_T: torch.Tensor,
    trajectory_T: torch.Tensor | None = None,
    reference_T: torch.Tensor | None = None,
    entropy_T: torch.Tensor | None = None,
) -> LossTerms:
    """The loss of some own tokens.

    Args:
        logp_T: under the weights being trained, with gradient.
        before_T: under the weights the update began with, no gradient.
        sampler_T: as the engine recorded it when it drew the token.
        advantages_T: reward units, or unitless where scaled.
        weights_T: from `PolicyLoss.weights`.
        trajectory_T: int64, number of the trajectory of each token, for ratio="sequence"; all trained tokens of a
            trajectory must then be here.
        reference_T: where the settings want a KL in the loss.
        entropy_T: nats.

    Returns:
        LossTerms; the loss is a sum, so micro-batches add up to the loss of the whole update.
    """
    moved_T = logp_T - before_T
    if settings.ratio == "sequence":
        assert trajectory_T is not None
        moved_T = _mean_by(moved_T, trajectory_T)
    ratio_T = moved_T.exp()
    gain_T = ratio_T * advantages_T
    clipped = 0.0
    if settings.clipped:
        bounded_T = ratio_T.clamp(1 - settings.clip_low, 1 + settings.clip_high) * advantages_T
        clipped = float((bounded_T < gain_T).sum())
        gain_T = torch.minimum(gain_T, bounded_T)
    if settings.importance_cap is not None:
        gain_T = gain_T * _importance(before_T - sampler_T, settings.importance_cap, settings.beyond_cap)
    loss = -(weights_T * gain_T).sum()
    terms = LossTerms(loss, clipped)
    if settings.kl is not None and reference_T is not None:
        kl_T = kl_estimate(logp_T, reference_T, settings.kl.estimator)
        terms.kl = float(kl_T.detach().sum())
        terms.loss = terms.loss + settings.kl.coef * (weights_T * kl_T).sum()
    if entropy_T is not None:
        terms.entropy = float(entropy_T.detach().sum())
        if settings.entropy:
            terms.loss = terms.loss - settings.entropy * (weights_T * entropy_T).sum()
    return terms


def _importance(gap_T: torch.Tensor, cap: float, beyond: str) -> torch.Tensor:
    """[T] weight of each token for having been drawn by other weights: trainer - sampler is `gap_T`, nats."""
    weight_T = gap_T.exp()
    if beyond == "truncate":
        return weight_T.clamp(max=cap)
    return weight_T * ((weight_T <= cap) & (weight_T >= 1 / cap))


def _mean_by(amount_T: torch.Tensor, number_T: torch.Tensor) -> torch.Tensor:
    """[T]: each amount replaced by the mean over those of the same number."""
    _, index_T, count_N = number_T.unique(return_inverse=True, return_counts=True)
    sums_N = amount_T.new_zeros(len(count_N)).index_add(0, index_T, amount_T)
    return (sums_N / count_N)[index_T]
