"""Groups that were all paid the same are drawn again, and what they were stays on record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.worlds import TASKS, Quiet, guesser, right
from workbench.adapters.ray import OnRay
from workbench.batch import flat_batch
from workbench.credit.group import GroupAdvantage
from workbench.errors import SettingError
from workbench.rewards import ExactMatch, reward_of
from workbench.rewards.score import score
from workbench.sampling.group import GroupSampler
from workbench.sampling.refill import RefillEqualGroups
from workbench.sampling.roles import RoleSampler
from workbench.sampling.rollout import rollout
from workbench.scores import Level
from workbench.spec import dumps, loads
from workbench.training.method import DAPO
from workbench.training.train import train

MANY = [replace(TASKS[0], id=f"q{n}") for n in range(40)]
alike = reward_of(lambda t: 1.0, level=Level.TRAJECTORY)


def pays(tree, reward=right) -> set[float]:
    return {scores.total for scores in score([tree], reward)[0]}


def drawn(tasks, sampler, reward=right, seed=0):
    return rollout(guesser(), tasks, Quiet(), sampler=sampler, scorer=reward, seed=seed, progress=False)


def test_only_the_last_draw_of_a_task_may_differ_and_no_task_is_drawn_more_often_than_it_may():
    trees = drawn(MANY, RefillEqualGroups(GroupSampler(2), attempts=3))
    by_task: dict[str, list] = {}
    for tree in trees:
        by_task.setdefault(tree.task.id, []).append(len(pays(tree)) > 1)
    assert set(by_task) == {task.id for task in MANY}
    assert all(not any(draws[:-1]) and (draws[-1] or len(draws) == 3) for draws in by_task.values())
    assert {len(draws) for draws in by_task.values()} == {1, 2, 3}


def test_more_groups_teach_than_without_it():
    alone = drawn(MANY, GroupSampler(2))
    again = drawn(MANY, RefillEqualGroups(GroupSampler(2), attempts=6))
    assert sum(len(pays(tree)) > 1 for tree in alone) < 25 < 35 < sum(len(pays(tree)) > 1 for tree in again)


def test_what_was_equal_is_kept_has_no_advantage_and_changes_no_other():
    trees = drawn(MANY, RefillEqualGroups(GroupSampler(3)))
    whole = GroupAdvantage()(flat_batch(trees, score(trees, right)))
    equal = [tree for tree in trees if len(pays(tree)) == 1]
    assert whole.equal_groups == len(equal) > 0
    after = 0
    for tree in trees:
        alone = GroupAdvantage()(flat_batch([tree], score([tree], right))).values_S
        before, after = after, after + len(alone)
        np.testing.assert_array_equal(whole.values_S[before:after], alone)
        assert (tree in equal) == (not np.any(alone))


def test_a_group_that_nothing_scored_is_not_drawn_again():
    unscored = reward_of(lambda t: float("nan"), level=Level.TRAJECTORY)
    assert len(drawn(TASKS, RefillEqualGroups(GroupSampler(2)), unscored)) == len(TASKS)
    assert len(drawn(TASKS, RefillEqualGroups(GroupSampler(2)), alike)) == 3 * len(TASKS)


def test_what_is_to_differ_may_be_another_reward_than_the_pay():
    sampler = RefillEqualGroups(GroupSampler(2), reward=ExactMatch())
    trees = drawn(MANY, sampler, alike)
    assert {len(pays(tree, ExactMatch())) for tree in trees} == {1, 2}
    assert len(trees) < 3 * len(MANY)


def test_a_task_that_stands_in_a_batch_twice_is_drawn_again_as_often_as_it_was_equal():
    for seed in range(20):
        trees = drawn([TASKS[0], TASKS[0]], RefillEqualGroups(GroupSampler(2), attempts=2), seed=seed)
        assert len(trees) == 2 + sum(len(pays(tree)) == 1 for tree in trees[:2])


def test_the_draws_of_a_task_depend_on_no_other_task():
    sampler = RefillEqualGroups(GroupSampler(2))
    few, many = drawn(MANY[:3], sampler), drawn(MANY, sampler)
    ids = {task.id for task in MANY[:3]}
    texts = [[[step.text for step in one.steps] for one in tree] for tree in many if tree.task.id in ids]
    assert texts == [[[step.text for step in one.steps] for one in tree] for tree in few]


def test_training_takes_it_and_reports_what_it_drew():
    method = replace(DAPO(), sampler=RefillEqualGroups(GroupSampler(2)))
    for report in train(guesser(), TASKS, Quiet(), right, method=method, updates=5, tasks_per_update=4):
        assert report.groups >= 4
        assert report.groups > 4 or not report.equal_groups


def test_it_is_written_and_read_like_any_part():
    sampler = RefillEqualGroups(OnRay(GroupSampler(4)), attempts=5, reward=ExactMatch())
    assert loads(dumps(sampler)) == sampler


def test_wrong_settings_are_refused():
    with pytest.raises(SettingError, match="wants 2 for 5 tasks"):
        drawn(TASKS, RefillEqualGroups(RoleSampler(("param", "search"), 2)))
    with pytest.raises(SettingError, match="at least 2, got 1"):
        RefillEqualGroups(attempts=1)
    with pytest.raises(SettingError, match="must know what is paid; give it reward="):
        rollout(guesser(), TASKS, Quiet(), sampler=RefillEqualGroups(), progress=False)
