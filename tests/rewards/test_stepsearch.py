"""StepSearch's rewards, by the worked examples of its card and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory
from workbench.errors import MissingGold
from workbench.rewards import (
    CoverageGain,
    Gate,
    ReduceSteps,
    RepeatedDocuments,
    SearchKeyMatch,
    TokenF1,
    WellFormed,
    place,
)
from workbench.rewards.tfidf import tfidf_cosines
from workbench.trajectory import Call, Hit, SubQuestion, Trajectory

GOLD_1, GOLD_2 = "Paris is the capital of France", "France borders Spain"
TEXTS = {"g1": GOLD_1, "g2": GOLD_2, "fruit": "Bananas are yellow fruit"}
HOPS = (
    SubQuestion("", ("Paris",), "g1", ("capital of France",)),
    SubQuestion("", ("Spain",), "g2", ("countries bordering France", "France neighbours")),
)
TASK = a_task(gold_pages=("g1", "g2"), sub_questions=HOPS, gold_texts=(GOLD_1, GOLD_2))
R1, R2, R3 = ("g1", "fruit"), ("g1", "g2"), ("g1", "g2")
GATE = WellFormed(turn=None, last=("answer",), stray="before")
FINAL = TokenF1(yes_no=False, digits=4) + 0.618 * SearchKeyMatch()
STEPS = CoverageGain(by="similarity") - RepeatedDocuments(by="text")
STEPSEARCH = Gate(GATE, FINAL + 0.6 * STEPS, otherwise=-1.0)


def searched(*rounds: tuple[str, ...], answer: str | None = "Paris", queries: tuple[str, ...] = (), tokens: int = 0):
    return a_trajectory(*rounds, task=TASK, texts=TEXTS, answer=answer, queries=queries, tokens=tokens)


# ---------------------------------------------------------------- similarity


def test_cosines_of_the_card():
    # both golds normalised, the weights fitted on the document and the golds
    golds = ["paris is capital of france", "france borders spain"]
    assert tfidf_cosines(golds[0], golds) == pytest.approx([1.0, 0.1395], abs=5e-5)
    assert tfidf_cosines("bananas are yellow fruit", golds) == pytest.approx([0.0, 0.0])


def test_the_cosine_by_hand():
    # text "aa bb", reference "aa cc": two texts; idf(aa) = ln(3/3) + 1 = 1, idf(bb) = idf(cc) = ln(3/2) + 1 = 1.405465
    # cosine = 1 / (1 + 1.405465^2) = 0.336097
    assert tfidf_cosines("aa bb", ["aa cc"]) == pytest.approx([0.336097], abs=1e-6)


def test_a_text_without_words_is_like_nothing():
    assert tfidf_cosines("", ["france"]).tolist() == [0.0]
    assert tfidf_cosines("a b", ["a b"]).tolist() == [0.0]  # words have two or more characters


def test_cosines_agree_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.feature_extraction.text", reason="scikit-learn is not installed")
    texts = [
        "Paris, Paris is big; déjà vu",
        "the capital of France is Paris",
        "x yy zz_1 yy",
        "",
        "France borders Spain",
    ]
    for text in texts:
        rows = sklearn.TfidfVectorizer().fit_transform([text, *texts]).toarray()
        np.testing.assert_allclose(tfidf_cosines(text, texts), rows[1:] @ rows[0], atol=1e-12)


# ---------------------------------------------------------------- step rewards


def test_gain_and_redundancy_of_the_card():
    trajectory = searched(R1, R2, R3)
    gain = CoverageGain(by="similarity")(trajectory).values_S
    repeats = RepeatedDocuments(by="text")(trajectory).values_S
    np.testing.assert_allclose(gain, [0.5697, 0.4303, 0.0, np.nan], atol=1e-4)
    np.testing.assert_array_equal(repeats, [0.0, 0.5, 1.0, np.nan])
    np.testing.assert_allclose(STEPS(trajectory).values_S, [0.5697, -0.0697, -1.0, np.nan], atol=1e-4)
    np.testing.assert_allclose((0.6 * STEPS)(trajectory).values_S, [0.3418, -0.0418, -0.6, np.nan], atol=1e-4)


def test_gain_by_page_id_and_by_the_answers_of_the_hops():
    trajectory = searched(R1, R2, R3)
    np.testing.assert_array_equal(CoverageGain()(trajectory).values_S, [0.5, 0.5, 0.0, np.nan])
    # g1 holds "Paris", g2 holds "Spain"
    np.testing.assert_array_equal(CoverageGain(by="answer")(trajectory).values_S, [0.5, 0.5, 0.0, np.nan])


def test_marginal_single_and_union_coverage_of_inforage():
    # card 15: gold {a, b}, searches {a, x}, {a, b}, {b}: marginals .5 .5 0, union 1, the best single step 1
    trajectory = a_trajectory(("a", "x"), ("a", "b"), ("b",), gold_pages=("a", "b"))
    assert CoverageGain()(trajectory).values_S.tolist() == [0.5, 0.5, 0.0]
    assert CoverageGain(mode="single")(trajectory).values_S.tolist() == [0.5, 1.0, 0.5]
    assert CoverageGain(mode="union")(trajectory).values_S.tolist() == [0.5, 1.0, 1.0]
    assert ReduceSteps(CoverageGain(mode="single"), "max")(trajectory).value == 1.0


def test_the_released_gain_of_inforage():
    # card 15: gold {a, b, c, d}, searches {a, x}, {b, c}: 0.2 * max(1/4, 2/4) = 0.1; the union form 0.2 * 3/4 = 0.15
    trajectory = a_trajectory(("a", "x"), ("b", "c"), gold_pages="abcd")
    assert (0.2 * ReduceSteps(CoverageGain(mode="single"), "max"))(trajectory).value == pytest.approx(0.1)
    assert (0.2 * ReduceSteps(CoverageGain(mode="union"), "max"))(trajectory).value == pytest.approx(0.15)


def test_marginal_gains_of_any_searches_add_up_to_at_most_one():
    rounds = [("g1",), ("fruit", "g2"), ("g2", "g1", "x"), (), ("x",)]
    for by in ("id", "similarity", "answer"):
        assert CoverageGain(by=by)(searched(*rounds)).total <= 1.0 + 1e-12


def test_a_search_that_finds_nothing_scores_zero_and_a_step_without_search_is_not_scored():
    trajectory = searched((), None)
    for reward in (CoverageGain(), CoverageGain(by="similarity"), RepeatedDocuments()):
        np.testing.assert_array_equal(reward(trajectory).values_S, [0.0, np.nan])


def test_a_search_that_was_not_carried_out_is_not_scored():
    trajectory = searched(R1)
    refused = replace(trajectory.steps[0], calls=(Call("search", {"query": "x"}, valid=False),))
    assert np.isnan(CoverageGain()(replace(trajectory, steps=(refused,))).values_S).all()


def test_only_what_the_agent_was_shown_counts():
    trajectory = searched(R2)
    hidden = Hit("g1", "", GOLD_1, shown=0), Hit("g2", "", GOLD_2, shown=len("France"))
    cut = replace(trajectory.steps[0], calls=(Call("search", {"query": "x"}, hidden),))
    shown = replace(trajectory, steps=(cut, cut))
    assert CoverageGain()(shown).values_S.tolist() == [0.5, 0.0]  # g2 only
    assert CoverageGain(by="answer")(shown).values_S.tolist() == [0.0, 0.0]  # "Spain" was cut off
    assert RepeatedDocuments()(shown).values_S.tolist() == [0.0, 1.0]


def test_the_reason_names_what_was_new():
    why = CoverageGain()(searched(R1, R3, R3)).why_S
    assert why[:3] == ("new: 'g1' 1", "new: 'g2' 1", "nothing new")


def test_a_document_twice_in_one_round_counts_by_choice():
    twice = a_trajectory(("a", "a", "b"), ("b", "b"))
    assert RepeatedDocuments()(twice).values_S.tolist() == [1 / 3, 1.0]
    assert RepeatedDocuments(same_step=False)(twice).values_S.tolist() == [0.0, 1.0]


def test_documents_are_compared_by_id_or_by_text():
    copied = a_trajectory(("a",), ("b",), texts={"a": "same", "b": "same"})
    assert RepeatedDocuments()(copied).values_S.tolist() == [0.0, 0.0]
    assert RepeatedDocuments(by="text")(copied).values_S.tolist() == [0.0, 1.0]


def test_smartsearch_calls_a_query_stale_when_more_than_one_of_its_documents_came_before():
    # card 19, K = 1: one repeat is still novel, two are not
    reward = RepeatedDocuments(by="text", same_step=False, more_than=1)
    assert reward(a_trajectory("abcde", "axyzw", "abuvt")).values_S.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(("by", "lacking"), [("id", "gold_pages"), ("similarity", "gold_texts"), ("answer", "golds")])
def test_coverage_without_golds_says_what_is_lacking(by, lacking):
    with pytest.raises(MissingGold, match=lacking):
        CoverageGain(by=by)(a_trajectory(("a",), golds=(), gold_pages=()))


# ---------------------------------------------------------------- search keys


def keys(*queries: str) -> Trajectory:
    return searched(*[("x",)] * len(queries), queries=queries)


def test_search_keys_of_the_card():
    # "France border countries" against "countries bordering France": 2 of 3 words, F1 2/3, rounded 0.6667
    assert SearchKeyMatch()(keys("capital of France", "France border countries")).value == pytest.approx(0.83335)
    # the second query is worse for hop 1; hop 2 takes "capital of France" against "France neighbours": F1 0.4
    assert SearchKeyMatch()(keys("capital of France", "capital France city")).value == pytest.approx(0.7)


def test_the_published_slip_lets_a_later_query_replace_a_better_one():
    # each query counts for the hop it fits best: both for hop 1, worth 1.0, then 0.6667; (0.6667 + 0) / 2
    assert SearchKeyMatch(over="last")(keys("capital of France", "capital France city")).value == pytest.approx(0.33335)
    assert SearchKeyMatch(over="last")(keys("bananas")).value == 0.0


def test_without_searches_no_key_is_matched():
    assert SearchKeyMatch()(searched(answer="Paris")).value == 0.0


def test_a_task_without_keys_is_refused():
    with pytest.raises(MissingGold, match="sub-question with queries"):
        SearchKeyMatch()(a_trajectory(("a",)))


# ---------------------------------------------------------------- the whole


def test_the_final_reward_of_the_card():
    # F1 1 + 0.618 * 0.83335 = 1.5150
    trajectory = searched(("g1",), ("g2",), queries=("capital of France", "France border countries"))
    assert FINAL(trajectory).value == pytest.approx(1.5150, abs=5e-5)


def test_stepsearch_pays_each_search_where_its_turn_ends_and_the_rest_on_the_last_token():
    queries = ("capital of France", "France border countries", "France neighbours")
    trajectory = searched(R1, R2, R3, queries=queries, tokens=3)
    rewards_T = place(STEPSEARCH(trajectory), trajectory)
    # own tokens 0-2 are the first search, whose last token closes </search>; key match (1 + 1) / 2
    expected = np.zeros(12)
    expected[[2, 5, 8]] = [0.3418, -0.0418, -0.6]
    expected[11] = 1.0 + 0.618
    np.testing.assert_allclose(rewards_T, expected, atol=1e-4)


def test_stepsearch_pays_a_broken_format_minus_one_and_no_step_reward():
    trajectory = searched(R1, R2, answer=None, tokens=3)
    scores = STEPSEARCH(trajectory)
    np.testing.assert_array_equal(scores.values_S, [np.nan, -1.0])
    assert place(scores, trajectory).tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, -1.0]


def test_the_terms_of_stepsearch_stay_apart_behind_its_gate():
    good, broken = searched(R1, queries=("capital of France",)), searched(R1, answer=None)
    for trajectory in (good, broken):
        terms = [(term.name, round(term.weight, 3)) for term in STEPSEARCH(trajectory).parts]
        assert terms == [
            ("TokenF1", 1.0),
            ("SearchKeyMatch", 0.618),
            ("CoverageGain", 0.6),
            ("RepeatedDocuments", -0.6),
            ("not WellFormed", 1.0),
        ]
    paid = [term.scores.total for term in STEPSEARCH(broken).parts]
    np.testing.assert_array_equal(paid, [np.nan, np.nan, np.nan, np.nan, -1.0])
