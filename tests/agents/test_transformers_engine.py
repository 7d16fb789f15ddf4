from __future__ import annotations

import numpy as np
import pytest

from tests.tiny_model import tiny_engine
from workbench.agents.transformers_engine import TransformersEngine
from workbench.errors import SettingError

STOP = ("</search>", "</answer>")


def ids(engine, text):
    return np.array(engine.tokenizer.encode(text, add_special_tokens=False), np.int32)


def generate(engine, prompts, keys=(), seeds=None, max_tokens=10, temperature=1.0, stop=STOP):
    return engine.generate(
        prompts,
        max_tokens=max_tokens,
        temperature=temperature,
        stop=stop,
        seeds=seeds or range(len(prompts)),
        keys=keys,
    )


@pytest.fixture(scope="module")
def engine():
    return tiny_engine()


def test_logprobs_are_those_of_a_plain_forward_pass_for_ragged_prompts(engine):
    prompts = [ids(engine, text) for text in ("a", "Where is Lyon?", "é" * 9)]
    for prompt, generation in zip(prompts, generate(engine, prompts), strict=True):
        expected_T = engine.score([prompt], [generation.ids_T])[0]
        np.testing.assert_allclose(generation.logprobs_T, expected_T, atol=2e-5)


def test_the_cache_kept_across_turns_changes_nothing(engine):
    first = [ids(engine, text) for text in ("one", "a longer prompt", "two two")]
    turns = generate(engine, first, keys=["a", "b", "c"])
    pairs = enumerate(zip(first, turns, strict=True), 1)
    second = [np.concatenate([p, t.ids_T, ids(engine, " seen" * n)]) for n, (p, t) in pairs]
    picked = [second[2], second[0]]  # "b" has ended, the others changed places
    assert engine._cache.holds(["c", "a"], picked)
    cached = generate(engine, picked, keys=["c", "a"], seeds=[7, 8])
    assert engine._cache.keys == ["c", "a"]
    for prompt, generation in zip(picked, cached, strict=True):
        np.testing.assert_allclose(generation.logprobs_T, engine.score([prompt], [generation.ids_T])[0], atol=2e-5)
    engine.weights_changed()
    fresh = generate(engine, picked, seeds=[7, 8])
    assert [g.ids_T.tolist() for g in fresh] == [g.ids_T.tolist() for g in cached]


def test_a_conversation_that_was_edited_is_read_again(engine):
    prompt = ids(engine, "one")
    turn = generate(engine, [prompt], keys=["a"])[0]
    edited = np.concatenate([ids(engine, "two"), turn.ids_T, ids(engine, " and")])
    assert not engine._cache.holds(["a"], [edited])
    generation = generate(engine, [edited], keys=["a"])[0]
    np.testing.assert_allclose(generation.logprobs_T, engine.score([edited], [generation.ids_T])[0], atol=2e-5)


def test_a_row_depends_on_its_seed_and_not_on_its_neighbours(engine):
    prompts = [ids(engine, text) for text in ("alpha", "be", "gamma gamma")]
    together = generate(engine, prompts, seeds=[3, 4, 5])
    alone = generate(engine, prompts[1:2], seeds=[4])
    assert together[1].ids_T.tolist() == alone[0].ids_T.tolist()
    assert generate(engine, prompts[1:2], seeds=[6])[0].ids_T.tolist() != alone[0].ids_T.tolist()


def test_greedy_takes_the_most_likely_token(engine):
    prompt = ids(engine, "hello")
    generation = generate(engine, [prompt], temperature=0.0, max_tokens=1)[0]
    every = engine.score([prompt] * 20, [np.array([v]) for v in range(20)])
    assert generation.logprobs_T[0] >= max(float(one[0]) for one in every)


def test_low_temperature_logprobs_are_of_the_distribution_sampled_from(engine):
    prompt = ids(engine, "hello")
    hot, cold = (generate(engine, [prompt], temperature=t, max_tokens=1)[0] for t in (1.0, 0.05))
    assert cold.logprobs_T[0] > hot.logprobs_T[0]


