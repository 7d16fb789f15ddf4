"""Turns written with tags: ``<think>``, ``<search>``, ``<information>``, ``<answer>``, ``<tool_call>``.

A dump holds one long text. Where the agent's turn ends and what it was shown begins, only the tags say. The pieces
put together are the text again, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workbench.formats.passages import hits_in
from workbench.trajectory import Call, Context, End, Span, Step

SHOWN = re.compile(
    r"\s*(?:\buser\n)?<(information|tool_response|observation|result|documents)>.*?</\1>"
    r"(?:\s*<(?:information|tool_response|observation|result|documents)>.*?</\w+>)*"
    r"(?:\s*\n(?:assistant\n)?)?"
    r"|\nMy previous action is invalid\..{0,400}?Let me try again\.\n",
    re.DOTALL,
)
"""What the environment wrote: a block in tags, with the role names that decoding a chat template leaves behind, or
Search-R1's notice for a turn that it could not read (search_r1/llm_agent/generation.py)."""

THOUGHT = re.compile(r"<think(?:ing)?>(.*?)</think(?:ing)?>", re.DOTALL)
ACTION = re.compile(r"<(search|answer)>(.*?)</\1>", re.DOTALL)
TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
BLOCK = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)


def steps_of(text: str, name: str, prompt: str | None = None) -> tuple[Step, ...]:
    """The steps of one rollout; its first starts from `prompt`."""
    pieces, at = [], 0
    for match in SHOWN.finditer(text):
        pieces.append((text[at : match.start()], match[0]))
        at = match.end()
    if at < len(text) or not pieces:
        pieces.append((text[at:], ""))
    made = [step_of(f"{name}.{s}", turn, shown) for s, (turn, shown) in enumerate(pieces)]
    if prompt is not None:
        made[0] = step_of(f"{name}.0", *pieces[0], prompt=prompt)
    return tuple(made)


def step_of(id: str, turn: str, shown: str, *, prompt: str | None = None) -> Step:
    """One turn, read: what it calls, thinks and answers."""
    calls, spans, valid = read_turn(turn)
    if shown and calls:
        blocks = [match[2].strip() for match in BLOCK.finditer(shown)] or [shown]
        results = blocks if len(blocks) == len(calls) else ["\n".join(blocks), *[None] * (len(calls) - 1)]
        calls = tuple(_answered(call, result) for call, result in zip(calls, results, strict=True))
    context = None if prompt is None else Context(prompt)
    return Step(id, turn, calls, spans, shown, context=context, valid=valid)


def read_turn(turn: str) -> tuple[tuple[Call, ...], tuple[Span, ...], bool]:
    """Calls, spans and whether the turn calls or answers."""
    tool_calls = [_call(match[1]) for match in TOOL_CALL.finditer(turn)]
    action = None if tool_calls else ACTION.search(turn)
    before = turn[: action.start()] if action else turn
    spans = [Span("think", match[1].strip()) for match in THOUGHT.finditer(before)]
    if tool_calls:
        spans += [Span("query", call.query) for call in tool_calls if call.query]
        return tuple(tool_calls), tuple(spans), all(call.valid for call in tool_calls)
    if action is None:
        return (), tuple(spans), False
    content = action[2].strip()
    if action[1] == "answer":
        return (), (*spans, Span("answer", content)), True
    return (Call("search", {"query": content}),), (*spans, Span("query", content)), True


def end_of(steps: tuple[Step, ...], cut: str = "no answer") -> tuple[End, str]:
    """Answered where the last turn answers, else cut off."""
    answered = bool(steps) and steps[-1].span("answer") is not None
    return (End.ANSWERED, "") if answered else (End.TRUNCATED, cut)


def _answered(call: Call, result: str | None) -> Call:
    return call if result is None else replace(call, hits=hits_in(result, call.query), result=result)


def _call(text: str) -> Call:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return Call("", {"text": text.strip()}, error="not JSON", valid=False)
    name = data.get("name") if isinstance(data, Mapping) else None
    if not isinstance(name, str):
        return Call("", {"text": text.strip()}, error="names no tool", valid=False)
    return Call(name, with_query(data.get("arguments")))


def with_query(arguments: Any) -> Mapping[str, Any]:
    """The arguments, and `query` where they hold a list of queries under a name of their own (the list stays)."""
    given = dict(arguments) if isinstance(arguments, Mapping) else {} if arguments is None else {"text": arguments}
    lists = [given[name] for name in ("query_list", "queries", "query") if isinstance(given.get(name), list)]
    queries = lists[0] if lists else ()
    if queries and not isinstance(given.get("query"), str):
        rest = {"query_list": queries} if "query_list" not in given and "queries" not in given else {}
        return {**given, **rest, "query": "\n".join(str(query) for query in queries)}
    return given
