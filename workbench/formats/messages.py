"""Chat messages to steps and back.

An assistant's message is a step. The messages before the first one are its prompt; those that follow, up to the next
assistant's, are what it was shown: a tool's message answers the call of its id, a user's message is an observation.
`written` does the reverse: the observation stands in the messages of the calls (in the first one, where the calls'
own results are not what the agent was shown), or in a user's message where there was no call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import FormatError
from workbench.formats.passages import hits_in
from workbench.formats.reading import task_named
from workbench.formats.tags import THOUGHT, read_turn, with_query
from workbench.trajectory import Call, Context, End, Hit, Span, Step, Task, Trajectory

Raw = Mapping[str, Any]
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
QUESTION = re.compile(r"Question: ?(.+?)\s*(?:\n|$)")


@dataclass(frozen=True)
class Message:
    """One message of a chat, whichever way it was written."""

    number: int  # from 0, in its file
    role: str  # system, user, assistant or tool
    text: str
    thought: str = ""  # reasoning that stands apart from the text
    calls: tuple[tuple[str, Call], ...] = ()  # with their ids
    answers: str = ""  # id of the call that this message of a tool answers
    error: str | None = None
    hits: tuple[Hit, ...] = ()
    model: str = ""


@dataclass(frozen=True)
class Chat:
    """Messages read as steps."""

    steps: tuple[Step, ...]
    prompt: tuple[Message, ...]
    step_of: Mapping[int, int]  # number of an assistant's message -> index of its step

    @property
    def question(self) -> str:
        """What the user asked: behind "Question:" where a template put it there."""
        asked = next((message.text for message in reversed(self.prompt) if message.role == "user"), "")
        found = QUESTION.findall(asked)
        return found[-1] if found else asked.strip()


# ---------------------------------------------------------------- reading


def read_message(raw: Raw, number: int) -> Message:
    """A message of OpenAI's chat API, or of what was modelled on it (Inspect, LangChain's dump, Langfuse).

    Raises:
        FormatError: it has no role.
    """
    role = ROLES.get(str(raw.get("role", raw.get("type", raw.get("from", "")))).lower())
    if role is None:
        raise FormatError(f"message {number} has no role that is known; it has {sorted(raw)[:12]}")
    text, thought = content_text(raw.get("content", raw.get("value", raw.get("text"))))
    thought = str(raw.get("reasoning_content") or raw.get("reasoning") or raw.get("thinking") or "") or thought
    failed = raw.get("error")
    error = failed.get("message") if isinstance(failed, Mapping) else failed
    answers = str(raw.get("tool_call_id") or raw.get("call_id") or "")
    calls = tuple(read_call(call, n) for n, call in enumerate(_calls(raw))) if role == "assistant" else ()
    hits = tuple(_hits(raw.get("hits"), text)) if role == "tool" else ()
    model = str(raw.get("model") or "")
    return Message(number, role, text, thought, calls, answers, None if error is None else str(error), hits, model)


ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant"}
ROLES |= {"ai": "assistant", "gpt": "assistant", "model": "assistant", "agent": "assistant", "tool": "tool"}
ROLES |= {"function": "tool", "observation": "tool", "environment": "user"}


def content_text(content: Any) -> tuple[str, str]:
    """Text and reasoning of a message's content; a part that is no text stands as ``[image_url]``."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False), ""
    texts, thoughts = [], []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        if kind in ("reasoning", "thinking"):
            thoughts.append(str(part.get("reasoning") or part.get("thinking") or part.get("text") or ""))
        elif kind in ("text", "input_text", "output_text"):
            texts.append(str(part.get("text") or "") if isinstance(part, Mapping) else str(part))
        elif kind not in ("tool_use", "tool-call"):
            texts.append(f"[{kind}]")
    return "\n".join(texts), "\n".join(thoughts)


def _calls(raw: Raw) -> Sequence[Raw]:
    old = raw.get("function_call")
    return raw.get("tool_calls") or ([{"function": old}] if old else [])


