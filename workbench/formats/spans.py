"""Traces to trajectories: the calls of models in a trace, put together to conversations.

A model call whose whole input is the beginning of a later call's input is part of that conversation; the last call of
a conversation, with its output, is the conversation. Each is a trajectory (one an agent); those of a trace form a tree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.formats.chats import chat_of
from workbench.formats.contract import Label, Record
from workbench.formats.messages import Chat, end_of, prompt_messages, read_chat
from workbench.formats.reading import task_named, text_id
from workbench.scores import Level, Scores
from workbench.trajectory import Hit, Step, Trajectory, Tree

Raw = dict[str, Any]


@dataclass(frozen=True)
class ModelCall:
    """A span of a trace in which a model answered."""

    id: str
    start: float  # seconds; spans come in order of it
    seconds: float
    model: str
    agent: str  # name of the agent whose call it is; "" where nothing says
    messages: tuple[Raw, ...]  # its input
    output: tuple[Raw, ...]


@dataclass(frozen=True)
class Trace:
    """What a trace says, whichever way it was written."""

    id: str
    calls: tuple[ModelCall, ...]
    question: str = ""
    hits: Mapping[str, tuple[Hit, ...]] = field(default_factory=dict)  # by query
    scores: Scores | None = None  # of the whole trace
    labels: tuple[tuple[str, float, str, str], ...] = ()  # name, value, who, why
    extras: Mapping[str, Any] = field(default_factory=dict)


def call_of(id: str, start: float, seconds: float, model: Any, agent: Any, given: Any, said: Any) -> ModelCall:
    """A model call from its input and output, in any form that `chats` knows."""
    messages, output = chat_of(given), chat_of(said, "assistant")
    return ModelCall(id, start, seconds, str(model or ""), str(agent or ""), tuple(messages), tuple(output))


def record_of(trace: Trace) -> Record | None:
    """The trace as a tree; None where no model was called in it."""
    calls = sorted(trace.calls, key=lambda call: call.start)
    last = [call for n, call in enumerate(calls) if not any(_begins(call, later) for later in calls[n + 1 :])]
    trajectories = [made for n, call in enumerate(last) if (made := _trajectory(trace, call, calls, n)) is not None]
    if not trajectories:
        return None
    question = trace.question or trajectories[0].task.question
    task = task_named(question, text_id("q", question))
    trajectories = [replace(one, task=task) for one in trajectories]
    tree = Tree(trace.id, task, tuple(trajectories), dict(trace.extras))
    end = trajectories[-1].id  # what a whole trace is paid belongs to the conversation that ended it
    unpaid = Scores.unscored(1, level=Level.TRAJECTORY)
    paid = () if trace.scores is None else (*[unpaid] * (len(trajectories) - 1), trace.scores)
    return Record(tree, paid, tuple(Label(end, None, name, value, who, why) for name, value, who, why in trace.labels))


def _begins(call: ModelCall, later: ModelCall) -> bool:
    if len(call.messages) >= len(later.messages):
        return False
    return [_said(m) for m in call.messages] == [_said(m) for m in later.messages[: len(call.messages)]]


def _said(message: Raw) -> str:
    """What makes two messages the same, whatever ids and statistics they carry."""
    return json.dumps([message.get("role", message.get("type")), message.get("content")], sort_keys=True, default=str)


def _trajectory(trace: Trace, call: ModelCall, calls: Sequence[ModelCall], n: int) -> Trajectory | None:
    raws = [*call.messages, *call.output]
    name = f"{trace.id}.{n}"
    first = next((one for one in calls if one is call or _begins(one, call)), call)
    chat = read_chat(raws, name, prompt=len(first.messages))
    if not chat.steps:
        return None
    own = [one for one in calls if one is call or _begins(one, call)]
    steps = tuple(_step(trace, step, s, own, len(chat.steps)) for s, step in enumerate(chat.steps))
    end, reason = end_of(steps)
    extras = {"prompt": kept} if (kept := prompt_messages(raws, chat)) else {}
    task = task_named(_question(chat))
    return Trajectory(name, task, steps, end, reason, call.agent or "agent", extras=extras)


def _question(chat: Chat) -> str:
    return chat.question or (chat.prompt[-1].text if chat.prompt else "")


def _step(trace: Trace, step: Step, s: int, own: Sequence[ModelCall], of: int) -> Step:
    """The step with the model and time of its call, and the hits that a retriever's span shows for its queries."""
    found = dict(trace.hits)
    calls = tuple(replace(c, hits=found[c.query]) if not c.hits and c.query in found else c for c in step.calls)
    step = replace(step, calls=calls)
    if len(own) == of:
        step = replace(step, policy=step.policy or own[s].model, seconds=own[s].seconds)
    return step
