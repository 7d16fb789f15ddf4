"""ATIF, the Agent Trajectory Interchange Format of Harbor and Terminal-Bench: one trajectory a JSON file (or line).

Layout of atif 1.8 (atif/trajectory.py, step.py, metrics.py; the fields of v1.0 to v1.8): steps by system, user and
agent; a step of the agent has message, reasoning_content, tool_calls, observation, and metrics with token ids and
logprobs where they were logged. Embedded trajectories of sub-agents become trees of their own. It carries no scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.messages import rollout_of
from workbench.formats.reading import Rollout, alone, each, rest_of
from workbench.formats.turns import Drawn, drawn_of, with_tokens

Raw = dict[str, Any]
HELD = ("steps", "agent", "subagent_trajectories")


def sniff(head: Head) -> float:
    if str(head.row.get("schema_version", "")).startswith("ATIF"):
        return 1.0
    return 0.5 if head.has("steps", "agent", "session_id") else 0.0


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [alone(one) for one in _rollouts(row.value, str(row.number), row)])


def _rollouts(document: Mapping[str, Any], name: str, row: Row) -> Iterator[Rollout]:
    agent = document.get("agent") or {}
    messages: list[Raw] = []
    drawn: dict[int, Drawn | None] = {}
    for step in document["steps"]:
        if step["source"] == "agent":
            metrics = step.get("metrics") or {}
            ids = metrics.get("completion_token_ids")
            drawn[len(messages)] = drawn_of(metrics.get("prompt_token_ids"), ids, metrics.get("logprobs"))
        messages += _messages(step, agent.get("model_name"))
    trajectory, chat = rollout_of(messages, name)
    steps = with_tokens(trajectory.steps, [drawn.get(number) for number in sorted(chat.step_of)])
    extras = {**trajectory.extras, **rest_of(document, *HELD)}
    role = str(agent.get("name") or "agent")
    made = replace(trajectory, steps=steps, role=role, extras=extras)
    tree = f"{made.task.id}.{name}" if row.number > 1 or "." in name else made.task.id
    yield Rollout(tree, made, size=row.size, tree=tree, extras={"agent": agent})
    for n, inner in enumerate(document.get("subagent_trajectories") or ()):
        yield from _rollouts(inner, f"{name}.{n}", row)


def _messages(step: Mapping[str, Any], model: Any) -> list[Raw]:
    """The step as chat messages: a turn and its tools' answers, or what system or user said."""
    source = {"agent": "assistant"}.get(step["source"], step["source"])
    made: Raw = {"role": source, "content": step.get("message")}
    results = (step.get("observation") or {}).get("results") or []
    if source == "assistant":
        made |= {"model": step.get("model_name") or model, "reasoning_content": step.get("reasoning_content")}
        made["tool_calls"] = [
            {"id": call["tool_call_id"], "name": call["function_name"], "arguments": call.get("arguments")}
            for call in step.get("tool_calls") or ()
        ]
    answers = [
        {"role": "tool", "tool_call_id": result.get("source_call_id"), "content": result.get("content")}
        for result in results
    ]
    return [made, *answers]


FORMAT = Format(
    "atif",
    "ATIF trajectories (Harbor, Terminal-Bench)",
    (".json", ".jsonl"),
    sniff,
    read,
    None,
    all_but(
        "ids steps calls call.hits call.result step.policy task.question trajectory.role trajectory.extras "
        "tree.extras context"
    ),
)
