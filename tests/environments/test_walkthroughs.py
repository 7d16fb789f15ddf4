"""Traces taken apart into single turns."""

from __future__ import annotations

import numpy as np

from tests.builders import a_task, a_trajectory
from workbench.agents.tabular import TabularPolicy
from workbench.environments.walkthroughs import FirstCalls, walkthrough_rows
from workbench.rewards import ToolCallMatch, WellFormed
from workbench.sampling.group import GroupSampler
from workbench.trajectory import Call, End


def test_every_step_becomes_a_task_whose_target_is_what_the_step_called():
    trace = a_trajectory(["p1"], None, answer="Paris", queries=["capital of France"], id="trace")
    first, second = walkthrough_rows(trace)
    assert first.question == trace.task.question
    assert first.extras["gold_calls"] == [{"name": "search", "parameters": {"query": "capital of France"}}]
    assert first.extras["blocks"] == ["think", "tool_call"]
    assert "text of p1" in second.question
    assert "<search>capital of France</search>" in second.question
    assert (second.extras["gold_calls"], second.extras["blocks"]) == ([], ["think", "answer"])
    assert second.golds == trace.task.golds


def test_a_step_that_could_not_be_read_gives_no_row():
    trace = a_trajectory(["p1"], ["p2"])
    object.__setattr__(trace.steps[0], "valid", False)
    assert [row.id for row in walkthrough_rows(trace)] == ["task/1"]


def test_the_trace_itself_is_right_in_every_row():
    trace = a_trajectory(["p1"], ["p2"], None, answer="Paris", task=a_task(kind="bridge"))
    rows = walkthrough_rows(trace, tags=("think", "search", "answer"))
    form = WellFormed(turn=None, last=("think", "search", "answer"), by_task=True)
    for row, step in zip(rows, trace.steps, strict=True):
        alone = type(trace)("alone", row, (step,), End.ANSWERED)
        assert ToolCallMatch()(alone).value == (3.0 if step.calls else 0.0)
        assert form(alone).value == 1.0


def test_a_trajectory_ends_with_its_first_calls():
    row = walkthrough_rows(a_trajectory(["p1"]))[0]
    policy = TabularPolicy({"search": lambda p: Call("search", {"query": "capital of France"})}, lambda p: 0)
    (tree,) = GroupSampler(2).sample(policy, FirstCalls(), [row], None, np.random.default_rng(0))
    for trajectory in tree:
        assert (trajectory.end, len(trajectory.steps)) == (End.ANSWERED, 1)
        assert ToolCallMatch()(trajectory).value == 3.0
