"""What several rows begin with is read once, forward and backward: the numbers are those of rows read whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.tiny_model import tiny_engine, tiny_tokenizer
from tests.training.worlds import TASKS
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.templates import TagTemplate
from workbench.agents.transformers_engine import TransformersEngine
from workbench.training import learners
from workbench.training.learners import LanguageLearner, learner_for
from workbench.training.reading import reading_of
from workbench.training.rows import Row, micro_batches, padded
from workbench.trajectory import End, Origin, Step, Tokens, Trajectory

A, B, C = (np.random.default_rng(seed).integers(1, 200, 60) for seed in range(3))


def a_row(ids: Sequence[int], trained: int | Sequence[int]) -> Row:
    """`trained`: how many tokens at its end, or which."""
    ids_T = np.asarray(ids, np.int32)
    train_T = np.zeros(len(ids_T), bool)
    train_T[-trained if isinstance(trained, int) else 0 :] = isinstance(trained, int)
    if not isinstance(trained, int):
        train_T[list(trained)] = True
    origins_T = np.where(train_T, Origin.SAMPLED, Origin.ENVIRONMENT).astype(np.int8)
    tokens = Tokens(ids_T, origins_T, np.zeros(len(ids_T), np.float32))
    nothing_T = np.zeros(len(ids_T), np.float32)
    trajectory = Trajectory("t", TASKS[0], (Step("t.0", ""),), End.ANSWERED)
    return Row(trajectory, 0, tokens, train_T - 1, train_T, np.cumsum(train_T) - 1, nothing_T, nothing_T)


def after(*pieces: Sequence[int]) -> list[int]:
    return [int(i) for piece in pieces for i in piece]


PROMPT = [a_row(after(A, C[n : n + 5 + n]), 4 + n) for n in range(4)]
TWO_PROMPTS = [*PROMPT[:2], *(a_row(after(B, C[n : n + 9]), 7) for n in range(3)), PROMPT[2]]
FORK = [  # the first row trains tokens of what all begin with; the first of the others is predicted there
    a_row(after(A, B[:20]), [30, 31, 59, 60, 61, 79]),
    a_row(after(A, C[:20]), [60, 61, 62, 79]),
    a_row(after(A, B[20:36]), [60, 75]),
]
BEGINNING_OF_ANOTHER = [a_row(A[:50], 10), a_row(after(A, B[:5]), 15), a_row(after(A, B[:5]), [3, 54])]
WITH_A_STRANGER = [*PROMPT, a_row(after(B[:30]), 30 - 1)]
MANY = [a_row(after(A, C[n : n + 20]), 20) for n in range(40)]
SHAPES = {
    "a prompt": PROMPT,
    "two prompts": TWO_PROMPTS,
    "the same row twice": [PROMPT[0], PROMPT[0]],
    "a fork": FORK,
    "a row that another begins with": BEGINNING_OF_ANOTHER,
    "a stranger among them": WITH_A_STRANGER,
}


def plain_logp(model: torch.nn.Module, rows: Sequence[Row]) -> torch.Tensor:
    """Row by row, nothing shared, nothing padded."""
    out = []
    for row in rows:
        ids_T = torch.tensor(row.tokens.ids_T).long()
        logp_TV = model(input_ids=ids_T[None]).logits[0].float().log_softmax(-1)
        at_T = torch.from_numpy(np.flatnonzero(row.train_T))
        out.append(logp_TV[at_T - 1, ids_T[at_T]])
    return torch.cat(out)


def pulled(logp_T: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    """The gradient of the logprobs, each with a weight of its own."""
    model.zero_grad()
    (logp_T * torch.linspace(-1, 1, len(logp_T))).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def learner(seed: int = 0) -> LanguageLearner:
    found = learner_for(LanguagePolicy(tiny_engine(seed), TagTemplate()))
    assert isinstance(found, LanguageLearner)
    return found


@pytest.mark.parametrize("rows", SHAPES.values(), ids=SHAPES)
def test_logprobs_and_gradients_are_those_of_rows_read_one_by_one(rows):
    ours = learner()
    assert reading_of(rows).beginnings
    logp_T, expected_T = ours.likelihood(rows).logp_T, plain_logp(ours.model, rows)
    torch.testing.assert_close(logp_T, expected_T, atol=1e-5, rtol=1e-5)
    gradient = pulled(logp_T, ours.model)
    torch.testing.assert_close(gradient, pulled(expected_T, ours.model), atol=1e-4, rtol=1e-4)


def test_under_a_lora_too():
    ours = learner()
    ours.model = get_peft_model(
        ours.model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    ours.split = type(ours.split)(ours.model)
    logp_T, expected_T = ours.likelihood(FORK).logp_T, plain_logp(ours.model, FORK)
    torch.testing.assert_close(logp_T, expected_T, atol=1e-5, rtol=1e-5)
    gradient = pulled(logp_T, ours.model)
    assert gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, pulled(expected_T, ours.model), atol=1e-4, rtol=1e-4)


def test_in_bfloat16_as_near_as_rows_read_whole():
    ours = learner()
    ours.split = type(ours.split)(ours.model, torch.bfloat16)
    logp_T, expected_T = ours.likelihood(PROMPT).logp_T, plain_logp(ours.model, PROMPT)
    assert 1e-5 < (logp_T - expected_T).abs().max() < 0.1


@pytest.mark.parametrize("place", [-1, 30])
def test_what_changes_in_other_rows_changes_nothing(place):
    ours, others = learner(), []
    for row in PROMPT[1:]:
        ids_T = row.tokens.ids_T.copy()
        ids_T[place] += 1
        others.append(a_row(ids_T, 4))
    first = slice(0, int(PROMPT[0].train_T.sum()))
    kept_T, beside_T = (ours.likelihood(rows).logp_T[first] for rows in (PROMPT, [PROMPT[0], *others]))
    torch.testing.assert_close(beside_T, kept_T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", SHAPES.values(), ids=SHAPES)
def test_as_many_tokens_are_computed_as_are_counted(rows):
    ours = learner()
    counted, computed = ours.tokens(rows), []
    ours.split.bare.get_decoder().layers[0].register_forward_hook(
        lambda _, __, out: computed.append(out.shape[:2].numel())
    )
    ours.likelihood(rows)
    assert sum(computed) == counted < padded(rows)


def test_on_several_threads_too_the_gradient_is_the_same_to_the_last_bit():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        ours = learner()
        gradients = [pulled(ours.likelihood(MANY).logp_T, ours.model) for _ in range(20)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_a_prompt_of_many_rows_is_read_once():
    reading = reading_of(PROMPT)
    assert [len(ids_T) for ids_T in reading.beginnings] == [60]
    assert reading.tokens == 60 + 4 * 8 < padded(PROMPT) == 4 * 68
    assert sorted(map(len, reading_of(TWO_PROMPTS).beginnings)) == [60, 60]


@pytest.mark.parametrize(
    "rows", [PROMPT[:1], [a_row(A, 5), a_row(B, 5)], [a_row(after(A[:2], B), 5), a_row(A[:60], 5)]]
)
def test_rows_that_have_little_in_common_are_read_whole(rows):
    assert not reading_of(rows).beginnings
    assert reading_of(rows).tokens == padded(rows)


def test_a_row_that_looks_only_so_far_back_is_read_whole():
    tokenizer = tiny_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=1,
    )
    torch.manual_seed(0)
    engine = TransformersEngine(Qwen3ForCausalLM(config), tokenizer, name="sliding")
    ours = learner_for(LanguagePolicy(engine, TagTemplate()))
    assert not engine.split.full_attention
    assert ours.tokens(PROMPT) == padded(PROMPT)
    torch.testing.assert_close(ours.likelihood(PROMPT).logp_T, plain_logp(engine.model, PROMPT), atol=1e-5, rtol=1e-5)


def test_micro_batches_put_together_what_begins_alike():
    rows = [a_row(after(start, C[n : n + 10]), 5) for n in range(6) for start in (A, B[:59])]

    def shared(some: Sequence[Row]) -> int:
        return reading_of(some).tokens

    assert [len(batch) for batch in micro_batches(rows, 140)] == [2] * 6
    batches = micro_batches(rows, 140, shared)
    assert [len(batch) for batch in batches] == [6, 6]
    assert all(len({int(row.tokens.ids_T[0]) for row in batch}) == 1 for batch in batches)
    assert all(shared(batch) <= 140 for batch in batches)


@pytest.mark.parametrize("size", [1, 4, 10**6])
def test_logits_are_made_in_pieces_and_each_again_for_its_gradient(size, monkeypatch):
    ours, calls = learner(), []
    whole = ours.likelihood(FORK, entropy=True)
    gradient = pulled(whole.logp_T + whole.entropy_T, ours.model)
    monkeypatch.setattr(learners, "LOGITS", size * ours.model.config.vocab_size)
    head = ours.model.get_output_embeddings()
    head.register_forward_hook(lambda _, __, out: calls.append(len(out)))
    likely = ours.likelihood(FORK, entropy=True)
    count = len(likely.logp_T)
    made = list(calls)
    assert max(made) == min(size, count) and sum(made) == count == 12
    torch.testing.assert_close(pulled(likely.logp_T + likely.entropy_T, ours.model), gradient, atol=1e-4, rtol=1e-4)
    assert sorted(calls) == sorted(made * 2 if size < count else made)
    torch.testing.assert_close(likely.logp_T, whole.logp_T)
    torch.testing.assert_close(likely.entropy_T, whole.entropy_T)
