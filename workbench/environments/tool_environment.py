"""Tools and limits as an environment: the agent calls, the tools answer, what fails comes back as data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench.errors import SettingError, ToolError, UnknownName
from workbench.protocols import Limits, Outcome, Tool
from workbench.trajectory import Call, Task


@dataclass(frozen=True)
class ToolState:
    """How far a trajectory has come. A value: keep it to fork from it later."""

    task: Task
    turns: int = 0  # turns in which tools were called


@dataclass(frozen=True)
class ToolEnvironment:
    """Any tools, within limits. It pays nothing and never ends a trajectory itself: the limits and the agent do.

    A call that cannot be answered never stops a rollout. It comes back with `error` set and an observation that says
    so: an unknown tool or arguments that do not fit the tool's schema with `valid=False`, a tool that broke with
    `valid=True` and the class and message of what it raised.
    """

    tools: Sequence[Tool]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tools", tuple(self.tools))
        names = [tool.name for tool in self.tools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(f"two tools are named {twice[0]!r}; give each its own name")

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[ToolState, str]:
        """A fresh state; the question says all there is to see."""
        return ToolState(task), ""

    def step(self, state: ToolState, calls: Sequence[Call]) -> Outcome:
        """Answer the calls of one turn of one trajectory."""
        return self.step_all([state], [calls])[0]

    def step_all(self, states: Sequence[ToolState], calls: Sequence[Sequence[Call]]) -> list[Outcome]:
        """Answer one turn of many trajectories. Each tool is called once, with the calls of all of them."""
        flat = [call for some in calls for call in some]
        shown = iter([self._shown(call) for call in self._answer(flat)])
        outcomes = []
        for state, some in zip(states, calls, strict=True):
            pairs = [next(shown) for _ in some]
            answered, texts = tuple(call for call, _ in pairs), tuple(text for _, text in pairs)
            outcomes.append(Outcome(replace(state, turns=state.turns + 1), answered, texts))
        return outcomes

    def _answer(self, calls: list[Call]) -> list[Call]:
        by_name = {tool.name: tool for tool in self.tools}
        answered = [_checked(call, by_name) for call in calls]
        for name, tool in by_name.items():
            mine = [i for i, call in enumerate(answered) if call.tool == name and call.error is None]
            if mine:
                for i, call in zip(mine, _call_tool(tool, [answered[i] for i in mine]), strict=True):
                    answered[i] = call
        return answered

    def _shown(self, call: Call) -> tuple[Call, str]:
        """The call and the text the agent is shown of it."""
        if call.error is None:
            try:
                return call, next(tool for tool in self.tools if tool.name == call.tool).render(call)
            except Exception as error:  # a tool that cannot show its answer has failed too
                call = _failed(call, error)
        return call, f"Error: {call.error}\n"


def _checked(call: Call, tools: Mapping[str, Tool]) -> Call:
    """The call, failed where it names no tool or its arguments do not fit."""
    if not call.valid:
        return replace(call, error=call.error or "the call could not be read")
    if call.tool not in tools:
        return replace(call, valid=False, error=str(UnknownName.among("tool", call.tool, tools)))
    if wrong := mismatch(call.arguments, tools[call.tool].parameters):
        return replace(call, valid=False, error=f"{call.tool}: {wrong}")
    return call


def _call_tool(tool: Tool, calls: Sequence[Call]) -> list[Call]:
    """All calls answered, or failed. Seconds of a batch are shared out evenly."""
    started = time.perf_counter()
    try:
        answered = list(tool(calls))
        if len(answered) != len(calls) or not all(isinstance(call, Call) for call in answered):
            raise ToolError(f"{tool.name} must answer {len(calls)} calls with as many, got {str(answered)[:200]}")
    except (ToolError, ConnectionError, TimeoutError) as error:  # the tool as a whole is out of order
        answered = [_failed(call, error) for call in calls]
    except Exception as error:  # one call may have tripped it: the others get another try
        answered = [_failed(calls[0], error)] if len(calls) == 1 else [_call_tool(tool, [call])[0] for call in calls]
    share = (time.perf_counter() - started) / len(calls)
    return [call if call.seconds else replace(call, seconds=share) for call in answered]


def _failed(call: Call, error: Exception) -> Call:
    return replace(call, error=f"{type(error).__name__}: {error}")


# ---------------------------------------------------------------- arguments against a JSON schema

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
    "null": (type(None),),
}


def mismatch(value: Any, schema: Mapping[str, Any], name: str = "arguments") -> str | None:
    """What is wrong with `value` under a JSON schema, in a sentence; None where it fits.

    The part of JSON schema that tools use: type (one or several), enum, properties, required, additionalProperties
    (false), items. Other keywords are ignored.

    >>> mismatch({"query": 3}, {"properties": {"query": {"type": "string"}}})
    'query must be string, got 3'
    """
    if "type" in schema and not _is_of_type(value, schema["type"]):
        wanted = schema["type"] if isinstance(schema["type"], str) else " or ".join(schema["type"])
        return f"{name} must be {wanted}, got {_short(value)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{name} must be one of {list(schema['enum'])}, got {_short(value)}"
    if isinstance(value, Mapping):
        return _first_wrong(_members(value, schema))
    if isinstance(value, list | tuple) and "items" in schema:
        return _first_wrong(mismatch(item, schema["items"], f"{name}[{i}]") for i, item in enumerate(value))
    return None


def _members(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterable[str | None]:
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield f"missing {key!r}; got {sorted(value)}"
    for key, item in value.items():
        if key in known:
            yield mismatch(item, known[key], key)
        elif schema.get("additionalProperties") is False:
            yield f"no argument {key!r}; known: {sorted(known)}"


def _first_wrong(findings: Iterable[str | None]) -> str | None:
    return next((finding for finding in findings if finding), None)


def _is_of_type(value: Any, types: str | Sequence[str]) -> bool:
    allowed = [types] if isinstance(types, str) else types
    if isinstance(value, bool):  # to Python a bool is an int, to JSON it is not
        return "boolean" in allowed
    return any(isinstance(value, _TYPES[name]) for name in allowed)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
