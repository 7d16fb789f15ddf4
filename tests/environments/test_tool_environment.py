"""Tools as an environment: answers, failures as data, batches, states that fork."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment, mismatch
from workbench.errors import SettingError, ToolError
from workbench.protocols import Limits
from workbench.retrieval import Page, SearchIndex
from workbench.trajectory import Call, Task

TASK = Task("t", "Who leads it?")


class Scripted:
    """A tool that answers "<name>: <text>", notes the size of each batch, and breaks where told to."""

    description = "answers with its argument"
    parameters = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}

    def __init__(self, name="echo", breaks=None, answers=None):
        self.name, self.breaks, self.answers, self.batches = name, breaks or {}, answers, []

    def __call__(self, calls):
        self.batches.append(len(calls))
        for call in calls:
            if call.arguments["text"] in self.breaks:
                raise self.breaks[call.arguments["text"]]
        answered = [replace(call, result=f"{self.name}: {call.arguments['text']}") for call in calls]
        return answered if self.answers is None else answered[: self.answers]

    def render(self, call):
        if call.arguments["text"] == "unprintable":
            raise ValueError("cannot show this")
        return f"{call.result}\n"


def echo(text="hello", tool="echo"):
    return Call(tool, {"text": text})


def one_turn(environment, *calls):
    state, _ = environment.reset(TASK, np.random.default_rng(0))
    return environment.step(state, calls)


def test_calls_come_back_answered_and_shown():
    outcome = one_turn(ToolEnvironment([Scripted()]), echo("a"), echo("b"))
    assert [call.result for call in outcome.calls] == ["echo: a", "echo: b"]
    assert outcome.observations == ("echo: a\n", "echo: b\n")
    assert outcome.end is None and np.isnan(outcome.reward)
    assert all(call.valid and call.error is None and call.seconds > 0 for call in outcome.calls)


def test_all_calls_of_all_trajectories_reach_a_tool_in_one_batch():
    first, second = Scripted("first"), Scripted("second")
    environment = ToolEnvironment([first, second])
    state, _ = environment.reset(TASK, np.random.default_rng(0))
    calls = [[echo("a", "first"), echo("b", "second")], [], [echo("c", "second"), echo("d", "first")]]
    outcomes = environment.step_all([state] * 3, calls)
    assert (first.batches, second.batches) == ([2], [2])
    assert [outcome.observations for outcome in outcomes] == [
        ("first: a\n", "second: b\n"),
        (),
        ("second: c\n", "first: d\n"),
    ]


def test_a_batch_answers_as_single_steps_do():
    environment = ToolEnvironment([Scripted(breaks={"bad": KeyError("x")})])
    state, _ = environment.reset(TASK, np.random.default_rng(0))
    calls = [[echo("a")], [echo("bad"), Call("nothing")], [echo("c")]]
    batch = environment.step_all([state] * 3, calls)
    for together, alone in zip(batch, (environment.step(state, some) for some in calls), strict=True):
        assert together.observations == alone.observations
        assert [call.error for call in together.calls] == [call.error for call in alone.calls]


def test_states_are_values_so_that_a_trajectory_can_fork():
    environment = ToolEnvironment([Scripted()])
    start, observation = environment.reset(TASK, np.random.default_rng(0))
    once = environment.step(start, [echo()]).state
    twice, other = environment.step(once, [echo()]).state, environment.step(once, [echo("else")]).state
    assert (observation, start.turns, once.turns) == ("", 0, 1)
    assert twice == other and twice.turns == 2 and twice.task is TASK


def test_an_unknown_tool_is_an_invalid_call():
    outcome = one_turn(ToolEnvironment([Scripted("search")]), echo(tool="serach"))
    (call,) = outcome.calls
    assert not call.valid
    assert call.error == "no tool 'serach'; known: search. Did you mean 'search'?"
    assert outcome.observations == (f"Error: {call.error}\n",)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "echo: missing 'text'; got []"),
        ({"text": 3}, "echo: text must be string, got 3"),
        ({"text": None}, "echo: text must be string, got None"),
        ([1], "echo: arguments must be object, got [1]"),
    ],
)
def test_arguments_that_do_not_fit_are_an_invalid_call(arguments, error):
    tool = Scripted()
    (call,) = one_turn(ToolEnvironment([tool]), Call("echo", arguments)).calls
    assert (call.valid, call.error, tool.batches) == (False, error, [])


def test_a_call_that_the_template_could_not_read_is_not_made():
    tool = Scripted()
    unread = Call("echo", {"text": "x"}, valid=False, error="not JSON")
    outcome = one_turn(ToolEnvironment([tool]), unread)
    assert outcome.calls[0].error == "not JSON" and tool.batches == []


def test_a_call_that_trips_the_tool_does_not_take_the_others_with_it():
    tool = Scripted(breaks={"bad": ZeroDivisionError("division by zero")})
    outcome = one_turn(ToolEnvironment([tool]), echo("a"), echo("bad"), echo("c"))
    assert [call.error for call in outcome.calls] == [None, "ZeroDivisionError: division by zero", None]
    assert outcome.observations[1] == "Error: ZeroDivisionError: division by zero\n"
    assert outcome.calls[1].valid  # the agent did nothing wrong
    assert tool.batches == [3, 1, 1, 1]


def test_a_tool_out_of_order_is_asked_once():
    tool = Scripted(breaks={"a": ToolError("no answer from the server")})
    outcome = one_turn(ToolEnvironment([tool]), echo("a"), echo("b"))
    assert [call.error for call in outcome.calls] == ["ToolError: no answer from the server"] * 2
    assert tool.batches == [2]


def test_a_tool_that_loses_calls_has_failed():
    outcome = one_turn(ToolEnvironment([Scripted(answers=1)]), echo("a"), echo("b"))
    assert all("echo must answer 2 calls with as many" in call.error for call in outcome.calls)


def test_an_answer_that_cannot_be_shown_has_failed():
    outcome = one_turn(ToolEnvironment([Scripted()]), echo("unprintable"), echo("b"))
    assert [call.error for call in outcome.calls] == ["ValueError: cannot show this", None]
    assert outcome.observations == ("Error: ValueError: cannot show this\n", "echo: b\n")


def test_ctrl_c_inside_a_tool_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        one_turn(ToolEnvironment([Scripted(breaks={"a": KeyboardInterrupt()})]), echo("a"))


def test_limits_are_declared_and_names_are_unique():
    environment = ToolEnvironment([Scripted()], Limits(turns=2, observation_tokens=None))
    assert environment.limits.turns == 2
    assert ToolEnvironment([]).limits == Limits()
    with pytest.raises(SettingError, match="two tools are named 'echo'"):
        ToolEnvironment([Scripted(), Scripted()])


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, None),
        (1.5, {"type": "integer"}, "x must be integer, got 1.5"),
        (True, {"type": "integer"}, "x must be integer, got True"),
        (1, {"type": "number"}, None),
        (None, {"type": ["string", "null"]}, None),
        (3, {"type": ["string", "null"]}, "x must be string or null, got 3"),
        ("up", {"enum": ["up", "down"]}, None),
        ("left", {"enum": ["up", "down"]}, "x must be one of ['up', 'down'], got 'left'"),
        (["a", 1], {"type": "array", "items": {"type": "string"}}, "x[1] must be string, got 1"),
        ({"a": {"b": 1}}, {"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, "b must be string, got 1"),
        ({"z": 1}, {"properties": {"a": {}}, "additionalProperties": False}, "no argument 'z'; known: ['a']"),
        ({"z": 1}, {"properties": {"a": {}}}, None),
        ("y" * 99, {"type": "integer"}, f"x must be integer, got '{'y' * 56}..."),
        ("anything", {}, None),
    ],
)
def test_schemas(value, schema, wrong):
    assert mismatch(value, schema, "x") == wrong


# ---------------------------------------------------------------- the search tool

PAGES = [Page("p1", "Ed Wood", "A film by Burton."), Page("p2", "Tim Burton", "A director.")]


@pytest.fixture
def index():
    return SearchIndex.build(PAGES, progress=False)


def search(query):
    return Call("search", {"query": query})


def test_hits_are_shown_as_search_r1_shows_them(index):
    outcome = one_turn(ToolEnvironment([SearchTool(index)]), search("Burton"), search("film"), search(""))
    assert outcome.observations == (
        "Doc 1(Title: Tim Burton) A director.\nDoc 2(Title: Ed Wood) A film by Burton.\n",
        "Doc 1(Title: Ed Wood) A film by Burton.\n",
        "",
    )
    assert [hit.id for hit in outcome.calls[0].hits] == ["p2", "p1"]
    assert [call.error for call in outcome.calls] == [None, None, None]


def test_titles_can_stand_in_quotes_as_in_search_r1s_corpus(index):
    tool = SearchTool(index, k=1, quoted_titles=True)
    (call,) = tool([search("film")])
    assert tool.render(call) == 'Doc 1(Title: "Ed Wood") A film by Burton.\n'


def test_k_and_name_are_settings(index):
    environment = ToolEnvironment([SearchTool(index, k=1, name="wiki")])
    (call,) = one_turn(environment, Call("wiki", {"query": "Burton"})).calls
    assert [hit.id for hit in call.hits] == ["p2"]
    (call,) = one_turn(environment, Call("wiki", {"q": "Burton"})).calls
    assert call.error == "wiki: missing 'query'; got ['q']"
