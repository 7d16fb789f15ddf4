"""QueryGain by the worked examples of TongSearch-QR's card, and its measures by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_group, a_task, a_trajectory
from tests.rewards.vectors import Broken, Given
from workbench.credit import group_advantages
from workbench.errors import MissingGold, SettingError
from workbench.retrieval import HashedNgrams, Page, SearchIndex
from workbench.rewards import CosineTo, QueryGain, RankOfGold, ReduceSteps, ScoreOfGold
from workbench.scores import Status
from workbench.trajectory import Call, Task, Trajectory

HALF = 2**-0.5
TABLE = {
    "east": (1.0, 0.0),
    "north": (0.0, 1.0),
    "northeast": (HALF, HALF),
    "three four": (0.6, 0.8),
}


def asks(query: str, *positives: str, question: str = "east", golds: tuple[str, ...] = ()) -> Trajectory:
    task = Task("t", question, golds, frozenset({"D1", "D3"}), extras={"gold_texts": positives} if positives else {})
    return replace(a_trajectory(("p1",), queries=(query,)), task=task)


def gained(query: str, *positives: str, **settings: object) -> float:
    return float(QueryGain(CosineTo(Given(TABLE)), **settings)(asks(query, *positives)).values_S[0])


def test_gains_of_the_card():
    # q = (1, 0). q' = (1, 1), d = (0, 1): 10 * (.70711 - 0)
    assert gained("northeast", "north") == pytest.approx(7.0711, abs=5e-5)
    # q' = (0, 1), D = {(0, 1), (1, 0)}: 10 * ((1 - 0) + (0 - 1)) / 2
    assert gained("north", "north", "east") == pytest.approx(0.0)
    # q' = (3, 4), D = {(0, 1), (1, 1)}: 10 * ((.8 - 0) + (.98995 - .70711)) / 2
    assert gained("three four", "north", "northeast") == pytest.approx(5.4142, abs=5e-5)


def test_the_group_of_the_card():
    # mean 2.0178, sample std 3.5923
    returns_N = np.array([7.071, 0.0, -1.0, 2.0])
    advantages_N = group_advantages(returns_N, np.zeros(4, np.int64), scale="std", eps=1e-4)
    np.testing.assert_allclose(advantages_N, [1.4067, -0.5617, -0.8400, -0.0049], atol=1e-4)


def test_the_question_itself_gains_exactly_nothing_and_the_positive_text_gains_most():
    trajectory = asks("east", "north", "three four")
    assert QueryGain(CosineTo(Given(TABLE)))(trajectory).values_S[0] == 0.0
    # the most that one positive allows: 10 * (1 - cos(q, d))
    assert gained("north", "north") == pytest.approx(10.0) == max(gained(query, "north") for query in TABLE)


def test_a_query_without_words_is_paid_the_failure_whatever_the_scale():
    assert gained("", "north") == gained("unknown", "north") == -1.0
    assert gained("", "north", scale=1.0, fail=-0.5) == -0.5


def test_the_same_text_is_paid_the_same_alone_and_in_its_group():
    group = a_group(
        *[replace(asks(query, "north"), id=query) for query in ("north", "northeast", "three four", "north")]
    )
    reward = QueryGain(CosineTo(Given(TABLE)))
    alone = [reward(trajectory).values_S[0] for trajectory in group]
    assert [scores.values_S[0] for scores in reward(group)] == alone and alone[0] == alone[3]


def test_a_rollout_without_a_query_fails_where_one_is_due():
    bare = replace(a_trajectory(answer="Paris"), task=asks("", "north").task)
    reward = QueryGain(CosineTo(Given(TABLE)))
    assert np.isnan(reward(bare).values_S).all()
    assert ReduceSteps(reward, "last", empty=-1.0)(bare).value == -1.0


def test_a_rewriter_is_paid_for_its_answer():
    rewritten = replace(a_trajectory(answer="northeast"), task=asks("", "north").task)
    assert QueryGain(CosineTo(Given(TABLE)), of="answer")(rewritten).values_S[0] == pytest.approx(7.0711, abs=5e-5)


def test_the_positives_may_be_the_accepted_answers():
    reward = QueryGain(CosineTo(Given(TABLE), texts="golds"))
    assert reward(asks("northeast", golds=("north",))).values_S[0] == pytest.approx(7.0711, abs=5e-5)
    with pytest.raises(MissingGold, match="no golds"):
        reward(asks("northeast"))
    with pytest.raises(MissingGold, match="gold_texts"):
        QueryGain(CosineTo(Given(TABLE)))(asks("northeast"))


def test_several_searches_of_a_step_are_paid_their_mean_and_a_refused_call_nothing():
    trajectory = asks("north", "north")
    calls = (Call("search", {"query": "north"}), Call("search", {"query": "east"}))
    both = replace(trajectory, steps=(replace(trajectory.steps[0], calls=calls),))
    assert QueryGain(CosineTo(Given(TABLE)))(both).values_S[0] == pytest.approx(5.0)  # (10 + 0) / 2
    refused = replace(trajectory, steps=(replace(trajectory.steps[0], calls=(replace(calls[0], valid=False),)),))
    assert np.isnan(QueryGain(CosineTo(Given(TABLE)))(refused).values_S).all()


def test_an_encoder_that_is_away_makes_the_gain_missing_and_not_the_failure_value():
    scores = QueryGain(CosineTo(Broken()))(asks("north", "north"))
    assert set(scores.status_S) == {Status.MISSING}


def test_the_settings_that_make_no_gain_are_refused():
    for settings in ({"scale": float("inf")}, {"fail": float("nan")}, {"of": "title"}):
        with pytest.raises(SettingError):
            QueryGain(CosineTo(Given(TABLE)), **settings)


# ---------------------------------------------------------------- by what an engine finds

PAGES = [
    Page("D1", "", "kidney excretes salt water urine"),
    Page("D2", "", "ocean waves surfing beach water"),
    Page("D3", "", "osmosis cell dehydration salt"),
]
ENGINE = SearchIndex.build(PAGES, k1=0.9, b=0.4, progress=False)
RAW, REASONED = "drink sea water", "drink sea water kidney salt osmosis dehydration"


def test_bm25_of_the_card():
    np.testing.assert_allclose(ENGINE.scores(RAW, ["D1", "D2", "D3"]), [0.2441, 0.2441, 0.0], atol=5e-5)
    np.testing.assert_allclose(ENGINE.scores(REASONED, ["D1", "D2", "D3"]), [0.9975, 0.2441, 1.3154], atol=5e-5)


def test_the_gain_in_bm25_score_grows_with_every_word_of_a_gold_page():
    # mean over D1 and D3: (.9975 + 1.3154) / 2 - .2441 / 2 = 1.0344
    reward = QueryGain(ScoreOfGold(ENGINE), scale=1.0)
    assert reward(asks(REASONED, question=RAW)).values_S[0] == pytest.approx(1.0344, abs=1e-4)
    longer = f"{REASONED} cell urine excretes"
    assert reward(asks(longer, question=RAW)).values_S[0] > reward(asks(REASONED, question=RAW)).values_S[0]
    again = f"{REASONED} {REASONED}"  # the same words twice: twice the score
    assert reward(asks(again, question=RAW)).values_S[0] > 1.9


def test_the_gain_in_ndcg():
    # the question finds D1 and D2 (a tie, D1 first): 1 / (1 + 1/log2(3)) = .6131; reasoned: D3, D1, so 1
    reward = QueryGain(RankOfGold(ENGINE), scale=1.0)
    assert reward(asks(REASONED, question=RAW)).values_S[0] == pytest.approx(1.0 - 0.6131, abs=5e-5)
    assert reward(asks("surfing", question=RAW)).values_S[0] == pytest.approx(-0.6131, abs=5e-5)


def test_ndcg_of_the_card():
    # two relevant documents at ranks 2 and 3: (.6309 + .5) / 1.6309 = .6934
    [value] = RankOfGold(ENGINE)([("water kidney urine beach surfing waves osmosis", ranked("D1", "D3"))])
    order = [hit.id for hit in ENGINE.search(["water kidney urine beach surfing waves osmosis"], 10)[0]]
    assert order == ["D2", "D1", "D3"] and value == pytest.approx(0.6934, abs=5e-5)
    # one of two relevant found, at rank 1: 1 / 1.6309
    assert RankOfGold(ENGINE)([("kidney", ranked("D1", "D3"))]) == [pytest.approx(0.6131, abs=5e-5)]


def ranked(*pages: str) -> Task:
    return a_task(gold_pages=pages)


def test_engine_measures_without_gold_pages_are_refused():
    for measure in (ScoreOfGold(ENGINE), RankOfGold(ENGINE)):
        with pytest.raises(MissingGold, match="gold_pages"):
            measure([("kidney", a_task(gold_pages=()))])
    with pytest.raises(SettingError):
        RankOfGold(ENGINE, k=0)
    with pytest.raises(SettingError):
        CosineTo(HashedNgrams(), texts="titles")
