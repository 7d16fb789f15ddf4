"""Supervised fine-tuning on trajectories: cross-entropy on the tokens of the agent's own turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from workbench.errors import CheckFailed, SettingError
from workbench.training.learners import Learner, learner_for
from workbench.training.plan import Optimiser
from workbench.training.rows import Row, micro_batches
from workbench.trajectory import Origin, Trajectory


def sft(
    policy: Any,
    trajectories: Sequence[Trajectory],
    *,
    updates: int,
    tokens_per_update: int = 6000,
    optimiser: Optimiser | None = None,
    final_lr: float = 0.02,
    context_weight: float = 0.0,
    seed: int = 0,
    micro_batch_tokens: int = 4096,
    progress: bool = True,
) -> list[float]:
    """Teach the policy to write what the trajectories' own turns say. It is trained in place.

    Args:
        trajectories: with token ids of the policy's tokenizer.
        updates: optimiser steps; the trajectories are shuffled and come again as often as needed.
        tokens_per_update: tokens of all kinds, padding not counted, about.
        context_weight: of the tokens that are not the agent's own (question, pages), between 0 and 1. A small model
            that is taught from nothing learns to copy sooner when it also reads what it copies from.
        optimiser: default AdamW at 3e-3 with 50 updates of warm-up, then a cosine down to `final_lr` x lr.

    Returns:
        Loss of every update: weighted mean over its tokens, nats.

    Raises:
        CheckFailed: the loss is not finite.
    """
    settings = optimiser or Optimiser(3e-3, weight_decay=0.05, warmup=50)
    learner = learner_for(policy)
    rows = [row for trajectory in trajectories for row in sft_rows(trajectory, context_weight)]
    if not rows:
        raise SettingError("no trajectory holds a token of its own; sft needs trajectories with sampled ids")
    adam = torch.optim.AdamW(
        learner.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
    )
    losses = []
    bar = tqdm(_batches(rows, tokens_per_update, seed), total=updates, desc="sft", unit="update", disable=not progress)
    for update, batch in enumerate(bar, start=1):
        for group in adam.param_groups:
            group["lr"] = settings.lr * _schedule(update, updates, settings.warmup, final_lr)
        losses.append(_step(learner, adam, batch, settings.max_grad_norm, micro_batch_tokens))
        bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}")
        if update == updates:
            break
    bar.close()
    learner.updated()
    return losses


def sft_rows(trajectory: Trajectory, context_weight: float = 0.0) -> list[Row]:
    """A row a segment; tokens of the agent's own turns have weight 1, the others `context_weight`."""
    rows = []
    for number, segment in enumerate(trajectory.segments()):
        own_T = segment.tokens.origins_T == Origin.SAMPLED
        weights_T = np.where(own_T, 1.0, context_weight).astype(np.float32)
        if not own_T[0]:
            weights_T[0] = 0.0  # nothing stands before it to say it from; a table says its first token from features
        nowhere_T, zeros_T = np.full(len(own_T), -1), np.zeros(len(own_T), np.float32)
        rows.append(
            Row(trajectory, number, segment.tokens, segment.step_T, weights_T > 0, nowhere_T, zeros_T, weights_T)
        )
    return [row for row in rows if row.train_T.any()]


def _batches(rows: Sequence[Row], tokens: int, seed: int, look: int = 32) -> Iterator[list[Row]]:
    """Endless batches of about `tokens` tokens, of like length within a window of `look` batches, in random order.

    So little is padded (1.3 % of the demonstrations' tokens) that packing rows into one would not pay: on a CPU, a
    packed row with a block mask took four times as long.
    """
    rng = np.random.default_rng(seed)
    average = float(np.mean([len(row) for row in rows]))
    count = max(1, round(tokens / average))
    while True:
        order = rng.permutation(len(rows))
        for start in range(0, len(order), count * look):
            window = sorted(order[start : start + count * look], key=lambda i: len(rows[i]))
            pieces = [window[i : i + count] for i in range(0, len(window), count)]
            for piece in rng.permutation(len(pieces)):
                yield [rows[i] for i in pieces[piece]]


def _step(learner: Learner, adam: torch.optim.Optimizer, batch: Sequence[Row], max_norm: float, most: int) -> float:
    adam.zero_grad(set_to_none=True)
    whole = sum(float(row.weights_T.sum()) for row in batch)
    total = 0.0
    for part in micro_batches(batch, most, learner.tokens):
        likely = learner.likelihood(part)
        weights_T = np.concatenate([row.weights_T[row.train_T] for row in part])
        loss = -(likely.logp_T * torch.from_numpy(weights_T).to(likely.logp_T.device)).sum() / whole
        loss.backward()
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(learner.parameters(), max_norm))
    if not math.isfinite(norm) or not math.isfinite(total):
        raise CheckFailed(f"loss {total} or gradient norm {norm} is not finite; lower the learning rate")
    adam.step()
    return total


def _schedule(update: int, updates: int, warmup: int, final: float) -> float:
    if update <= warmup:
        return update / warmup
    done = (update - warmup) / max(1, updates - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
