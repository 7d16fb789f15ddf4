"""Scores against people: pairs, and labels of steps."""

import numpy as np
import pytest

from workbench.errors import SettingError, ShapeError
from workbench.evaluation import label_accuracy, preference_accuracy

NAN = float("nan")


def test_five_pairs_by_hand():
    scores_K2 = [[2, 1], [1, 2], [1, 1], [1, 1], [3, 0]]
    preferred_K = [1, 1, 0, 1, NAN]
    # right: the first (2 > 1) and the third (a tie that people saw too); the fifth is "both bad" and left out
    found = preference_accuracy(scores_K2, preferred_K)
    assert found.accuracy.mean == pytest.approx(2 / 4)
    # people preferred one in three pairs: right 1, wrong 0, tie 1/2
    assert found.auc.mean == pytest.approx(1.5 / 3)
    assert (found.items, found.ties, found.left_out) == (4, 2, 1)


def test_a_tie_counts_half_on_request_and_peoples_ties_are_left_out():
    found = preference_accuracy([[2, 1], [1, 2], [1, 1], [1, 1]], [1, 1, 0, 1], ties="half")
    assert found.accuracy.mean == pytest.approx(1.5 / 3)
    assert (found.items, found.left_out) == (3, 1)


def test_a_pair_without_a_score_is_left_out():
    found = preference_accuracy([[NAN, 1], [2, 1]], [1, 1])
    assert (found.accuracy.mean, found.items, found.left_out) == (1.0, 1, 1)


def test_six_labels_by_hand():
    scores_K = [0.9, 0.0, 0.5, 0.0, NAN, 0.7]
    labels_K = [1, 1, -1, -1, 1, 0]
    found = label_accuracy(scores_K, labels_K)
    # above 0 means good: 0.9 right, 0.0 wrong (good), 0.5 wrong (bad), 0.0 right
    assert found.accuracy.mean == pytest.approx(2 / 4)
    # pairs good against bad: .9>.5, .9>0, 0<.5, 0=0 -> (1 + 1 + 0 + .5) / 4
    assert found.auc.mean == pytest.approx(2.5 / 4)
    assert (found.items, found.ties, found.left_out) == (4, 1, 2)


def test_the_auc_is_that_of_all_pairs_counted_one_by_one():
    rng = np.random.default_rng(3)
    scores_K, labels_K = rng.integers(0, 6, 60) / 5, rng.choice([-1, 1], 60)
    good, bad = scores_K[labels_K == 1], scores_K[labels_K == -1]
    byhand = np.mean([(a > b) + (a == b) / 2 for a in good for b in bad])
    assert label_accuracy(scores_K, labels_K).auc.mean == pytest.approx(byhand)


def test_the_threshold_moves_the_accuracy_and_not_the_auc():
    scores_K, labels_K = [-0.2, -0.6, 0.0, -0.9], [1, -1, 1, -1]
    low, high = label_accuracy(scores_K, labels_K, above=-0.5), label_accuracy(scores_K, labels_K)
    assert (low.accuracy.mean, high.accuracy.mean) == (1.0, 0.5)
    assert low.auc == high.auc
    assert low.auc.mean == 1.0


def test_scores_that_say_nothing_have_half_the_area():
    found = label_accuracy(np.ones(10), [1, -1] * 5)
    assert (found.accuracy.mean, found.auc.mean) == (0.5, 0.5)


def test_one_kind_of_label_has_an_accuracy_and_no_auc():
    found = label_accuracy([1.0, -1.0], [1, 1])
    assert found.accuracy.mean == 0.5
    assert np.isnan(found.auc.mean)


def test_nothing_to_compare_is_nan():
    assert np.isnan(label_accuracy([NAN], [1]).accuracy.mean)
    assert np.isnan(preference_accuracy([[1, 0]], [NAN]).auc.mean)


def test_intervals_over_trajectories_are_wider_than_over_their_steps():
    # ten trajectories of ten steps each, all right or all wrong together
    scores_K, trajectories_K = np.repeat([1.0, -1.0] * 5, 10), np.repeat(np.arange(10), 10)
    labels_K = np.ones(100)
    labels_K[::7] = -1
    apart = label_accuracy(scores_K, labels_K)
    together = label_accuracy(scores_K, labels_K, clusters_K=trajectories_K)
    assert apart.accuracy.mean == together.accuracy.mean
    assert together.accuracy.high - together.accuracy.low > 2 * (apart.accuracy.high - apart.accuracy.low)


def test_bad_input_is_refused_with_its_value():
    with pytest.raises(ShapeError, match=r"\[K, 2\]"):
        preference_accuracy([1.0, 2.0], [1, 1])
    with pytest.raises(ShapeError, match="3 clusters"):
        label_accuracy([1.0], [1], clusters_K=[1, 2, 3])
    with pytest.raises(SettingError, match="got 2"):
        label_accuracy([1.0], [2])
    with pytest.raises(SettingError, match="got 0.5"):
        preference_accuracy([[1, 0]], [0.5])
    with pytest.raises(SettingError, match="'drop'"):
        preference_accuracy([[1, 0]], [1], ties="drop")
