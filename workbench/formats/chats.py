"""Any project's messages as OpenAI's chat messages: what traces and the Responses API hold, brought to one form.

Known are lists of chat messages; items of OpenAI's Responses API (message, reasoning, function_call,
function_call_output); messages in parts, as OpenTelemetry's GenAI conventions have them; LangChain's dumps; and any of
these as JSON text, or inside ``{"messages": [...]}``, ``{"choices": [...]}`` or ``{"output": [...]}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Raw = dict[str, Any]
ITEMS = ("function_call", "function_call_output", "reasoning", "message")
CARRIED = ("prompt_token_ids", "generation_token_ids", "generation_log_probs")
"""What NeMo Gym adds to an item: carried on to the message."""


def chat_of(value: Any, role: str = "user") -> list[Raw]:
    """The messages in `value`; a plain text is one message of `role`."""
    if isinstance(value, str):
        loaded = _loaded(value)
        return [{"role": role, "content": value}] if loaded is None else chat_of(loaded, role)
    if isinstance(value, Mapping):
        for name in ("messages", "output", "choices", "generations"):
            if isinstance(value.get(name), list):
                return chat_of([one.get("message", one) for one in value[name] if isinstance(one, Mapping)], role)
        if "content" in value or "parts" in value or value.get("type") in ITEMS or "tool_calls" in value:
            return chat_of([value], role)
        return [{"role": role, "content": json.dumps(value, ensure_ascii=False)}] if value else []
    if not isinstance(value, Sequence):
        return []
    return _merged([message for item in value for message in _messages(item, role)])


def _loaded(text: str) -> Any:
    """The JSON object or list that a text is; None where it is plain text."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict | list | str) and loaded != text else None


def _messages(item: Any, role: str) -> list[Raw]:
    if isinstance(item, list):
        return [message for inner in item for message in _messages(inner, role)]
    if not isinstance(item, Mapping):
        return [{"role": role, "content": str(item)}]
    kind = item.get("type")
    if kind == "function_call":
        call = {"id": item.get("call_id"), "function": {"name": item.get("name"), "arguments": item.get("arguments")}}
        return [{"role": "assistant", "content": "", "tool_calls": [call], "item": True, **_carried(item)}]
    if kind == "function_call_output":
        output = item.get("output")
        return [{"role": "tool", "tool_call_id": item.get("call_id"), "content": output}]
    if kind == "reasoning" and "role" not in item:
        thought = "\n".join(str(part.get("text", "")) for part in item.get("summary") or item.get("content") or ())
        return [{"role": "assistant", "content": "", "reasoning_content": thought, "item": True, **_carried(item)}]
    if isinstance(item.get("parts"), list):
        return _parts(item)
    message = dict(item)
    if kind == "message":
        message.pop("type")
        message |= {"item": True} if message.get("role") == "assistant" and "status" in item else {}
    extra = message.get("additional_kwargs")
    if isinstance(extra, Mapping) and extra.get("tool_calls") and not message.get("tool_calls"):
        message["tool_calls"] = extra["tool_calls"]
    if "role" not in message and kind not in ("human", "ai", "system", "tool"):
        message["role"] = role
    defines = message.get("role") == "tool" and isinstance(message.get("content"), Mapping)
    return [] if defines and "function" in message["content"] else [message]


def _carried(item: Mapping[str, Any]) -> Raw:
    return {name: item[name] for name in CARRIED if item.get(name)}


def _parts(item: Mapping[str, Any]) -> list[Raw]:
    """A message in parts: its texts, thoughts and calls as one, each response of a tool as a message of its own."""
    made: Raw = {"role": item.get("role", "user"), "content": "", "tool_calls": []}
    texts, thoughts, answers = [], [], []
    for part in item["parts"]:
        kind = part.get("type", "text")
        said = part.get("content", part.get("text"))
        if kind == "tool_call":
            call = {"id": part.get("id"), "name": part.get("name"), "arguments": part.get("arguments")}
            made["tool_calls"].append(call)
        elif kind == "tool_call_response":
            result = next((part[name] for name in ("response", "result", "content") if part.get(name) is not None), "")
            answers.append({"role": "tool", "tool_call_id": part.get("id"), "content": result})
        elif kind in ("reasoning", "thinking"):
            thoughts.append(str(said or ""))
        else:
            texts.append(str(said) if said is not None else f"[{kind}]")
    made["content"] = "\n".join(texts)
    if thoughts:
        made["reasoning_content"] = "\n".join(thoughts)
    return [*([made] if texts or thoughts or made["tool_calls"] else []), *answers]


def _merged(messages: list[Raw]) -> list[Raw]:
    """Items of one turn of an assistant (its thought, its text, its calls) as one message."""
    made: list[Raw] = []
    for message in messages:
        item = message.pop("item", False)
        if item and made and made[-1].get("open"):
            last = made[-1]
            last["content"] = _joined(last.get("content"), message.get("content"))
            last["tool_calls"] = [*last.get("tool_calls", ()), *message.get("tool_calls", ())]
            thought = _joined(last.get("reasoning_content"), message.get("reasoning_content"))
            last |= {**({"reasoning_content": thought} if thought else {}), **_carried(message)}
            continue
        made.append({**message, **({"open": True} if item else {})})
    return [{key: value for key, value in message.items() if key != "open"} for message in made]


def _joined(one: Any, two: Any) -> Any:
    if not one or not two:
        return two or one or ""
    if isinstance(one, list) or isinstance(two, list):
        as_list = [part if isinstance(part, list) else [{"type": "text", "text": part}] for part in (one, two)]
        return as_list[0] + as_list[1]
    return f"{one}\n{two}"
