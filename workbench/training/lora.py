"""Low-rank adapters, for models too large to train whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from workbench.agents.transformers_engine import TransformersEngine
from workbench.agents.vllm_engine import VllmEngine

Trainable = TypeVar("Trainable", bound=TransformersEngine | VllmEngine)


def add_lora(
    engine: Trainable,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    targets: str | Sequence[str] = "all-linear",
    seed: int = 0,
) -> Trainable:
    """Freeze the engine's model and train adapters of `rank` beside its linear layers instead (peft; Hu et al. 2021,
    arXiv:2106.09685). The reference of a KL term is then the model without them. The same `seed` gives the same
    adapters, which a resumed run must begin with.

    Returns:
        The same engine; it samples with the adapters from now on.
    """
    from peft import LoraConfig, get_peft_model

    chosen = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=chosen, task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        engine.model = get_peft_model(engine.model, config).eval()
    engine.weights_changed()
    return engine
