"""The policies that bench_training trains: the one that ships, and SmolLM2 taught the same tags for a few minutes."""

from __future__ import annotations

from pathlib import Path

import torch

from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.model_files import get_model
from workbench.agents.policy_files import SETTINGS
from workbench.agents.transformers_engine import TransformersEngine
from workbench.embedded import demo
from workbench.environments.expert import Demonstrator
from workbench.training.plan import Optimiser
from workbench.training.sft import sft
from workbench.training.tiny_policy import TAGS, TINY_TAGS, demonstrate

WEIGHTS = Path("models/smollm2")


def prepared(model: str, folder: Path) -> Path:
    """The folder of a saved policy, made where it is not there yet."""
    made = folder / model
    if not (made / SETTINGS).exists():
        policy = demo().policy if model == "tiny" else taught_smollm2()
        policy.save(made)
    return made


def taught_smollm2(updates: int = 90) -> LanguagePolicy:
    """SmolLM2 with each tag as a token of its own, after some demonstrations: enough to search and answer in form.

    With a third of them it writes no tag yet, and the two sides of the benchmark end such turns differently.
    """
    torch.manual_seed(0)
    engine = TransformersEngine.load(get_model("smollm2", WEIGHTS), name="smollm2")
    engine.tokenizer.add_tokens(TAGS)
    engine.model.resize_token_embeddings(len(engine.tokenizer))  # new rows are drawn about the mean of the old
    engine = TransformersEngine(engine.model, engine.tokenizer, name="smollm2")
    policy = LanguagePolicy(engine, TINY_TAGS, turn_tokens=40)
    world = demo().world
    short = [task for task in world.tasks if task.hops == 1][:100]  # one hop: short, and form is all that is wanted
    traces = demonstrate(world, short, TINY_TAGS, engine.tokenizer, Demonstrator(), 0)
    sft(policy, traces, updates=updates, tokens_per_update=500, optimiser=Optimiser(5e-4, warmup=3))
    return policy
