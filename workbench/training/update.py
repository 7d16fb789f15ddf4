"""One update: rows in, weights changed. Exact whatever the micro-batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workbench.errors import CheckFailed
from workbench.training.learners import Learner
from workbench.training.losses import LossTerms, PolicyLoss, clipped_policy_loss
from workbench.training.rows import Row, micro_batches, trained_trajectories, weighted


@dataclass(frozen=True, eq=False)
class Trained:
    """What an update did. Token figures are means over the trained tokens of the last epoch."""

    rows: list[Row]  # with their loss weights; those that could not move anything left out
    tokens: int
    loss: float
    grad_norm: float  # before clipping
    clipped: float  # share of tokens at the clip
    kl: float  # nats; NaN where it is not in the loss
    entropy: float  # nats; NaN where not computed
    moved: float  # largest change of a weight
    before_T: np.ndarray  # logp of the trained tokens under the weights the update began with
    sampler_T: np.ndarray  # the same, as the sampler recorded them


def weighted_rows(rows: Sequence[Row], loss: PolicyLoss) -> list[Row]:
    """Rows with loss weights. Where neither KL nor entropy pulls, rows of advantage 0 cannot move anything and are
    left out, after they were counted in the divisor."""
    filled = weighted(rows, loss.weights(trained_trajectories(rows)))
    if loss.kl is not None and loss.kl.into == "loss" or loss.entropy:
        return filled
    return [row for row in filled if row.advantages_T.any()]


def train_on(
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    rows: Sequence[Row],
    loss: PolicyLoss,
    *,
    epochs: int,
    max_grad_norm: float,
    micro_batch_tokens: int,
) -> Trained:
    """`epochs` optimiser steps on all rows, gradients accumulated over micro-batches.

    Raises:
        CheckFailed: the loss or the gradient of a step is not finite; that step changes no weight.
    """
    kept = weighted_rows(rows, loss)
    batches = micro_batches(kept, micro_batch_tokens, learner.tokens, whole=loss.ratio == "sequence")
    parameters = learner.parameters()
    start = [parameter.detach().clone() for parameter in parameters]
    pulled = loss.kl is not None and loss.kl.into == "loss"
    reference = learner.reference(batches) if pulled else [None] * len(batches)
    before: list[torch.Tensor] = []
    norm = total = 0.0
    sums = dict.fromkeys(("clipped", "kl", "entropy"), 0.0)
    for _ in range(epochs if batches else 0):
        optimiser.zero_grad(set_to_none=True)
        total, sums = 0.0, dict.fromkeys(sums, 0.0)
        for i, batch in enumerate(batches):
            terms, logp_T = _backward(learner, batch, loss, before[i] if i < len(before) else None, reference[i])
            if i == len(before):
                before.append(logp_T)
            total += float(terms.loss.detach())
            sums = {name: value + getattr(terms, name) for name, value in sums.items()}
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm))
        if not np.isfinite(norm) or not np.isfinite(total):
            raise CheckFailed(f"loss {total} or gradient norm {norm} is not finite; no weight was changed by this step")
        optimiser.step()
    moved = max((float((p.detach() - s).abs().max()) for p, s in zip(parameters, start, strict=True)), default=0.0)
    tokens = sum(int(row.train_T.sum()) for row in kept)
    return Trained(
        rows=kept,
        tokens=tokens,
        loss=total,
        grad_norm=norm,
        clipped=sums["clipped"] / max(tokens, 1),
        kl=sums["kl"] / max(tokens, 1) if pulled else float("nan"),
        entropy=sums["entropy"] / max(tokens, 1) if loss.entropy else float("nan"),
        moved=moved,
        before_T=np.concatenate([b.float().cpu().numpy() for b in before]) if before else np.zeros(0, np.float32),
        sampler_T=_recorded(batches),
    )


def _backward(
    learner: Learner,
    batch: Sequence[Row],
    loss: PolicyLoss,
    before_T: torch.Tensor | None,
    reference_T: torch.Tensor | None,
) -> tuple[LossTerms, torch.Tensor]:
    """Add one micro-batch's gradient. `before_T` None: these are the weights the update began with."""
    likely = learner.likelihood(batch, entropy=bool(loss.entropy))
    logp_T, device = likely.logp_T.detach(), likely.logp_T.device
    terms = clipped_policy_loss(
        loss,
        logp_T=likely.logp_T,
        before_T=logp_T if before_T is None else before_T,
        sampler_T=_flat([row.tokens.logprobs_T for row in batch], batch, device),
        advantages_T=_flat([row.advantages_T for row in batch], batch, device),
        weights_T=_flat([row.weights_T for row in batch], batch, device),
        trajectory_T=torch.from_numpy(trained_trajectories(batch)).to(device),
        reference_T=reference_T,
        entropy_T=likely.entropy_T,
    )
    terms.loss.backward()
    return terms, logp_T


def _flat(arrays: Sequence[np.ndarray], rows: Sequence[Row], device: torch.device) -> torch.Tensor:
    flat = np.concatenate([array[row.train_T] for array, row in zip(arrays, rows, strict=True)])
    return torch.from_numpy(flat.astype(np.float32)).to(device)


def _recorded(batches: Sequence[Sequence[Row]]) -> np.ndarray:
    rows = [row for batch in batches for row in batch]
    return np.concatenate([row.tokens.logprobs_T[row.train_T] for row in rows]) if rows else np.zeros(0, np.float32)
