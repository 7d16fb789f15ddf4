"""What each kind of end is paid and whether it counts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import a_batch, a_trajectory, a_tree
from workbench.batch import flat_batch
from workbench.errors import ScoreError
from workbench.rewards import EndCase, EndRule, ExactMatch, score
from workbench.scores import Level, Scores
from workbench.spec import dumps, loads
from workbench.trajectory import End

ENDS = {"0.1": End.TRUNCATED, "0.2": End.FAILED, "0.3": End.PRUNED}


def four_ends():
    return a_batch([[0, 1], [0.5, 0.5], [1], [1]], ends=ENDS)


def test_by_default_failed_and_pruned_rollouts_do_not_count():
    batch = EndRule()(four_ends())
    assert batch.in_baseline_N.tolist() == [True, True, False, False]
    assert batch.in_gradient_N.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(batch.returns_N, [1, 1, 1, 1])


def test_an_end_is_paid_a_value_instead_of_what_its_steps_earned():
    batch = EndRule(truncated=EndCase(pay=0.0), pruned=EndCase(pay=-1.0))(four_ends())
    np.testing.assert_array_equal(batch.returns_N, [1, 0, 1, -1])
    assert batch.names_R == ("reward", "EndRule")
    assert batch.in_gradient_N.tolist() == [True, True, False, True]


def test_over_long_rollouts_keep_their_place_in_the_baseline():
    batch = EndRule(truncated=EndCase(in_gradient=False))(four_ends())
    assert batch.in_baseline_N[1]
    assert not batch.in_gradient_N[1]
    assert len(batch.names_R) == 1


def test_a_failed_rollout_whose_judge_failed_can_still_be_paid():
    tree = a_tree(a_trajectory(None, id="a", end=End.FAILED))
    batch = flat_batch([tree], [[Scores.missing("no reply")]])
    assert np.isnan(batch.returns_N).all()
    assert EndRule(failed=EndCase(pay=-1.0))(batch).returns_N.tolist() == [-1.0]


def test_steps_that_siblings_share_keep_what_they_earned():
    first = a_trajectory(("p1",), answer="Paris", id="a")
    second = a_trajectory(None, id="b", shared=first.steps[:1])
    batch = flat_batch([a_tree(first, second)], [[Scores.steps([0.5, 1.0]), Scores.steps([0.5, 0.25])]])
    paid = EndRule(truncated=EndCase(pay=-1.0))(batch)
    assert batch.returns_N.tolist() == [1.5, 0.75]
    assert paid.returns_N.tolist() == [1.5, -0.5]


def test_an_end_inside_another_trajectory_cannot_be_paid():
    long = a_trajectory(None, None, id="a", end=End.ANSWERED)
    short = a_trajectory(id="b", shared=long.steps[:1])
    trees = [a_tree(long, short)]
    batch = flat_batch(trees, score(trees, ExactMatch()))
    with pytest.raises(ScoreError, match="ends on a step that others go through"):
        EndRule(truncated=EndCase(pay=0.0))(batch)


def test_token_level_terms_are_replaced_as_well():
    trees = [a_tree(a_trajectory(None, id="a", tokens=2), a_trajectory(None, id="b", tokens=2, end=End.ANSWERED))]
    costs = Scores(np.array([1.0, 2.0]), np.zeros(2), level=Level.TOKEN)
    batch = flat_batch(trees, [[costs, costs]])
    assert batch.returns_N.tolist() == [3.0, 3.0]
    assert EndRule(truncated=EndCase(pay=-1.0))(batch).returns_N.tolist() == [-1.0, 3.0]


def test_a_rule_goes_into_the_store_and_comes_back():
    rule = EndRule(truncated=EndCase(pay=0.0, in_gradient=False))
    assert loads(dumps(rule)) == rule
