from __future__ import annotations

import numpy as np
import torch

from tests.training.worlds import TASKS, Quiet, guesser, right
from workbench.sampling.evaluate import evaluate


def test_greedy_and_sampled():
    policy = guesser()
    with torch.no_grad():
        policy.table[:, 1] = 1.0  # yes: the right answer, likeliest but not sure
    greedy = evaluate(policy, TASKS, Quiet(), reward=right, progress=False)
    assert greedy.mean == 1.0 and greedy.interval() == (1.0, 1.0) and greedy.by_hops() == {1: 1.0}
    sampled = evaluate(policy, TASKS, Quiet(), reward=right, temperature=1.0, samples=200, progress=False)
    # e/(e+2) = 0.576 answer yes at once; 0.212 look and choose again, twice more at most:
    # 0.576 (1 + .212 + .212^2) = 0.724
    assert abs(sampled.mean - 0.724) < 0.05 and sampled.values_PG.shape == (5, 200)
    assert policy.temperature == 1.0


def test_rows_are_in_the_order_of_the_tasks():
    found = evaluate(guesser(), TASKS[::-1], Quiet(), reward=right, temperature=1.0, samples=3, progress=False)
    assert [tree.task.id for tree in found.trees] == [task.id for task in TASKS[::-1]]
    assert np.array_equal(found.hops_P, [1] * 5)
