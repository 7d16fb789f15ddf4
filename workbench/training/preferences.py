"""Learning from pairs: direct preference optimisation of a policy, and the pairwise loss of reward models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import logsigmoid
from tqdm.auto import tqdm

from workbench.errors import CheckFailed, SettingError
from workbench.training.learners import Learner, learner_for
from workbench.training.plan import Optimiser
from workbench.training.rows import Row
from workbench.training.sft import sft_rows
from workbench.trajectory import Trajectory

Pair = tuple[Trajectory, Trajectory]
"""The better one, then the worse one."""


def pairwise_loss(
    chosen_P: torch.Tensor, rejected_P: torch.Tensor, margin_P: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """[P] -log sigmoid(chosen - rejected - margin): Bradley and Terry's model of what a person prefers, on scores of a
    reward model (Ouyang et al. 2022, arXiv:2203.02155, eq. 1; margin: Llama 2, arXiv:2307.09288, eq. 2)."""
    return -logsigmoid(chosen_P - rejected_P - margin_P)


def dpo_loss(gain_P: torch.Tensor, beta: float, smoothing: float = 0.0) -> torch.Tensor:
    """[P] -log sigmoid(beta gain) (Rafailov et al. 2023, arXiv:2305.18290, eq. 7).

    Args:
        gain_P: log of policy over reference on the chosen, less the same on the rejected, nats over whole rollouts.
        smoothing: chance that a pair is the wrong way round, below 1/2 (conservative DPO).
    """
    return -(1 - smoothing) * logsigmoid(beta * gain_P) - smoothing * logsigmoid(-beta * gain_P)


@dataclass(frozen=True)
class PairsLearned:
    """One update of `dpo`."""

    loss: float  # before the update
    accuracy: float  # share of the pairs whose chosen rollout gained more than the rejected one


def dpo(
    policy: Any,
    pairs: Sequence[Pair],
    *,
    updates: int,
    pairs_per_update: int = 8,
    beta: float = 0.1,
    smoothing: float = 0.0,
    optimiser: Optimiser | None = None,
    seed: int = 0,
    micro_batch_tokens: int = 4096,
    progress: bool = True,
) -> list[PairsLearned]:
    """Make the chosen rollouts likelier than the rejected ones, held to what the policy is now. Trained in place.

    Only the agent's own tokens count; what the environment wrote between them is read and not learned.

    Args:
        pairs: of one task each, with token ids of the policy's tokenizer. They are shuffled and come again as often as
            needed.
        beta: how hard the policy is held to where it began; small is loose.
        optimiser: default AdamW at 1e-5.

    Raises:
        SettingError: no pair, or one of two tasks, or a rollout without own tokens.
        CheckFailed: the loss is not finite.
    """
    settings = optimiser or Optimiser(1e-5)
    learner = learner_for(policy)
    made = [_pair_rows(pair) for pair in pairs]
    if not made or updates < 1 or not 0 <= smoothing < 0.5 or beta <= 0:
        raise SettingError(
            f"dpo needs pairs, updates, a beta above 0 and a smoothing in [0, 0.5); got {len(made)} pairs, {updates}, "
            f"{beta} and {smoothing}"
        )
    with torch.no_grad():
        began = [float(_gain(learner, [rows])[0]) for rows in tqdm(made, "reference", disable=not progress)]
    adam = torch.optim.AdamW(
        learner.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
    )
    learned = []
    bar = tqdm(_batches(len(made), pairs_per_update, seed), "dpo", updates, unit="update", disable=not progress)
    for update, chosen in enumerate(bar, start=1):
        for group in adam.param_groups:
            group["lr"] = settings.lr * min(1.0, update / max(settings.warmup, 1))
        adam.zero_grad(set_to_none=True)
        learned.append(_backward(learner, [(made[i], began[i]) for i in chosen], beta, smoothing, micro_batch_tokens))
        norm = float(torch.nn.utils.clip_grad_norm_(learner.parameters(), settings.max_grad_norm))
        if not math.isfinite(norm) or not math.isfinite(learned[-1].loss):
            raise CheckFailed(f"loss {learned[-1].loss} or gradient norm {norm} is not finite; no weight was changed")
        adam.step()
        bar.set_postfix(loss=f"{learned[-1].loss:.3f}")
        if update == updates:
            break
    bar.close()
    learner.updated()
    return learned


PairRows = tuple[list[Row], list[Row]]
"""Segments of the chosen and of the rejected rollout."""


def _pair_rows(pair: Pair) -> PairRows:
    chosen, rejected = pair
    if chosen.task.id != rejected.task.id:
        raise SettingError(f"a pair is of one task, got {chosen.task.id!r} and {rejected.task.id!r}")
    made = sft_rows(chosen), sft_rows(rejected)
    for rows, trajectory in zip(made, pair, strict=True):
        if not rows:
            raise SettingError(f"trajectory {trajectory.id!r} has no token of its own to learn from")
    return made


def _gain(learner: Learner, pairs: Sequence[PairRows]) -> torch.Tensor:
    """[P] logprob of the chosen rollout less that of the rejected one, nats."""
    rows = [row for sides in pairs for side in sides for row in side]
    signs = [sign for sides in pairs for side, sign in zip(sides, (1.0, -1.0), strict=True) for _ in side]
    number = [p for p, sides in enumerate(pairs) for side in sides for _ in side]
    count = [int(row.train_T.sum()) for row in rows]
    logp_T = learner.likelihood(rows).logp_T
    sign_T = torch.from_numpy(np.repeat(np.array(signs, np.float32), count)).to(logp_T.device)
    pair_T = torch.from_numpy(np.repeat(np.array(number), count)).to(logp_T.device)
    return logp_T.new_zeros(len(pairs)).index_add(0, pair_T, logp_T * sign_T)


def _backward(
    learner: Learner, pairs: Sequence[tuple[PairRows, float]], beta: float, smoothing: float, most: int
) -> PairsLearned:
    total, right = 0.0, 0
    for some in _parts(pairs, most):
        began_P = torch.tensor([began for _, began in some])
        gain_P = _gain(learner, [rows for rows, _ in some])
        gain_P = gain_P - began_P.to(gain_P.device)
        loss = dpo_loss(gain_P, beta, smoothing).sum() / len(pairs)
        loss.backward()
        total, right = total + float(loss.detach()), right + int((gain_P > 0).sum())
    return PairsLearned(total, right / len(pairs))


def _parts(pairs: Sequence[tuple[PairRows, float]], most: int) -> Iterator[list[tuple[PairRows, float]]]:
    """The pairs of an update, some at a time: at most so many padded tokens, a pair at least."""
    some: list[tuple[PairRows, float]] = []
    widest = rows = 0
    for pair in sorted(pairs, key=lambda one: _widest(one[0])):
        width, count = _widest(pair[0]), sum(len(side) for side in pair[0])
        if some and max(widest, width) * (rows + count) > most:
            yield some
            some, widest, rows = [], 0, 0
        some, widest, rows = [*some, pair], max(widest, width), rows + count
    yield some


def _widest(sides: PairRows) -> int:
    return max(len(row) for side in sides for row in side)


def _batches(pairs: int, count: int, seed: int) -> Iterator[list[int]]:
    """Endless batches; every pair comes once before any comes again."""
    rng, waiting = np.random.default_rng(seed), list[int]()
    while True:
        while len(waiting) < count:
            waiting += rng.permutation(pairs).tolist()
        yield waiting[:count]
        waiting = waiting[count:]
