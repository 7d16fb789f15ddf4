"""Rewards from what an engine answers to expansions, with the numbers of LESER's card worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_trajectory
from workbench.credit import group_advantages
from workbench.errors import MissingGold, SettingError
from workbench.fusion import rank_fusion
from workbench.papers.leser import REWARDS
from workbench.rewards import Coverage, ExpansionRules, FoundRelevance, MarginalGain, ReduceSteps, SetJaccard
from workbench.rewards.search_feedback import with_found
from workbench.trajectory import Call, End, Hit, Step, Task, Trajectory

GOLD = {page: 1.0 for page in ("1", "4", "5", "6")}
TASK = Task("q", "red shoe", gold_pages=frozenset(GOLD), extras={"found": ["1", "2", "3"], "relevance": GOLD})
LESER = REWARDS["LESER"]


def hits(pages: str) -> tuple[Hit, ...]:
    """One page a letter."""
    return tuple(Hit(page, "", "", rank=rank) for rank, page in enumerate(pages))


def expanded(*found: str, task: Task = TASK, queries: tuple[str, ...] = (), error: str | None = None) -> Trajectory:
    """A step for each list of pages that an expansion found."""
    asked = queries or tuple(f"shoe {n}" for n in range(len(found)))
    calls = [
        Call("search", {"query": query}, hits(pages), error=error) for query, pages in zip(asked, found, strict=True)
    ]
    return Trajectory("t", task, tuple(Step(f"t.{n}", "", (call,)) for n, call in enumerate(calls)), End.TRUNCATED)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        ("459", 0.5 * 2 / 3 + 0.5 * 2 / 4),  # two of three relevant; relevant found 1 -> 3 of 4
        ("123", 0.5 * 1 / 3),  # a paraphrase: nothing new
        ("", 0.0),
        ("987", 0.0),  # drift
    ],
)
def test_one_expansion_by_hand(found, value):
    assert LESER(expanded(found)).value == pytest.approx(value)


def test_a_broken_rule_costs_one_whatever_was_found():
    assert LESER(expanded("459", queries=("Red shoe",))).value == -1.0
    assert LESER(replace(expanded("459"), steps=())).value == -1.0  # no line at all


def test_each_line_is_paid_what_it_adds_and_the_sum_is_the_whole():
    made = expanded("49", "45", "1")
    gains = MarginalGain(new_only=True)(made)
    np.testing.assert_allclose(gains.values_S, [0.25, 0.25, 0.0])
    together = expanded("4951")
    assert gains.total == MarginalGain(new_only=True)(together).total == 0.5


def test_several_searches_of_one_turn_are_told_apart_in_the_reason():
    apart = expanded("49", "45", "1")
    turn = replace(apart.steps[0], calls=tuple(call for step in apart.steps for call in step.calls))
    scores = MarginalGain(new_only=True)(replace(apart, steps=(turn,)))
    assert scores.values_S.tolist() == [0.5]
    assert scores.why_S == ("gains 0.25, 0.25, 0; 0.5 so far",)


def test_without_the_bare_question_all_that_is_found_counts():
    np.testing.assert_allclose(MarginalGain()(expanded("12", "14")).values_S, [0.25, 0.25])


def test_little_relevance_takes_the_coverage_away():
    # one of six is relevant: 1/6 < 0.2, so that only relevance is paid
    assert LESER(expanded("4abcde")).value == pytest.approx(0.5 / 6)
    # one of five: 0.2 is enough
    assert LESER(expanded("4abcd")).value == pytest.approx(0.5 / 5 + 0.5 / 4)


def test_advantages_of_the_four_by_hand():
    # mean -.0625, std over n - 1 .6712
    advantages_N = group_advantages(
        np.array([0.5833, 0.1667, 0.0, -1.0]), np.zeros(4, dtype=int), scale="std", ddof=1, eps=1e-6
    )
    np.testing.assert_allclose(advantages_N, [0.9618, 0.3414, 0.0931, -1.3963], atol=2e-4)


def test_reciprocal_ranks_merge_two_lists():
    # 1: 1/61 + 1/62; 4: 1/61; 2: 1/62; 3: 1/63
    merged = rank_fusion([hits("123"), hits("41")], how="reciprocal")
    assert [hit.id for hit in merged] == ["1", "4", "2", "3"]


def test_an_engine_that_fails_is_nobodys_score():
    made = expanded("45", error="TimeoutError: away")
    for reward in (LESER, FoundRelevance(), ReduceSteps(MarginalGain(), "sum")):
        scores = reward(made)
        assert np.isnan(scores.value)
        assert "away" in scores.why_S[0]


def test_pages_not_all_known_are_counted_against_k():
    task = replace(TASK, gold_pages=frozenset(), extras={"found": ["1"], "relevance": {"1": 1.0, "4": 0.5, "5": 0.4}})
    reward = MarginalGain(Coverage("relevance", k=4), new_only=True)
    assert reward(expanded("145", task=task)).values_S.tolist() == [0.25]  # page 4 alone is new and relevant


def test_what_is_not_known_is_refused():
    bare = a_trajectory(["p1"], gold_pages=())
    with pytest.raises(MissingGold, match="relevance"):
        FoundRelevance()(bare)
    with pytest.raises(MissingGold, match="gold_pages"):
        MarginalGain()(bare)
    with pytest.raises(MissingGold, match="with_found"):
        MarginalGain(new_only=True)(a_trajectory(["p1"]))
    with pytest.raises(SettingError, match="k at least 1"):
        Coverage(k=0)


def test_a_relevance_outside_its_range_is_clipped_with_a_warning():
    task = replace(TASK, extras={"relevance": {"1": 3.0}})
    with pytest.warns(UserWarning, match="clipped"):
        assert FoundRelevance()(expanded("1", task=task)).value == 1.0


@pytest.mark.parametrize(
    ("queries", "says"),
    [
        (("blue shoe", "Blue shoe!"), "asked before"),
        (("red shoe",), "asked before"),
        (("a b c d e f g h i",), "9 words"),
        (("",), "0 words"),
        (("free shoe",), "banned"),
        (("a b", "c d", "e f", "g h"), "4 queries"),
    ],
)
def test_the_rules_say_what_is_broken(queries, says):
    made = expanded(*("4" for _ in queries), queries=queries)
    (broken,) = ExpansionRules(banned=("free",)).broken(made)
    assert says in broken


def test_a_turn_that_cannot_be_read_breaks_the_rules():
    made = expanded("4")
    assert ExpansionRules()(replace(made, steps=(replace(made.steps[0], valid=False),))).value == 0.0
    banned = replace(TASK, extras={**TASK.extras, "banned": ["shoe"]})
    assert ExpansionRules()(expanded("4", task=banned)).value == 0.0


def test_results_that_are_alike_are_seen():
    assert SetJaccard(of="results")(expanded("45", "45", "67")).value == pytest.approx(1 / 3)


def test_what_the_bare_question_finds_is_written_down():
    class Engine:
        def search(self, queries, k=3):
            return [list(hits("123"[:k])) for _ in queries]

    (task,) = with_found([Task("q", "red shoe")], Engine(), k=2)
    assert task.extras["found"] == ["1", "2"]
