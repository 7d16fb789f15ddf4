"""What a run says of each update."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workbench.batch import FlatBatch
from workbench.training.checks import Check
from workbench.training.kl_term import KL_TERM
from workbench.training.update import Trained
from workbench.trajectory import Tree


@dataclass(frozen=True)
class Report:
    """One update in numbers. Rates are per second of this update; times are seconds."""

    run: str
    update: int  # 1 after the first
    mean_return: float  # reward units, over scored rollouts; a KL paid as a reward is left out
    parts: Mapping[str, float]  # mean per rollout of each raw term; NaN where never scored
    rollouts: int
    ends: Mapping[str, int]
    searches: float  # calls a rollout
    equal_groups: int
    groups: int
    sampled_tokens: int
    trained_tokens: int
    loss: float
    grad_norm: float
    clipped: float
    kl: float
    entropy: float
    lr: float
    rollout_s: float
    score_s: float
    train_s: float
    value_loss: float = math.nan  # of the critic, before the update; NaN without one
    explained: float = math.nan  # share of the variance of its targets that the critic foresaw; at most 1
    checks: tuple[Check, ...] = ()

    @property
    def seconds(self) -> float:
        return self.rollout_s + self.score_s + self.train_s

    @property
    def alarms(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.ok)

    def as_json(self) -> dict[str, Any]:
        """Plain data, NaN as None."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        parts = "  ".join(f"{name} {value:.3f}" for name, value in self.parts.items())
        line = (
            f"{self.run} update {self.update:>3}  return {self.mean_return:.3f}  {parts}  "
            f"searches {self.searches:.1f}  equal {self.equal_groups}/{self.groups}  "
            f"grad {self.grad_norm:.2f}  {self.seconds:.1f} s"
        )
        return line + "".join(f"\n  {check}" for check in self.alarms)


def describe(trees: Sequence[Tree], batch: FlatBatch, trained: Trained) -> dict[str, Any]:
    """The fields of a Report that follow from rollouts, rewards and training."""
    rollouts = [trajectory for tree in trees for trajectory in tree]
    returns_N = batch.reweighted(**{KL_TERM: 0.0}).returns_N
    per_rollout = max(len(rollouts), 1)
    parts = {}
    for r, name in enumerate(batch.names_R):
        scored = batch.terms_RS[r][~np.isnan(batch.terms_RS[r])]
        if batch.token_terms_RT is not None:
            tokens = batch.token_terms_RT[r]
            scored = np.concatenate([scored, tokens[~np.isnan(tokens)]])
        parts[name] = float(scored.sum() / per_rollout) if len(scored) else math.nan
    return {
        "mean_return": float(np.nanmean(returns_N)) if (~np.isnan(returns_N)).any() else math.nan,
        "parts": parts,
        "rollouts": len(rollouts),
        "ends": dict(Counter(str(trajectory.end) for trajectory in rollouts)),
        "searches": sum(len(step.calls) for t in rollouts for step in t.steps) / per_rollout,
        "groups": len(np.unique(batch.group_N)),
        "sampled_tokens": int(batch.tokens_S.sum()),
        "trained_tokens": trained.tokens,
        "loss": trained.loss,
        "grad_norm": trained.grad_norm,
        "clipped": trained.clipped,
        "kl": _kl_paid(batch) if math.isnan(trained.kl) else trained.kl,
        "entropy": trained.entropy,
    }


def _kl_paid(batch: FlatBatch) -> float:
    """Mean over the trained tokens of a KL that is a term of the reward, nats; NaN where there is none."""
    if KL_TERM not in batch.names_R or batch.token_terms_RT is None:
        return math.nan
    kl_T = batch.token_terms_RT[batch.names_R.index(KL_TERM)]
    return float(np.nanmean(kl_T)) if (~np.isnan(kl_T)).any() else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
