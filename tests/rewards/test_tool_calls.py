"""Calls against gold calls, with the numbers of ToolRL's reward worked out by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory
from workbench.errors import MissingGold
from workbench.rewards import ReachLength, SetJaccard, ToolCallMatch, WellFormed
from workbench.rewards.overlap import jaccard
from workbench.rewards.tool_calls import _optimal
from workbench.trajectory import Call, End, Span, Step, SubQuestion, Task, Trajectory

MONET = [{"name": "search", "parameters": {"query": "Monet born", "k": 3}}]
TWO = [{"name": "search", "parameters": {"query": "a"}}, {"name": "search", "parameters": {"query": "b"}}]
CROSSED = [{"name": "s", "parameters": {"x": 1, "y": 2}}, {"name": "s", "parameters": {"x": 1, "y": 3}}]


def called(golds: list, *calls: Call, valid: bool = True) -> Trajectory:
    """One turn that makes these calls, where `golds` were due."""
    task = Task("task", "?", extras={"gold_calls": golds})
    return Trajectory("t", task, (Step("t.0", "", calls, valid=valid),), End.ANSWERED)


def search(**arguments: object) -> Call:
    return Call("search", arguments)


@pytest.mark.parametrize(
    ("calls", "value"),
    [
        ([search(query="Monet birth", k=3)], 1.5),  # S = 1 + 1 + 1 = 3 of 4
        ([search(query="Monet born")], 0.75),  # 1 + 1/2 + 1 = 2.5
        ([Call("open", {"id": 1})], -3.0),  # nothing
        ([search(query="Monet born", k=3), Call("open", {"id": 1})], 2.25),  # 1/2 + 1 + 2 = 3.5
        ([search(query="Monet born", k=3)] * 2, 2.25),  # the same
        ([search()], -1.5),  # 1 + 0 + 0
        ([search(query="Monet born", k=3)], 3.0),
        ([], -3.0),
        ([search(query="Monet born", k="3")], 1.5),  # a text is not a number
    ],
)
def test_one_gold_call_by_hand(calls, value):
    assert ToolCallMatch()(called(MONET, *calls)).value == pytest.approx(value)


def test_two_gold_calls_in_any_order_and_one_alone():
    assert ToolCallMatch()(called(TWO, search(query="b"), search(query="a"))).value == 3.0
    # names 1/2, keys 1, values 1: 2.5 of 1 + 2 + 2
    assert ToolCallMatch()(called(TWO, search(query="a"))).value == pytest.approx(0.0)


def test_greedy_matching_misses_what_the_best_assignment_finds():
    made = called(CROSSED, Call("s", {"x": 1, "y": 3}), Call("s", {"x": 9, "y": 2}))
    # S_max = 1 + 2 + 4. The first gold ties (one value each) and takes the first call, which was all of the second:
    # S = 1 + (1 + 1) + (1 + 0) = 4; exchanged it is 1 + (1 + 1) + (1 + 2) = 6
    assert ToolCallMatch(matching="greedy")(made).value == pytest.approx(6 * 4 / 7 - 3)
    assert ToolCallMatch()(made).value == pytest.approx(6 * 6 / 7 - 3)


def test_the_best_assignment_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows, columns = rng.integers(1, 5, 2)
        gains_GM = rng.integers(0, 5, (rows, columns)).astype(float)
        wide_GM = gains_GM if rows <= columns else gains_GM.T
        orders = itertools.permutations(range(wide_GM.shape[1]), wide_GM.shape[0])
        best = max(sum(wide_GM[g, m] for g, m in enumerate(order)) for order in orders)
        pairs = _optimal(gains_GM.tolist())
        assert sum(gains_GM[pair] for pair in pairs) == best
        assert len({g for g, _ in pairs}) == len({m for _, m in pairs}) == len(pairs) == min(rows, columns)


def test_no_gold_call_pays_nothing_whatever_was_called():
    assert ToolCallMatch()(called([])).value == 0.0
    assert ToolCallMatch(grain="coarse")(called([], search(query="a"))).value == 0.0


def test_no_list_of_gold_calls_is_refused_and_so_is_a_call_without_a_name():
    with pytest.raises(MissingGold, match="gold_calls"):
        ToolCallMatch()(a_trajectory(["p1"]))
    with pytest.raises(MissingGold, match="gold call 0"):
        ToolCallMatch()(called([{"parameters": {}}]))
    with pytest.raises(MissingGold, match="sub_questions"):
        ToolCallMatch(gold="sub_questions")(a_trajectory(["p1"]))


def test_the_calls_of_a_turn_that_could_not_be_read_do_not_count():
    assert ToolCallMatch()(called(MONET, search(query="Monet born", k=3), valid=False)).value == -3.0


def test_calls_without_arguments_have_equal_keys():
    # S = 1 + 1 of 1 + 1 + 0
    assert ToolCallMatch()(called([{"name": "list"}], Call("list"))).value == 3.0
    # one key too many: 1 + 0
    assert ToolCallMatch()(called([{"name": "list"}], Call("list", {"k": 1}))).value == pytest.approx(0.0)


def test_a_call_of_another_tool_with_the_same_arguments_is_no_match():
    assert ToolCallMatch()(called(TWO[:1], Call("open", {"query": "a"}))).value == -3.0


def test_the_parts_say_which_level_failed():
    scores = ToolCallMatch()(called(MONET, search(query="Monet birth")))
    # shares of the scale 3: names 1/4, keys 1/4, values 2/4; got 1 of 1, 1/2 of 1, 0 of 2
    parts = {one.name: one.scores.value for one in scores.parts}
    assert parts == pytest.approx({"call_names": 0.75, "call_keys": 0.0, "call_values": -1.5})
    assert scores.value == pytest.approx(sum(parts.values()))
    assert scores.why_S == ("names 1 of 1, keys 0.5 of 1, values 0 of 2",)


@pytest.mark.parametrize(
    ("grain", "value"),
    [
        ("fine", 6 * 2.5 / 4 - 3),
        ("refined", 6 * 2 / 4 - 3),  # the keys are not equal: 1 + 0 + 1
        ("intermediate", 6 * 1 / 2 - 3),  # the pair is not equal: 1 + 0 of 1 + 1
        ("coarse", -3.0),
    ],
)
def test_the_grains_of_one_call_with_a_missing_argument(grain, value):
    made = called(MONET, search(query="Monet born"))
    assert ToolCallMatch(grain=grain)(made).value == pytest.approx(value)
    assert ToolCallMatch(grain=grain)(called(MONET, search(query="Monet born", k=3))).value == 3.0


def test_a_superfluous_call_costs_the_refined_grain_all_of_its_names_and_the_coarse_all():
    made = called(MONET, search(query="Monet born", k=3), Call("open", {"id": 1}))
    assert ToolCallMatch(grain="refined")(made).value == pytest.approx(6 * 3 / 4 - 3)
    assert ToolCallMatch(grain="coarse")(made).value == -3.0


def test_a_smaller_scale_is_the_same_reward_smaller():
    made = called(MONET, search(query="Monet birth", k=3))
    assert ToolCallMatch(most=1.0)(made).value == pytest.approx(0.5)
    assert ToolCallMatch(most=2.5).range == (-2.5, 2.5)


def test_queries_count_by_their_words_on_request():
    # "monet birth" and "monet born": one word of two each, F1 1/2; S = 1 + 1 + 1/2 + 1 of 4
    made = called(MONET, search(query="Monet birth", k=3))
    assert ToolCallMatch(values="f1")(made).value == pytest.approx(6 * 3.5 / 4 - 3)


def test_sub_questions_ask_for_one_search_each():
    subs = (SubQuestion("Who painted it?", queries=("painter of it", "it painter")), SubQuestion("Where born?"))
    task = a_task(sub_questions=subs)
    made = a_trajectory(["p1"], ["p2"], task=task, queries=["it painter", "Where born?"])
    assert ToolCallMatch(gold="sub_questions")(made).value == 3.0
    once = a_trajectory(["p1"], task=task, queries=["it painter"])
    # names 1/2, keys 1, values 1 of 1 + 2 + 2
    assert ToolCallMatch(gold="sub_questions")(once).value == pytest.approx(0.0)


# ---------------------------------------------------------------- what is shared, and how much is written


def test_jaccard_of_sets_multisets_and_nothing():
    assert jaccard({1, 2}, {2, 3}) == pytest.approx(1 / 3)
    assert jaccard(set(), set()) == 1.0


def test_pages_and_results_by_hand():
    made = a_trajectory(["p1", "x"], ["p1", "y"])
    assert SetJaccard()(made).value == pytest.approx(1 / 4)  # p1 of p1 p2 x y
    assert SetJaccard(of="results")(made).value == pytest.approx(1 / 3)
    assert np.isnan(SetJaccard(of="results")(a_trajectory(["p1"])).value)


@pytest.mark.parametrize(("words", "value"), [(100, 0.2), (256, 0.5), (600, 1.0)])
def test_thinking_is_paid_up_to_512_words(words, value):
    step = Step("t.0", "", spans=(Span("think", "word " * words), Span("answer", "no word of it")))
    made = Trajectory("t", a_task(), (step,), End.ANSWERED)
    assert ReachLength(512, digits=2)(made).value == value


@pytest.mark.parametrize(
    ("blocks", "text", "formed"),
    [
        (("think",), "<think>a</think>", True),
        (("think", "response"), "<think>a</think>\n<response>b</response>", True),
        (("think", "tool_call"), "<think>a</think>\n<tool_call>\n{}\n</tool_call>", True),
        (("think", "tool_call", "response"), "<think>a</think><tool_call>{}</tool_call><response>b</response>", True),
        (("think", "response"), "<think>a</think><tool_call>{}</tool_call>", False),
        (("think", "tool_call"), "<tool_call>{}</tool_call>", False),
        (("think", "tool_call"), "<think>a</think><tool_call>{}</tool_call> and more", False),
        (("think", "tool_call"), "<think>a</think><think>b</think><tool_call>{}</tool_call>", False),
    ],
)
def test_the_task_says_which_blocks_are_due(blocks, text, formed):
    form = WellFormed(turn=None, last=("think", "tool_call", "response"), by_task=True, formed=1.5, malformed=-1.0)
    step = Step("t.0", text)
    made = Trajectory("t", a_task(blocks=blocks), (step,), End.ANSWERED)
    assert form(made).value == (1.5 if formed else -1.0)
    free = replace(made, task=a_task())  # names none: then those of `last`
    assert form(free).value == (1.5 if blocks == ("think", "tool_call", "response") else -1.0)
