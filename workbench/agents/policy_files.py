"""Policies on disk: weights as safetensors, tokenizer, and how turns are written. No pickle, in or out."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import workbench.agents.judging  # noqa: F401  (its templates are known by name)
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.transformers_engine import TransformersEngine
from workbench.errors import CapabilityError, FormatError, SettingError
from workbench.spec import from_spec, to_spec

SETTINGS, CARD, ADAPTER = "workbench.json", "README.md", "adapter_config.json"


def save_policy(policy: LanguagePolicy, folder: str | Path, *, merged: bool = False, card: str = "") -> Path:
    """Write a policy to a folder that is new or empty, whole or not at all.

    Args:
        merged: a model with adapters is written as one model; default: the adapters alone, which need their base.
        card: text of its README.md, in Markdown.

    Raises:
        SettingError: the folder holds something.
        CapabilityError: the policy's weights are not in this process.
    """
    engine: Any = policy.engine
    if not engine.capabilities.trainable:
        raise CapabilityError(f"policy {policy.name!r} has no weights in this process that could be saved")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"{str(folder)!r} is there already and is not empty; give a new folder")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _merged(engine.model, merged).save_pretrained(partial)  # safetensors
    engine.tokenizer.save_pretrained(partial)
    settings = {"name": engine.name, "temperature": policy.temperature, "turn_tokens": policy.turn_tokens}
    settings |= {"template": to_spec(policy.template), "weights_version": engine.weights_version}
    settings |= {"contexts": to_spec(policy.contexts), "roles": to_spec(policy.roles), "role": policy.role}
    (partial / SETTINGS).write_text(json.dumps(settings, indent=1))
    (partial / CARD).write_text(card or f"# {engine.name}\n")  # peft leaves an empty form here
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)
    return folder


def load_policy(
    folder: str | Path, *, base: TransformersEngine | str | Path | None = None, device: str | None = None
) -> LanguagePolicy:
    """A policy as `save_policy` wrote it. Its adapters, where it has some, can be trained on.

    Args:
        base: what adapters stand on, as a folder, a hub name, or an engine (whose model then carries them); default
            what they name themselves.
        device: default a GPU where there is one.

    Raises:
        FormatError: it is no saved policy, or its weights are not safetensors.
    """
    folder = Path(folder)
    settings = _settings(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if (folder / ADAPTER).exists():
        model = _with_adapters(folder, base)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    engine = TransformersEngine(model.to(device), tokenizer, name=settings["name"])
    engine.weights_version = settings["weights_version"]
    told = {name: settings[name] for name in ("temperature", "turn_tokens")}
    told |= {name: from_spec(settings[name]) for name in ("contexts", "roles", "role") if name in settings}
    return LanguagePolicy(engine, from_spec(settings["template"]), **told)


def _merged(model: Any, merged: bool) -> Any:
    """One model where that is wanted; the model that is trained keeps its adapters."""
    return copy.deepcopy(model).merge_and_unload() if merged and hasattr(model, "merge_and_unload") else model


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / SETTINGS).read_text())
    except (OSError, ValueError) as error:
        raise FormatError(
            f"no policy in {str(folder)!r} ({error}); policy.save(FOLDER) writes one. A plain model is loaded by "
            "TransformersEngine.load(FOLDER)"
        ) from error
    if not list(folder.glob("*.safetensors")):
        raise FormatError(f"{str(folder)!r} holds no weights as safetensors, and no other kind is read")
    return settings


def _with_adapters(folder: Path, base: TransformersEngine | str | Path | None) -> Any:
    from peft import PeftModel

    if isinstance(base, TransformersEngine):
        bare = base.model
    else:
        named = base or json.loads((folder / ADAPTER).read_text()).get("base_model_name_or_path")
        if not named:
            raise FormatError(
                f"the adapters in {str(folder)!r} do not say what they stand on; give it: load(folder, base=...), or "
                "save with merged=True"
            )
        bare = AutoModelForCausalLM.from_pretrained(named, use_safetensors=True)
    return PeftModel.from_pretrained(bare, folder, is_trainable=True)
