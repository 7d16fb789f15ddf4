"""What the lint says of rewards, by hand; it sees no rollout."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from workbench.errors import MissingGold, SettingError
from workbench.evaluation import spec_lint
from workbench.rewards import (
    CallCount,
    CoverageGain,
    ExactMatch,
    FormatLayer,
    FormatTable,
    Gate,
    OverLong,
    ReduceSteps,
    RepeatedDocuments,
    Residual,
    Reward,
    SearchKeyMatch,
    TokenF1,
    WeightedSum,
    WellFormed,
    reward_of,
)
from workbench.rewards.reward import Wrapper
from workbench.scores import Scores
from workbench.spec import part
from workbench.trajectory import SubQuestion, Task, Trajectory


def kinds(reward: Reward, **settings) -> list[str]:
    return [remark.kind for remark in spec_lint(reward, **settings).remarks]


def says(reward: Reward, kind: str, **settings) -> str:
    [remark] = [remark for remark in spec_lint(reward, **settings).remarks if remark.kind == kind]
    return str(remark)


# ---------------------------------------------------------------- right against wrong


def test_an_answer_alone_cannot_be_outscored():
    lint = spec_lint(ExactMatch())
    assert lint.ordered and not lint.alarms
    assert (lint.worst_right, lint.best_wrong) == (1.0, 0.0)
    assert "the worst right one is paid 1, the best wrong one 0" in str(lint)


def test_shaping_that_outweighs_the_answer_is_named_with_its_terms():
    # wrong at best: 0 + 0.5 * 1; right at worst: 1 - 0.2 * 4 searches that bring only known pages = 0.2
    reward = ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()
    lint = spec_lint(reward, steps=4)
    assert not lint.ordered
    assert (lint.worst_right, lint.best_wrong) == (pytest.approx(0.2), 0.5)
    said = says(reward, "order")
    assert said.startswith("LOOK: A wrong answer can outscore a right one")
    assert "0.5 (CoverageGain +0.5)" in said and "0.2 (ExactMatch +1, RepeatedDocuments -0.8)" in said
    assert spec_lint(reward, steps=2).ordered  # 1 - 0.4 = 0.6


def test_a_tie_is_no_order_either():
    lint = spec_lint(ExactMatch() + CoverageGain())
    assert not lint.ordered and "can be paid as much as a right one" in str(lint)


def test_a_reward_that_never_looks_at_the_answer_is_told_so():
    assert "Nothing in it looks at the answer" in says(WellFormed() - RepeatedDocuments(), "order")


def test_stepsearch_lets_a_good_search_outscore_a_malformed_right_answer():
    # open gate, wrong: 0 + 0.618 + 0.6 = 1.218; closed gate, right: -1
    final = TokenF1(yes_no=False, digits=4) + 0.618 * SearchKeyMatch()
    gate = WellFormed(turn=None, last=("answer",), stray="before")
    reward = Gate(gate, final + 0.6 * CoverageGain(by="similarity"), otherwise=-1.0)
    lint = spec_lint(reward)
    assert (lint.worst_right, lint.best_wrong) == (-1.0, pytest.approx(1.218))


def test_wrong_answers_are_bounded_by_a_product_with_the_answer():
    lint = spec_lint(TokenF1() * (0.5 * WellFormed()) + 0.1 * ExactMatch())
    assert lint.best_wrong == 0.0  # what is multiplied by 0
    assert lint.worst_right == pytest.approx(0.1)  # 1 * 0.5 * 0 + 0.1


@part
class Runs(Reward):
    """Card 02's syntax: a right query runs; a wrong one may."""

    range = (0.0, 1.0)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return (1.0, 1.0) if right else (0.0, 1.0)

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.trajectory(1.0)


@part
class Overlap(Reward):
    """Card 02's schema and n-gram terms: any query may have any overlap."""

    range = (0.0, 1.0)

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.trajectory(0.5)


