"""Products, gates, reductions and clips: what they pay, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import a_trajectory
from tests.rewards.paying import TWO, failing, paid, stepwise
from workbench.errors import LevelError
from workbench.rewards import (
    Clip,
    CoverageGain,
    ExactMatch,
    Gate,
    Product,
    ReduceSteps,
    TokenF1,
    WellFormed,
    reward_of,
)
from workbench.scores import Scores, Status
from workbench.trajectory import Trajectory

NAN = np.nan

# ---------------------------------------------------------------- products


def test_a_product_by_hand_and_zero_zeroes_all():
    assert (paid(0.5) * paid(0.5) * paid(-1.0))(TWO).value == -0.25
    assert (paid(0.0) * paid(9.0))(TWO).value == 0.0


def test_a_product_needs_every_factor():
    assert (paid(1.0) * paid(None))(TWO).status_S.tolist() == [Status.NOT_APPLICABLE]
    assert (paid(1.0) * failing())(TWO).status_S.tolist() == [Status.MISSING]
    assert (failing() * paid(None))(TWO).status_S.tolist() == [Status.MISSING]
    np.testing.assert_array_equal((stepwise(2.0, None) * stepwise(3.0, 1.0))(TWO).values_S, [6.0, NAN])


def test_products_are_flat_and_named_after_their_factors():
    product = ExactMatch() * TokenF1() * WellFormed()
    assert product.factors == (ExactMatch(), TokenF1(), WellFormed())
    assert product.name == "ExactMatch*TokenF1*WellFormed"


def test_products_clips_and_reductions_refuse_mixed_levels():
    mixed = ExactMatch() + CoverageGain()
    with pytest.raises(LevelError, match="Product needs one level, got step and trajectory"):
        ExactMatch() * CoverageGain()
    with pytest.raises(LevelError, match="Clip needs one level"):
        mixed.clip(0, 1)
    with pytest.raises(LevelError, match="ReduceSteps takes a reward of level step"):
        ReduceSteps(mixed)
    with pytest.raises(LevelError, match="ReduceSteps takes a reward of level step"):
        ReduceSteps(ExactMatch())
    with pytest.raises(LevelError, match="Gate needs"):
        Gate(CoverageGain(), ExactMatch())
    with pytest.raises(LevelError, match="Gate needs"):
        Gate(mixed, ExactMatch())


def test_the_range_of_a_product_takes_the_corners():
    assert Product((ExactMatch(wrong=-1.0), ExactMatch(wrong=-1.0))).range == (-1.0, 1.0)
    assert (ReduceSteps(CoverageGain()) * TokenF1()).range == (0.0, np.inf)


# ---------------------------------------------------------------- gates


def test_an_open_gate_pays_and_a_closed_one_pays_otherwise():
    assert Gate(paid(1.0), paid(0.7), -1.0)(TWO).value == 0.7
    assert Gate(paid(0.0), paid(0.7), -1.0)(TWO).value == -1.0
    assert Gate(paid(0.5), paid(0.7))(TWO).value == 0.0  # above 0.5, not from 0.5 on
    assert Gate(paid(0.3), paid(0.7), above=0.2)(TWO).value == 0.7


def test_a_closed_gate_pays_once_however_many_steps_it_closes():
    shut = Gate(paid(0.0), stepwise(1.0, 2.0), -1.0)(TWO)
    np.testing.assert_array_equal(shut.values_S, [NAN, -1.0])
    assert Gate(paid(1.0), stepwise(1.0, 2.0), -1.0)(TWO).values_S.tolist() == [1.0, 2.0]


def test_what_a_closed_gate_pays_is_a_score_even_when_it_is_zero():
    shut = Gate(paid(0.0), paid(1.0) + stepwise(1.0, 1.0))(TWO)
    assert shut.values_S[-1] == 0.0
    assert shut.parts[-1].name == "not paid"
    assert shut.parts[-1].scores.value == 0.0


def test_every_step_can_have_its_own_gate():
    gated = Gate(stepwise(1.0, 0.0), stepwise(0.7, 0.8), -1.0)
    assert gated(TWO).values_S.tolist() == [0.7, -1.0]
    skipping = Gate(stepwise(None, 1.0), stepwise(0.7, None), -1.0)
    np.testing.assert_array_equal(skipping(TWO).values_S, [NAN, NAN])


def test_a_gate_whose_condition_is_missing_is_missing_and_a_closed_one_does_not_ask():
    assert Gate(failing(), paid(1.0))(TWO).status_S.tolist() == [Status.MISSING]
    assert Gate(paid(None), paid(1.0))(TWO).status_S.tolist() == [Status.NOT_APPLICABLE]
    assert Gate(paid(0.0), failing(), -1.0)(TWO).value == -1.0


def test_the_terms_behind_a_gate_are_those_of_the_sum_and_always_the_same():
    gate = Gate(paid(1.0, "form"), paid(0.5, "a") + 2 * stepwise(0.0, 1.0, name="b"), -1.0)
    closed = Gate(paid(0.0, "form"), gate.then, -1.0)
    for reward in (gate, closed):
        parts = (0.5 * reward)(TWO).parts
        assert [(term.name, term.weight) for term in parts] == [("a", 0.5), ("b", 1.0), ("not form", 0.5)]
    assert (0.5 * gate)(TWO).total == pytest.approx(0.5 * (0.5 + 2.0))
    assert (0.5 * closed)(TWO).total == -0.5


# ---------------------------------------------------------------- fewer numbers, smaller numbers


@pytest.mark.parametrize(
    ("reduction", "value"),
    [
        (ReduceSteps(stepwise(0.5, None, 0.2, 0.8)), 1.5),
        (ReduceSteps(stepwise(0.5, None, 0.2, 0.8), discount=0.5), 0.5 + 0.1 + 0.2),  # over the scored steps
        (ReduceSteps(stepwise(0.5, None, 0.2, 0.8), "mean"), 0.5),
        (ReduceSteps(stepwise(0.5, None, 0.2, 0.8), "max"), 0.8),
        (ReduceSteps(stepwise(0.5, None, 0.2, 0.8), "min"), 0.2),
        (ReduceSteps(stepwise(0.5, 0.2, 0.8, None), "last"), 0.8),
        (ReduceSteps(stepwise(0.5, None, 0.2, 0.8), "count_below", threshold=0.5), 1.0),
        (ReduceSteps(stepwise(None, None, None, None), empty=0.25), 0.25),
    ],
)
def test_reductions_by_hand(reduction, value):
    four = a_trajectory(None, None, None, None)
    assert reduction(four).value == pytest.approx(value)


def test_a_reduction_of_nothing_is_not_applicable_and_of_a_missing_step_missing():
    assert ReduceSteps(stepwise(None, None))(TWO).status_S.tolist() == [Status.NOT_APPLICABLE]

    def half_judged(trajectory: Trajectory) -> Scores:
        scores = Scores.steps([1.0, NAN])
        scores.miss(1, "timed out")
        return scores

    reduced = ReduceSteps(reward_of(half_judged, level="step"))(TWO)
    assert reduced.status_S.tolist() == [Status.MISSING]
    assert reduced.why_S == ("step 1: timed out",)


def test_clipping_holds_values_and_leaves_the_unscored():
    np.testing.assert_array_equal(stepwise(2.0, None).clip(0, 1)(TWO).values_S, [1.0, NAN])
    assert Clip(paid(-3.0), low=-1.0)(TWO).value == -1.0
    assert paid(0.4).clip(0, 1).range == (0.0, 1.0)


def test_a_clipped_sum_is_one_term():
    parts = (ExactMatch() + (ExactMatch() + TokenF1()).clip(0, 1))(TWO).parts
    assert [term.name for term in parts] == ["ExactMatch", "WeightedSum"]
