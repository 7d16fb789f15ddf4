"""Checkpoints: all that a run needs to go on as if it had never stopped. Safetensors and JSON, no pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from workbench.errors import FormatError


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State after `update` updates."""

    folder: Path
    state: Mapping[str, Any]  # plain JSON: update, seed, plan, digests, learner notes
    weights: dict[str, torch.Tensor]
    optimiser: dict[str, torch.Tensor]


def save_checkpoint(
    folder: Path, state: Mapping[str, Any], weights: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer
) -> Path:
    """Write a checkpoint folder, whole or not at all: it is made beside its place and renamed."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: tensor.contiguous().cpu() for name, tensor in weights.items()}, partial / "weights.safetensors")
    save_file(_moments(optimiser), partial / "optimiser.safetensors")
    (partial / "state.json").write_text(json.dumps(state, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return folder


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        FormatError: it is no checkpoint, or a file of it is missing or broken.
    """
    folder = Path(folder)
    try:
        state = json.loads((folder / "state.json").read_text())
        weights = load_file(folder / "weights.safetensors")
        return Checkpoint(folder, state, weights, load_file(folder / "optimiser.safetensors"))
    except Exception as error:
        near = sorted(str(p.parent) for p in folder.parent.glob("*/state.json"))[-3:]
        raise FormatError(
            f"no checkpoint in {folder} ({error}); the newest beside it: {', '.join(near) or 'none'}"
        ) from error


def restore_moments(optimiser: torch.optim.Optimizer, moments: Mapping[str, torch.Tensor]) -> None:
    """Put AdamW's moments and step counts back."""
    for g, group in enumerate(optimiser.param_groups):
        for p, parameter in enumerate(group["params"]):
            held = {
                key: moments[f"{g}.{p}.{key}"]
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{g}.{p}.{key}" in moments
            }
            if held:
                moved = {key: tensor.to(parameter.device) for key, tensor in held.items() if key != "step"}
                optimiser.state[parameter] = {"step": held["step"], **moved}


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{g}.{p}.{key}": tensor.detach().contiguous().cpu()
        for g, group in enumerate(optimiser.param_groups)
        for p, parameter in enumerate(group["params"])
        for key, tensor in optimiser.state.get(parameter, {}).items()
    }
