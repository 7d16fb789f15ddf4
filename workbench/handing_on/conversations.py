"""Trajectories as chat messages. What the agent wrote stands under the role assistant and nothing else does.

A prompt and observations that were sampled in ChatML (Qwen, SmolLM and others) are taken apart again into messages, so
that a trainer's chat template frames them once; of other templates the markers stay in the text, and are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from workbench.formats.messages import step_messages, written
from workbench.formats.tags import read_turn
from workbench.trajectory import Step, Trajectory

Message = dict[str, Any]

CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>\s*|\Z)", re.DOTALL)
END = "<|im_end|>"
MARKERS = re.compile(r"<\|\w+\|>|<｜|\[/?INST\]|<start_of_turn>|<end_of_turn>")
"""Of chat templates: inside a message they would be framed a second time."""


def is_one_conversation(trajectory: Trajectory) -> bool:
    """False where a later step was sampled from another context than the steps before it: no chat says that."""
    return bool(trajectory.steps) and all(step.context is None for step in trajectory.steps[1:])


def prompt_of(trajectory: Trajectory) -> list[Message]:
    """What the first turn was sampled from."""
    prompt, _ = written(trajectory)
    if len(prompt) == 1 and (framed := _unframed(prompt[0]["content"])) is not None:
        return framed
    return prompt


def turns_of(steps: Sequence[Step], first: int = 0) -> list[Message]:
    """Turns, each followed by what the agent was shown; `first` is the index of the first step."""
    return [message for s, step in enumerate(steps, start=first) for message in _step(step, s)]


def turn_of(step: Step, s: int) -> Message:
    """What the agent wrote."""
    return _step(step, s)[0]


def completion_of(steps: Sequence[Step], first: int = 0) -> list[Message]:
    """The turns and what stood between them; what was shown after the last one teaches nothing."""
    messages = turns_of(steps, first)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    return messages


def _step(step: Step, s: int) -> list[Message]:
    text = step.text.removesuffix("\n").removesuffix(END)
    if step.calls and not read_turn(text)[0]:  # the calls stand beside the text, as chat APIs have them
        turn, *shown = step_messages(step, s)
        for call, made in zip(step.calls, turn["tool_calls"], strict=True):
            made["function"]["arguments"] = dict(call.arguments)  # chat templates write them as JSON themselves
        return [turn, *shown]
    turn = {"role": "assistant", "content": text if END in step.text else step.text}
    if not step.observation:
        return [turn]
    return [turn, *(_unframed(step.observation) or [{"role": "user", "content": step.observation}])]


def _unframed(text: str) -> list[Message] | None:
    """The messages of a text in ChatML, without the opening of the next turn; None where it is something else."""
    found = list(CHATML.finditer(text))
    if not found or CHATML.sub("", text).replace(END, "").strip():
        return None
    messages = [{"role": match[1], "content": match[2]} for match in found]
    if messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    return messages or None


def text_of(message: Message) -> str:
    """A message as one text, calls that stand beside it spelt out."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    spelt = [f"<tool_call>{json.dumps(call, ensure_ascii=False, default=str)}</tool_call>" for call in calls]
    return "\n".join([*([message["content"]] if message["content"] or not spelt else []), *spelt])


def holds_markers(messages: Sequence[Message]) -> bool:
    """True where a text holds what a chat template writes between messages."""
    return any(MARKERS.search(str(message.get("content") or "")) for message in messages)
