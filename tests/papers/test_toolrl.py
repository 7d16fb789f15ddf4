"""ToolRL: its schedules by hand, its reward over whole turns, and its proof. The match itself: test_tool_calls.py."""

from __future__ import annotations

import pytest

from tests.training.test_folds import PLAN
from workbench.papers import load
from workbench.papers.toolrl import FORMAT, REWARDS, longer_thoughts, method, smooth_scale, two_stages
from workbench.rewards import WeightedSum
from workbench.training.folds import Fold
from workbench.trajectory import Call, End, Step, Task, Trajectory


def ranges(fold: Fold, update: int) -> list[tuple[float, float]]:
    """What each term of the reward may pay in that update."""
    reward = fold.make(update)["reward"]
    assert isinstance(reward, WeightedSum)
    return [term.range for _, term in reward.terms]


def test_the_smooth_scale_by_hand():
    fold = smooth_scale(150)
    # update 75: format at most 2 - 75/150, at least -2 + 2 * 75/150; match +-(2 + 75/150)
    assert ranges(fold, 75) == [(-1.0, 1.5), (-2.5, 2.5)]
    assert ranges(fold, 150) == ranges(fold, 400) == [(-1.0, 1.0), (-3.0, 3.0)]
    assert ranges(fold, 0) == [(-2.0, 2.0), (-2.0, 2.0)]


def test_the_two_stages_by_hand():
    early, late = (two_stages().at[n]["reward"] for n in (1, 30))
    assert [term.range for _, term in early.terms] == [(0.0, 1.0), (-1.0, 1.0)]
    assert [term.range for _, term in late.terms] == [(0.0, 0.5), (-3.0, 3.0)]


def test_the_target_of_the_thoughts_moves_from_384_words_to_640():
    targets = [longer_thoughts().make(n)["reward"].terms[-1][1].target for n in (0, 105, 500)]
    assert targets == [384.0, 640.0, 640.0]


def test_a_schedule_sets_the_reward_of_a_plan():
    _, plan = smooth_scale(150).begin(PLAN)
    assert plan.reward == smooth_scale(150).make(1)["reward"]


@pytest.mark.parametrize(
    ("blocks", "text", "calls", "value"),
    [
        (["think", "tool_call"], "<think>a</think><tool_call>{}</tool_call>", (Call("s", {"x": 1}),), 4.0),
        (["think", "tool_call"], "<tool_call>{}</tool_call>", (Call("s", {"x": 1}),), 3.0),
        (["think", "tool_call"], "<think>a</think>", (), -3.0),
        (["think", "response"], "<think>a</think><response>b</response>", (), 1.0),
        (["think", "response"], "<think>a</think><tool_call>{}</tool_call>", (Call("s"),), 0.0),  # by form alone
    ],
)
def test_a_turn_is_paid_between_minus_three_and_four(blocks, text, calls, value):
    golds = [{"name": "s", "parameters": {"x": 1}}] if "tool_call" in blocks else []
    task = Task("t", "?", extras={"gold_calls": golds, "blocks": blocks})
    made = Trajectory("a", task, (Step("a.0", text, calls),), End.ANSWERED)
    assert REWARDS["ToolRL"](made).value == value


def test_the_range_is_the_published_one_and_nothing_holds_the_policy_to_a_reference():
    assert FORMAT.range == (0.0, 1.0)
    assert REWARDS["ToolRL"].range == (-3.0, 4.0)
    assert method().sampler.group_size == 4
    assert method().loss.kl is None


@pytest.mark.slow
def test_partial_credit_teaches_what_a_coarse_match_does_not():
    paper = load("toolrl")
    proof = paper.proof(0)
    assert [check.says for check in proof.checks if not check.holds] == []
    assert proof.verdict == paper.verdict
