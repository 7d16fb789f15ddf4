"""The least that an update can cost on this machine, from its floating-point operations and its bytes.

Counted for a decoder of plain layers: 2 operations for each weight and token forward, 6 forward and backward (4 where
the weights are frozen and only adapters learn), attention beside it, each prompt once for all rollouts of its task,
the head on own tokens only, nothing at all for rollouts whose advantage is 0. Decoding also has to bring the weights
from memory once for all rows of a step, and each row's keys and values for each token; it costs the larger of the two.
The machine's rates are those of a large matrix product and of a large copy, measured beside each update.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from workbench.agents.language_policy import LanguagePolicy
from workbench.trajectory import Trajectory

SIZE = 1024  # rows and columns of the product; large enough that nothing but arithmetic counts
COPIED = 16 * 2**20  # float32 numbers of the copy; too many for any cache


@dataclass(frozen=True)
class Shape:
    """What a token costs in a model."""

    body: int  # weights of the layers
    head: int  # weights of the language-model head
    attend: int  # operations for each earlier token
    kept: int  # bytes of keys and values
    frozen: bool  # only adapters learn

    @classmethod
    def of(cls, model: Any) -> Shape:
        config = model.config.get_text_config()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        head = config.vocab_size * config.hidden_size
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        body = sum(p.numel() for name, p in bare.get_decoder().named_parameters() if "embed" not in name)
        attend = 4 * config.num_hidden_layers * config.num_attention_heads * size
        kept = 2 * 4 * config.num_hidden_layers * config.num_key_value_heads * size
        return cls(body, head, attend, kept, hasattr(model, "peft_config"))


def floor(policy: LanguagePolicy, latest: Any) -> dict[str, float]:
    """Seconds that the newest update needs at least for drawing and for learning."""
    shape = Shape.of(policy.engine.model)  # type: ignore[attr-defined]
    flops, bytes = _flops_a_second(), _bytes_a_second()
    moving = [bool(advantages_S.any()) for advantages_S in latest.advantages.by_trajectory()]
    drawn = [t for tree in latest.trees for t in tree]
    learned = [t for t, moves in zip(drawn, moving, strict=True) if moves]
    passes = 2 if shape.frozen else 3  # of a forward's operations
    rolled = _forward(drawn, shape) / flops
    fetched = _fetched(drawn, shape) / bytes
    return {
        "floor_rollout": max(rolled, fetched),
        "floor_train": passes * _forward(learned, shape) / flops,
        "flops": flops,
        "bytes": bytes,
        "bound": float(fetched > rolled),
    }


def _forward(trajectories: list[Trajectory], shape: Shape) -> float:
    """Operations of one forward pass over all tokens, the prompt of a task once."""
    total, seen = 0.0, set()
    for trajectory in trajectories:
        for segment in trajectory.segments():
            prompt, length = int((segment.step_T < 0).sum()), len(segment.tokens)
            first = prompt if trajectory.task.id in seen else 0
            total += 2 * shape.body * (length - first) + shape.attend * (length**2 - first**2) / 2
            total += 2 * shape.head * int(segment.tokens.own_T.sum())
        seen.add(trajectory.task.id)
    return total


def _fetched(trajectories: list[Trajectory], shape: Shape) -> float:
    """Bytes that decoding brings: the weights once a step of a turn, the keys and values of a row at each token."""
    turns = max(len(t.steps) for t in trajectories)
    steps = sum(max(t.steps[n].own_tokens for t in trajectories if n < len(t.steps)) for n in range(turns))
    places = [np.flatnonzero(s.tokens.own_T).sum() for t in trajectories for s in t.segments()]
    return 4.0 * (shape.body + shape.head) * steps + shape.kept * float(sum(places))


def _flops_a_second() -> float:
    one = torch.randn(SIZE, SIZE)
    return 2 * SIZE**3 / _least(lambda: one @ one)


def _bytes_a_second() -> float:
    one = torch.zeros(COPIED)
    other = torch.empty_like(one)
    return 2 * 4 * COPIED / _least(lambda: other.copy_(one))


def _least(work: Callable[[], object]) -> float:
    """Processor seconds of the quickest of five."""
    times = []
    for _ in range(5):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)
