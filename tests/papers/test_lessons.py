"""What the tiny policy is taught on text before it is trained: the demonstrators, and the worlds they play in."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest

from workbench.agents.scripted import ScriptedPolicy
from workbench.embedded import demo
from workbench.papers import reseek_lesson, subsearch_lesson, tongsearch_qr_lesson
from workbench.papers.lesson import learn, played, pupil, teach
from workbench.papers.subsearch import intrinsic
from workbench.papers.tongsearch_qr import tongsearch
from workbench.rewards import ExactMatch
from workbench.trajectory import End


@pytest.fixture(scope="module")
def world():
    return demo()


@pytest.fixture(scope="module")
def pairs(world):
    return subsearch_lesson.Pairs(world.world, 0)


def shown(lesson, tasks, environment, *, group=1, script=None):
    script = ScriptedPolicy(script or lesson.demonstration, pupil(lesson.TEMPLATE).engine.tokenizer, lesson.TEMPLATE)
    return played(script, tasks, environment, seed=0, group=group)


def test_of_four_ways_to_search_only_the_split_answers_a_pair(pairs):
    found = {}
    for way in subsearch_lesson.WAYS:
        script = partial(subsearch_lesson.demonstration, ways={way: 1.0})
        found[way] = shown(subsearch_lesson, pairs.tasks[:60], pairs.environment, script=script)
    right = {way: np.mean([ExactMatch()(one).value for one in some]) for way, some in found.items()}
    assert right["split"] > 0.8 and right["none"] == right["verbatim"] == right["doubled"] == 0.0
    process = intrinsic(pairs.encoder)
    worth = [np.mean([process(one).value for one in some]) for some in found.values()]
    assert worth == sorted(worth) and worth[0] == 0.0  # none, verbatim, doubled, split: aligned with the outcome
    assert Counter(len(one.steps[0].calls) for one in found["doubled"] + found["split"]) == {2: 120}


def test_the_two_parts_of_a_pair_are_about_different_pages(pairs):
    for task in [*pairs.tasks, *pairs.held_out]:
        assert len(task.gold_pages) == 2 and [sub.page in task.gold_pages for sub in task.sub_questions] == [True] * 2
    train, test = (set().union(*(task.gold_pages for task in some)) for some in (pairs.tasks, pairs.held_out))
    assert not train & test


def test_a_search_goes_wrong_for_the_same_queries_always_and_no_page_of_the_world_comes(world):
    environment = reseek_lesson.unreliable(world.world)
    tasks = reseek_lesson.few_hops(world.tasks)[:150]
    rollouts = shown(reseek_lesson, tasks, environment)
    first = [one.steps[0] for one in rollouts]
    lost = {hit.id for step in first for hit in step.hits} & {page.id for page in reseek_lesson.LOST}
    assert lost == {"lost-1", "lost-2", "lost-3"}
    share = np.mean([step.hits[0].id.startswith("lost") for step in first])
    assert 0.25 < share < 0.55
    again = shown(reseek_lesson, tasks, environment)
    assert [[hit.id for hit in one.steps[0].hits] for one in again] == [[hit.id for hit in step.hits] for step in first]
    assert not any(reseek_lesson.TEMPLATE.violations(one) for one in rollouts)
    right = [ExactMatch()(one).value for one in rollouts if one.end is End.ANSWERED]
    assert 0.3 < np.mean(right) < 0.95  # what it accepts wrongly it pays for with its answer


def test_a_demonstrated_query_is_of_words_that_the_pages_may_say():
    catalogue = tongsearch_qr_lesson.Catalogue(0)
    rollouts = shown(tongsearch_qr_lesson, catalogue.tasks, catalogue.environment, group=20)
    for one in rollouts:
        words = one.answer.split()
        assert 3 <= len(words) <= 9 and len(set(words)) == len(words)
        assert set(words) <= set(one.task.extras["candidates"])
    right = np.mean([word in one.task.extras["names"] for one in rollouts for word in one.answer.split()])
    assert right == pytest.approx(0.25, abs=0.05)
    assert {task.id for task in catalogue.tasks}.isdisjoint(task.id for task in catalogue.held_out)
    assert {task.extras["subject"] for task in catalogue.tasks} == {
        task.extras["subject"] for task in catalogue.held_out
    }


@pytest.mark.slow
def test_a_lesson_and_a_course_run_through_the_product():
    catalogue = tongsearch_qr_lesson.Catalogue(0)
    policy = tongsearch_qr_lesson.taught(catalogue, 2)
    before = policy.engine.weights_version
    course = learn(
        policy, catalogue.tasks, catalogue.environment, tongsearch(catalogue.encoder), updates=1, seed=0, progress=False
    )
    [(report, rollouts)] = course
    assert report.groups == 8 and len(rollouts) == 64 and policy.engine.weights_version > before
    assert teach(policy, rollouts, updates=1, seed=0) is None
