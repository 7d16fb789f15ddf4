"""`SelfAssessment` and its references, by hand. Numbers of ReSeek and AdaSearch stand in tests/papers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.builders import a_step, a_task, a_trajectory
from workbench.errors import LevelError, MissingGold
from workbench.rewards import ExactMatch, HitRelevance, OnLastStep, SelfAssessment, TaskNumber, WeightedSum
from workbench.scores import Status
from workbench.trajectory import Call, Hit, Span

NAN = float("nan")
TEXTS = {"gold": "Paris is the capital", "half": "the city of Paris", "other": "Lyon"}


@dataclass(frozen=True)
class Fixed:
    """Scores each text by a table; NaN for what is not in it."""

    table: dict[str, float]

    def __call__(self, texts, references):
        return np.array([next((v for k, v in self.table.items() if k in text), NAN) for text in texts])


def judged(*rows, golds=("Paris",), **settings):
    """Searches and labels in turn: a list of pages is a search, a text is a turn that judges so."""
    pages = [row if isinstance(row, list) else None for row in rows]
    pages += [None] if "answer" in settings else []  # a turn of its own
    trajectory = a_trajectory(*pages, golds=golds, texts=TEXTS, **settings)
    steps = list(trajectory.steps)
    for s, row in enumerate(rows):
        if isinstance(row, str):
            steps[s] = replace(steps[s], spans=(Span("judge", row),))
    return replace(trajectory, steps=tuple(steps))


def relevance(trajectory, **settings):
    return HitRelevance(**settings)(trajectory).values_S.tolist()


def test_a_gold_that_stands_in_a_page_is_one_and_else_the_share_of_its_words():
    task = a_task(golds=("Saint Petersburg Florida",))
    texts = {"all": "in Saint Petersburg, Florida!", "two": "Petersburg (Saint)", "none": "Florid"}
    found = a_trajectory(["all"], ["two"], ["none"], ["none", "two"], [], task=task, texts=texts)
    assert relevance(found) == pytest.approx([1.0, 2 / 3, 0.0, 2 / 3, 0.0])


def test_a_gold_counts_as_whole_words_only():
    assert relevance(a_trajectory(["x"], texts={"x": "Parisian life"})) == [0.0]


def test_the_best_of_several_golds_and_only_what_was_shown_counts():
    assert relevance(a_trajectory(["x"], golds=("Rome", "Paris"), texts=TEXTS | {"x": "Paris"})) == [1.0]
    hidden = a_step("s")
    hidden = replace(hidden, calls=(Call("search", {"query": "q"}, (Hit("p", "", "Paris", shown=2),)),))
    assert relevance(replace(a_trajectory(None), steps=(hidden,))) == [0.0]


def test_pages_can_be_judged_as_one_text():
    texts = {"a": "Saint", "b": "Petersburg"}
    found = a_trajectory(["a", "b"], golds=("Saint Petersburg",), texts=texts)
    assert relevance(found) == [0.5]
    assert relevance(found, join="joined") == [1.0]


def test_a_scorer_replaces_the_rule_and_its_failure_is_missing():
    scores = HitRelevance(scorer=Fixed({"capital": 0.8, "Lyon": 0.1}))(judged(["gold", "other"], ["half"]))
    assert scores.values_S.tolist() == pytest.approx([0.8, NAN], nan_ok=True)
    assert scores.status_S.tolist() == [Status.SCORED, Status.MISSING]


def test_one_failed_page_is_enough_to_miss_the_step():
    scores = HitRelevance(scorer=Fixed({"capital": 0.8}))(judged(["gold", "half"]))
    assert scores.status_S.tolist() == [Status.MISSING]


def test_a_number_of_the_task_is_missing_where_the_task_has_none():
    assert TaskNumber()(a_trajectory(task=a_task(pass_rate=0.625), answer="x")).value == 0.625
    for task in (a_task(), a_task(pass_rate=None), a_task(pass_rate=NAN)):
        assert TaskNumber()(a_trajectory(task=task, answer="x")).status_S.tolist() == [Status.MISSING]


def test_each_search_is_assessed_once_by_the_first_turn_that_says_so():
    scores = SelfAssessment()(judged(["gold"], "Yes", "No", ["other"], "No", answer="Paris"))
    np.testing.assert_array_equal(scores.values_S, [NAN, 0.3, NAN, NAN, 0.3, NAN])


def test_nothing_is_assessed_before_the_first_search_or_after_a_last_one():
    scores = SelfAssessment(unlabelled=-1.0)(judged("Yes", ["gold"]))
    np.testing.assert_array_equal(scores.values_S, [NAN, NAN])


@pytest.mark.parametrize("label", ["maybe", "", "yes and no"])
def test_a_label_that_cannot_be_read_is_none(label):
    rows = judged(["gold"], label, answer="Paris")
    np.testing.assert_array_equal(SelfAssessment()(rows).values_S, [NAN, NAN, NAN])
    np.testing.assert_array_equal(SelfAssessment(unlabelled=-1.0)(rows).values_S, [NAN, -1.0, NAN])


def test_both_labels_in_one_turn_are_none():
    rows = judged(["gold"], "Yes")
    both = replace(rows.steps[1], spans=(Span("judge", "Yes"), Span("judge", "No")))
    rows = replace(rows, steps=(rows.steps[0], both))
    np.testing.assert_array_equal(SelfAssessment(unlabelled=0.0)(rows).values_S, [NAN, 0.0])


def test_a_failed_reference_makes_the_pay_missing_and_never_zero():
    reward = SelfAssessment(HitRelevance(scorer=Fixed({})))
    scores = reward(judged(["gold"], "Yes", answer="Paris"))
    assert scores.status_S.tolist() == [Status.NOT_APPLICABLE, Status.MISSING, Status.NOT_APPLICABLE]
    total = WeightedSum(((1.0, ExactMatch()), (1.0, reward)))(judged(["gold"], "Yes", answer="Paris"))
    assert np.isnan(total.total)


def test_a_search_that_brought_nothing_is_no_use():
    np.testing.assert_array_equal(SelfAssessment()(judged([], "No")).values_S, [NAN, 0.3])


def test_no_golds_are_refused():
    with pytest.raises(MissingGold):
        SelfAssessment()(judged(["gold"], "Yes", golds=()))


def test_the_reference_must_score_steps_or_the_trajectory():
    with pytest.raises(LevelError, match="steps or a trajectory"):
        SelfAssessment(ExactMatch() + HitRelevance())


def test_only_a_number_for_the_trajectory_goes_on_its_last_step():
    scores = OnLastStep(ExactMatch())(judged(["gold"], "Yes", answer="Paris"))
    np.testing.assert_array_equal(scores.values_S, [NAN, NAN, 1.0])
    with pytest.raises(LevelError, match="level trajectory"):
        OnLastStep(HitRelevance())


def test_the_assessments_themselves_can_be_had():
    rows = SelfAssessment().assessments(judged(["gold"], "No", ["other"], "hm", answer="Paris"))
    assert [(one.step, one.said, one.truth) for one in rows] == [(1, False, True), (3, None, False)]