def test_the_weights_of_card_02_keep_wrong_below_right():
    # execution 3, judge 2 (1 where it runs right), syntax 1, schema 1, n-grams 1, format 1 (a parsed query has it)
    # right at worst: 3 + 2 + 1 + 0 + 0 + 1 = 7; wrong at best: 0 + 2 + 1 + 1 + 1 + 1 = 6
    right_where_it_runs = Runs().named("judge")
    terms = [(3.0, ExactMatch()), (2.0, right_where_it_runs), (1.0, Runs()), (1.0, Overlap()), (1.0, Overlap())]
    lint = spec_lint(WeightedSum((*terms, (1.0, Runs().named("format")))))
    assert lint.ordered
    assert (lint.worst_right, lint.best_wrong) == (7.0, 6.0)
    hacked = WeightedSum(((0.0, ExactMatch()), (5.0, Overlap())))  # its hack test: execution 0, n-grams 5
    assert not spec_lint(hacked).ordered


# ---------------------------------------------------------------- tables, bounds, gates, weights


def test_a_table_that_pays_less_for_more_says_which_cells():
    said = says(FormatTable(found=0.1), "table")
    assert "FormatTable pays found 0.1, less than formed 0.2, though only the first saw a gold answer" in said
    assert "table" not in kinds(FormatTable())
    assert "table" in kinds(ExactMatch() + Gate(WellFormed(), FormatTable(answered=-1.0)))  # however deep it stands


def test_subsearch_s_layer_pays_a_little_process_less_than_none():
    # card 18: a wrong answer with process R = 0.13 is paid 0.13 (0.23 with a hit), one with R = 0 is paid 0.2 (0.3)
    reward = FormatLayer(Residual(ExactMatch(), ReduceSteps(RepeatedDocuments(), "mean", empty=0.0), beta=0.2))
    lint = spec_lint(reward)
    said = [remark.says for remark in lint.alarms if remark.kind == "table"]
    assert any("an R of 0 pays 0.2, any R between 0 and 0.2 pays less" in one for one in said)
    # right: R = 1, malformed 0.8; wrong at best: beta 0.2 and a hit, or R = 0 with one: 0.3
    assert (lint.worst_right, lint.best_wrong) == (pytest.approx(0.8), pytest.approx(0.3))
    assert lint.ordered and "table" not in kinds(replace(reward, structure=0.0, final=0.0))


def test_a_residual_pays_right_answers_nothing_for_their_process():
    process = ReduceSteps(RepeatedDocuments(), "mean", empty=0.0)
    assert Residual(ExactMatch(), process).totals(True, 4) == (1.0, 1.0)
    assert Residual(ExactMatch(), process, 0.2).totals(False, 4) == (0.0, 0.2)


def test_a_term_without_a_bound_is_named_once():
    reward = ExactMatch() + 0.1 * reward_of(len, name="length")
    assert kinds(reward).count("unbounded") == 1
    assert "length has no bound: it pays -inf to inf" in says(reward, "unbounded")
    assert "by any amount" in says(reward, "order")
    assert "unbounded" not in kinds(ExactMatch() + 0.1 * reward_of(len, name="length").clip(0, 1))
    searched = Gate(CallCount(), ExactMatch())  # a condition is not paid
    assert "unbounded" not in kinds(searched)
    assert searched.totals(True, 4) == (0.0, 1.0) and searched.totals(False, 4) == (0.0, 0.0)
    both = Gate(CallCount(), reward_of(len, name="length"))
    assert "length has no bound" in says(both, "unbounded")
    assert "CallCount has no bound" in says(ExactMatch() - 0.1 * Gate(WellFormed(), CallCount()), "unbounded")


def test_what_is_paid_at_every_step_grows_with_the_steps():
    reward = ExactMatch() + 0.1 * CoverageGain(mode="single")
    assert "up to 0.4 in 4 steps and 0.8 in 8" in says(reward, "growing")
    assert "growing" not in kinds(ExactMatch() + 0.1 * CoverageGain())  # its shares add up to 1
    assert "growing" not in kinds(ExactMatch() - 0.1 * RepeatedDocuments())  # a fine earns nobody anything
    counted = ReduceSteps(CoverageGain(mode="single"), "count_below", threshold=0.5)
    assert says(counted, "growing").startswith("LOOK: It is paid again")
    assert "unbounded" not in kinds(counted) and "growing" in kinds(counted)


