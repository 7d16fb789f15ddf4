"""Generalised advantage estimation by hand, and what it must not look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_batch, a_trajectory, a_tree, own_then_foreign
from workbench.batch import FlatBatch, flat_batch
from workbench.credit import GAE, return_to_go
from workbench.errors import SettingError
from workbench.scores import Level, Scores, Status
from workbench.trajectory import End, Trajectory

NAN = np.nan
V = [0.2, 0.3, 0.4, 0.5, 0.6]
PLAIN = GAE(whiten=False)


def turns(*own: int, foreign: int = 0) -> Trajectory:
    """Turns of so many own tokens, each followed by `foreign` ones of the environment."""
    whole = a_trajectory(*[None] * len(own), tokens=1)
    steps = [replace(step, tokens=own_then_foreign(n, foreign)) for step, n in zip(whole.steps, own, strict=True)]
    return replace(whole, steps=tuple(steps))


def valued(batch: FlatBatch, values: list[float]) -> FlatBatch:
    """The batch with values of its own tokens, and of its steps as of their first token."""
    values_T = np.array(values)
    return replace(batch, values_T=values_T, values_S=values_T[batch.first_token_S])


@pytest.mark.parametrize("per", ["token", "step"])
@pytest.mark.parametrize(
    ("rewards", "lam", "advantages"),
    [  # card 37, worked example 3
        ([0, 0, 0, 0, 1], 1.0, [0.8, 0.7, 0.6, 0.5, 0.4]),
        ([0, 0, 0, 0, 1], 0.95, [0.6968, 0.6282, 0.556, 0.48, 0.4]),
        ([0, 0.5, 0, 0, 0.5], 1.0, [0.8, 0.7, 0.1, 0, -0.1]),
    ],
)
def test_a_trajectory_by_hand(rewards, lam, advantages, per):
    found = GAE(lam=lam, per=per, whiten=False)(valued(a_batch([rewards]), V))
    np.testing.assert_allclose(found.values_S, advantages, atol=1e-4)
    np.testing.assert_allclose(found.targets_T, found.values_S + V, atol=1e-12)


def test_the_reward_of_a_turn_lands_on_its_last_token_and_is_carried_across_what_the_environment_wrote():
    # two turns of 2 and 3 own tokens, with 4 foreign ones after the first: nothing of these is valued or discounted
    batch = flat_batch([a_tree(turns(2, 3, foreign=4))], [[Scores.steps([1, 2])]])
    found = GAE(gamma=0.5, whiten=False)(valued(batch, [0.0] * 5))
    # from the end: 2, 1, 0.5 of the second turn; 1 + 0.5 * 0.5 at the end of the first
    np.testing.assert_allclose(found.values_T, [0.625, 1.25, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(found.values_S, [(0.625 + 1.25) / 2, 3.5 / 3])


def test_without_values_and_with_lambda_one_it_is_the_return_to_go():
    batch = a_batch([[1, NAN, 4], [0, 2]], [[0.5, -1]], tokens=3)
    found = PLAIN(valued(batch, [0.0] * 21))
    np.testing.assert_allclose(found.values_S, return_to_go(batch))
    np.testing.assert_allclose(found.values_T, np.repeat(return_to_go(batch), 3))


def test_token_rewards_count_where_they_stand():
    values_T = np.array([0.5, 0, 0, NAN, -1.0])
    scores = Scores(values_T, np.where(np.isnan(values_T), Status.NOT_APPLICABLE, Status.SCORED), level=Level.TOKEN)
    batch = flat_batch([a_tree(turns(2, 3, foreign=1))], [[scores]])
    found = PLAIN(valued(batch, [0.0] * 5))
    np.testing.assert_allclose(found.values_T, [-0.5, -1.0, -1.0, -1.0, -1.0])


def test_the_discount_of_a_step_comes_on_top_of_gamma():
    batch = replace(a_batch([[0, 0, 8]], tokens=2), discount_S=np.array([0.5, 1.0, 1.0]))
    found = GAE(gamma=0.5, whiten=False)(valued(batch, [0.0] * 6))
    np.testing.assert_allclose(found.values_T, [8 / 64, 8 / 32, 1.0, 2.0, 4.0, 8.0])


def test_a_step_without_tokens_of_its_own_is_paid_at_the_last_one_before_it():
    batch = flat_batch([a_tree(turns(2, 0, 1))], [[Scores.steps([0, 5, 1])]])
    found = PLAIN(replace(batch, values_T=np.zeros(3)))
    np.testing.assert_allclose(found.values_T, [6.0, 6.0, 1.0])
    np.testing.assert_allclose(found.values_S, [6.0, 0.0, 1.0])


def test_a_shared_token_takes_the_mean_over_the_rows_that_are_trained_on():
    first = a_trajectory(None, None, id="a", end=End.ANSWERED)
    second = a_trajectory(None, id="b", shared=first.steps[:1], end=End.ANSWERED)
    third = a_trajectory(None, id="c", shared=first.steps[:1], end=End.PRUNED)
    scores = [Scores.steps([1, 2.0]), Scores.steps([1, 6.0]), Scores.steps([1, 100.0])]
    batch = flat_batch([a_tree(first, second, third)], [scores])
    found = GAE(per="step", whiten=False)(replace(batch, values_S=np.array([3.0, 1.0, 1.0, 1.0])))
    np.testing.assert_allclose(found.values_S, [1 + (2 + 6) / 2 - 3, 2 - 1, 6 - 1, 0])  # nobody trains on the last


def test_a_rollout_that_is_not_scored_is_neither_credited_nor_learned_from():
    scores = Scores.trajectory(1.0)
    lost = Scores.unscored(1, Status.MISSING, level=scores.level)
    both = [a_trajectory(None, id=id, tokens=2) for id in "ab"]
    batch = flat_batch([a_tree(*both)], [[scores, lost]])
    found = PLAIN(valued(batch, [0.5] * int(batch.tokens_S.sum())))
    own = batch.tokens_S[0]
    assert (found.values_T[:own] == 0.5).all() and (found.values_T[own:] == 0).all()
    assert np.isnan(found.targets_T[own:]).all() and not np.isnan(found.targets_T[:own]).any()


def test_whitened_advantages_have_mean_0_and_std_1_over_what_is_trained_on_and_targets_stay():
    batch = valued(a_batch([[0, 1], [1, 0]], [[0.3]], ends={"0.1": End.FAILED}), [0.1] * 5)
    plain, white = PLAIN(batch), GAE()(batch)
    trained = ~np.isnan(plain.targets_T)
    assert trained.tolist() == [True, True, False, False, True]
    assert white.values_T[trained].mean() == pytest.approx(0, abs=1e-12)
    assert white.values_T[trained].std(ddof=1) == pytest.approx(1, rel=1e-6)
    assert (white.values_T[~trained] == 0).all()
    np.testing.assert_array_equal(white.targets_T, plain.targets_T)


def test_equal_advantages_are_whitened_to_nothing():
    assert (GAE()(valued(a_batch([[1], [1]]), [0.2, 0.2])).values_T == 0).all()


def test_a_batch_that_no_critic_looked_at_is_refused():
    with pytest.raises(SettingError, match="value of every token, and 2 have none"):
        GAE()(a_batch([[1, 0]]))
    with pytest.raises(SettingError, match="value of every step"):
        GAE(per="step")(a_batch([[1, 0]]))


def test_a_long_trajectory_beside_many_short_ones():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=n).tolist() for n in (200, *[3] * 50)]
    values = rng.normal(size=sum(map(len, rows))).tolist()
    found = GAE(gamma=0.9, lam=0.8, whiten=False)(valued(a_batch(rows), values))
    expected, at = [], 0
    for row in rows:
        v, carried = [*values[at : at + len(row)], 0.0], 0.0
        out = []
        for t in reversed(range(len(row))):
            carried = row[t] + 0.9 * v[t + 1] - v[t] + 0.9 * 0.8 * carried
            out.append(carried)
        expected, at = expected + out[::-1], at + len(row)
    np.testing.assert_allclose(found.values_T, expected)
