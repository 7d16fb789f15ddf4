"""The decision report, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.builders import a_trajectory
from workbench.errors import ShapeError
from workbench.evaluation import decision_report, did_without
from workbench.trajectory import Call

KNOWN = [True] * 3 + [False] * 7


def test_counts_and_shares_by_hand():
    # yes yes no yes no no no no no no against three trues: TP 2, FP 1, FN 1, TN 6
    row = decision_report([True, True, False, True, *[False] * 6], KNOWN).loc["all"]
    assert row[["tp", "fp", "fn", "tn"]].tolist() == [2, 1, 1, 6]
    assert row["precision"] == row["recall"] == row["f1"] == pytest.approx(2 / 3)
    assert row["accuracy"] == 0.8 and row["yes_share"] == 0.3
    assert row["over_search"] == pytest.approx(1 / 3) and row["under_search"] == pytest.approx(1 / 7)


def test_f1_is_zero_where_nothing_was_found_and_shares_of_nothing_are_unknown():
    row = decision_report([False, False], [False, False]).loc["all"]
    assert row["f1"] == 0.0
    assert math.isnan(row["precision"]) and math.isnan(row["over_search"]) and row["under_search"] == 0.0
    assert decision_report([], []).loc["all", "decisions"] == 0


def test_what_said_nothing_is_counted_apart_and_what_has_no_truth_not_at_all():
    row = decision_report([True, None, None], [True, False, None]).loc["all"]
    assert row["decisions"] == 1 and row["unlabelled"] == 1


def test_groups_have_rows_of_their_own():
    report = decision_report([True, False, False], [True, True, False], [1, 2, 2])
    assert report.index.tolist() == ["1", "2", "all"]
    assert report["over_search"].tolist() == [0.0, 1.0, 0.5]


def test_lengths_must_agree():
    with pytest.raises(ShapeError, match="2, 1, 2"):
        decision_report([True, False], [True])


def test_doing_without_is_making_no_call():
    searched, refused = a_trajectory(["x"], answer="a"), a_trajectory(["x"], answer="a")
    steps = (replace(refused.steps[0], calls=(Call("search", {"query": "q"}, valid=False),)), refused.steps[1])
    assert did_without([searched, replace(refused, steps=steps), a_trajectory(answer="a")]) == [False, True, True]
