"""A critic: it learns, beside the policy, what is still to be earned before each own token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import numpy as np
import torch

from workbench.batch import Advantages, FlatBatch
from workbench.errors import CheckFailed, SettingError
from workbench.spec import part
from workbench.training.learners import Learner
from workbench.training.losses import value_loss
from workbench.training.rows import Row, flat_tokens, micro_batches


@part
class Critic:
    """Values of prefixes, learned by regression on what came after: what `GAE` compares with.

    "head": one linear layer on the policy's own last hidden state, which it does not change. It costs next to nothing
    and begins at 0 everywhere. "model": a copy of the policy's body with such a head, trained whole (Search-R1, verl):
    as much memory and time again as the policy.
    """

    form: Literal["head", "model"] = "head"
    _: KW_ONLY
    lr: float = 3e-4  # a whole model wants less: verl trains it at 1e-5
    clip: float | None = 0.5  # reward units that a value may move by in one update (verl's cliprange_value)
    epochs: int = 1  # passes over the rollouts of one update
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in ("head", "model"):
            raise SettingError(f"a critic's form is 'head' or 'model', got {self.form!r}")
        if self.epochs < 1 or self.lr < 0 or (self.clip is not None and self.clip <= 0):
            raise SettingError(
                f"epochs is at least 1, lr not negative and clip above 0 or None; got {self.epochs}, {self.lr} and "
                f"{self.clip}"
            )


@dataclass(frozen=True)
class Fitted:
    """What one update did to the critic."""

    loss: float  # reward units squared, halved; before the update
    explained: float  # share of the targets' variance that the values before the update explain; at most 1


class Values:
    """A critic at work: its weights, and the values they give."""

    def __init__(self, settings: Critic, learner: Learner) -> None:
        self.form, self.learner = settings.form, learner
        self._body = learner.body() if settings.form == "model" else None
        device = learner.parameters()[0].device
        self._head = torch.nn.Linear(learner.width, 1, device=device)
        torch.nn.init.zeros_(self._head.weight)
        torch.nn.init.zeros_(self._head.bias)

    def parameters(self) -> list[torch.nn.Parameter]:
        body = [] if self._body is None else [p for p in self._body.parameters() if p.requires_grad]
        return [*body, *self._head.parameters()]

    def values(self, rows: Sequence[Row]) -> torch.Tensor:
        """float32 [T] with gradient: the value before each trained token, reward units."""
        if self._body is not None:
            return self._head(self.learner.states(rows, self._body))[:, 0]
        with torch.no_grad():
            states_TD = self.learner.states(rows)
        return self._head(states_TD)[:, 0]

    @torch.no_grad()
    def valued(self, batch: FlatBatch, batches: Sequence[Sequence[Row]]) -> FlatBatch:
        """The batch with the value of every token that is trained on, and of every step as of its first token."""
        values_T = np.full(len(batch.owner_T), np.nan)
        for rows in batches:
            values_T[flat_tokens(rows)] = self.values(rows).cpu().numpy()
        values_S = np.full(len(batch.values_S), np.nan)
        own_S = batch.tokens_S > 0
        values_S[own_S] = values_T[batch.first_token_S[own_S]]
        return replace(batch, values_T=values_T, values_S=values_S)

    def fit(
        self,
        settings: Critic,
        optimiser: torch.optim.Optimizer,
        rows: Sequence[Row],
        advantages: Advantages,
        micro_batch_tokens: int,
    ) -> Fitted:
        """Bring the values nearer to the advantages' targets.

        Raises:
            CheckFailed: loss or gradient is not finite; that step changes no weight.
        """
        targets_T, before_T = advantages.targets_T, advantages.batch.values_T
        if targets_T is None or before_T is None:
            raise SettingError(
                "a critic learns from a credit that gives it targets, such as GAE(); this one gives none"
            )
        first, count = float("nan"), int((~np.isnan(targets_T[flat_tokens(rows)])).sum())
        for _ in range(settings.epochs if count else 0):
            optimiser.zero_grad(set_to_none=True)
            total = 0.0
            for batch in micro_batches(rows, micro_batch_tokens, self.learner.tokens):
                total += self._backward(batch, targets_T, before_T, settings.clip, count)
            norm = float(torch.nn.utils.clip_grad_norm_(self.parameters(), settings.max_grad_norm))
            if not np.isfinite(norm) or not np.isfinite(total):
                raise CheckFailed(f"critic: loss {total} or gradient norm {norm} is not finite; no weight was changed")
            optimiser.step()
            first = total if np.isnan(first) else first
        optimiser.zero_grad(set_to_none=True)
        return Fitted(first, _explained(targets_T, before_T))

    def _backward(
        self, rows: Sequence[Row], targets_T: np.ndarray, before_T: np.ndarray, clip: float | None, count: int
    ) -> float:
        """Add the gradient of one micro-batch to the mean over `count` tokens; its share of the loss."""
        flat_T = flat_tokens(rows)
        known_T = ~np.isnan(targets_T[flat_T])
        values_T = self.values(rows)[torch.from_numpy(known_T)]
        target_T, old_T = (
            torch.from_numpy(array[flat_T][known_T].astype(np.float32)).to(values_T.device)
            for array in (targets_T, before_T)
        )
        loss = value_loss(values_T, target_T, old_T, clip).sum() / count
        loss.backward()
        return float(loss.detach())

    def state(self) -> dict[str, torch.Tensor]:
        """The trained tensors by name."""
        body = {} if self._body is None else dict(self._body.named_parameters())
        held = {f"body.{name}": p.detach() for name, p in body.items() if p.requires_grad}
        return held | {f"head.{name}": p.detach() for name, p in self._head.named_parameters()}

    @torch.no_grad()
    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def _explained(targets_T: np.ndarray, before_T: np.ndarray) -> float:
    """1 - var(target - value) / var(target); NaN where the targets are all equal."""
    known_T = ~np.isnan(targets_T)
    spread = targets_T[known_T].var() if known_T.any() else 0.0
    return float(1 - (targets_T - before_T)[known_T].var() / spread) if spread else float("nan")
