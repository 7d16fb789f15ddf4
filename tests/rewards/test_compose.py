"""Rewards made of rewards: what a sum, product, gate, clip and reduction pay, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.builders import a_group, a_trajectory, a_tree
from tests.rewards.paying import TWO, failing, paid, stepwise
from workbench.batch import flat_batch
from workbench.errors import LevelError, MissingTokens, ScoreError, SettingError
from workbench.rewards import (
    CoverageGain,
    ExactMatch,
    Placed,
    ReduceSteps,
    RepeatedDocuments,
    Reward,
    TokenF1,
    WeightedSum,
    WellFormed,
    reward_of,
    score,
)
from workbench.scores import Level, Scores, Status
from workbench.spec import dumps
from workbench.trajectory import Trajectory

NAN = np.nan

# ---------------------------------------------------------------- algebra


@dataclass(frozen=True)
class Overpaid(Reward):
    """Pays more than it declares."""

    range = (0.0, 1.0)

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.trajectory(5.0)


def test_a_class_without_brackets_is_told():
    with pytest.raises(SettingError, match=r"made of it with brackets: ExactMatch\(\)"):
        score([a_tree(a_trajectory(answer="Paris"))], ExactMatch)


def test_a_reward_that_leaves_its_range_is_told():
    with pytest.raises(ScoreError, match=r"paid 't' between 5 and 5 and declares the range \(0, 1\)"):
        (ExactMatch() + Overpaid())(a_trajectory(answer="Paris", id="t"))


def test_the_algebra_reads_like_the_formula():
    reward = ExactMatch() + 0.5 * CoverageGain(by="answer") - 0.2 * RepeatedDocuments()
    assert repr(reward) == "ExactMatch() + 0.5 * CoverageGain(by='answer') - 0.2 * RepeatedDocuments()"
    assert repr(-ExactMatch() * WellFormed()) == "(-ExactMatch()) * WellFormed()"
    assert repr((ExactMatch() + TokenF1()).clip(high=1.0).named("answer")) == (
        "Named(Clip(ExactMatch() + TokenF1(), high=1.0), name='answer')"
    )


def test_sums_are_flat_and_weights_multiply():
    inner = 0.5 * ExactMatch() - TokenF1()
    assert (2.0 * inner + WellFormed()).terms == ((1.0, ExactMatch()), (-2.0, TokenF1()), (1.0, WellFormed()))
    assert 1 * ExactMatch() == ExactMatch() * 1.0 == ExactMatch()
    assert np.float64(0.5) * ExactMatch() == 0.5 * ExactMatch()


def test_a_list_of_rewards_can_be_summed():
    assert sum([ExactMatch(), TokenF1(), WellFormed()]) == ExactMatch() + TokenF1() + WellFormed()


def test_a_number_is_no_reward():
    with pytest.raises(TypeError):
        ExactMatch() + 0.5
    with pytest.raises(TypeError):
        ExactMatch() - 0.5
    with pytest.raises(TypeError):
        ExactMatch() * "2"


# ---------------------------------------------------------------- sums


def test_a_sum_of_one_level_keeps_it():
    total = (2 * paid(0.25) - paid(1.0))(TWO)
    assert (total.level, total.value) == (Level.TRAJECTORY, -0.5)
    steps = (stepwise(1.0, None) + 0.5 * stepwise(None, 1.0))(TWO)
    assert steps.level is Level.STEP
    assert steps.values_S.tolist() == [1.0, 0.5]


def test_a_number_for_the_trajectory_lands_on_the_last_step_of_a_sum_over_steps():
    total = (paid(1.0) + 0.5 * stepwise(1.0, 0.2))(TWO)
    assert total.level is Level.STEP
    assert total.values_S.tolist() == pytest.approx([0.5, 1.1])
    assert total.why_S == ("", "")


def test_raw_terms_and_weights_stay_apart():
    parts = (paid(1.0, "a") - 0.5 * stepwise(1.0, None, name="b"))(TWO).parts
    assert [(term.name, term.weight, term.place) for term in parts] == [("a", 1.0, "end"), ("b", -0.5, "end_of_step")]
    assert parts[0].scores.level is Level.TRAJECTORY
    np.testing.assert_array_equal(parts[1].scores.values_S, [1.0, NAN])


def test_terms_of_one_name_are_numbered_in_order():
    parts = (CoverageGain() + CoverageGain(by="answer") + CoverageGain(mode="union"))(TWO).parts
    assert [term.name for term in parts] == ["CoverageGain", "CoverageGain_2", "CoverageGain_3"]


def test_a_named_sum_names_its_terms():
    process = (CoverageGain() - RepeatedDocuments()).named("process")
    parts = (ExactMatch() + 0.5 * process)(TWO).parts
    assert [(term.name, term.weight) for term in parts] == [
        ("ExactMatch", 1.0),
        ("process/CoverageGain", 0.5),
        ("process/RepeatedDocuments", -0.5),
    ]


def test_not_applicable_adds_nothing_and_missing_makes_the_sum_missing():
    assert (paid(1.0) + paid(None))(TWO).value == 1.0
    nothing = (paid(None) + 2 * paid(None))(TWO)
    assert nothing.status_S.tolist() == [Status.NOT_APPLICABLE]
    broken = (paid(1.0) + failing())(TWO)
    assert broken.status_S.tolist() == [Status.MISSING]
    assert np.isnan(broken.value)


def test_a_weight_of_zero_keeps_the_term_to_be_watched():
    watched = (paid(1.0) + 0 * paid(5.0, "watched"))(TWO)
    assert watched.value == 1.0
    assert watched.parts[1].scores.value == 5.0


def test_a_missing_term_drops_the_rollout_or_the_term_by_choice():
    good, bad = a_trajectory(None, id="good"), a_trajectory(None, id="bad")
    terms = ((1.0, paid(0.5)), (1.0, failing("bad")))
    rollout = WeightedSum(terms)(a_group(good, bad))
    assert [one.value for one in rollout] == pytest.approx([1.5, NAN], nan_ok=True)
    term = WeightedSum(terms, on_missing="term")(a_group(good, bad))
    assert [one.value for one in term] == [0.5, 0.5]
    assert term[0].parts[1].scores.status_S.tolist() == [Status.NOT_APPLICABLE]
    assert term[0].parts[1].scores.why_S == ("left out for the whole group: missing in 'bad' (no reply)",)


def test_a_term_that_nothing_misses_stays():
    terms = ((1.0, paid(0.5)), (1.0, failing("bad")))
    scores = WeightedSum(terms, on_missing="term")(a_group(a_trajectory(None, id="good")))
    assert scores[0].value == 1.5


def test_a_sum_that_drops_terms_must_see_the_group():
    reward = WeightedSum(((1.0, paid(0.5)),), on_missing="term")
    assert reward.grouped
    with pytest.raises(LevelError, match="give it a Group"):
        reward(TWO)


def test_a_sum_that_drops_terms_stays_whole_inside_another():
    inner = WeightedSum(((1.0, ExactMatch()),), on_missing="term")
    assert (inner + TokenF1()).terms == ((1.0, inner), (1.0, TokenF1()))
    assert (0.5 * inner).on_missing == "term"


def test_weights_must_be_finite_numbers():
    for weight in (float("inf"), float("nan"), "half"):
        with pytest.raises(SettingError, match="finite number"):
            WeightedSum(((weight, ExactMatch()),))


def test_a_trajectory_without_steps_has_no_place_in_a_sum_over_steps():
    with pytest.raises(ScoreError, match="no step"):
        (paid(1.0) + stepwise())(a_trajectory())


def test_a_sum_with_a_token_term_is_laid_out_over_the_own_tokens():
    three = a_trajectory(("p1",), None, tokens=2, id="three")
    costs = reward_of(lambda t: [-0.1, None, -0.3, -0.4], level="token", name="cost")
    total = (paid(1.0) + stepwise(0.5, None) + costs)(three)
    assert total.level is Level.TOKEN
    # own tokens 0, 1 | 2, 3: the step lands on 1, the trajectory on 3
    assert total.values_S.tolist() == pytest.approx([-0.1, 0.5, -0.3, 0.6])
    with pytest.raises(MissingTokens, match="text only"):
        (paid(1.0) + costs)(TWO)


def test_a_term_that_is_missing_makes_the_token_it_lands_on_missing():
    two = a_trajectory(None, tokens=2)
    total = (failing() + reward_of(lambda t: [1.0, 1.0], level="token"))(two)
    assert total.status_S.tolist() == [Status.SCORED, Status.MISSING]


def test_the_range_of_a_sum_counts_terms_that_do_not_apply_as_zero():
    assert (ExactMatch() - 0.5 * CoverageGain()).range == (-0.5, 1.0)
    assert (-2 * ExactMatch()).range == (-2.0, 0.0)


def test_a_sum_needs_what_its_terms_need():
    reward = ExactMatch() + CoverageGain()
    assert reward.needs == {"golds", "gold_pages"}
    assert not reward.causal
    assert (CoverageGain() - RepeatedDocuments()).causal


# ---------------------------------------------------------------- the base class


@dataclass(frozen=True)
class Best(Reward):
    """1 for the longest of the group."""

    level = Level.GROUP

    def score_group(self, group):
        longest = max(len(trajectory.steps) for trajectory in group)
        return [Scores.trajectory(float(len(t.steps) == longest), level=self.level) for t in group]


def test_a_group_level_reward_refuses_one_trajectory_and_says_so():
    with pytest.raises(LevelError, match=r"Best\(\) compares siblings: give it a Group, not the one trajectory 'two'"):
        Best()(TWO)


def test_group_level_terms_mix_with_the_others():
    reward = Best() * paid(0.5) + ReduceSteps(stepwise(1.0, None), "sum")
    short = a_trajectory(("p1",), ("p1",), id="b")
    assert reward.level is Level.GROUP
    assert [one.value for one in reward(a_group(TWO, short))] == [1.5, 1.5]
    with_steps = Best() + CoverageGain()
    assert with_steps.level is Level.STEP
    assert with_steps.grouped


@dataclass(frozen=True)
class Broken(Reward):
    given: object
    level = Level.STEP

    def score(self, trajectory):
        return self.given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (1.0, "returned float"),
        (Scores.trajectory(1.0), "declares level step and returned level trajectory"),
        (Scores.steps([1.0]), "gave 'two' 1 values; level step has 2"),
    ],
)
def test_a_reward_that_breaks_the_contract_is_told_how(given, message):
    with pytest.raises(ScoreError, match=message):
        Broken(given)(TWO)


def test_a_group_reward_must_score_every_member():
    class Lazy(Best):
        def score_group(self, group):
            return []

    with pytest.raises(ScoreError, match="0 scores for a group of 1"):
        Lazy()(a_group(TWO))


def test_a_reward_is_given_a_group_or_a_trajectory():
    with pytest.raises(LevelError, match=r"got Tree; see Tree.groups\(\)"):
        ExactMatch()(a_tree(TWO))
    with pytest.raises(NotImplementedError, match="must define score"):
        Reward()(TWO)
    assert repr(Reward()) == "Reward()"


# ---------------------------------------------------------------- plain functions


def test_a_plain_function_is_lifted():
    turns = reward_of(lambda t: len(t.steps), name="turns")
    assert turns(TWO).value == 2.0
    assert [one.value for one in turns(a_group(TWO))] == [2.0]
    assert reward_of(len, level="step").level is Level.STEP
    assert repr(turns) == "reward_of(turns, level='trajectory')"


def test_none_from_a_function_is_not_applicable():
    assert paid(None)(TWO).status_S.tolist() == [Status.NOT_APPLICABLE]
    assert stepwise(1.0, None)(TWO).status_S.tolist() == [Status.SCORED, Status.NOT_APPLICABLE]


def test_a_function_has_no_group():
    with pytest.raises(LevelError, match="level group write a class"):
        reward_of(len, level="group")


def test_a_plain_function_cannot_be_stored():
    with pytest.raises(SettingError, match="cannot be stored as a setting: reward_of"):
        dumps(ExactMatch() + reward_of(len))


# ---------------------------------------------------------------- into a batch


def test_a_mixed_sum_makes_a_batch_whose_returns_are_its_totals():
    one = a_trajectory(("p1", "x"), ("p2", "x"), answer="Paris", id="one", tokens=2)
    two = a_trajectory(("x",), ("x",), id="two", tokens=2)
    reward = ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()
    trees = [a_tree(one, two)]
    batch = flat_batch(trees, score(trees, reward))
    assert batch.names_R == ("ExactMatch", "CoverageGain", "RepeatedDocuments")
    # one: 1 + 0.5 (.5 + .5) - 0.2 (0 + .5) = 1.4; two: 0 - 0.2 (0 + 1)
    np.testing.assert_allclose(batch.returns_N, [1.4, -0.2])
    np.testing.assert_allclose(batch.reweighted(ExactMatch=2.0).returns_N, [2.4, -0.2])


def test_placing_does_not_change_a_batch():
    one = a_trajectory(("p1",), answer="Paris", tokens=2)
    trees = [a_tree(one)]
    placed = flat_batch(trees, score(trees, Placed(ExactMatch(), "query") + CoverageGain()))
    plain = flat_batch(trees, score(trees, ExactMatch() + CoverageGain()))
    np.testing.assert_array_equal(placed.terms_RS, plain.terms_RS)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_function_that_gives_nothing_has_not_scored(nothing: float | None):
    assert reward_of(lambda t: nothing)(TWO).status_S.tolist() == [Status.NOT_APPLICABLE]
