"""Methods: a sampler, a credit and a loss that belong together, as published, each by its name."""

from __future__ import annotations

from dataclasses import KW_ONLY, field
from typing import Any

from workbench.credit import GAE, BatchBaseline, GroupAdvantage, LeaveOneOut
from workbench.sampling.group import GroupSampler
from workbench.spec import part
from workbench.training.critic import Critic
from workbench.training.losses import KL, PolicyLoss


@part
class Method:
    """How rollouts are drawn, compared and learned from. `dataclasses.replace` changes a field."""

    name: str
    _: KW_ONLY
    sampler: Any = field(default_factory=GroupSampler)
    credit: Any = field(default_factory=GroupAdvantage)
    loss: PolicyLoss = field(default_factory=PolicyLoss)
    epochs: int = 1  # passes over the rollouts of one update
    critic: Critic | None = None  # learns the values that `GAE` wants


def DrGRPO(group_size: int = 8) -> Method:
    """Centred, not scaled; constant divisor; no KL (Liu et al. 2025, arXiv:2503.20783). The default of `train`."""
    return Method("DrGRPO", sampler=GroupSampler(group_size), credit=GroupAdvantage(scale="none"), loss=PolicyLoss())


def GRPO(group_size: int = 8, kl: float = 0.04) -> Method:
    """Scaled by the group's std, mean of sequence means, k3 KL in the loss (Shao et al. 2024, arXiv:2402.03300,
    eq. 3 and sec. 5.2: beta 0.04; Search-R1 uses 0.001)."""
    loss = PolicyLoss(divide_by="sequences", kl=KL(kl) if kl else None, importance_cap=None)
    return Method("GRPO", sampler=GroupSampler(group_size), credit=GroupAdvantage(scale="std"), loss=loss)


def DAPO(group_size: int = 16) -> Method:
    """Clip-higher 0.28, mean over all tokens, no KL (Yu et al. 2025, arXiv:2503.14476, sec. 3).

    Its dynamic sampling is `RefillEqualGroups`, its overlong shaping `OverLong`: parts of their own.
    """
    loss = PolicyLoss(clip_high=0.28, divide_by="tokens", importance_cap=None)
    return Method("DAPO", sampler=GroupSampler(group_size), credit=GroupAdvantage(scale="std"), loss=loss)


def RLOO(group_size: int = 4) -> Method:
    """Baseline = mean of the others, unclipped (Ahmadian et al. 2024, arXiv:2402.14740)."""
    loss = PolicyLoss(clipped=False, importance_cap=None)
    return Method("RLOO", sampler=GroupSampler(group_size), credit=LeaveOneOut(), loss=loss)


def GSPO(group_size: int = 8) -> Method:
    """One ratio a trajectory, clipped very near 1 (Zheng et al. 2025, arXiv:2507.18071, eq. 5 and sec. 5.1)."""
    loss = PolicyLoss(ratio="sequence", clip_low=3e-4, clip_high=4e-4, divide_by="sequences", importance_cap=None)
    return Method("GSPO", sampler=GroupSampler(group_size), credit=GroupAdvantage(scale="std"), loss=loss)


def ReinforcePP(group_size: int = 1, kl: float = 0.01) -> Method:
    """REINFORCE++: returns whitened over all tokens of the update, KL in the reward, no critic and no siblings (Hu
    2025, arXiv:2501.03262; coefficient as in OpenRLHF)."""
    credit = BatchBaseline(baseline="batch", scale="std", per="token")
    loss = PolicyLoss(divide_by="tokens", kl=_paid(kl), importance_cap=None)
    return Method("ReinforcePP", sampler=GroupSampler(group_size), credit=credit, loss=loss)


def PPO(group_size: int = 1, kl: float = 0.001, critic: Critic | None = None) -> Method:
    """A critic, GAE with gamma = lam = 1 whitened over the own tokens, KL in the reward (Schulman et al. 2017,
    arXiv:1707.06347, as Search-R1 sets it: arXiv:2503.09516 and its train_ppo.sh)."""
    loss = PolicyLoss(divide_by="tokens", entropy=0.001, kl=_paid(kl), importance_cap=None)
    sampler = GroupSampler(group_size)
    return Method("PPO", sampler=sampler, credit=GAE(), loss=loss, critic=critic or Critic())


def _paid(kl: float) -> KL | None:
    return KL(kl, "k1", into="reward") if kl else None


METHODS = {
    "DrGRPO": DrGRPO,
    "GRPO": GRPO,
    "DAPO": DAPO,
    "RLOO": RLOO,
    "GSPO": GSPO,
    "ReinforcePP": ReinforcePP,
    "PPO": PPO,
}
