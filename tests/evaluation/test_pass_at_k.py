"""pass@k by hand and by counting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from workbench.errors import SettingError, ShapeError
from workbench.evaluation import pass_at_k


def test_by_counting_every_choice_of_k_rollouts():
    rng = np.random.default_rng(0)
    right_PG = (rng.random((6, 7)) < np.linspace(0, 1, 6)[:, None]).astype(float)
    for k in range(1, 8):
        counted = [np.mean([max(row[list(some)]) for some in combinations(range(7), k)]) for row in right_PG]
        np.testing.assert_allclose(pass_at_k(right_PG, k), counted)


def test_one_right_of_ten():
    right = np.zeros((1, 10))
    right[0, 3] = 1
    assert [round(float(pass_at_k(right, k)[0]), 12) for k in (1, 5, 10)] == [0.1, 0.5, 1.0]


def test_rollouts_that_were_not_scored_are_not_drawn():
    right = np.array([[1, 0, np.nan, np.nan], [0, np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(pass_at_k(right, 1), [0.5, 0.0])
    np.testing.assert_array_equal(pass_at_k(right, 2), [1.0, np.nan])


def test_wrong_shapes_and_counts_are_refused():
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        pass_at_k(np.zeros(3), 1)
    with pytest.raises(SettingError, match="got 0"):
        pass_at_k(np.zeros((1, 3)), 0)
