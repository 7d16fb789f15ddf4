"""Intervals, retrieval metrics, efficiency and term reports, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_batch, a_task, a_trajectory, a_tree
from workbench.batch import flat_batch
from workbench.errors import SettingError, ShapeError, UnknownName
from workbench.evaluation import (
    Interval,
    bootstrap_interval,
    efficiency_report,
    retrieval_metrics,
    term_notes,
    term_report,
    wilson_interval,
)
from workbench.rewards import CoverageGain, ExactMatch, RepeatedDocuments, reward_of, score
from workbench.scores import Level, Scores
from workbench.trajectory import Call, End, SubQuestion

NAN = np.nan


# ---------------------------------------------------------------- intervals


def test_wilson_by_hand():
    # 8 of 10, z = 1.959964: (0.8 + z^2/20 -+ z sqrt(0.016 + z^2/400)) / (1 + z^2/10) = 0.4902, 0.9433
    interval = wilson_interval(8, 10)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=5e-5)


def test_a_rate_from_a_thousand_trials_is_known_to_three_points():
    interval = wilson_interval(500, 1000)  # card 23
    assert interval.high - interval.mean == pytest.approx(0.031, abs=5e-4)


def test_wilson_keeps_to_zero_and_one():
    assert wilson_interval(0, 5).low == 0.0
    assert wilson_interval(5, 5).high == 1.0
    assert math.isnan(wilson_interval(0, 0).mean)
    assert wilson_interval(5, 10, level=0.5).low > wilson_interval(5, 10).low


@pytest.mark.parametrize(("successes", "trials", "level"), [(2, 1, 0.95), (-1, 1, 0.95), (1, 1, 1.0)])
def test_wilson_refuses_impossible_counts(successes, trials, level):
    with pytest.raises(SettingError):
        wilson_interval(successes, trials, level=level)


def test_an_interval_prints_as_one_would_write_it():
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


def test_the_bootstrap_over_tasks_is_close_to_the_normal_interval():
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_interval(values)
    reach = 1.96 * values.std() / 20
    assert interval.mean == values.mean()
    assert (interval.low, interval.high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.02)
    assert bootstrap_interval(values) == interval


def test_the_bootstrap_draws_seeds_as_well_as_tasks():
    # all tasks agree, the three seeds differ: only drawing seeds shows it
    values_PK = np.tile([0.0, 0.5, 1.0], (200, 1))
    interval = bootstrap_interval(values_PK)
    assert interval.mean == 0.5
    assert interval.low < 0.2
    assert interval.high > 0.8


def test_the_bootstrap_leaves_out_what_was_not_measured():
    assert bootstrap_interval(np.array([1.0, NAN, 1.0])) == Interval(1.0, 1.0, 1.0)
    assert math.isnan(bootstrap_interval(np.array([NAN])).low)
    assert math.isnan(bootstrap_interval(np.zeros(0)).mean)
    with pytest.raises(ShapeError):
        bootstrap_interval(np.zeros((2, 2, 2)))


# ---------------------------------------------------------------- retrieval


def test_retrieval_metrics_by_hand():
    # gold at ranks 2 and 4 of 4, three golds
    row = retrieval_metrics([["x", "a", "y", "b"]], [{"a", "b", "c"}], k=4).iloc[0]
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["precision"] == 0.5
    assert row["ndcg"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert row["average_precision"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert row["reciprocal_rank"] == 0.5


def test_only_the_first_k_distinct_ids_count():
    row = retrieval_metrics([["x", "x", "a", "b"]], [["a", "b"]], k=2).iloc[0]
    assert row.tolist() == pytest.approx([0.5, 0.5, (1 / math.log2(3)) / (1 + 1 / math.log2(3)), 0.25, 0.5])


def test_gains_grade_the_golds():
    # dcg = 1 + 3 / log2(3); the ideal order has the 3 first
    row = retrieval_metrics([["a", "b"]], [{"a": 1.0, "b": 3.0, "c": 0.0}], k=10).iloc[0]
    assert row["ndcg"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert row["recall"] == 1.0


def test_perfect_empty_and_goldless_queries():
    frame = retrieval_metrics([["a"], [], ["a"]], [{"a"}, {"a"}, set()], k=1)
    assert frame.iloc[0].tolist() == [1.0] * 5
    assert frame.iloc[1].tolist() == [0.0] * 5
    assert frame.iloc[2].isna().all()
    assert frame["recall"].mean() == 0.5


def test_retrieval_metrics_refuse_lists_that_do_not_match():
    with pytest.raises(ShapeError, match="1 rankings came with 0 gold sets"):
        retrieval_metrics([["a"]], [])
    with pytest.raises(SettingError, match="k must be at least 1"):
        retrieval_metrics([["a"]], [{"a"}], k=0)


# ---------------------------------------------------------------- efficiency

TWO_HOPS = a_task("two", sub_questions=(SubQuestion("a"), SubQuestion("b")))


def test_cost_per_correct_of_the_card():
    # card 13: 10 questions, 6 right, 23 calls: 3.8333 calls each
    runs = [a_trajectory(*[("x",)] * searches, answer="?") for searches in (3, 3, 3, 2, 2, 2, 2, 2, 2, 2)]
    report = efficiency_report(runs, [1] * 6 + [0] * 4)
    assert report.loc["all", "calls_per_correct"] == pytest.approx(23 / 6)
    assert report.loc["all", "correct"] == 0.6


def test_searching_too_much_and_too_little_by_hops():
    runs = [
        a_trajectory(("x",), answer="?"),
        a_trajectory(("x",), ("x",), answer="?"),
        a_trajectory(("x",), answer="?", task=TWO_HOPS),
        a_trajectory(("x",), task=TWO_HOPS),  # never answered: it searched too little for another reason
    ]
    report = efficiency_report(runs, [1, 1, 0, NAN])
    assert report.index.tolist() == ["1", "2", "all"]
    assert report["over_search"].tolist() == [0.5, 0.0, 0.25]
    assert report["under_search"].tolist() == [0.0, 0.5, 0.25]
    assert report["correct"].tolist() == pytest.approx([1.0, 0.0, 2 / 3])
    assert math.isnan(report.loc["2", "calls_per_correct"])


def test_tokens_costs_and_failed_calls_are_added_up():
    run = a_trajectory(("x",), ("y",), answer="?", tokens=5)
    broken = replace(run.steps[0], calls=(Call("search", {"query": "x"}, error="timeout", cost=0.5),), seconds=2.0)
    refused = replace(run.steps[1], calls=(Call("search", {"query": "x"}, valid=False),))
    row = efficiency_report([replace(run, steps=(broken, refused, run.steps[2]))], [1]).loc["all"]
    assert row[["calls", "failed_calls", "own_tokens", "seconds", "cost"]].tolist() == [2, 2, 15, 2, 0.5]
    assert row[["tokens_per_correct", "cost_per_correct"]].tolist() == [15, 0.5]
    with pytest.raises(ShapeError, match="1 trajectories need as many numbers"):
        efficiency_report([run], [1, 0])


# ---------------------------------------------------------------- terms


def test_a_term_report_by_hand():
    runs = [
        a_trajectory(("p1",), answer="Paris", id="a", tokens=1),
        a_trajectory(("x",), answer="Rome", id="b", tokens=1),
        a_trajectory(("p1", "p2"), ("p1",), answer="Paris", id="c", tokens=1),
    ]
    trees = [a_tree(*runs)]
    reward = ExactMatch() + 0.5 * CoverageGain() - RepeatedDocuments()
    report = term_report(flat_batch(trees, score(trees, reward)))
    assert report.index.tolist() == ["ExactMatch", "CoverageGain", "RepeatedDocuments", "total"]
    assert report["weight"].tolist() == [1.0, 0.5, -1.0, 1.0]
    assert report["scored"].tolist() == [3, 3, 3, 3]
    # ExactMatch 1 0 1, CoverageGain .5 0 1, RepeatedDocuments 0 0 1, total 1.25 0 0.5
    assert report["mean"].tolist() == pytest.approx([2 / 3, 0.5, 1 / 3, 1.75 / 3])
    assert report.loc["ExactMatch", "spread"] == pytest.approx(np.std([1, 0, 1]))
    assert report["zero_spread"].tolist() == [0.0] * 4
    assert report.loc["ExactMatch", "outcome_correlation"] == pytest.approx(1.0)
    assert report.loc["CoverageGain", "outcome_correlation"] == pytest.approx(np.corrcoef([0.5, 0, 1], [1, 0, 1])[0, 1])
    assert report.loc["RepeatedDocuments", "length_correlation"] == pytest.approx(1.0)  # lengths 2, 2, 3
    # mean absolute pay 2/3, 1/4, 1/3
    assert report["share"].tolist() == pytest.approx([8 / 15, 3 / 15, 4 / 15, 1.0])
    # centred: EM 1/3 -2/3 1/3, coverage 0 -1/4 1/4, repeats 1/3 1/3 -2/3; total 2/3 -7/12 -1/12
    # products with the total 7/12 = 84/144, 1/8 = 18/144, 1/12 = 12/144; their sum 114/144
    assert report["variance_share"].tolist() == pytest.approx([84 / 114, 18 / 114, 12 / 114, 1.0])


def test_the_share_of_variance_is_what_a_group_baseline_leaves():
    # terms a and b of two groups: a differs between the groups alone, b within them alone
    trees = [a_tree(*(a_trajectory(None, id=f"{p}{g}") for g in "xy"), id=p) for p in "01"]
    reward = reward_of(lambda t: float(t.id[0]), name="a") + reward_of(lambda t: float(t.id[1] == "y"), name="b")
    report = term_report(flat_batch(trees, score(trees, reward)))
    assert report["variance_share"].tolist() == pytest.approx([0.0, 1.0, 1.0])
    alone = [a_tree(trajectory, id=trajectory.id) for tree in trees for trajectory in tree]
    assert term_report(flat_batch(alone, score(alone, reward)))["variance_share"].tolist() == [0.5, 0.5, 1.0]
    constant = score(trees, reward_of(lambda t: 1.0))
    assert term_report(flat_batch(trees, constant))["variance_share"].isna().all()


def test_a_term_that_tells_nobody_apart_is_shown():
    report = term_report(a_batch([[1.0], [1.0]], [[1.0], [0.0]], [[0.3]]))
    # the group of one does not count
    assert report.loc["reward", "zero_spread"] == 0.5
    assert report.loc["reward", "spread"] == 0.25


def test_missing_and_inapplicable_scores_are_counted_apart():
    trees = [a_tree(*(a_trajectory(None, id=id) for id in "abc"))]
    rows = [Scores.trajectory(1.0), Scores.missing("no reply"), Scores.unscored(1)]
    report = term_report(flat_batch(trees, [rows]))
    assert report.loc["reward", ["scored", "missing"]].tolist() == [1, 1]
    assert math.isnan(report.loc["reward", "outcome_correlation"])


def test_rollouts_outside_the_baseline_are_left_out():
    report = term_report(a_batch([[1.0], [5.0]], ends={"0.1": End.FAILED}))
    assert report.loc["reward", "mean"] == 1.0


def test_token_level_terms_are_reported_too():
    trees = [a_tree(a_trajectory(None, id="a", tokens=2), a_trajectory(None, id="b", tokens=2))]
    cost = reward_of(lambda t: [-1.0, None] if t.id == "a" else [None, None], level="token", name="cost")
    batch = flat_batch(trees, score(trees, reward_of(lambda t: 1.0, name="one") + cost))
    report = term_report(batch, outcome="one")
    assert report.loc["cost", ["scored", "mean"]].tolist() == [1, -1.0]
    assert report.loc["total", "mean"] == 0.5


def test_the_outcome_must_be_a_term():
    with pytest.raises(UnknownName, match="Did you mean 'reward'"):
        term_report(a_batch([[1.0]]), outcome="rewards")


def test_the_outcome_may_be_told_from_outside():
    report = term_report(a_batch([[1.0], [0.0], [0.5]]), outcome=np.array([0.0, 1.0, NAN]))
    assert report.loc["reward", "outcome_correlation"] == pytest.approx(-1.0)
    with pytest.raises(ShapeError, match="the batch holds 1 rollouts"):
        term_report(a_batch([[1.0]]), outcome=np.zeros(2))


def test_what_stands_out_is_said():
    length = reward_of(lambda t: float(len(t.steps)), name="length")
    fine = reward_of(lambda t: -0.2 * len(t.steps), name="fine")
    flat = reward_of(lambda t: 1.0, name="flat")
    trees = [a_tree(*(a_trajectory(*[None] * n, id=f"{n}") for n in (1, 2, 3)))]
    report = term_report(flat_batch(trees, score(trees, length + fine + flat)), outcome=np.array([1.0, 1.0, 0.0]))
    said = " ".join(term_notes(report))
    assert "flat tells nobody apart in 100% of the groups." in said
    assert "length pays for length (correlation +1.00)." in said and "fine pays" not in said
    assert "fine works against the other terms (-25% of the variance)." in said  # -0.2 / (1 - 0.2)
    assert "The total hardly goes with right answers (correlation -0.87)." in said
    assert term_notes(term_report(flat_batch([], []))) == []


def test_a_report_on_nothing_is_empty():
    report = term_report(flat_batch([], []))
    assert report.index.tolist() == ["total"]
    assert report.loc["total", "scored"] == 0


def test_scores_without_a_term_level_still_count():
    trees = [a_tree(a_trajectory(None, id="a", tokens=1), a_trajectory(None, id="b", tokens=1))]
    rows = [Scores.trajectory(1.0, level=Level.GROUP), Scores.trajectory(0.0, level=Level.GROUP)]
    assert term_report(flat_batch(trees, [rows])).loc["total", "mean"] == 0.5
