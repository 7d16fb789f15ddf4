"""Where rewards land among the own tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_trajectory
from workbench.errors import MissingTokens
from workbench.rewards import CoverageGain, ExactMatch, Placed, RepeatedDocuments, place
from workbench.scores import Level, Scores
from workbench.trajectory import Origin, Span, Tokens, Trajectory

# own tokens 0 1 2 | 3 4 5: a search (think 0, query 2), then an answer
TWO = a_trajectory(("p1",), answer="Paris", tokens=3)
WHOLE, STEPS = Scores.trajectory(6.0), Scores.steps([3.0, 9.0])


def with_spans(*spans: Span) -> Trajectory:
    return replace(TWO, steps=(replace(TWO.steps[0], spans=spans), TWO.steps[1]))


@pytest.mark.parametrize(
    ("at", "whole", "steps"),
    [
        (None, [0, 0, 0, 0, 0, 6], [0, 0, 3, 0, 0, 9]),
        ("end", [0, 0, 0, 0, 0, 6], [0, 0, 0, 0, 0, 12]),
        ("end_of_step", [0, 0, 0, 0, 0, 6], [0, 0, 3, 0, 0, 9]),
        ("every_token", [1, 1, 1, 1, 1, 1], [1, 1, 1, 3, 3, 3]),
        ("query", [0, 0, 6, 0, 0, 0], [0, 0, 3, 0, 0, 9]),  # the closing tag belongs to the last span of a step
        ("plan", [0, 0, 0, 0, 0, 6], [0, 0, 3, 0, 0, 9]),  # no such span
    ],
)
def test_places_by_hand(at, whole, steps):
    assert place(WHOLE, TWO, at).tolist() == whole
    assert place(STEPS, TWO, at).tolist() == steps


def test_a_span_inside_a_turn_is_paid_on_the_token_that_ends_it():
    spans = Span("think", "thought", 0, 1), Span("query", "q", 2, 3)
    assert place(STEPS, with_spans(*spans), "think").tolist() == [3, 0, 0, 0, 0, 9]
    assert place(STEPS, with_spans(*spans), "query").tolist() == [0, 0, 3, 0, 0, 9]


def test_tokens_that_the_policy_did_not_draw_are_not_paid():
    # own, forced, own, then two of the observation; think ends with the forced token
    origins = [Origin.SAMPLED, Origin.FORCED, Origin.SAMPLED, Origin.ENVIRONMENT, Origin.ENVIRONMENT]
    mixed = replace(with_spans(Span("think", "", 0, 2), Span("query", "")).steps[0])
    mixed = replace(mixed, tokens=Tokens(np.arange(5), np.full(5, np.nan), np.array(origins)))
    trajectory = replace(TWO, steps=(mixed, TWO.steps[1]))
    assert place(STEPS, trajectory, "think").tolist() == [3, 0, 0, 0, 9]
    assert place(STEPS, trajectory).tolist() == [0, 3, 0, 0, 9]


def test_a_step_without_own_tokens_is_paid_on_the_token_before_it():
    bare = replace(TWO.steps[1], tokens=Tokens.foreign([7, 8], Origin.FORCED))
    trajectory = replace(TWO, steps=(TWO.steps[0], bare))
    assert place(STEPS, trajectory).tolist() == [0, 0, 12]
    assert place(STEPS, trajectory, "every_token").tolist() == [1, 1, 10]


def test_nothing_is_lost_wherever_it_lands():
    trajectory = a_trajectory(("p1", "x"), ("x",), answer="Paris", tokens=4)
    for at in ("end", "end_of_step", "every_token", "think", "query", "answer"):
        reward = Placed(ExactMatch(), at) + 0.5 * Placed(CoverageGain(), at) - 0.2 * Placed(RepeatedDocuments(), at)
        scores = reward(trajectory)
        assert place(scores, trajectory).sum() == pytest.approx(scores.total)


def test_each_part_of_a_sum_lands_by_its_own_place_with_its_weight():
    scores = (Placed(ExactMatch(), "query") + 0.5 * CoverageGain())(TWO)
    # p1 is one of two gold pages
    assert place(scores, TWO).tolist() == [0, 0, 1.25, 0, 0, 0]


def test_token_scores_stay_where_they_are():
    scores = replace(Scores.steps([1, 2, 3, np.nan, 5, 6]), level=Level.TOKEN)
    assert place(scores, TWO).tolist() == [1, 2, 3, 0, 5, 6]


def test_a_missing_part_leaves_no_token_reward():
    scores = Scores.steps([1.0, np.nan])
    scores.miss(1, "judge failed")
    assert np.isnan(place(scores, TWO)).all()


def test_text_only_steps_have_no_tokens_to_pay():
    with pytest.raises(MissingTokens, match="step 0 of trajectory 't' is text only"):
        place(WHOLE, a_trajectory(("p1",), answer="Paris"))
    with pytest.raises(MissingTokens, match="no own token"):
        place(WHOLE, replace(TWO, steps=(replace(TWO.steps[0], tokens=Tokens.foreign([1])),)))
