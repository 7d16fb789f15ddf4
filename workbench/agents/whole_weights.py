"""A model as a folder that other engines load: every weight under its own name, adapters merged in."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from workbench.errors import CapabilityError


@torch.no_grad()
def whole_weights(model: Any, *, untied: bool = False) -> dict[str, torch.Tensor]:
    """Every parameter of a model of transformers, by its name in the model without adapters.

    Args:
        model: also one that peft wrapped: what its LoRA layers add is added to their weights. The model itself stays
            as it is.
        untied: name a head that shares the embeddings too.

    Raises:
        CapabilityError: an adapter is no plain LoRA.
    """
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    adapted = {name: module for name, module in bare.named_modules() if hasattr(module, "get_delta_weight")}
    weights: dict[str, torch.Tensor] = {}
    for name, parameter in bare.named_parameters(remove_duplicate=not untied):
        owner, _, inner = name.partition(".base_layer.")
        if inner:
            if owner not in adapted:
                raise CapabilityError(f"the adapter of {owner} is no LoRA; train with add_lora(engine)")
            weights[f"{owner}.{inner}"] = _merged(adapted[owner], parameter) if inner == "weight" else parameter
        elif not _is_adapter(name):
            weights[name] = parameter
    return weights


def _is_adapter(name: str) -> bool:
    parts = name.split(".")
    if "modules_to_save" in parts or "original_module" in parts:
        raise CapabilityError(f"{name} is a copy of a layer that peft trains whole; train plain LoRA: add_lora(engine)")
    return any(part.startswith("lora_") for part in parts)


def _merged(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    """The weight with what the active adapters of its layer add."""
    if layer.merged or layer.disable_adapters:
        return weight
    active = [adapter for adapter in layer.active_adapters if adapter in layer.lora_A]
    if any(layer.lora_variant.get(adapter) is not None for adapter in active):
        raise CapabilityError(
            "an adapter is a variant of LoRA, which a sum of weights cannot say; use add_lora(engine)"
        )
    return sum((layer.get_delta_weight(adapter).to(weight.dtype) for adapter in active), start=weight.detach())


def write_weights(model: Any, folder: Path, dtype: torch.dtype, *, untied: bool = False) -> int:
    """``model.safetensors`` in `folder`, which is made; returns its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = whole_weights(model, untied=untied)
    # clones: safetensors refuses two names for one memory
    ready = {name: tensor.detach().to("cpu", dtype, copy=True).contiguous() for name, tensor in weights.items()}
    save_file(ready, folder / "model.safetensors", metadata={"format": "pt"})
    return sum(tensor.nbytes for tensor in ready.values())


def write_model(model: Any, tokenizer: Any, folder: Path, dtype: torch.dtype, *, untied: bool = False) -> None:
    """Configuration, tokenizer and weights."""
    write_weights(model, folder, dtype, untied=untied)
    config = copy.deepcopy(model.config)
    config.dtype = dtype
    if untied:
        config.tie_word_embeddings = False
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