def test_a_stop_string_ends_the_row_and_its_token_is_kept():
    engine = tiny_engine()
    close = engine.tokenizer.convert_tokens_to_ids("</search>")
    with_bias = engine.model.get_output_embeddings().weight.data
    before = with_bias[close].clone()
    with_bias[close] = with_bias.abs().sum(0).sign() * 5  # near certain after most prefixes
    found = [
        g for g in generate(engine, [ids(engine, text) for text in "abcdefgh"], max_tokens=30) if g.finish == "stop"
    ]
    with_bias[close] = before
    assert found and all(g.ids_T[-1] == close and g.text.endswith("</search>") for g in found)


def test_the_samples_follow_the_distribution(engine):
    # 4,000 draws of the first token: every token of probability p comes 4000 p times, within 5 standard deviations
    prompt = ids(engine, "x")
    draws = generate(engine, [prompt] * 4000, seeds=list(range(4000)), max_tokens=1)
    counts_V = np.bincount([g.ids_T[0] for g in draws], minlength=len(engine.tokenizer))
    p_V = np.exp(
        [float(s[0]) for s in engine.score([prompt] * len(counts_V), [np.array([v]) for v in range(len(counts_V))])]
    )
    assert (np.abs(counts_V - 4000 * p_V) <= 5 * np.sqrt(4000 * p_V * (1 - p_V)) + 1).all()


def test_a_wrong_setting_and_a_missing_model_say_so(engine):
    with pytest.raises(SettingError, match="max_tokens >= 1, got 1.0 and 0"):
        generate(engine, [ids(engine, "a")], max_tokens=0)
    with pytest.raises(SettingError, match="workbench models get"):
        TransformersEngine.load("no/such/folder/here")


class Counting(TransformersEngine):
    """Remembers how many rows and columns each forward pass was fed."""

    def _forward(self, cache, ids_BT, own_BT):
        self.fed = [*getattr(self, "fed", []), tuple(ids_BT.shape)]
        return super()._forward(cache, ids_BT, own_BT)


def test_rows_that_are_done_are_fed_no_more_and_go_on_in_the_next_turn_as_if_they_had_been():
    plain = tiny_engine()
    engine = Counting(plain.model, plain.tokenizer)
    stop = list("abcdefghijklmnopqrstuvwxyz")  # some rows stop early, others late
    histories = {str(n): ids(engine, f"question {n}") for n in range(12)}
    for turn in range(3):
        engine.fed = []
        seeds = [100 * turn + n for n in range(len(histories))]
        prompts = list(histories.values())
        found = generate(engine, prompts, keys=list(histories), seeds=seeds, max_tokens=24, stop=stop)
        lengths = [len(one.ids_T) for one in found]
        decoded = sum(rows for rows, columns in engine.fed if columns == 1)
        assert sum(lengths) - len(found) <= decoded < 0.8 * len(found) * (max(lengths) - 1)
        for prompt, one in zip(prompts, found, strict=True):
            np.testing.assert_allclose(one.logprobs_T, engine.score([prompt], [one.ids_T])[0], atol=3e-5)
        said = zip(histories, prompts, found, strict=True)
        histories = {key: np.concatenate([p, one.ids_T, ids(engine, " seen ")]) for key, p, one in said}
        histories.pop(str(turn))  # a conversation ends, the others change places
        histories = dict(reversed(histories.items()))
        assert engine._cache.holds(list(histories), list(histories.values()))


def test_equal_prompts_are_read_once():
    plain = tiny_engine()
    engine = Counting(plain.model, plain.tokenizer)
    prompts = [ids(engine, text) for text in ("alpha", "alpha", "be", "alpha", "be")]
    found = generate(engine, prompts, keys=list("vwxyz"), seeds=list(range(5)))
    assert engine.fed[0] == (2, 5)
    alone = [generate(plain, [prompt], seeds=[seed])[0] for seed, prompt in enumerate(prompts)]
    assert [g.ids_T.tolist() for g in found] == [g.ids_T.tolist() for g in alone]
    more = [np.concatenate([p, g.ids_T, ids(engine, "and")]) for p, g in zip(prompts, found, strict=True)]
    engine.fed = []
    again = generate(engine, more, keys=list("vwxyz"), seeds=list(range(5)))
    assert engine.fed[0][1] < 10  # the cache of the first turn was used
    for prompt, one in zip(more, again, strict=True):
        np.testing.assert_allclose(one.logprobs_T, engine.score([prompt], [one.ids_T])[0], atol=3e-5)
