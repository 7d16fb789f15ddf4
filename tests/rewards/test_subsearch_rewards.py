"""Similarity, Decomposition, Residual and FormatLayer, by the worked examples of SubSearch's card and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_group, a_step, a_trajectory
from tests.rewards.paying import paid, stepwise
from tests.rewards.vectors import Broken, Given, at
from workbench.errors import LevelError, MissingGold, SettingError, ShapeError
from workbench.rewards import Decomposition, FormatLayer, ReduceSteps, Residual, Similarity
from workbench.scores import Status
from workbench.trajectory import Call, End, Hit, Step, Trajectory

QUESTION = "Capital of France?"  # what the builders ask
HALF = 2**-0.5


def searches(id: str, **found: tuple[str, ...]) -> Step:
    """A turn that asks each query and is shown the texts of its documents."""
    calls = [
        Call("search", {"query": query}, tuple(Hit(text, "", text, query=query) for text in texts))
        for query, texts in found.items()
    ]
    return replace(a_step(id, ()), calls=tuple(calls))


def played(*steps: Step) -> Trajectory:
    return replace(a_trajectory(answer="Paris"), steps=(*steps, a_step("end", answer="Paris")))


# ---------------------------------------------------------------- Similarity

ANSWERABLE = Given({"a": at(1.0), "b": at(1.0), "c": at(1.0), **{f" d{c}": at(c) for c in (0.9, 0.6, 0.5, 0.3, -0.5)}})
SPLIT = played(searches("0", a=("d0.9", "d0.6", "d0.3"), b=("d0.5",)), searches("1", c=()))


def test_answerability_of_the_card():
    # a = mean(.9, .6, .3) = .6, .5 and 0; s_1 = .55, s_2 = 0; mean .275
    step = Similarity(ANSWERABLE, first=3)
    np.testing.assert_allclose(step(SPLIT).values_S, [0.55, 0.0, np.nan])
    assert ReduceSteps(step, "mean", empty=0.0)(SPLIT).value == pytest.approx(0.275)


def test_the_released_parser_steps_over_a_search_that_brought_nothing():
    step = Similarity(ANSWERABLE, first=3, empty="skipped")
    assert ReduceSteps(step, "mean", empty=0.0)(SPLIT).value == pytest.approx(0.55)


def test_a_trajectory_without_search_has_no_answerability_and_reduces_to_zero():
    bare = played()
    assert np.isnan(Similarity(ANSWERABLE)(bare).values_S).all()
    assert ReduceSteps(Similarity(ANSWERABLE), "mean", empty=0.0)(bare).value == 0.0


def test_only_the_first_documents_count_and_the_best_where_asked():
    one = played(searches("0", a=("d0.3", "d0.9", "d0.6", "d-0.5")))
    for settings, value in (
        ({"first": 1}, 0.3),
        ({"first": 2}, 0.6),
        ({"over": "max"}, 0.9),
        ({}, (0.3 + 0.9 + 0.6 - 0.5) / 4),
        ({"clamp": True}, 1.8 / 4),  # the cosine below 0 counts as 0
    ):
        assert Similarity(ANSWERABLE, **settings)(one).values_S[0] == pytest.approx(value)


def test_only_what_the_agent_was_shown_is_compared():
    step = searches("0", a=("d0.9", "d0.3"))
    hidden = replace(step.calls[0], hits=(replace(step.calls[0].hits[0], shown=0), step.calls[0].hits[1]))
    assert Similarity(ANSWERABLE)(played(replace(step, calls=(hidden,)))).values_S[0] == pytest.approx(0.3)


def test_queries_are_compared_with_the_question_and_answers_with_the_golds():
    encoder = Given({"a": at(0.2), "b": at(0.8), QUESTION: at(1.0), "Paris": at(0.6), "Lyon": at(1.0)})
    step = searches("0", a=(), b=())
    np.testing.assert_allclose(Similarity(encoder, "question", "query")(played(step)).values_S, [0.5, np.nan])
    # cos(60) and cos(37 degrees) apart: .6 * 1 + .8 * 0
    scores = Similarity(encoder, "answer", "golds")(replace(played(step), task=a_trajectory(golds=("Lyon",)).task))
    np.testing.assert_allclose(scores.values_S, [np.nan, 0.6])


def test_an_empty_query_is_like_nothing_and_a_refused_call_is_not_scored():
    assert Similarity(ANSWERABLE)(played(searches("0", **{"": ("d0.9",)}))).values_S[0] == 0.0
    refused = replace(searches("0", a=("d0.9",)), calls=(Call("search", {"query": "a"}, valid=False),))
    assert np.isnan(Similarity(ANSWERABLE)(played(refused)).values_S).all()


def test_texts_of_a_group_are_encoded_in_one_call_each_once():
    asked = []

    class Counting:
        def __call__(self, texts):
            asked.append(list(texts))
            return ANSWERABLE(texts)

    Similarity(Counting())(a_group(SPLIT, replace(SPLIT, id="again")))
    assert [sorted(texts) for texts in asked] == [[" d0.3", " d0.5", " d0.6", " d0.9", "a", "b", "c"]]


def test_an_encoder_that_is_away_makes_the_scores_missing_and_never_zero():
    for reward in (Similarity(Broken()), Decomposition(Broken())):
        scores = reward(SPLIT)
        assert set(scores.status_S) == {Status.MISSING} and "the encoder's process ended" in scores.why_S[0]


def test_an_encoder_that_gives_another_number_of_rows_is_refused():
    with pytest.raises(ShapeError, match="give one row a text"):
        Similarity(lambda texts: np.zeros((1, 4)))(SPLIT)


def test_texts_to_compare_must_be_known_two_and_one_of_them_the_agents():
    for of, to in (("query", "title"), ("query", "query"), ("question", "golds")):
        with pytest.raises(SettingError):
            Similarity(ANSWERABLE, of, to)
    with pytest.raises(MissingGold, match="gold_texts"):
        Similarity(ANSWERABLE, "query", "gold_texts")(SPLIT)


# ---------------------------------------------------------------- Decomposition


def decomposed(parent: tuple[float, ...], *children: tuple[float, ...], **settings: object) -> float:
    named = {f"q{n}": child for n, child in enumerate(children)}
    reward = Decomposition(Given({QUESTION: parent, **named}), **settings)
    return float(reward(played(searches("0", **dict.fromkeys(named, ())))).values_S[0])


def test_decomposition_of_the_card():
    diagonal = (HALF, HALF)
    assert decomposed(diagonal, (1, 0), (0, 1)) == pytest.approx(0.853553, abs=1e-6)
    assert decomposed(diagonal, (1, 0), (1, 0)) == pytest.approx(0.353553, abs=1e-6)
    assert decomposed(diagonal, diagonal, diagonal) == pytest.approx(0.5)


def test_a_single_query_pays_most_at_a_cosine_of_085():
    for cosine, value in ((0.85, 1.0), (0.925, 0.5), (1.0, 0.0), (0.70, 0.0), (0.5, 0.0)):
        assert decomposed(at(1.0), at(cosine)) == pytest.approx(value, abs=1e-9)


def test_queries_that_cancel_out_cover_nothing_and_the_clip_is_told():
    # parent (0, 1): both cosines 0, so coverage 0 (no direction) and parts 0
    assert decomposed((0, 1), (1, 0), (-1, 0)) == 0.0
    # parent (1, 0), children (-1, 0) twice: coverage -1, parts -1 * (1 - 1) = 0; 0.5 * -1 = -0.5, clipped to 0
    assert decomposed((1, 0), (-1, 0), (-1, 0), bounds="none") == -0.5
    assert decomposed((1, 0), (-1, 0), (-1, 0)) == 0.0
    reward = Decomposition(Given({QUESTION: (1, 0), "q0": (-1, 0), "q1": (-1, 0)}))
    assert "clipped from -0.5" in reward(played(searches("0", q0=(), q1=()))).why_S[0]


def test_a_step_without_a_query_has_no_decomposition():
    reward = Decomposition(Given({QUESTION: (1, 0), "a": at(0.85)}))
    np.testing.assert_allclose(reward(played(a_step("t"), searches("0", a=()))).values_S, [np.nan, 1.0, np.nan])


def test_a_query_that_was_not_asked_splits_nothing():
    step = searches("0", a=(), b=())
    refused = replace(step, calls=(step.calls[0], replace(step.calls[1], valid=False)))
    reward = Decomposition(Given({QUESTION: (1, 0), "a": at(0.85), "b": at(0.2)}))
    assert reward(played(refused)).values_S[0] == pytest.approx(1.0)


# ---------------------------------------------------------------- Residual


def test_the_residual_of_the_card():
    process = 0.5 * paid(0.6) + 0.5 * paid(0.7071)
    assert process(SPLIT).value == pytest.approx(0.65355)
    assert Residual(paid(0.0), process, 0.2)(SPLIT).value == pytest.approx(0.13071)
    assert Residual(paid(0.0), process, 0.15)(SPLIT).value == pytest.approx(0.0980325)
    for beta in (0.2, 0.02):
        assert Residual(paid(1.0), process, beta)(SPLIT).value == 1.0


def test_half_an_outcome_leaves_half_to_the_process():
    assert Residual(paid(0.5), paid(1.0), 0.2)(SPLIT).value == pytest.approx(0.6)


def test_the_terms_of_a_residual_stay_apart_and_add_up():
    scores = Residual(paid(0.5, "em"), 0.5 * paid(0.6, "a") + 0.5 * paid(0.8, "b"), 0.2)(SPLIT)
    terms = [(term.name, term.weight, term.scores.value) for term in scores.parts]
    assert terms == [("em", 1.0, 0.5), ("a", 0.1, pytest.approx(0.3)), ("b", 0.1, pytest.approx(0.4))]
    assert scores.value == pytest.approx(0.5 + 0.1 * 0.3 + 0.1 * 0.4)


def test_a_process_that_does_not_apply_adds_nothing_and_a_missing_one_makes_the_sum_missing():
    assert Residual(paid(0.25), paid(None), 0.2)(SPLIT).value == 0.25
    assert Residual(paid(None), paid(1.0), 0.2)(SPLIT).status_S[0] == Status.NOT_APPLICABLE
    broken = ReduceSteps(Similarity(Broken()), "mean", empty=0.0)
    assert Residual(paid(1.0), broken, 0.2)(SPLIT).status_S[0] == Status.MISSING
    assert Residual(broken, paid(1.0), 0.2)(SPLIT).status_S[0] == Status.MISSING


def test_the_range_of_a_residual_is_that_of_its_corners():
    # outcome 0 and process -1 pay -0.2; outcome 1 pays 1 whatever the process
    process = ReduceSteps(Similarity(ANSWERABLE), "mean", empty=0.0)
    assert Residual(paid(1.0).clip(0.0, 1.0), process, 0.2).range == pytest.approx((-0.2, 1.0))
    assert Residual(paid(1.0), process, 0.2).range == (-np.inf, np.inf)


def test_a_residual_of_steps_is_refused():
    with pytest.raises(LevelError, match="ReduceSteps"):
        Residual(paid(1.0), stepwise(1.0, 0.0, 0.0), 0.2)


# ---------------------------------------------------------------- FormatLayer

LAYER = FormatLayer(paid(0.13071))


def test_the_format_layer_of_the_card():
    # R = 0.13071 over an answer: valid and hit, valid and no hit, invalid
    for formed, hit, value in ((True, True, 0.23071), (True, False, 0.13071), (False, True, 0.0)):
        assert LAYER.paid(0.13071, answered=True, formed=formed, hit=hit) == pytest.approx(value)


def test_every_cell_of_the_table():
    cells = [  # answered, R, well formed, hit -> pays
        (False, 0.0, True, True, 0.3),
        (False, 0.0, True, False, 0.2),
        (False, 0.5, False, True, 0.0),
        (True, 0.95, True, True, 1.0),
        (True, 0.5, True, False, 0.5),
        (True, 0.5, False, False, 0.3),
        (True, 0.1, False, True, 0.0),
        (True, 0.0, True, True, 0.3),
        (True, 0.0, True, False, 0.2),
        (True, 0.0, False, True, 0.1),
    ]
    for answered, value, formed, hit, pays in cells:
        assert LAYER.paid(value, answered=answered, formed=formed, hit=hit) == pytest.approx(pays)


def test_the_layer_reads_form_and_findings_from_the_steps():
    shown = a_trajectory(("p1",), answer="Paris", texts={"p1": "Paris is the capital of France"})
    blank = a_trajectory(("p1",), answer="Paris")
    malformed = replace(shown, steps=(shown.steps[0], replace(shown.steps[1], text="Paris, I think")))
    silent = a_trajectory(("p1",), ("p2",), end=End.TRUNCATED)
    values = [LAYER(one).value for one in (shown, blank, malformed, silent)]
    assert values == pytest.approx([0.23071, 0.13071, 0.0, 0.0])  # the last turn of the silent one is no answer


def test_it_names_where_a_reward_above_zero_pays_less_than_zero():
    # well formed: 0 pays .3 (.2 without a hit), R pays R + .1 (R): less below .2. Malformed: 0 pays .1, R pays R - .2
    found = FormatLayer(paid(0.0)).reversals()
    assert found == [
        "well formed, gold seen: an R of 0 pays 0.3, any R between 0 and 0.2 pays less",
        "well formed, gold not seen: an R of 0 pays 0.2, any R between 0 and 0.2 pays less",
        "malformed: an R of 0 pays 0.1, any R between 0 and 0.3 pays less",
    ]
    assert LAYER.paid(0.13071, answered=True, formed=True, hit=False) < LAYER.paid(
        0.0, answered=True, formed=True, hit=False
    )
    assert FormatLayer(paid(0.0), structure=0.0, final=0.0).reversals() == []


def test_a_layer_over_steps_is_refused():
    with pytest.raises(LevelError, match="ReduceSteps"):
        FormatLayer(stepwise(1.0, 0.0))
