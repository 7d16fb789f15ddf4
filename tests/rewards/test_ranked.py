"""The worked examples of ACQO and the usual nDCG figures, through `RankedGold`."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from tests.builders import a_step, a_task, a_trajectory
from workbench.evaluation import retrieval_metrics
from workbench.fusion import FUSIONS, rank_fusion
from workbench.rewards import Gate, RankedGold, WellFormed
from workbench.rewards.ranked import gold_ranks, rank_value
from workbench.trajectory import Call, End, Hit, Trajectory


def asking(*lists: dict[str, float], gold: tuple[str, ...], text: str = "") -> Trajectory:
    """One turn that asks as many queries, each with the pages and scores that it finds."""
    calls = tuple(
        Call(
            "search", {"query": f"q{n}"}, tuple(Hit(id, "", "", score, r) for r, (id, score) in enumerate(hits.items()))
        )
        for n, hits in enumerate(lists)
    )
    step = replace(a_step("s", [], text=text or None), calls=calls)
    return Trajectory("t", a_task(gold_pages=gold), (step,), End.TRUNCATED)


def ranked(*ranks: int, length: int = 120) -> dict[str, float]:
    """A list with gold pages g1, g2 ... at these ranks."""
    at = {rank: f"g{n}" for n, rank in enumerate(ranks, start=1)}
    return {at.get(rank, f"x{rank}"): 200.0 - rank for rank in range(1, length + 1)}


def paid(reward: RankedGold, trajectory: Trajectory) -> float:
    return float(reward(trajectory).values_S[0])


def test_the_value_of_a_rank_by_hand():
    values = [rank_value(rank) for rank in (1, 2, 4, 10, 11, 55, 100, 101)]
    assert values == pytest.approx([2, 17 / 9, 5 / 3, 1, 89 / 90, 0.5, 0, 0])
    raised = [rank_value(rank, top=3) for rank in (1, 2, 3, 4)]
    assert raised == pytest.approx([3, 17 / 9 + 1 / math.log2(3), 16 / 9 + 0.5, 5 / 3])
    assert raised == pytest.approx([3, 2.519819, 2.277778, 1.666667], abs=1e-6)


@pytest.mark.parametrize(
    ("ranks", "settings", "worth"),
    [
        ((2, 4), {"eta": 0.6}, 1.733333),  # .6 * 17/9 + .36 * 5/3
        ((2, 4), {"eta": 1.0}, 3.555556),
        ((2, 4), {"eta": 0.6, "first_exponent": 0}, 2.888889),  # 17/9 + .6 * 5/3
        ((1, 2), {"eta": 0.6}, 1.88),  # .6 * 2 + .36 * 17/9
        ((1, 2), {"top": 3}, 5.519819),
        ((2,), {"eta": 0.6}, 1.133333),  # the other is not found and adds nothing
    ],
)
def test_several_gold_pages_by_hand(ranks, settings, worth):
    trajectory = asking(ranked(*ranks), gold=("g1", "g2"))
    assert paid(RankedGold(value="rank", **settings), trajectory) == pytest.approx(worth, abs=1e-6)


def test_the_first_stage_forgives_a_useless_query_and_the_second_does_not():
    # all: x and g at P = 1/1 and 1/1 ... g 9, n1 9.5 lead their lists: n1, g, n2, x; the gold alone in q1 is first
    trajectory = asking({"g": 9.0, "x": 8.0}, {"n1": 9.5, "n2": 9.0}, gold=("g",))
    assert [hit.id for hit in rank_fusion([call.hits for call in trajectory.steps[0].calls])] == ["n1", "g", "n2", "x"]
    first, second = RankedGold(value="rank", over="best_subset"), RankedGold(value="rank")
    assert paid(first, trajectory) == 2.0 and paid(second, trajectory) == pytest.approx(17 / 9)
    assert "ranks 1, 1 in all" in first(trajectory).why_S[0]


def test_the_most_that_can_be_earned():
    assert RankedGold(value="rank", eta=0.6).best(2) == pytest.approx(1.88)
    assert RankedGold(value="rank", eta=0.5, first_exponent=0).best(1) == 2.0
    assert RankedGold().best(3) == RankedGold(value="recall").best(3) == 1.0


def test_subsets_are_those_of_the_first_queries():
    useless = [{"n1": 9.5}, {"n2": 9.0}]
    late = asking(*useless, {"g": 1.0}, gold=("g",))
    capped = RankedGold(value="rank", over="best_subset", most_queries=2)
    assert paid(capped, late) == paid(RankedGold(value="rank"), late) == rank_value(3)
    assert paid(replace(capped, most_queries=3), late) == 2.0
    many = asking(*[{f"n{n}": 1.0} for n in range(40)], {"g": 0.5}, gold=("g",))
    assert 0 < paid(capped, many) < 2.0  # 2 ** 41 subsets were not tried


@pytest.mark.parametrize("fuse", FUSIONS)
def test_no_subset_that_is_left_out_would_be_better(fuse):
    rng = np.random.default_rng(0)
    gold = ("p0", "p1")
    for _ in range(60):
        lists = [{f"p{n}": float(rng.integers(3)) for n in rng.permutation(9)[:4]} for _ in range(4)]
        trajectory = asking(*lists, gold=gold)
        every = [some for size in range(1, 5) for some in combinations(trajectory.steps[0].calls, size)]
        plain = RankedGold(value="rank", fuse=fuse, eta=0.6)
        best = max(
            paid(plain, replace(trajectory, steps=(replace(trajectory.steps[0], calls=some),))) for some in every
        )
        assert paid(replace(plain, over="best_subset"), trajectory) == pytest.approx(best)


def test_a_page_counts_once_at_its_best_rank():
    hits = tuple(Hit(id, "", "") for id in ("x", "g", "y", "g"))
    assert gold_ranks([hits], {"g"}) == [2]
    assert gold_ranks([hits, hits[1:2]], {"g"}) == [1] and gold_ranks([hits], {"g"}, k=1) == []


def test_a_search_that_finds_nothing_earns_nothing_and_a_turn_without_one_is_not_scored():
    scores = RankedGold()(a_trajectory([], None, ["p1", "x"], answer="Paris"))
    np.testing.assert_allclose(scores.values_S, [0.0, np.nan, 1 / (1 + 1 / math.log2(3)), np.nan], rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ndcg_and_recall_are_those_of_the_evaluation(k):
    for ids in (["x", "a", "y", "b"], ["a", "b", "c"], ["x"], ["b", "x", "b", "a"]):
        trajectory = asking(dict.fromkeys(ids, 1.0), gold=("a", "b"))
        ranking = [hit.id for hit in trajectory.steps[0].hits]
        expected = retrieval_metrics([ranking], [{"a", "b"}], k=k)
        assert paid(RankedGold(k=k), trajectory) == pytest.approx(expected["ndcg"][0])
        assert paid(RankedGold(value="recall", k=k), trajectory) == expected["recall"][0]


def test_bad_form_costs_what_the_gate_says():
    stage = Gate(WellFormed(turn=("query",), last=("query",)), RankedGold(value="rank", eta=0.6), otherwise=-0.1)
    good = asking(ranked(1, 2), gold=("g1", "g2"), text="<query>a\nb</query>")
    bad = asking(ranked(1, 2), gold=("g1", "g2"), text="a\nb")
    assert [paid(stage, one) for one in (good, bad)] == pytest.approx([1.88, -0.1])
