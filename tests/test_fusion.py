"""Several hit lists as one, by hand."""

from __future__ import annotations

import itertools
import math

import pytest

from workbench.errors import SettingError
from workbench.fusion import FUSIONS, rank_fusion
from workbench.trajectory import Hit


def listed(query: str, **scores: float) -> list[Hit]:
    return [Hit(id, "", "", score, rank, query) for rank, (id, score) in enumerate(scores.items())]


ONE = listed("q1", A=9.0, B=7.0, C=5.0)
TWO = listed("q2", B=8.0, D=7.5, A=2.0)


def ids(hits: list[Hit]) -> str:
    return "".join(hit.id for hit in hits)


def test_the_rank_score_fusion_of_acqo_by_hand():
    # P(A) = 1/(1 + 1/3) = .75, P(B) = 1/(1/2 + 1) = .667, P(C) = 3, P(D) = 2
    assert ids(rank_fusion([ONE, TWO])) == ids(rank_fusion([TWO, ONE])) == "BADC"
    assert ids(rank_fusion([ONE, TWO], how="consensus_reversed")) == "CDAB"
    # both at rank 1 of one list, P = 1: the higher score first
    assert ids(rank_fusion([listed("q1", X=9.0), listed("q2", Y=12.0)])) == "YX"


def test_reciprocal_rank_fusion_by_hand():
    # 1: 1/61 + 1/62 = .0325, 4: 1/61 = .0164, 2: 1/62 = .0161, 3: 1/63 = .0159
    merged = rank_fusion([listed("q1", a=1, b=1, c=1), listed("q2", d=1, a=1)], how="reciprocal")
    assert ids(merged) == "adbc"
    # 1/61 + 1/63 = .032266 of A against 1/62 + 1/61 = .032522 of B
    assert ids(rank_fusion([ONE, TWO], how="reciprocal")) == "BADC"


def test_interleaving_takes_turns():
    assert ids(rank_fusion([ONE, TWO], how="interleave")) == "ABDC"


@pytest.mark.parametrize("how", FUSIONS)
def test_a_page_comes_once_as_its_best_hit_with_its_new_rank(how):
    twice = [*ONE, *listed("q1", A=1.0)]
    merged = rank_fusion([twice, TWO, []], how=how)
    assert sorted(ids(merged)) == ["A", "B", "C", "D"] and [hit.rank for hit in merged] == [0, 1, 2, 3]
    assert {hit.id: (hit.query, hit.score) for hit in merged} == {
        "A": ("q1", 9.0),
        "B": ("q2", 8.0),
        "C": ("q1", 5.0),
        "D": ("q2", 7.5),
    }


def test_a_page_twice_in_one_list_has_one_rank_there():
    # B and D both have P = 2, and D the higher score; counted twice B would have P = 1 / (1/2 + 1/3)
    twice = [*listed("q1", X=9.0, B=1.0), *listed("q1", B=1.0)]
    assert ids(rank_fusion([twice, listed("q2", Y=8.0, D=5.0)])) == "XYDB"


@pytest.mark.parametrize("how", FUSIONS)
def test_nothing_found_is_an_empty_list_and_k_cuts(how):
    assert rank_fusion([], how=how) == rank_fusion([[], []], how=how) == []
    assert rank_fusion([ONE, TWO], how=how, k=2) == rank_fusion([ONE, TWO], how=how)[:2]


@pytest.mark.parametrize("how", ["consensus", "consensus_reversed", "reciprocal"])
def test_the_order_of_the_lists_decides_nothing_and_ids_decide_what_is_equal(how):
    # b at ranks 2, 3, 6 and a at 1 of another list: both sums are 1, which plain addition misses in some orders
    lists = [
        listed("q1", x=1, b=1),
        listed("q2", x=1, y=1, b=1),
        listed("q3", x=1, y=1, z=1, u=1, v=1, b=1),
        listed("q4", a=1),
    ]
    orders = {ids(rank_fusion(some, how=how)) for some in itertools.permutations(lists)}
    assert len(orders) == 1
    if how == "consensus":
        assert "ab" in orders.pop()


def test_a_page_without_a_score_loses_its_ties():
    assert ids(rank_fusion([listed("q1", A=math.nan), listed("q2", B=-3.0)])) == "BA"


@pytest.mark.parametrize("settings", [{"how": "sum"}, {"k": 0}])
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(SettingError, match="how is one of consensus"):
        rank_fusion([ONE], **settings)
