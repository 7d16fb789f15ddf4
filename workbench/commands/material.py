"""From options to a policy, tasks and an environment: what `rollout`, `train` and `world evaluate` start from."""

from __future__ import annotations

import argparse
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.model_files import MODELS
from workbench.agents.policy_files import SETTINGS
from workbench.agents.templates import TagTemplate, ToolCallTemplate
from workbench.agents.transformers_engine import TransformersEngine
from workbench.agents.vllm_engine import VllmEngine
from workbench.commands.sources import DEMO_TASKS, searcher, tasks_of
from workbench.embedded import Demo, data_folder, demo
from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment
from workbench.errors import FormatError, SettingError, UnknownName
from workbench.protocols import Limits
from workbench.retrieval import Searcher
from workbench.spec import dumps, loads, part
from workbench.training.tiny_policy import TEMPLATES as TINY_TEMPLATES
from workbench.training.tiny_policy import save_engine
from workbench.trajectory import Task

TEMPLATES = {"search-r1": TagTemplate(), "tools": ToolCallTemplate()}
"""Ways of writing for a model that brings none of its own."""

HABITS_FILE = "policy.json"


@part
class Habits:
    """How a policy is used where nothing else is said. A policy made here keeps them beside its weights."""

    template: Any = TEMPLATES["search-r1"]
    _: KW_ONLY
    turn_tokens: int = 500
    k: int = 3  # pages a search
    turns: int = 4
    observation_tokens: int | None = 500

    def environment(self, index: Searcher) -> ToolEnvironment:
        limits = Limits(turns=self.turns, observation_tokens=self.observation_tokens)
        return ToolEnvironment([SearchTool(index, k=self.k)], limits=limits)


@dataclass(frozen=True)
class Material:
    """What a rollout needs."""

    policy: LanguagePolicy
    engine: TransformersEngine | VllmEngine  # the policy's
    tasks: tuple[Task, ...]
    environment: ToolEnvironment
    habits: Habits


def gather(args: argparse.Namespace) -> Material:
    """Everything that the options of `options.add_material` ask for.

    Raises:
        SettingError, UnknownName, FormatError: something of it is not there; says what to type instead.
    """
    tasks = tasks_of(args.tasks, args.limit)
    if args.corpus is None and args.tasks not in DEMO_TASKS:
        raise SettingError(f"the tasks in {args.tasks} need pages to search: --corpus FILE, or --corpus demo")
    index = searcher(args.corpus or ["demo"])
    engine, habits = engine_of(args.policy, args.template)
    given = {name: getattr(args, name) for name in ("turn_tokens", "k", "turns", "observation_tokens")}
    habits = replace(habits, **{name: value for name, value in given.items() if value is not None})
    habits = replace(habits, template=_changed(habits.template, args.chat, args.instruction))
    temperature = 1.0 if args.temperature is None else args.temperature
    engine.compute = torch.bfloat16 if args.bf16 else None
    samples = _in_vllm(engine) if args.engine == "vllm" else engine
    policy = LanguagePolicy(samples, habits.template, temperature, habits.turn_tokens)
    return Material(policy, samples, tasks, habits.environment(index), habits)


# ---------------------------------------------------------------- policies


def _in_vllm(engine: TransformersEngine) -> VllmEngine:
    compute = engine.compute
    return VllmEngine(engine.model, engine.tokenizer, name=engine.name, dtype=compute, compute=compute)


def engine_of(policy: str, template: str | None) -> tuple[TransformersEngine, Habits]:
    """The engine that `policy` names and its habits, the template replaced where one is named."""
    if policy == "demo":
        return demo_engine(template or "tags")
    folder = Path(policy)
    if folder.name in MODELS and not folder.exists():
        raise SettingError(f"no folder {policy!r} yet; get it: workbench models get {folder.name} --out {policy}")
    saved = LanguagePolicy.load(folder) if (folder / SETTINGS).is_file() else None  # by `run.save` or `policy.save`
    habits = _read_habits(folder / HABITS_FILE)
    if saved is not None:
        habits = replace(habits, template=saved.template, turn_tokens=saved.turn_tokens)
    if template is not None:
        habits = replace(habits, template=_named(template, TEMPLATES))
    return TransformersEngine.load(policy) if saved is None else cast(TransformersEngine, saved.engine), habits


def _changed(template: Any, chat: bool, instruction: str | None) -> Any:
    """The template with what was asked of its prompt."""
    tags = isinstance(template, TagTemplate)
    if chat and tags:
        template = replace(template, chat=True)
    if instruction is None:
        return template
    text, place = Path(instruction).read_text(), "{question}" if tags else "{tools}"
    if place not in text:
        raise SettingError(f"{instruction} must hold {place}, where the template puts it; it reads {text[:60]!r} ...")
    return replace(template, instruction=text)


def _read_habits(file: Path) -> Habits:
    if not file.is_file():
        return Habits()
    try:
        habits = loads(file.read_text())
    except ValueError as error:
        raise FormatError(f"{file} is not as `workbench train --save` writes it ({error}); delete it") from error
    return habits


def demo_engine(template: str) -> tuple[TransformersEngine, Habits]:
    """The tiny policy that writes in this template, in the limits it was made for."""
    _named(template, TINY_TEMPLATES)
    world = demo_world(template)
    policy = world.policy
    return cast(TransformersEngine, policy.engine), habits_of_tiny(policy, world.environment)


def habits_of_tiny(policy: LanguagePolicy, environment: ToolEnvironment) -> Habits:
    """How the tiny policy is used in the environment it was made for."""
    tool = cast(SearchTool, environment.tools[0])
    return Habits(
        policy.template,
        turn_tokens=policy.turn_tokens,
        k=tool.k,
        turns=environment.limits.turns,
        observation_tokens=environment.limits.observation_tokens,
    )


def demo_world(template: str = "tags") -> Demo:
    """The embedded world.

    Raises:
        SettingError: its tiny policy has not been made here.
    """
    if not (data_folder() / "world" / f"policy-{template}").is_dir():
        raise SettingError(
            f"the embedded world has no tiny policy for the template {template!r} here; make it (up to an hour): "
            f"workbench world train-policy --template {template}"
        )
    return demo(template)


def _named(name: str, templates: dict[str, Any]) -> Any:
    if name not in templates:
        raise UnknownName.among("template", name, templates, where="those of this policy")
    return templates[name]


def check_free(folder: str) -> None:
    """Say it before hours of training, not after them.

    Raises:
        SettingError: `folder` holds something other than a model.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / "config.json").exists())):
        raise SettingError(f"{folder} holds other things; save the model to a new or empty folder")


def save_policy(engine: TransformersEngine | VllmEngine, habits: Habits, folder: str) -> Path:
    """Weights (fp16, adapters merged in), tokenizer and habits: ``--policy FOLDER`` needs no other option."""
    if hasattr(engine.model, "merge_and_unload"):
        engine.model = engine.model.merge_and_unload()
    saved = save_engine(engine, folder)
    (saved / HABITS_FILE).write_text(dumps(habits) + "\n")
    return saved
