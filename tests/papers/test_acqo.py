"""ACQO: its pieces through the parts, and the proof. Its worked numbers stand in tests/test_fusion.py and
tests/rewards/test_ranked.py, with the parts that compute them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.papers import load
from workbench.papers.acqo import PAPER, SOLVED, SPARSE, TEMPLATE, acqo
from workbench.papers.acqo_world import KINDS, REWRITES, SplitWorld, rewrites
from workbench.rewards import RankedGold
from workbench.spec import dumps, loads
from workbench.trajectory import End, Hit, Step, Task, Trajectory

TASK = Task("t", "?", gold_pages=frozenset({"g1", "g2"}))


def turn(text: str, *found: str) -> Trajectory:
    """One turn as the template reads it; each query finds the pages of one text, a page a letter or g1, g2."""
    parsed = TEMPLATE.parse(text)
    lists = [tuple(Hit(id, "", "", 9.0 - n) for n, id in enumerate(ids.split())) for ids in found]
    calls = tuple(replace(call, hits=hits) for call, hits in zip(parsed.calls, lists, strict=True))
    return Trajectory("t", TASK, (Step("s", text, calls, valid=parsed.valid),), End.TRUNCATED)


def paid(reward, trajectory):
    return float(np.nansum(reward(trajectory).values_S))


def test_both_stages_by_hand():
    # gold pages at ranks 1 and 2 of the first query: .6 * 2 + .36 * 17/9 = 1.88. With the second, whose page has the
    # same score and the earlier id: a, g1, g2: .6 * 17/9 + .36 * 16/9 = 1.773333
    one, both = turn("<query>x</query>", "g1 g2"), turn("<query>x\ny</query>", "g1 g2", "a")
    assert [paid(acqo(explore=explore), one) for explore in (True, False)] == pytest.approx([1.88, 1.88])
    assert paid(acqo(explore=True), both) == pytest.approx(1.88)
    assert paid(acqo(), both) == pytest.approx(1.773333, abs=1e-6)


def test_the_bonus_belongs_to_the_second_stage():
    # ranks 1 and 2 with eta 1: 2 + 17/9, and 1 + 1 / log2(3) more
    one = turn("<query>x</query>", "g1 g2")
    assert paid(acqo(eta=1.0, top=3, explore=True), one) == pytest.approx(3.888889, abs=1e-6)
    assert paid(acqo(eta=1.0, top=3), one) == pytest.approx(3.888889 + 1.630930, abs=1e-6)


@pytest.mark.parametrize("text", ["x", "<query></query>", "<query> \n </query>", "so <query>x</query>", "<query>x"])
def test_a_turn_without_queries_or_with_other_words_is_paid_delta(text):
    found = ["g1 g2"] * len(TEMPLATE.parse(text).calls)
    assert paid(acqo(), turn(text, *found)) == -0.1
    assert paid(acqo(delta=-0.5), turn(text, *found)) == -0.5


def test_the_sparse_reward_wants_all_gold_pages_in_the_first_three():
    assert paid(SPARSE, turn("<query>x</query>", "a g1 g2")) == 1.0
    assert paid(SPARSE, turn("<query>x</query>", "a g1 b g2")) == 0.0


def test_what_counts_as_solved_is_the_printed_threshold_for_one_gold_page():
    assert SOLVED * RankedGold(value="rank").best(1) == pytest.approx(5 / 3)


def test_a_question_of_the_world_and_its_rewrites():
    pages, tasks, tests = SplitWorld().build()
    assert len(pages) == 288 and (len(tasks), len(tests)) == (48, 48)
    assert [sum(task.kind == kind for task in tasks) for kind in KINDS] == [24, 24]
    assert {len(task.gold_pages) for task in tasks if task.kind == KINDS[0]} == {1}
    assert tuple(rewrites(tasks[0])) == REWRITES
    assert [len(rewrites(tasks[0])[name]) for name in REWRITES] == [1, 1, 1, 1, 2, 2]
    assert SplitWorld().build() == (pages, tasks, tests) != SplitWorld(seed=1).build()


def test_its_rewards_go_into_a_store_and_come_back():
    assert load("29") is PAPER
    assert all(loads(dumps(reward)) == reward for reward in PAPER.rewards.values())


@pytest.mark.slow
def test_the_proof_holds():
    found = PAPER.proof(1)
    assert found.verdict == PAPER.verdict, [check for check in found.checks if not check.holds]
    assert all(len(curve) == 120 for curve in found.curves.values())
