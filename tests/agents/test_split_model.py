"""Products in bfloat16: what is rounded, and what must not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GraniteConfig, GraniteForCausalLM

from tests.tiny_model import tiny_engine, tiny_tokenizer
from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.agents.split_model import SplitModel
from workbench.agents.transformers_engine import TransformersEngine
from workbench.errors import SettingError
from workbench.store import open_store
from workbench.training.plan import Optimiser
from workbench.training.train import train

IDS = torch.arange(1, 13).reshape(2, 6)
LAST = (slice(None), -1)


def rounded(seed: int = 0) -> TransformersEngine:
    engine = tiny_engine(seed)
    engine.compute = torch.bfloat16
    return engine


def sampled(engine: TransformersEngine, prompts: list[np.ndarray], keys: tuple[str, ...] = ()) -> list[Any]:
    settings: dict[str, Any] = {"max_tokens": 10, "temperature": 1.0, "stop": (), "seeds": range(len(prompts))}
    return engine.generate(prompts, keys=keys, **settings)


def test_logprobs_are_near_those_of_float32_and_not_the_same():
    exact, near = (engine.score([np.arange(1, 20)], [np.arange(20, 60)])[0] for engine in (tiny_engine(), rounded()))
    assert 1e-4 < np.abs(exact - near).max() < 0.1


def test_the_head_is_not_rounded():
    engine = rounded()
    with engine.split.reading():
        hidden = engine.split.hidden(input_ids=IDS, use_cache=False)
        logits = engine.split.logits(LAST, input_ids=IDS, use_cache=False)
    assert torch.equal(logits, torch.nn.functional.linear(hidden[LAST], engine.model.get_input_embeddings().weight))
    assert not torch.equal(logits, logits.bfloat16().float())


def test_on_a_processor_attention_is_computed_in_float32(tmp_path: Path):
    engine, seen = rounded(), []

    def attention(query: torch.Tensor, *rest: Any, **settings: Any) -> torch.Tensor:
        seen.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return plain(query, *rest, **settings)

    plain = torch.nn.functional.scaled_dot_product_attention
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
        sampled(engine, [np.arange(1, 9)])
        engine.split.hidden(input_ids=IDS, use_cache=False).sum().backward()
    assert set(seen) == {(torch.float32, False)}
    engine.model.save_pretrained(tmp_path)
    assert "sdpa" not in (tmp_path / "config.json").read_text()  # a matter of this machine, not of the model


def test_weights_in_bfloat16_compute_in_it_too():
    engine = tiny_engine()
    engine.model.bfloat16()
    engine.compute = torch.bfloat16
    assert engine.split.apart
    sampled(engine, [np.arange(1, 9)])


def test_what_was_sampled_is_scored_alike_across_turns_and_batches():
    engine = rounded()
    first = [np.arange(1, n) for n in (5, 9, 17)]
    turns = sampled(engine, first, ("a", "b", "c"))
    second = [np.concatenate([prompt, turn.ids_T, [7, 8]]) for prompt, turn in zip(first, turns, strict=True)]
    assert engine._cache.holds(["c", "a"], [second[2], second[0]])
    for prompt, turn in zip([second[2], second[0]], sampled(engine, [second[2], second[0]], ("c", "a")), strict=True):
        np.testing.assert_allclose(turn.logprobs_T, engine.score([prompt], [turn.ids_T])[0], atol=0.05)


def test_weights_are_converted_once_in_a_block():
    engine, linears = rounded(), 14

    def conversions(times: int) -> int:
        with torch.profiler.profile() as profile, engine.split.reading():
            for _ in range(times):
                engine.split.next_logits(input_ids=IDS, use_cache=False)
        return sum(event.count for event in profile.key_averages() if event.key == "aten::_to_copy")

    assert engine.split.apart
    assert conversions(5) <= 5 * conversions(1) - 4 * linears


def test_it_may_be_set_later_and_nothing_read_before_is_used():
    engine = tiny_engine()
    sampled(engine, [np.arange(1, 9)], ("a",))
    before = engine._cache
    engine.compute = torch.bfloat16
    sampled(engine, [np.arange(1, 30)], ("a",))
    assert engine._cache is not before
    assert engine.split.compute is torch.bfloat16


@pytest.mark.parametrize("compute", [None, torch.bfloat16])
def test_a_model_that_scales_its_logits_is_read_whole(compute: torch.dtype | None):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = GraniteConfig(vocab_size=len(tiny_tokenizer()), num_key_value_heads=2, logits_scaling=8.0, **sizes)
    model = GraniteForCausalLM(config).eval()
    split = SplitModel(model, compute)
    assert not split.apart
    with split.reading():
        logits = split.logits(LAST, input_ids=IDS, use_cache=False)
        torch.testing.assert_close(split.next_logits(input_ids=IDS, use_cache=False), logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(logits, model(input_ids=IDS).logits[LAST], atol=1e-2 if compute else 1e-6, rtol=0)
    assert logits.dtype == torch.float32


def test_a_training_keeps_its_weights_whole_and_its_settings_say_how_it_computed(tmp_path: Path):
    policy = speaker()
    policy.engine.compute = torch.bfloat16
    before = [parameter.detach().clone() for parameter in policy.engine.model.parameters()]
    settings = {"updates": 1, "tasks_per_update": 4, "optimiser": Optimiser(1e-6, warmup=0)}
    with open_store(tmp_path) as store:
        [report] = train(policy, TASKS, Quiet(), Letter(), recorder=store, **settings)
        assert json.loads(store.sql("select settings from runs").settings[0])["compute"] == "bfloat16"
    assert [check.ok for check in report.checks if check.name == "sampler gap"] == [True]
    after = list(policy.engine.model.parameters())
    assert {parameter.dtype for parameter in after} == {torch.float32}
    moved = torch.cat([(a.detach() != b).flatten() for a, b in zip(after, before, strict=True)])
    assert moved.float().mean() > 0.5  # to weights in bfloat16 a step of 1e-6 is nothing


@pytest.mark.parametrize("wrong", [torch.float16, "bfloat16"])
def test_another_type_is_refused(wrong: Any):
    engine = tiny_engine()
    engine.compute = wrong
    with pytest.raises(SettingError, match="compute is torch.bfloat16, or None"):
        sampled(engine, [np.arange(1, 9)])
