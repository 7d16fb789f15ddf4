"""Advantages by hand, and the laws they keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_batch, a_trajectory, a_tree
from workbench.batch import flat_batch
from workbench.credit import (
    GAE,
    BatchBaseline,
    GroupAdvantage,
    LeaveOneOut,
    group_advantages,
    leave_one_out,
    return_to_go,
    sample_masks,
)
from workbench.errors import MissingTokens, SettingError, ShapeError
from workbench.scores import Scores
from workbench.spec import PARTS, dumps, loads
from workbench.trajectory import End

NAN = np.nan
ONE = np.zeros(5, dtype=np.int64)


# ---------------------------------------------------------------- group_advantages


def test_grpo_of_the_card_divides_by_the_sample_std():
    # mean 0.2, sample std sqrt(0.8 / 4): 0.8 / 0.4472 = 1.7889; with the population std 2.0 and -0.5
    winner = np.array([1.0, 0, 0, 0, 0])
    advantages_N = group_advantages(winner, ONE, scale="std")
    np.testing.assert_allclose(advantages_N, [1.7889] + [-0.4472] * 4, atol=5e-5)
    np.testing.assert_allclose(group_advantages(winner, ONE, scale="std", ddof=0, eps=0.0), [2] + [-0.5] * 4)
    two = group_advantages(np.array([1.0, 1, 0, 0, 0]), ONE, scale="std")
    np.testing.assert_allclose(two, [1.0954] * 2 + [-0.7303] * 3, atol=5e-5)


def test_one_winner_of_four_as_the_libraries_have_it():
    winner_N, group_N = np.array([1.0, 0, 0, 0]), np.zeros(4, dtype=np.int64)
    figures = [group_advantages(winner_N, group_N, scale="std", ddof=ddof, eps=0.0)[0] for ddof in (0, 1)]
    assert figures == pytest.approx([3**0.5, 1.5])
    assert group_advantages(winner_N, group_N)[0] == 0.75


def test_groups_of_any_size_are_centred_apart():
    returns_N, group_N = np.array([1.0, 10.0, 0.0, 20.0, 30.0]), np.array([0, 1, 0, 1, 1])
    assert group_advantages(returns_N, group_N).tolist() == [0.5, -10.0, -0.5, 0.0, 10.0]


def test_a_nan_return_joins_neither_mean_nor_std_and_gets_nothing():
    returns_N = np.array([1.0, NAN, 0.0, NAN, 0.5])
    assert group_advantages(returns_N, ONE).tolist() == [0.5, 0.0, -0.5, 0.0, 0.0]
    # sample std of 1, 0, 0.5 is 0.5
    assert group_advantages(returns_N, ONE, scale="std", eps=0.0).tolist() == [1.0, 0.0, -1.0, 0.0, 0.0]


@pytest.mark.parametrize("scale", ["none", "std"])
def test_equal_returns_give_exactly_zero(scale):
    # 0.1 * 3 / 3 is not 0.1 in floating point
    assert group_advantages(np.full(5, 0.1), ONE, scale=scale).tolist() == [0.0] * 5
    assert group_advantages(np.full(5, NAN), ONE, scale=scale).tolist() == [0.0] * 5


def test_a_group_of_one_gets_nothing_or_its_raw_return():
    alone, group_N = np.array([0.7, 5.0, 3.0]), np.array([0, 1, 1])
    assert group_advantages(alone, group_N).tolist() == [0.0, 1.0, -1.0]
    assert group_advantages(alone, group_N, lone="raw").tolist() == [0.7, 1.0, -1.0]
    assert group_advantages(alone, group_N, scale="std", lone="raw")[0] == pytest.approx(0.7 / (1 + 1e-6))


def test_a_rollout_outside_the_baseline_is_compared_with_it():
    # card 23: returns 1, .2, .9, 0 with .9 masked; kept mean .4, population std .4320
    returns_N, inside_N = np.array([1.0, 0.2, 0.9, 0.0]), np.array([True, True, False, True])
    advantages_N = group_advantages(returns_N, ONE[:4], scale="std", ddof=0, in_baseline_N=inside_N)
    np.testing.assert_allclose(advantages_N[inside_N], [1.389, -0.463, -0.926], atol=5e-4)
    assert advantages_N[2] == pytest.approx((0.9 - 0.4) / 0.4320, abs=1e-3)


def test_against_equal_siblings_there_is_a_difference_but_no_scale():
    returns_N, inside_N = np.array([0.5, 0.5, 2.0]), np.array([True, True, False])
    assert group_advantages(returns_N, ONE[:3], in_baseline_N=inside_N).tolist() == [0.0, 0.0, 1.5]
    assert group_advantages(returns_N, ONE[:3], scale="std", in_baseline_N=inside_N).tolist() == [0.0, 0.0, 0.0]


def test_with_nobody_in_the_baseline_there_is_no_advantage():
    assert group_advantages(np.ones(5), ONE, in_baseline_N=np.zeros(5, dtype=bool)).tolist() == [0.0] * 5


def test_advantages_do_not_change_when_all_returns_are_shifted_or_with_std_scaled():
    rng = np.random.default_rng(0)
    returns_N, group_N = rng.normal(size=40), rng.integers(0, 7, size=40)
    for scale in ("none", "std"):
        plain = group_advantages(returns_N, group_N, scale=scale, eps=0.0)
        shifted = group_advantages(returns_N + 3.0, group_N, scale=scale, eps=0.0)
        np.testing.assert_allclose(shifted, plain, atol=1e-12)
        np.testing.assert_allclose(np.bincount(group_N, plain), 0.0, atol=1e-12)
    np.testing.assert_allclose(group_advantages(5 * returns_N, group_N, scale="std", eps=0.0), plain, atol=1e-12)


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"must all be \[N\]"):
        group_advantages(np.zeros((2, 2)), np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(ShapeError, match=r"must all be \[N\]"):
        leave_one_out(np.zeros(3), np.zeros(2, dtype=np.int64))


# ---------------------------------------------------------------- leave one out


def test_leave_one_out_by_hand():
    # others' means: 0.5, 1, 1.5 -> 1.5, 0, -1.5; that is 3/2 of the centred returns
    returns_N = np.array([2.0, 1.0, 0.0])
    assert leave_one_out(returns_N, ONE[:3]).tolist() == [1.5, 0.0, -1.5]
    np.testing.assert_allclose(leave_one_out(returns_N, ONE[:3]), 1.5 * group_advantages(returns_N, ONE[:3]))


def test_leave_one_out_of_awkward_groups():
    assert leave_one_out(np.array([0.7]), ONE[:1]).tolist() == [0.0]
    assert leave_one_out(np.full(3, 0.1), ONE[:3]).tolist() == [0.0] * 3
    assert leave_one_out(np.array([1.0, NAN, 0.0]), ONE[:3]).tolist() == [1.0, 0.0, -1.0]
    # the third is not in the baseline: it is compared with the mean of both others, 0.5
    inside_N = np.array([True, True, False])
    assert leave_one_out(np.array([1.0, 0.0, 2.0]), ONE[:3], in_baseline_N=inside_N).tolist() == [1.0, -1.0, 1.5]


# ---------------------------------------------------------------- on batches


def test_the_total_return_goes_to_every_step():
    advantages = GroupAdvantage()(a_batch([[0, 1], [0, 0, 0]], [[0.5], [0.5]]))
    assert advantages.values_S.tolist() == [0.5, 0.5, -0.5, -0.5, -0.5, 0.0, 0.0]
    assert advantages.equal_groups == 1
    assert advantages.values_T is None


def test_rows_outside_the_gradient_get_nothing():
    batch = a_batch([[0, 1], [0, 0], [1, 1]], ends={"0.1": End.FAILED})
    # the failed one is in neither: mean of 1 and 2
    assert GroupAdvantage()(batch).values_S.tolist() == [-0.5, -0.5, 0.0, 0.0, 0.5, 0.5]
    keep_in_mean = replace(batch, in_baseline_N=np.ones(3, dtype=bool))
    assert GroupAdvantage()(keep_in_mean).values_S.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]


def test_a_missing_score_takes_its_rollout_out():
    trees = [a_tree(*(a_trajectory(None, id=id) for id in "abc"))]
    batch = flat_batch(trees, [[Scores.trajectory(1.0), Scores.missing("no reply"), Scores.trajectory(0.0)]])
    for credit in (GroupAdvantage(), GroupAdvantage(returns="to_go"), BatchBaseline(), LeaveOneOut()):
        values_S = credit(batch).values_S
        assert values_S[1] == 0.0
        assert values_S[0] == -values_S[2] > 0


def test_group_advantage_of_step_rewards_from_each_step_on():
    # to go: [2, 1] and [1, 1]; index 0: mean 1.5, index 1: equal
    advantages = GroupAdvantage(returns="to_go")(a_batch([[1, 1], [0, 1]]))
    assert advantages.values_S.tolist() == [0.5, 0.0, -0.5, 0.0]
    assert advantages.equal_groups == 0
    assert GroupAdvantage()(a_batch([[1, 1], [0, 1]])).values_S.tolist() == [0.5, 0.5, -0.5, -0.5]


def test_an_index_that_one_rollout_alone_reached_teaches_nothing():
    batch = a_batch([[0, 0, 1], [0]])
    assert GroupAdvantage(returns="to_go")(batch).values_S.tolist() == [0.5, 0.0, 0.0, -0.5]


def test_group_advantage_to_go_scales_by_the_std_of_the_index():
    # index 0: to go 3 and 1, mean 2, sample std sqrt 2
    advantages = GroupAdvantage(returns="to_go", scale="std", eps=0.0)(a_batch([[3], [1]]))
    np.testing.assert_allclose(advantages.values_S, [0.5**0.5, -(0.5**0.5)])


def test_groups_whose_every_index_is_equal_are_counted():
    batch = a_batch([[1, 0], [1, 0]], [[0, 1], [1, 0]], [[2], [2]])
    # in the second group the totals are equal, the returns to go at index 1 are not
    assert GroupAdvantage(returns="to_go")(batch).equal_groups == 2
    assert GroupAdvantage()(batch).equal_groups == 3


def test_a_shared_step_takes_the_mean_over_the_rows_through_it():
    first = a_trajectory(None, None, id="a", end=End.ANSWERED)
    second = a_trajectory(None, id="b", shared=first.steps[:1], end=End.ANSWERED)
    third = a_trajectory(None, None, id="c", end=End.ANSWERED)
    scores = [Scores.steps([0, 3.0]), Scores.steps([0, 0.0]), Scores.steps([0, 0.0])]
    batch = flat_batch([a_tree(first, second, third)], [scores])
    # totals 3, 0, 0, mean 1: 2, -1, -1; the step shared by the first two: 0.5
    assert GroupAdvantage()(batch).values_S.tolist() == [0.5, 2.0, -1.0, -1.0, -1.0]
    assert GroupAdvantage(returns="to_go")(batch).values_S.tolist() == [0.5, 2.0, -1.0, -1.0, -1.0]
    # leave one out: 3, -1.5, -1.5
    assert LeaveOneOut()(batch).values_S.tolist() == [0.75, 3.0, -1.5, -1.5, -1.5]


def test_a_new_weight_changes_the_advantages_at_once():
    batch = a_batch([[1.0], [0.0]])
    assert GroupAdvantage()(batch.reweighted(reward=4.0)).values_S.tolist() == [2.0, -2.0]


def test_an_empty_batch_has_no_advantages():
    empty = flat_batch([], [])
    for credit in (GroupAdvantage(), GroupAdvantage(returns="to_go"), LeaveOneOut(), BatchBaseline(scale="std")):
        assert credit(empty).values_S.shape == (0,)
        assert credit(empty).equal_groups == 0


# ---------------------------------------------------------------- returns to go


def test_returns_to_go_by_hand():
    batch = a_batch([[1, NAN, 4]])
    assert return_to_go(batch).tolist() == [5.0, 4.0, 4.0]
    # discount 0.5 after each step: 1 + 0.5 (0 + 0.5 * 4) = 2
    halved = replace(batch, discount_S=np.full(3, 0.5))
    assert return_to_go(halved).tolist() == [2.0, 2.0, 4.0]


def test_one_discount_inside_an_episode_and_one_across():
    # card 36: two episodes of two steps, 1 inside and 0.5 across
    batch = replace(a_batch([[0, 1, 0, 2]]), discount_S=np.array([1.0, 0.5, 1.0, 1.0]))
    assert return_to_go(batch).tolist() == [2.0, 2.0, 2.0, 2.0]


def test_a_shared_step_returns_the_mean_over_the_gradient_rows_below_it():
    first = a_trajectory(None, None, id="a", end=End.ANSWERED)
    second = a_trajectory(None, id="b", shared=first.steps[:1], end=End.ANSWERED)
    third = a_trajectory(None, id="c", shared=first.steps[:1], end=End.PRUNED)
    scores = [Scores.steps([1, 2.0]), Scores.steps([1, 6.0]), Scores.steps([1, 100.0])]
    batch = flat_batch([a_tree(first, second, third)], [scores])
    # 1 + (2 + 6) / 2; nobody trains on the pruned step
    np.testing.assert_array_equal(return_to_go(batch), [5.0, 2.0, 6.0, NAN])


# ---------------------------------------------------------------- batch baselines


def test_plain_reinforce_is_the_raw_return():
    batch = a_batch([[0, 1]], [[0.5]])
    assert BatchBaseline(baseline="none")(batch).values_S.tolist() == [1.0, 1.0, 0.5]
    assert BatchBaseline(baseline="none", returns="total")(batch).values_S.tolist() == [1.0, 1.0, 0.5]
    early = a_batch([[1, 0]])
    assert BatchBaseline(baseline="none")(early).values_S.tolist() == [1.0, 0.0]
    assert BatchBaseline(baseline="none", returns="total")(early).values_S.tolist() == [1.0, 1.0]


def test_the_batch_mean_by_what_counts_once():
    # returns to go 4, 4, 4 | 0; own tokens 2 a step
    batch = a_batch([[0, 0, 4]], [[0]], tokens=2)
    assert BatchBaseline()(batch).values_S.tolist() == [1.0, 1.0, 1.0, -3.0]
    assert BatchBaseline(per="trajectory")(batch).values_S.tolist() == pytest.approx([2.0, 2.0, 2.0, -2.0])
    longer = replace(batch, tokens_S=np.array([1, 1, 1, 9]))
    assert BatchBaseline(per="token")(longer).values_S.tolist() == [3.0, 3.0, 3.0, -1.0]


def test_a_baseline_for_each_step_index():
    # index 0: 3 and 1; index 1: 1 alone
    assert BatchBaseline(baseline="step")(a_batch([[2, 1]], [[1]])).values_S.tolist() == [1.0, 0.0, -1.0]


def test_reinforce_plus_plus_whitens_over_the_batch():
    plus = BatchBaseline(scale="std", per="token", eps=0.0)
    values_S = plus(a_batch([[3]], [[1]], [[1]], [[3]])).values_S
    assert values_S.tolist() == [1.0, -1.0, -1.0, 1.0]


def test_whitening_equal_returns_gives_zero():
    assert BatchBaseline(scale="std")(a_batch([[0.1]], [[0.1]], [[0.1]])).values_S.tolist() == [0.0] * 3


def test_rows_outside_the_baseline_do_not_move_it():
    batch = a_batch([[1]], [[0]], [[50]], ends={"2.0": End.FAILED})
    assert BatchBaseline()(batch).values_S.tolist() == [0.5, -0.5, 0.0]


def test_counting_tokens_needs_tokens():
    with pytest.raises(MissingTokens, match="use per='step'"):
        BatchBaseline(per="token")(a_batch([[1.0]], tokens=0))


# ---------------------------------------------------------------- masks


def test_masks_take_rollouts_out_and_never_back_in():
    batch = a_batch([[1], [0], [2]], ends={"0.2": End.FAILED})
    masked = sample_masks(batch, gradient_N=np.array([True, False, True]), baseline_N=np.array([True, True, True]))
    assert masked.in_gradient_N.tolist() == [True, False, False]
    assert masked.in_baseline_N.tolist() == [True, True, False]


def test_groups_that_are_too_small_are_skipped_whole():
    batch = a_batch([[1], [0]], [[1], [0]])
    masked = sample_masks(batch, baseline_N=np.array([True, False, True, True]), smallest_group=2)
    assert masked.in_gradient_N.tolist() == [False, False, True, True]


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ShapeError, match="must be"):
        sample_masks(a_batch([[1]]), gradient_N=np.ones(2, dtype=bool))


# ---------------------------------------------------------------- as parts

CREDITS = (
    GroupAdvantage(),
    GroupAdvantage(scale="std", returns="to_go", ddof=0, eps=1e-4, lone="raw"),
    LeaveOneOut(),
    BatchBaseline(),
    BatchBaseline(baseline="step", scale="std", returns="total", per="trajectory", eps=0.1),
    GAE(),
)


def a_valued_batch(*groups, **settings):
    """A batch in which every token is expected to bring 0.1, the next one 0.2, and so on."""
    batch = a_batch(*groups, **settings)
    values_T = 0.1 * np.arange(1, len(batch.owner_T) + 1)
    return replace(batch, values_T=values_T, values_S=values_T[batch.first_token_S])


def test_every_credit_of_the_room_is_tried_here():
    room = {cls for cls in PARTS.values() if cls.__module__.startswith("workbench.credit")}
    assert room == {type(credit) for credit in CREDITS}


@pytest.mark.parametrize("credit", CREDITS, ids=repr)
def test_a_credit_is_stored_does_not_change_its_batch_and_repeats_itself(credit):
    batch = a_valued_batch([[1, 0], [0, 0.5], [1]], [[0.3], [0.3]], ends={"0.2": End.FAILED})
    before = batch.terms_RS.copy()
    first = credit(batch)
    assert loads(dumps(credit)) == credit
    np.testing.assert_array_equal(loads(dumps(credit))(batch).values_S, first.values_S)
    np.testing.assert_array_equal(batch.terms_RS, before)
    assert first.values_S.shape == batch.parent_S.shape
    assert first.batch is batch
    assert np.isfinite(first.values_S).all()


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (GroupAdvantage, "scale", "range"),
        (GroupAdvantage, "returns", "discounted"),
        (GroupAdvantage, "ddof", 2),
        (GroupAdvantage, "eps", -1.0),
        (GroupAdvantage, "lone", "one"),
        (BatchBaseline, "baseline", "group"),
        (BatchBaseline, "scale", "range"),
        (BatchBaseline, "returns", "discounted"),
        (BatchBaseline, "per", "group"),
        (BatchBaseline, "eps", -1.0),
        (GAE, "gamma", 0.0),
        (GAE, "lam", 1.5),
        (GAE, "per", "turn"),
        (GAE, "eps", -1.0),
    ],
)
def test_settings_outside_what_is_allowed_are_refused(cls, name, value):
    with pytest.raises(SettingError, match=str(value)):
        cls(**{name: value})


@pytest.mark.parametrize(
    ("credit", "name", "value"),
    [
        (GroupAdvantage(scale="std"), "scale", "none"),
        (GroupAdvantage(scale="std"), "returns", "to_go"),
        (GroupAdvantage(scale="std"), "ddof", 0),
        (GroupAdvantage(scale="std"), "eps", 0.1),
        (GroupAdvantage(scale="std"), "lone", "raw"),
        (BatchBaseline(scale="std"), "baseline", "step"),
        (BatchBaseline(scale="std"), "scale", "none"),
        (BatchBaseline(scale="std"), "returns", "total"),
        (BatchBaseline(scale="std"), "per", "trajectory"),
        (BatchBaseline(scale="std"), "eps", 0.1),
        (GAE(), "gamma", 0.5),
        (GAE(), "lam", 0.5),
        (GAE(), "per", "step"),
        (GAE(), "whiten", False),
        (GAE(), "eps", 0.1),
    ],
)
def test_every_setting_has_an_effect(credit, name, value):
    batch = a_valued_batch([[1, 0.2], [0, 0.5], [0.4]], [[0.3]], tokens=2)
    changed = replace(credit, **{name: value})(batch).values_S
    assert not np.array_equal(changed, credit(batch).values_S)
