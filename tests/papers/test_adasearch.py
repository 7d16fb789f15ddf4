"""AdaSearch's worked examples, through the parts it is made of, and its proof."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_group, a_task, a_trajectory, a_tree
from workbench.credit import GroupAdvantage
from workbench.credit.advantages import advantages
from workbench.evaluation import decision_report
from workbench.papers.adasearch import ASSESSMENT, EM, PAPER, call_price, proof, self_awareness
from workbench.papers.adasearch_world import Library, questions, searcher
from workbench.rewards import ReduceSteps
from workbench.rewards.score import score
from workbench.sampling.pass_rate import pass_rate, with_rates
from workbench.sampling.roles import DecideThenSolve
from workbench.sampling.rollout import rollout
from workbench.scores import Status
from workbench.trajectory import Span, Trajectory

KNOWN = [True] * 3 + [False] * 7


def assessed(*labels: str, rate: float = 1.0, id: str = "t") -> Trajectory:
    """A decision in one turn: what it says of itself, on a task of this pass rate."""
    trajectory = a_trajectory(None, task=a_task(pass_rate=rate), id=id)
    spans = tuple(Span("assessment", label) for label in labels)
    return replace(trajectory, role="decide", steps=(replace(trajectory.steps[0], spans=spans),))


def searched(calls: int, answer: str) -> Trajectory:
    return a_trajectory(*[["x"]] * calls, answer=answer)


@pytest.mark.parametrize(
    ("said", "f1"),
    [
        ([False] * 10, 0.0),  # always search
        ([True] * 10, 0.461538),  # P .3, R 1
        ([True, True, False, True, *[False] * 6], 0.666667),  # TP 2, FP 1, FN 1
    ],
)
def test_f1_aware_of_ten_questions(said, f1):
    assert decision_report(said, KNOWN).loc["all", "f1"] == pytest.approx(f1, abs=5e-7)


@pytest.mark.parametrize(("threshold", "known"), [(0.5, True), (0.75, False)])
def test_five_of_eight_is_solvable_at_a_half_and_not_at_three_quarters(threshold, known):
    [one] = replace(ASSESSMENT, threshold=threshold).assessments(assessed("yes", rate=0.625))
    assert one.truth is known


def test_exactly_the_threshold_is_solvable():
    assert ASSESSMENT(assessed("yes", rate=0.5)).values_S.tolist() == [1.0]


def test_the_advantages_of_a_deciding_group():
    # rewards 1 1 0 0: mean .5, unbiased std .57735
    group = a_group(assessed("yes", id="a"), assessed("yes", id="b"), assessed("no", id="c"), assessed(id="d"))
    scores = ASSESSMENT(group)
    assert [one.total for one in scores] == [1.0, 1.0, 0.0, 0.0]
    found = advantages([a_tree(*group)], [scores], GroupAdvantage(scale="std", ddof=1, eps=0.0))
    np.testing.assert_allclose([one[0] for one in found.by_trajectory()], [0.866, 0.866, -0.866, -0.866], atol=5e-5)


def test_both_tags_are_like_none_and_an_unmeasured_task_is_missing():
    assert ASSESSMENT(assessed("yes", "no")).values_S.tolist() == [0.0]
    assert ASSESSMENT(assessed("yes", rate=float("nan"))).status_S.tolist() == [Status.MISSING]


@pytest.mark.parametrize(
    ("calls", "answer", "pay"), [(3, "Paris", 0.7), (0, "Rome", 0.0), (0, "Paris", 1.0), (3, "Rome", -0.3)]
)
def test_a_price_on_calls_makes_guessing_better_than_searching_in_vain(calls, answer, pay):
    assert call_price(0.1)(searched(calls, answer)).value == pytest.approx(pay)


def test_the_bonus_is_for_a_right_answer_without_a_call():
    paid = [self_awareness(0.5)(searched(*one)).value for one in ((0, "Paris"), (2, "Paris"), (0, "Rome"), (2, "Rome"))]
    assert paid == pytest.approx([1.5, 1.0, 0.0, 0.0])


@pytest.mark.parametrize(("p_param", "better"), [(0.65, "search"), (0.75, "recall")])
def test_search_is_worth_its_price_where_it_raises_the_chance_by_more(p_param, better):
    # p_search .8 at .1 a call: worth it iff .8 - .1 > p_param, so yes from .7 on
    def mean(calls: int, right: int) -> float:
        rows = [searched(calls, "Paris" if n < right else "Rome") for n in range(20)]
        return float(np.mean([call_price(0.1)(row).value for row in rows]))

    assert (mean(1, 16) > mean(0, round(20 * p_param))) == (better == "search")


def test_the_library_gives_what_was_searched_often_enough():
    tasks = questions(60, 0)
    sure = Library(found=1.0, lucky=0.0)
    for trajectory in (one for tree in rollout(searcher(alone=True), tasks, sure, progress=False) for one in tree):
        calls = sum(len(step.calls) for step in trajectory.steps)
        by_heart = trajectory.task.kind == "right" and not calls
        assert EM(trajectory).value == float(by_heart or calls >= trajectory.task.hops)


def test_what_is_known_by_heart_is_measured_in_the_role_that_recalls():
    tasks = questions(30, 1)
    rates = pass_rate(searcher(alone=False).in_role("param"), tasks, Library(), 2)
    assert rates == {task.id: float(task.kind == "right") for task in tasks}
    labelled = with_rates(tasks, rates)
    decided = rollout(searcher(alone=False).in_role("decide"), labelled, Library(), group_size=2, progress=False)
    for tree, scores in zip(decided, score(decided, ReduceSteps(ASSESSMENT)), strict=True):
        for trajectory, one in zip(tree, scores, strict=True):
            said = trajectory.steps[0].span("assessment") == "yes"
            assert one.value == float(said == (tree.task.kind == "right"))


def test_two_stages_answer_from_memory_or_search():
    played = rollout(searcher(alone=False), questions(40, 2), Library(), sampler=DecideThenSolve(), progress=False)
    for trajectory in (one for tree in played for one in tree):
        said = trajectory.steps[0].span("assessment")
        assert trajectory.answer is not None
        assert bool(sum(len(step.calls) for step in trajectory.steps)) == (said == "no")


@pytest.mark.slow
def test_deciding_apart_beats_a_price_on_calls():
    found = proof(0)
    assert all(check.holds for check in found.checks), found.arms
    assert found.verdict == PAPER.verdict
