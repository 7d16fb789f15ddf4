"""A policy saved and loaded says the same with the same probability."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_model import tiny_engine
from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.agents.contexts import HideRejected
from workbench.agents.judging import AssessTemplate, JudgeTemplate
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedEngine
from workbench.errors import CapabilityError, FormatError, SettingError
from workbench.sampling.rollout import rollout
from workbench.training.lora import add_lora
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train

PROMPT, SAID = np.array([1, 2, 3, 4]), np.array([50, 60, 70])


def scored(policy) -> np.ndarray:
    return policy.engine.score([PROMPT], [SAID])[0]


def with_adapters() -> LanguagePolicy:
    """Adapters that do something: a new one adds nothing."""
    policy = speaker()
    add_lora(policy.engine, rank=4)
    with torch.no_grad():
        for name, parameter in policy.engine.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    return policy


def test_weights_template_and_settings_come_back(tmp_path: Path):
    policy = replace(speaker(), temperature=0.7)
    policy.engine.weights_version = 5
    loaded = LanguagePolicy.load(policy.save(tmp_path / "kept"))
    assert scored(loaded).tolist() == scored(policy).tolist()
    assert (loaded.template, loaded.temperature, loaded.turn_tokens) == (policy.template, 0.7, 12)
    assert loaded.name == policy.name == "tiny@5"
    assert (loaded.contexts, loaded.roles, loaded.role) == (None, {}, "agent")
    drawn = [rollout(one, TASKS[:2], Quiet(), group_size=2, progress=False) for one in (policy, loaded)]
    said = [[step.text for tree in trees for t in tree for step in t.steps] for trees in drawn]
    assert said[0] == said[1]


def test_roles_and_what_is_hidden_come_back(tmp_path: Path):
    roles = {"decide": AssessTemplate(), "search": JudgeTemplate()}
    policy = replace(speaker(), contexts=HideRejected(), roles=roles).in_role("search")
    loaded = LanguagePolicy.load(policy.save(tmp_path / "kept"))
    assert (loaded.contexts, loaded.roles, loaded.role) == (HideRejected(), roles, "search")
    assert loaded.template == JudgeTemplate()


def test_adapters_come_back_on_their_base_and_can_be_trained_on(tmp_path: Path):
    policy = with_adapters()
    folder = policy.save(tmp_path / "kept")
    assert not list(folder.glob("model*.safetensors"))
    loaded = LanguagePolicy.load(folder, base=tiny_engine())
    assert scored(loaded).tolist() == scored(policy).tolist()
    assert scored(policy).tolist() != scored(speaker()).tolist()
    trained = {n for n, p in loaded.engine.model.named_parameters() if p.requires_grad}
    assert trained and all("lora" in name for name in trained)


def test_merged_they_are_one_model_and_the_one_in_training_keeps_them(tmp_path: Path):
    policy = with_adapters()
    before = scored(policy)
    loaded = LanguagePolicy.load(policy.save(tmp_path / "kept", merged=True))
    np.testing.assert_allclose(scored(loaded), before, atol=1e-5)
    assert not any("lora" in name for name, _ in loaded.engine.model.named_parameters())
    assert scored(policy).tolist() == before.tolist()


def test_a_run_saves_its_policy_with_a_card(tmp_path: Path):
    run = train(speaker(), TASKS, Quiet(), 2 * Letter(), updates=2, method=DrGRPO(2), optimiser=Optimiser(1e-2))
    reports = iter(run)
    next(reports)
    run.plan = run.plan.replace(reward=Letter("a"))
    next(reports)
    folder = run.save(tmp_path / "kept", notes="For tests only.")
    card = (folder / "README.md").read_text()
    for part in ("## From update 1", "2.0 * Letter()", "## From update 2", "Letter(letter='a')", "For tests only."):
        assert part in card
    assert "| return |" in card and "- torch " in card and run.base in card
    assert scored(LanguagePolicy.load(folder)).tolist() == scored(run.policy).tolist()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(SettingError, match="not empty"):
        speaker().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_what_is_no_policy_or_no_safetensors_is_refused(tmp_path: Path):
    with pytest.raises(FormatError, match="no policy in"):
        LanguagePolicy.load(tmp_path)
    folder = speaker().save(tmp_path / "kept")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FormatError, match="no other kind is read"):
        LanguagePolicy.load(folder)


def test_adapters_that_name_no_base_ask_for_one(tmp_path: Path):
    folder = with_adapters().save(tmp_path / "kept")
    told = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": None}))
    with pytest.raises(FormatError, match="base="):
        LanguagePolicy.load(folder)


def test_a_script_has_no_weights_to_save(tmp_path: Path):
    script = ScriptedEngine(lambda text, rng: "x", speaker().engine.tokenizer)
    with pytest.raises(CapabilityError, match="no weights"):
        LanguagePolicy(script).save(tmp_path / "kept")
