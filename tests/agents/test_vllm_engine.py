"""The vLLM engine with vLLM itself, on whatever it runs on: beside TransformersEngine over the same weights."""

from __future__ import annotations

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.agents.vllm_engine import PYTHON, VllmEngine
from workbench.embedded import demo
from workbench.errors import EngineError
from workbench.rewards import ExactMatch
from workbench.training.lora import add_lora
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train

HAVE = PYTHON in os.environ or importlib.util.find_spec("vllm") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAVE, reason=f"vllm is not installed here and {PYTHON} names no Python that has it"),
]
NEAR = 1e-4  # nats, float32


class Beside:
    """The tiny policy, its engine, and vLLM over the same model."""

    def __init__(self) -> None:
        self.world = demo()
        self.policy = self.world.policy
        self.plain = self.policy.engine
        self.vllm = VllmEngine(self.plain.model, self.plain.tokenizer, name="tiny", settings={"max_model_len": 1024})
        self.prompts = [self.ids(f"Question: {task.question}\n") for task in self.world.tasks[:16]]

    def ids(self, text: str) -> np.ndarray:
        return np.array(self.plain.tokenizer.encode(text, add_special_tokens=False), np.int32)

    def both(self, prompts=None, stop=None, temperature=0.0, max_tokens=40):
        """What each engine says: vLLM first."""
        asked = self.prompts if prompts is None else prompts
        settings = {"max_tokens": max_tokens, "temperature": temperature, "seeds": range(len(asked))}
        stops = self.policy.template.stops if stop is None else stop
        return tuple(engine.generate(asked, stop=stops, **settings) for engine in (self.vllm, self.plain))

    def train(self, updates=2, **changes):
        policy = replace(self.policy, engine=self.vllm, **changes)
        settings = {"optimiser": Optimiser(1e-4), "tasks_per_update": 6, "method": DrGRPO(8), "seed": 1}
        run = train(policy, self.world.tasks, self.world.environment, ExactMatch(), updates=updates, **settings)
        return run.finish(show=False)


@pytest.fixture(scope="module")
def beside():
    held = Beside()
    yield held
    held.vllm.stop()


def trainer_logprobs(engine, prompt, generation, temperature):
    """Of a generation's tokens, by a plain forward pass."""
    ids = torch.tensor(np.concatenate([prompt, generation.ids_T])).long()[None]
    with torch.no_grad():
        logits_TV = engine.model(input_ids=ids.to(engine.model.device)).logits[0, len(prompt) - 1 : -1].float().cpu()
    return (logits_TV / temperature).log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0].numpy()


def test_greedy_turns_are_the_same_to_the_last_token(beside):
    for mine, theirs in zip(*beside.both(), strict=True):
        assert mine.ids_T.tolist() == theirs.ids_T.tolist()
        assert (mine.text, mine.finish) == (theirs.text, theirs.finish)
        np.testing.assert_allclose(mine.logprobs_T, theirs.logprobs_T, atol=NEAR)


@pytest.mark.parametrize(
    "stop", [("e",), ("</think>\n<",), ("zzz",), (" capital", "river"), ("<|im_end|>",), ()], ids=str
)
def test_a_stop_string_anywhere_in_a_token_ends_a_turn_where_it_does_with_transformers(beside, stop):
    for mine, theirs in zip(*beside.both(stop=stop, max_tokens=60), strict=True):
        assert mine.ids_T.tolist() == theirs.ids_T.tolist()
        assert (mine.text, mine.finish) == (theirs.text, theirs.finish)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_of_the_distribution_sampled_from(beside, temperature):
    sampled, _ = beside.both(temperature=temperature)
    for prompt, generation in zip(beside.prompts, sampled, strict=True):
        expected_T = trainer_logprobs(beside.plain, prompt, generation, temperature)
        np.testing.assert_allclose(generation.logprobs_T, expected_T, atol=NEAR)


def test_given_continuations_are_scored_at_temperature_one(beside):
    continuations = [g.ids_T for g in beside.both(temperature=0.7)[0]]
    scores = [engine.score(beside.prompts, continuations) for engine in (beside.vllm, beside.plain)]
    for mine, theirs in zip(*scores, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=NEAR)


