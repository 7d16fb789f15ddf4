"""ZeroSearch: its worked examples, the small worlds of its proof, and the proof."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import a_trajectory
from workbench.errors import SettingError
from workbench.papers import load
from workbench.papers.zerosearch import CONTAINED, F1, PAPER, noise_schedule, orders, reinforce
from workbench.papers.zerosearch_world import (
    comparer,
    document_gradient,
    expected_length,
    expected_right,
    facts,
    lister,
    simulated,
    with_candidates,
)
from workbench.sampling.evaluate import evaluate
from workbench.text import normalize_answer
from workbench.training.train import train


def test_the_schedule_by_hand():
    # halfway (4 ** .5 - 1) / 3 = 1/3 of the way
    half = noise_schedule(updates=100)
    assert [half(i) for i in (0, 25, 50, 75, 100, 120)] == pytest.approx(
        [0, 0.069036, 1 / 6, 0.304738, 0.5, 0.5], abs=1e-6
    )
    assert noise_schedule(0.25, 0.75, 100)(50) == pytest.approx(0.25 + 1 / 6)
    assert [noise_schedule()(i) for i in (50, 150)] == pytest.approx([0.0678, 0.2975], abs=1e-4)
    assert noise_schedule(updates=100, base=1.0)(25) == 0.125  # the limit, where the formula has 0 / 0
    with pytest.raises(SettingError, match="updates is at least 1"):
        noise_schedule(updates=0)


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("Barack Hussein Obama", "Barack Obama", 0.8),  # 2 * 2 / (3 + 2)
        ("The Eiffel Tower in Paris France", "Eiffel Tower", 4 / 7),
        ("October 25, 1931", "1931", 0.5),
        ("Paris London Rome Berlin", "Rome", 0.4),
        ("Rome", "Rome", 1.0),
        ("the", "Rome", 0.0),  # nothing is left of it; a gold of which nothing is left is refused, see MissingGold
        (None, "Rome", 0.0),  # the released code raises here
    ],
)
def test_f1_by_hand(answer, gold, f1):
    assert F1(a_trajectory(["p1"], answer=answer, golds=(gold,))).value == pytest.approx(f1)


def test_only_f1_tells_a_padded_answer_from_an_honest_one():
    padded, honest = (a_trajectory(answer=text, golds=("Rome",)) for text in ("Paris London Rome Berlin", "Rome"))
    assert [CONTAINED(one).value for one in (padded, honest)] == [1.0, 1.0]
    assert [F1(one).value for one in (padded, honest)] == [0.4, 1.0]


def test_the_orders_hold_the_same_noise():
    noises = {arm: [noise(update) for update in range(1, 151)] for arm, noise in orders(3).items()}
    rising = noises["curriculum"]
    assert rising == sorted(rising) and rising[-1] == 0.7 and set(noises["constant"]) == {0.7}
    assert noises["reversed"] == rising[::-1]
    assert sorted(noises["random order"]) == rising != noises["random order"]


def test_what_is_expected_of_the_agent_is_what_it_gets():
    pages, tasks = facts(towns=20)
    assert len(pages) == 80 and all(normalize_answer(task.golds[0]) for task in tasks)
    policy = comparer()
    found = evaluate(policy, tasks, simulated(pages, 0.4), reward=F1, temperature=1.0, samples=60, progress=False)
    # 1,200 rollouts of a chance near 0.3: standard deviation 0.013
    assert found.mean == pytest.approx(expected_right(policy, 0.4), abs=0.04)


def test_the_released_method_runs_and_its_return_has_no_baseline():
    pages, tasks = facts(towns=4)
    run = train(comparer(), tasks, simulated(pages, 0.0), F1, method=reinforce(), updates=1, tasks_per_update=2)
    run.finish(show=False)
    advantages, batch = run.latest.advantages, run.latest.advantages.batch
    assert len(batch.returns_N) == 10 and 0 < batch.returns_N.sum() < 10
    for n, paid in enumerate(batch.returns_N):
        np.testing.assert_array_equal(advantages.values_S[batch.path(n)], paid)


def test_an_untrained_lister_strings_half_together():
    _, tasks = facts(towns=20)
    listed = with_candidates(tasks, 0)
    assert expected_length(lister()) == pytest.approx(3.5)
    assert all(len(set(task.extras["candidates"])) == 6 for task in listed)
    assert sum(task.extras["candidates"][0] == task.golds[0] for task in listed) == 12
    assert all(task.golds[0] in task.extras["candidates"] for task in listed)


def test_documents_have_no_gradient_under_the_mask():
    pages, tasks = facts(towns=10)
    masked, bare = (document_gradient(tasks, simulated(pages, 0.0), masked=one, seed=1) for one in (True, False))
    assert masked == 0.0 and bare > 0.01


def test_it_is_in_the_gallery():
    assert load("21") is PAPER


@pytest.mark.slow
def test_the_proof_holds():
    found = PAPER.proof(1)
    assert found.verdict == PAPER.verdict, [check for check in found.checks if not check.holds]
    assert "not reproduced" in found.reported[0]
