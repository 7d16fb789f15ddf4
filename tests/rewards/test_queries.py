"""`RepeatedQueries` and `CallCount`, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_trajectory
from workbench.rewards import CallCount, RepeatedQueries
from workbench.trajectory import Call

NAN = float("nan")


def asked(*queries, **settings):
    return RepeatedQueries(**settings)(a_trajectory(*[["x"]] * len(queries), queries=queries, answer="a")).values_S


def test_the_same_text_again_is_a_repeat():
    np.testing.assert_array_equal(asked("a b", "c", "a b", by="exact"), [0, 0, 1, NAN])
    np.testing.assert_array_equal(asked("a b", "A  b!", by="exact"), [0, 0, NAN])


def test_normalised_texts_are_compared_by_default():
    np.testing.assert_array_equal(asked("capital of France", "The capital of france?"), [0, 1, NAN])


def test_runs_of_words_count_by_their_share():
    # capital-of of-France | birthplace-of of-France: one of two runs is known | of-France capital-of: a run each
    found = asked("capital of France", "birthplace of France", "of France", "Lyon", by="ngrams")
    np.testing.assert_array_equal(found, [0, 0.5, 1, 0, NAN])


def test_over_one_text_it_is_one_minus_the_share_of_new_trigrams():
    # "search engines rank" four times: 10 trigrams, 3 of them different (R3, worked example 1: 0.3)
    found = asked(" ".join(["search engines rank"] * 4), by="ngrams", n=3)
    assert found[0] == pytest.approx(1 - 0.3)


def test_queries_of_one_step_are_asked_one_after_another():
    rows = a_trajectory(["x"], answer="a", queries=["one"])
    calls = (Call("search", {"query": "one"}), Call("search", {"query": "two"}), Call("search", {"query": "one"}))
    rows = replace(rows, steps=(replace(rows.steps[0], calls=calls), rows.steps[1]))
    assert RepeatedQueries()(rows).values_S[0] == pytest.approx(1 / 3)


def test_a_query_that_was_refused_was_not_asked():
    rows = a_trajectory(["x"], ["x"], queries=["one", "one"])
    refused = replace(rows.steps[0], calls=(Call("search", {"query": "one"}, valid=False),))
    rows = replace(rows, steps=(refused, rows.steps[1]))
    np.testing.assert_array_equal(RepeatedQueries()(rows).values_S, [NAN, 0])
    assert CallCount()(rows).value == 1.0


def test_a_query_refused_beside_one_that_was_asked_was_not_asked():
    rows = a_trajectory(["x"], ["x"], queries=["one", "two"])
    calls = (Call("search", {"query": "one"}), Call("search", {"query": "two"}, valid=False))
    rows = replace(rows, steps=(replace(rows.steps[0], calls=calls), rows.steps[1]))
    np.testing.assert_array_equal(RepeatedQueries()(rows).values_S, [0, 0])


def test_failed_calls_count_as_calls():
    rows = a_trajectory(["x"], ["y"], answer="a")
    failed = replace(rows.steps[0], calls=(Call("search", {"query": "q"}, error="time-out"),))
    assert CallCount()(replace(rows, steps=(failed, *rows.steps[1:]))).value == 2.0