def read_call(raw: Raw, number: int) -> tuple[str, Call]:
    """Id and call: ``{"id", "function": {"name", "arguments"}}``, or the same laid flat; arguments as JSON or text."""
    inner = raw.get("function")
    given = inner if isinstance(inner, Mapping) else raw
    name = str(given.get("name") or (inner if isinstance(inner, str) else "") or given.get("tool") or "")
    identity = str(raw.get("id") or raw.get("tool_call_id") or raw.get("call_id") or number)
    return identity, called(name, given.get("arguments", given.get("args", given.get("kwargs"))))


def called(name: str, arguments: Any) -> Call:
    """A call; arguments that are not one JSON object make it invalid."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return Call(name, {"text": arguments}, error="arguments are not JSON", valid=False)
    if isinstance(arguments, Mapping):
        arguments = {key: value for key, value in arguments.items() if value is not None}  # Parquet's empty fields
    return Call(name, with_query(arguments))


def _hits(given: Any, text: str) -> Sequence[Hit]:
    """Hits that a tool's message lists by id and score, with title and text where its content shows them."""
    shown = hits_in(text)
    if not isinstance(given, list):
        return shown
    by_id = {hit.id: hit for hit in shown}
    made = []
    for rank, one in enumerate(given):
        hit = by_id.get(str(one.get("id")), Hit(str(one.get("id")), "", ""))
        made.append(Hit(hit.id, hit.title, hit.text, float(one.get("score", hit.score)), rank))
    return made


def read_chat(raws: Sequence[Raw], name: str, *, prompt: int | None = None) -> Chat:
    """Messages as steps called ``<name>.0`` and so on.

    Args:
        prompt: how many messages were given; None: all before the first of the assistant.

    Raises:
        FormatError: no list of messages, or a message without a role.
    """
    if not isinstance(raws, Sequence) or isinstance(raws, str | bytes) or not all(isinstance(m, Mapping) for m in raws):
        raise FormatError(f"messages must be a list of objects, got {type(raws).__name__}")
    messages = [read_message(raw, number) for number, raw in enumerate(raws)]
    turns = [message.number for message in messages if message.role == "assistant"]
    given = (turns[0] if turns else len(messages)) if prompt is None else prompt
    turns = [number for number in turns if number >= given]
    steps = []
    for s, number in enumerate(turns):
        after = messages[number + 1 : turns[s + 1] if s + 1 < len(turns) else None]
        context = Context(prompt_text(messages[:given])) if s == 0 else None
        steps.append(_step(f"{name}.{s}", messages[number], after, context, last=s + 1 == len(turns)))
    return Chat(tuple(steps), tuple(messages[:given]), {number: s for s, number in enumerate(turns)})


def prompt_text(messages: Sequence[Message]) -> str:
    """The prompt as text: its messages' texts, one under the other."""
    return "\n\n".join(message.text for message in messages)


def _step(id: str, turn: Message, after: Sequence[Message], context: Context | None, *, last: bool) -> Step:
    calls, spans, valid = read_turn(turn.text)
    given = tuple(_answered(call, identity, n, len(turn.calls), after) for n, (identity, call) in enumerate(turn.calls))
    observation = "\n".join(message.text for message in after if message.text)
    if not given and calls and observation:
        calls = (Call(calls[0].tool, calls[0].arguments, hits_in(observation, calls[0].query), observation), *calls[1:])
    calls = given or calls
    text = f"<think>{turn.thought}</think>\n{turn.text}" if turn.thought else turn.text
    thoughts = [turn.thought] if turn.thought else []
    thoughts += [match[1].strip() for match in THOUGHT.finditer(turn.text)]
    made = [Span("think", thought) for thought in thoughts]
    made += [Span("query", call.query) for call in calls if call.query]
    if last and not calls and (answer := final_answer(turn.text)):
        made.append(Span("answer", answer))
    readable = bool(turn.text.strip() or calls) if not calls else all(call.valid for call in calls)
    return Step(id, text, calls, tuple(made), observation, context=context, policy=turn.model, valid=readable or valid)


