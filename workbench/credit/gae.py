"""Credit against what a critic expected: generalised advantage estimation, the credit of PPO."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from workbench.batch import Advantages, FlatBatch
from workbench.credit.returns import visits
from workbench.errors import SettingError
from workbench.spec import part


@part
class GAE:
    """How much better than the critic expected it went, from each own token (or step) on.

    With d(t) = r(t) + gamma V(t+1) - V(t), A(t) = d(t) + gamma lam A(t+1) (Schulman et al. 2016, arXiv:1506.02438,
    eq. 16), along the tokens that the policy drew and nothing else: what the environment wrote in between is neither
    valued nor discounted, and the return is carried across it. V after the last one is 0. What a step is paid lands
    on its last own token (that of an earlier step, where it has none).

    The critic learns A + V, before whitening. A token that several trajectories share takes the mean over the
    gradient rows through it.
    """

    _: KW_ONLY
    gamma: float = 1.0  # in (0, 1], a token (step); the batch's own discounts of steps come on top
    lam: float = 1.0  # in [0, 1]; 1: the return to go minus V
    per: Literal["token", "step"] = "token"  # "step": what is valued are whole turns
    whiten: bool = True  # bring advantages to mean 0 and std 1 over what is trained on, as verl does
    eps: float = 1e-8  # added to the variance

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1 or not 0 <= self.lam <= 1 or self.eps < 0:
            raise SettingError(
                f"gamma is in (0, 1], lam in [0, 1] and eps not negative, got {self.gamma}, {self.lam} and {self.eps}"
            )
        if self.per not in ("token", "step"):
            raise SettingError(f"per is 'token' or 'step', got {self.per!r}")

    def __call__(self, batch: FlatBatch) -> Advantages:
        """Advantages of a scored batch with values.

        Raises:
            SettingError: something has no value: no critic looked at the batch.
        """
        chain = _tokens(batch) if self.per == "token" else _steps(batch)
        if missing := int(np.isnan(chain.value_C).sum()):
            raise SettingError(
                f"GAE needs the value of every {self.per}, and {missing} have none. Train with a critic: "
                "method=wb.PPO(), or Method(..., critic=Critic())"
            )
        advantage_C = chain.advantages(self.gamma, self.lam)
        target_X, advantage_X = chain.mean(advantage_C + chain.value_C), chain.mean(advantage_C)
        if self.whiten:
            advantage_X = _whitened(advantage_X, self.eps)
        return self._laid_out(batch, np.nan_to_num(advantage_X), target_X)

    def _laid_out(self, batch: FlatBatch, advantage_X: np.ndarray, target_X: np.ndarray) -> Advantages:
        if self.per == "token":
            sums_S = np.bincount(batch.owner_T, advantage_X, minlength=len(batch.tokens_S))
            mean_S = sums_S / np.maximum(batch.tokens_S, 1)
            return Advantages(batch, mean_S, advantage_X, siblings=False, targets_T=target_X)
        targets_T = np.full(len(batch.owner_T), np.nan)
        own_S = batch.tokens_S > 0
        targets_T[batch.first_token_S[own_S]] = target_X[own_S]  # the value of a step is that of its first token
        return Advantages(batch, advantage_X, siblings=False, targets_T=targets_T)


@dataclass(frozen=True, eq=False)
class _Chain:
    """What is valued, trajectory after trajectory, each from its first to its last: [C] tokens or steps."""

    at_C: np.ndarray  # int64, number of the token or step in the batch; a shared one comes several times
    row_C: np.ndarray  # int64, trajectory
    reward_C: np.ndarray
    value_C: np.ndarray
    discount_C: np.ndarray  # of all that comes after, beside gamma
    count: int  # X, tokens or steps in the batch

    def advantages(self, gamma: float, lam: float) -> np.ndarray:
        """float64 [C]: every trajectory from its end, all of them at once."""
        advantage_C = np.zeros(len(self.at_C))
        at = np.flatnonzero(np.diff(self.row_C, append=-1))  # the last of each trajectory
        first_C = np.diff(self.row_C, prepend=-1) != 0
        value, advantage = np.zeros(len(at)), np.zeros(len(at))  # of what comes after
        while len(at):
            carried = gamma * self.discount_C[at]
            advantage = self.reward_C[at] + carried * value - self.value_C[at] + carried * lam * advantage
            advantage_C[at], value = advantage, self.value_C[at]
            on = ~first_C[at]
            at, value, advantage = at[on] - 1, value[on], advantage[on]
        return advantage_C

    def mean(self, amount_C: np.ndarray) -> np.ndarray:
        """float64 [X]: mean over the trajectories through each token or step; NaN where there is none."""
        sums_X = np.bincount(self.at_C, amount_C, minlength=self.count)
        count_X = np.bincount(self.at_C, minlength=self.count)
        return np.divide(sums_X, count_X, out=np.full(self.count, np.nan), where=count_X > 0)


def _steps(batch: FlatBatch) -> _Chain:
    row_C, step_C = _paths(batch)
    rewards_S = np.nan_to_num(batch.rewards_S)
    return _Chain(
        at_C=step_C,
        row_C=row_C,
        reward_C=rewards_S[step_C],
        value_C=batch.values_S[step_C],
        discount_C=batch.discount_S[step_C],
        count=len(rewards_S),
    )


def _tokens(batch: FlatBatch) -> _Chain:
    row_X, step_X = _paths(batch)
    count_X = batch.tokens_S[step_X]
    row_C, end_X = np.repeat(row_X, count_X), np.cumsum(count_X)
    at_C = np.arange(len(row_C)) + np.repeat(batch.first_token_S[step_X] - (end_X - count_X), count_X)
    paid_T = batch.token_rewards_T
    reward_C, discount_C = paid_T[at_C].astype(np.float64), np.ones(len(at_C))
    paid_S = np.nan_to_num(batch.rewards_S) - np.bincount(batch.owner_T, paid_T, minlength=len(batch.tokens_S))
    last_X = end_X - 1  # a step without own tokens: the last one before it
    lands_X = last_X >= 0
    lands_X[lands_X] = row_C[last_X[lands_X]] == row_X[lands_X]
    np.add.at(reward_C, last_X[lands_X], paid_S[step_X[lands_X]])
    np.multiply.at(discount_C, last_X[lands_X], batch.discount_S[step_X[lands_X]])
    values_T = np.full(len(paid_T), np.nan) if batch.values_T is None else batch.values_T
    return _Chain(at_C, row_C, reward_C, values_T[at_C], discount_C, len(paid_T))


def _paths(batch: FlatBatch) -> tuple[np.ndarray, np.ndarray]:
    """row_X, step_X: the steps of every trajectory that is trained on, first one first."""
    row_X, step_X, _ = visits(batch)
    order_X = np.lexsort((batch.depth_S[step_X], row_X))
    order_X = order_X[batch.gradient_N[row_X[order_X]]]
    return row_X[order_X], step_X[order_X]


def _whitened(amount_X: np.ndarray, eps: float) -> np.ndarray:
    """Mean 0 and (sample) std 1 over what is there; exactly 0 where all are equal."""
    known = amount_X[~np.isnan(amount_X)]
    if len(known) < 2 or np.ptp(known) == 0:
        return np.where(np.isnan(amount_X), np.nan, 0.0)
    return (amount_X - known.mean()) / np.sqrt(known.var(ddof=1) + eps)