def test_weights_that_never_matter_are_named():
    said = str(spec_lint(ExactMatch() + 0.001 * WellFormed() + 0.0 * OverLong(10, 5)))
    assert "0.001 * WellFormed hardly matters: it moves the total by 0.001, another by 1" in said
    assert "0 * OverLong never matters" in said
    assert "idle" not in kinds(ExactMatch() + 0.1 * WellFormed())


def test_gates_that_never_move_are_named():
    assert "A gate never opens: WellFormed reaches 1" in says(Gate(WellFormed(), ExactMatch(), above=1.0), "gate")
    assert "A gate never closes" in says(Gate(WellFormed(), ExactMatch(), above=-0.5), "gate")
    assert "gate" not in kinds(Gate(WellFormed(), ExactMatch()))


# ---------------------------------------------------------------- what it needs


def test_golds_that_tasks_lack_are_counted():
    tasks = [Task("a", "?", ("x",)), Task("b", "?"), Task("c", "?", ("y",), sub_questions=(SubQuestion("?"),))]
    lint = spec_lint(ExactMatch() + 0.5 * CoverageGain() + 0.1 * SearchKeyMatch(), tasks=tasks)
    said = [remark.says for remark in lint.alarms if remark.kind == "needs"]
    assert said == [
        "CoverageGain needs gold_pages, and no task has any: scoring stops there.",
        "ExactMatch needs golds, and 1 of 3 tasks have none: scoring stops there.",
        "SearchKeyMatch needs sub_questions, and 2 of 3 tasks have none: scoring stops there.",
    ]
    assert "needs" not in kinds(WellFormed())


@part
class FailingJudge(Reward):
    """Stands for a judge."""

    range = (0.0, 1.0)
    needs = frozenset({"judge"})

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.missing("the judge failed")


def test_what_a_failed_judge_does_follows_the_rule_of_the_sum():
    by_rollout = ExactMatch() + 0.2 * FailingJudge()
    assert "Where FailingJudge fails, the rollout is not trained on" in says(by_rollout, "missing")
    assert "left out for the whole group" in says(replace(by_rollout, on_missing="term"), "missing")
    assert "missing" not in kinds(ExactMatch())


def test_the_lint_asks_for_at_least_one_step():
    with pytest.raises(SettingError, match="steps must be at least 1, got 0"):
        spec_lint(ExactMatch(), steps=0)


def test_bounds_of_composed_rewards_are_found_by_trying():
    assert ReduceSteps(CoverageGain()).totals(True, 4) == (0.0, 1.0)  # its shares add up to 1
    assert ReduceSteps(RepeatedDocuments(), "sum").totals(True, 4) == (0.0, 4.0)
    assert ReduceSteps(RepeatedDocuments(), "mean").totals(True, 4) == (0.0, 1.0)
    assert CoverageGain(mode="single").clip(0.1, 0.6).totals(False, 3) == (pytest.approx(0.1), pytest.approx(1.8))
    assert (TokenF1() * WellFormed()).totals(False, 4) == (0.0, 0.0)
    assert Gate(ExactMatch(), CoverageGain(), otherwise=-1.0).totals(False, 4) == (-1.0, -1.0)
    assert math.isinf(reward_of(len).clip(0.0).totals(True, 4)[1])


def test_what_cannot_be_tried_on_an_empty_rollout_has_its_declared_range():
    class OfTheGold(Wrapper):
        reward = ExactMatch()
        range = (0.0, 2.0)

        def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
            raise MissingGold(f"task {trajectory.task.id!r} has no golds")

    assert OfTheGold().totals(True, 4) == OfTheGold().totals(False, 4) == (0.0, 2.0)