def _answered(call: Call, identity: str, n: int, of: int, after: Sequence[Message]) -> Call:
    """The call with the message that answers it: the one of its id, else the one in its place."""
    tools = [message for message in after if message.role == "tool"]
    told = next((message for message in tools if message.answers == identity), None)
    if told is None and len(tools) == of and not tools[n].answers:
        told = tools[n]
    if told is None:
        return call
    hits = tuple(Hit(h.id, h.title, h.text, h.score, h.rank, call.query) for h in told.hits or hits_in(told.text))
    return Call(call.tool, call.arguments, hits, told.text, told.error or call.error, valid=call.valid)


def final_answer(text: str) -> str:
    """The answer of a turn without a call: between ``<answer>`` tags, else all that is no thought."""
    tagged = ANSWER.findall(text)
    return (tagged[-1] if tagged else THOUGHT.sub("", text).rpartition("</think>")[2]).strip()


def end_of(steps: Sequence[Step]) -> tuple[End, str]:
    """Answered where the last turn calls nothing and says something."""
    if steps and steps[-1].span("answer") is not None:
        return End.ANSWERED, ""
    return End.TRUNCATED, "ends after a tool call" if steps and steps[-1].calls else "no final answer"


def rollout_of(raws: Sequence[Raw], name: str, task: Task | None = None, **more: Any) -> tuple[Trajectory, Chat]:
    """A trajectory from messages alone: its question is the user's, its end is read off the last message."""
    chat = read_chat(raws, name)
    if not chat.steps:
        raise FormatError("no message of an assistant: there is nothing that the agent did")
    end, reason = end_of(chat.steps)
    given = prompt_messages(raws, chat)
    extras = {**more, **({"prompt": given} if given else {})}
    made = Trajectory(name, task or task_named(chat.question), chat.steps, end, reason, extras=extras)
    return made, chat


def prompt_messages(raws: Sequence[Raw], chat: Chat) -> list[Raw]:
    """The prompt's messages as they stood, where they are more than one user's text."""
    given: list[Raw] = [dict(raw) for raw in raws[: len(chat.prompt)]]
    return [] if len(given) == 1 and given[0].keys() == {"role", "content"} and given[0]["role"] == "user" else given


# ---------------------------------------------------------------- writing


def written(trajectory: Trajectory) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Prompt and completion as messages of OpenAI's chat API."""
    first = trajectory.steps[0].context if trajectory.steps else None
    prompt = [dict(message) for message in trajectory.extras.get("prompt", ())]
    if not prompt or prompt_text([read_message(m, n) for n, m in enumerate(prompt)]) != (first.text if first else ""):
        prompt = [{"role": "user", "content": first.text if first else trajectory.task.question}]
    completion: list[dict[str, Any]] = []
    for s, step in enumerate(trajectory.steps):
        completion += step_messages(step, s)
    return prompt, completion


def step_messages(step: Step, s: int) -> list[dict[str, Any]]:
    """The turn, and what followed it."""
    turn: dict[str, Any] = {"role": "assistant", "content": step.text}
    if not step.calls:
        return [turn, {"role": "user", "content": step.observation}] if step.observation else [turn]
    ids = [f"call_{s}_{c}" for c in range(len(step.calls))]
    turn["tool_calls"] = [
        {"id": id, "type": "function", "function": {"name": call.tool, "arguments": _arguments(call)}}
        for id, call in zip(ids, step.calls, strict=True)
    ]
    shown = [call.result or "" for call in step.calls]
    if "\n".join(text for text in shown if text) != step.observation:
        shown = [step.observation, *[""] * (len(shown) - 1)]
    answers = [{"role": "tool", "tool_call_id": id, "content": text} for id, text in zip(ids, shown, strict=True)]
    return [turn, *answers]


def _arguments(call: Call) -> str:
    return json.dumps(dict(call.arguments), ensure_ascii=False, default=str)