def test_a_row_depends_on_its_seed_and_not_on_its_neighbours(beside):
    settings = {"max_tokens": 40, "temperature": 1.0, "stop": ()}
    together = beside.vllm.generate(beside.prompts, seeds=[2**62 + n for n in range(16)], **settings)
    alone = beside.vllm.generate(beside.prompts[3:4], seeds=[2**62 + 3], **settings)
    other = beside.vllm.generate(beside.prompts[3:4], seeds=[4], **settings)
    assert together[3].ids_T.tolist() == alone[0].ids_T.tolist() != other[0].ids_T.tolist()


def test_the_samples_follow_the_distribution(beside):
    # 2,000 draws of the first token: a token of probability p comes 2000 p times, within 5 standard deviations
    prompt = beside.ids("Question: Where")
    draws = beside.vllm.generate([prompt] * 2000, seeds=range(2000), max_tokens=1, temperature=1.0, stop=())
    with torch.no_grad():
        logits_V = beside.plain.model(input_ids=torch.tensor(prompt).long()[None]).logits[0, -1]
    p_V = logits_V.softmax(-1).numpy()
    counts_V = np.bincount([g.ids_T[0] for g in draws], minlength=len(p_V))
    assert (np.abs(counts_V - 2000 * p_V) <= 5 * np.sqrt(2000 * p_V * (1 - p_V)) + 1).all()


def test_new_weights_are_used_and_nothing_read_under_the_old_ones_is(beside):
    long = [beside.ids("Doc 1(Title: Lyon) " * 60)]  # more than two blocks of the prefix cache
    before, _ = beside.both(long)
    state = {name: tensor.clone() for name, tensor in beside.plain.model.state_dict().items()}
    try:
        with torch.no_grad():
            for n, parameter in enumerate(beside.plain.model.parameters()):
                parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(n))
        for engine in (beside.vllm, beside.plain):
            engine.weights_changed()
        after, expected = beside.both(long)
        assert after[0].ids_T.tolist() == expected[0].ids_T.tolist() != before[0].ids_T.tolist()
        np.testing.assert_allclose(after[0].logprobs_T, expected[0].logprobs_T, atol=1e-3)
    finally:
        beside.plain.model.load_state_dict(state)
        for engine in (beside.vllm, beside.plain):
            engine.weights_changed()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_all_checks_hold_in_a_training(beside, temperature):
    reports = beside.train(temperature=temperature)
    assert [report.alarms for report in reports] == [(), ()]
    gaps = [check.value for report in reports for check in report.checks if check.name == "sampler gap"]
    assert len(gaps) == 2 and max(gaps) < NEAR


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_sync_that_is_skipped_lights_the_check_up(beside, monkeypatch, temperature):
    beside.vllm.weights_changed()
    monkeypatch.setattr(beside.vllm, "_send", lambda: None)
    reports = beside.train(temperature=temperature)
    monkeypatch.undo()
    beside.vllm.weights_changed()
    assert "weights arrived" in {check.name for check in reports[0].alarms}


def test_a_killed_process_is_an_error_and_restart_goes_on_with_the_weights_of_now(beside):
    os.kill(beside.vllm.start().pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="SIGKILL"):
        beside.both()
    beside.vllm.restart()
    for mine, theirs in zip(*beside.both(), strict=True):
        assert mine.ids_T.tolist() == theirs.ids_T.tolist()


def test_trained_adapters_reach_the_sampler(beside):
    add_lora(beside.vllm, rank=4)
    reports = beside.train()
    assert [report.alarms for report in reports] == [(), ()]


def test_a_chat_model_says_the_same_from_its_folder():
    folder = Path(__file__).parents[2] / "models" / "smollm2"
    if not folder.is_dir():
        pytest.skip("no models/smollm2; `workbench models get smollm2` fetches it")
    from workbench.agents.transformers_engine import TransformersEngine

    plain = TransformersEngine.load(folder)
    vllm = VllmEngine.load(folder, trainable=False, dtype=torch.float32, settings={"max_model_len": 512})
    prompts = [np.array(plain.tokenizer.encode(text), np.int32) for text in ("The capital of France is", "Rivers of")]
    settings = {"max_tokens": 24, "temperature": 0.0, "stop": (".",), "seeds": [0, 1]}
    mine, theirs = (engine.generate(prompts, **settings) for engine in (vllm, plain))
    vllm.stop()
    for one, other in zip(mine, theirs, strict=True):
        assert one.ids_T.tolist() == other.ids_T.tolist() and one.finish == other.finish
        np.testing.assert_allclose(one.logprobs_T, other.logprobs_T, atol=1e-3)
