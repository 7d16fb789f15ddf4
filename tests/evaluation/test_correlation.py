from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import SettingError, ShapeError
from workbench.evaluation import rank_correlation
from workbench.evaluation.correlation import ranks

ONE = np.array([1.0, 2.0, 3.0, 4.0])
OTHER = np.array([1.0, 3.0, 2.0, 10.0])


def test_ranks_of_equal_values_are_shared():
    # 5 stands at rank 1, the two 7s at 2 and 3, the 9 at 4
    assert ranks(np.array([7.0, 5.0, 9.0, 7.0])).tolist() == [2.5, 1.0, 4.0, 2.5]


def test_coefficients_by_hand():
    # ranks 1 2 3 4 against 1 3 2 4: rho = 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15) = 0.8
    assert rank_correlation(ONE, OTHER).mean == pytest.approx(0.8)
    # of six pairs one is out of order: (5 - 1) / 6
    assert rank_correlation(ONE, OTHER, kind="kendall").mean == pytest.approx(2 / 3)
    # deviations -1.5 -.5 .5 1.5 and -3 -1 -2 6: 13 / sqrt(5 * 50)
    assert rank_correlation(ONE, OTHER, kind="pearson").mean == pytest.approx(13 / 250**0.5)


@pytest.mark.parametrize("kind", ["spearman", "kendall", "pearson"])
def test_coefficients_agree_with_scipy_ties_included(kind):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 6, size=(2, 60)).astype(float)
    other += one
    function = {"spearman": stats.spearmanr, "kendall": stats.kendalltau, "pearson": stats.pearsonr}[kind]
    assert rank_correlation(one, other, kind=kind, resamples=5).mean == pytest.approx(function(one, other).statistic)


def test_what_was_not_measured_is_left_out_and_what_does_not_vary_has_no_correlation():
    with_gap = rank_correlation(np.append(ONE, np.nan), np.append(OTHER, 0.0))
    assert with_gap.mean == pytest.approx(0.8) and with_gap.pairs == 4
    assert np.isnan(rank_correlation(ONE, np.ones(4)).mean)
    assert np.isnan(rank_correlation(ONE[:1], OTHER[:1]).low)


def test_the_interval_holds_the_coefficient_and_narrows_with_more_pairs():
    rng = np.random.default_rng(1)
    one = rng.normal(size=400)
    other = one + rng.normal(size=400)
    few, many = (rank_correlation(one[:n], other[:n], resamples=300) for n in (20, 400))
    assert few.low < few.mean < few.high and many.low < many.mean < many.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    # a bivariate normal with r = 1 / sqrt(2) has rho = 6 / pi * asin(r / 2) = 0.69
    assert many.low < 0.69 < many.high
    assert few == rank_correlation(one[:20], other[:20], resamples=300)


def test_copies_of_a_thing_are_no_further_evidence_where_they_are_one_cluster():
    rng = np.random.default_rng(2)
    one = rng.normal(size=12)
    other = one + rng.normal(size=12)
    apart = rank_correlation(one, other, resamples=300)
    copied = [np.repeat(values, 10) for values in (one, other)]
    alone = rank_correlation(*copied, resamples=300)
    together = rank_correlation(*copied, clusters=np.repeat(np.arange(12), 10), resamples=300)
    assert alone.high - alone.low < 0.6 * (together.high - together.low)
    assert together.high - together.low == pytest.approx(apart.high - apart.low, rel=0.3)


def test_what_is_no_pair_of_rows_is_refused():
    with pytest.raises(ShapeError):
        rank_correlation(ONE, OTHER[:3])
    with pytest.raises(SettingError):
        rank_correlation(ONE, OTHER, kind="cosine")
    with pytest.raises(SettingError):
        rank_correlation(ONE, OTHER, level=1.0)
