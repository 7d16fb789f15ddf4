"""Templates: how a turn is written and read.

A template turns a task into a prompt, a turn's text into calls and spans, and an outcome into the text that is
appended. It never sees token ids; `LanguagePolicy` does the encoding. Both templates are append-only: every context
is the one before, the turn, and the observation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

from workbench.errors import CapabilityError, SettingError
from workbench.protocols import Outcome, Tool
from workbench.spec import part
from workbench.trajectory import Call, Step, Task

SEARCH_R1_INSTRUCTION = (
    "Answer the given question. You must conduct reasoning inside <think> and </think> first every time you get new "
    "information. After reasoning, if you find you lack some knowledge, you can call a search engine by "
    "<search> query </search> and it will return the top searched results between <information> and </information>. "
    "You can search as many times as you want. If you find no further external knowledge needed, you can directly "
    "provide the answer inside <answer> and </answer>, without detailed illustrations. For example, "
    "<answer> Beijing </answer>. Question: {question}\n"
)
"""Search-R1's prompt (arXiv:2503.09516, Table 1). It holds one example answer."""

SEARCH_R1_INVALID = (
    "\nMy previous action is invalid. If I want to search, I should put the query between <search> and </search>. "
    "If I want to give the final answer, I should put the answer between <answer> and </answer>. Let me try again.\n"
)


@dataclass(frozen=True)
class Parsed:
    """A turn read. Spans are (name, first character, end character), of the content between the tags."""

    calls: tuple[Call, ...] = ()
    spans: tuple[tuple[str, int, int], ...] = ()
    answered: bool = False
    valid: bool = True
    broken: str = ""  # the rule that it breaks, where that ends the rollout


class Template(Protocol):
    """How one family of agents writes."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that end a turn; kept in the turn."""
        ...

    def prompt(self, task: Task, tools: Sequence[Tool], observation: str, tokenizer: Any) -> str: ...

    def parse(self, text: str) -> Parsed: ...

    def write(self, thought: str, *, query: str | Sequence[str] | None = None, answer: str | None = None) -> str:
        """The turn that says this: the inverse of `parse`, for demonstrations and scripts. Several queries are asked
        at once."""
        ...

    def observation(
        self, outcome: Outcome | None, *, tools_off_next: bool, eos_sampled: bool, tokenizer: Any
    ) -> tuple[str, tuple[str, ...], str]:
        """Head, body and tail of what is appended; only the body may be cut. It comes in pieces, each of which is cut
        to its share of the room: one a call, or all in one. `outcome` None: an invalid turn."""
        ...


@runtime_checkable
class Ruled(Protocol):
    """A template in which it depends on the turns before what a turn may be."""

    def ruled(self, parsed: Parsed, text: str, steps: Sequence[Step]) -> Parsed:
        """The turn as it counts after `steps`."""
        ...


def stripped(text: str, start: int, stop: int) -> tuple[int, int]:
    """The same stretch without white space at its ends."""
    inner = text[start:stop]
    start += len(inner) - len(inner.lstrip())
    return start, max(start, start + len(inner.strip()))


@part
class TagTemplate:
    """Search-R1's tags: ``<think>``, ``<search>``, ``<information>``, ``<answer>``.

    The first complete ``<search>`` or ``<answer>`` block of a turn decides; a turn with neither is invalid and is
    answered by a fixed sentence. A turn ends at the first closing tag of either (the published loop samples on to the
    length limit and cuts there afterwards, which differs only for nested, malformed tags).
    Source: Search-R1 (arXiv:2503.09516), ``generation.py``.

    With a `separator` a search block asks several queries at once, each a call of its own: ``"##"`` as ParallelSearch
    has it (arXiv:2508.09303), ``"\\n"`` for one a line. Say so in the `instruction`. Empty queries between separators
    are left out, a block of nothing else is invalid, and what comes after `most_queries` is kept as one call that is
    not made.
    """

    _: KW_ONLY
    instruction: str = SEARCH_R1_INSTRUCTION  # holds {question}
    think: str = "think"
    search: str = "search"
    information: str = "information"
    answer: str = "answer"
    invalid_notice: str = SEARCH_R1_INVALID
    last_turn_notice: str = ""  # appended to the observation before the turn in which tools are off (StepSearch)
    chat: bool = False  # True: the prompt is a user message in the tokenizer's chat template
    tool: str = "search"  # the tool that a search block calls
    separator: str = ""  # between the queries of a search block; "": a block is one query
    most_queries: int = 5  # of one search block
    heading: str = "Results for {query}:\n"  # before the results of each query, where a block asked several
    cut: Literal["each", "end"] = "each"  # too long results: each query's to its share, or (ParallelSearch) at the end

    def __post_init__(self) -> None:
        if self.most_queries < 1 or self.cut not in ("each", "end"):
            raise SettingError(
                f"most_queries is at least 1 and cut is 'each' or 'end', got {self.most_queries} and {self.cut!r}"
            )

    @property
    def stops(self) -> tuple[str, ...]:
        return f"</{self.search}>", f"</{self.answer}>"

    def prompt(self, task: Task, tools: Sequence[Tool], observation: str, tokenizer: Any) -> str:
        question = task.question.strip()
        question = question if question.endswith("?") else question + "?"
        text = self.instruction.replace("{question}", question) + observation
        if not self.chat:
            return text
        return chat_text(tokenizer, [{"role": "user", "content": text}])

    def parse(self, text: str) -> Parsed:
        action = re.search(rf"<({re.escape(self.search)}|{re.escape(self.answer)})>(.*?)</\1>", text, re.DOTALL)
        end = action.start() if action else len(text)
        thoughts = re.finditer(rf"<{re.escape(self.think)}>(.*?)</{re.escape(self.think)}>", text[:end], re.DOTALL)
        spans = tuple(("think", *stripped(text, *match.span(1))) for match in thoughts)
        if action is None:
            return Parsed(spans=spans, valid=False)
        start, stop = stripped(text, *action.span(2))
        if action.group(1) == self.answer:
            return Parsed(spans=(*spans, ("answer", start, stop)), answered=True)
        queries = self._queries(text, start, stop)
        if not queries:
            return Parsed(spans=spans, valid=False)
        calls = [Call(self.tool, {"query": text[a:b]}) for a, b in queries]
        for n, call in enumerate(calls[self.most_queries :], start=self.most_queries):
            calls[n] = replace(call, valid=False, error=f"not asked: at most {self.most_queries} queries a turn")
        return Parsed(tuple(calls), (*spans, *(("query", a, b) for a, b in queries)))

    def _queries(self, text: str, start: int, stop: int) -> list[tuple[int, int]]:
        """Where the queries of a search block stand; the last of too many is all that is left over."""
        if not self.separator:
            return [(start, stop)]
        found, at = [], start
        for piece in text[start:stop].split(self.separator):
            found.append(stripped(text, at, at + len(piece)))
            at += len(piece) + len(self.separator)
        asked = [(a, b) for a, b in found if a < b]
        return [*asked[: self.most_queries], *((a, stop) for a, _ in asked[self.most_queries :][:1])]

    def write(self, thought: str, *, query: str | Sequence[str] | None = None, answer: str | None = None) -> str:
        content = answer if answer is not None else query if isinstance(query, str) else self._asked(query or ())
        tag = self.search if answer is None else self.answer
        said = f"<{self.think}> {thought} </{self.think}>\n" if thought else ""
        return f"{said}<{tag}> {content} </{tag}>"

    def _asked(self, queries: Sequence[str]) -> str:
        """Several queries as the content of a search block.

        Raises:
            SettingError: they could not be read back.
        """
        text = self.separator.join(queries if self.separator.isspace() else [f" {query} " for query in queries]).strip()
        read = [text[a:b] for a, b in self._queries(text, 0, len(text))]
        if read != [query.strip() for query in queries] or not 1 <= len(read) <= self.most_queries:
            raise SettingError(
                f"{list(queries)} would be read back as {read}: a block holds 1 to {self.most_queries} queries with "
                f"separator {self.separator!r} between and not inside them; see TagTemplate(separator=, most_queries=)"
            )
        return text

    def observation(
        self, outcome: Outcome | None, *, tools_off_next: bool, eos_sampled: bool, tokenizer: Any
    ) -> tuple[str, tuple[str, ...], str]:
        notice = self.last_turn_notice if tools_off_next else ""
        if outcome is None:
            return "", (self.invalid_notice,), notice
        return f"\n\n<{self.information}>", self._results(outcome), f"</{self.information}>\n\n{notice}"

    def _results(self, outcome: Outcome) -> tuple[str, ...]:
        texts = outcome.observations
        if 1 < len(texts) == len(outcome.calls):
            headings = [self.heading.replace("{query}", call.query) for call in outcome.calls]
            texts = tuple(heading + text for heading, text in zip(headings, texts, strict=True))
        return texts if self.cut == "each" else ("".join(texts),)


@part
class ToolCallTemplate:
    """Chat messages with tool calls: ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``.

    A sampled turn ends with its first call, or with `several_calls` where the model ends it (ToolRL's turns, say).
    The final answer is a turn without a call; where it holds ``<answer>`` tags, what stands between them, else the
    whole text after the thought. Prompt and observations are written with the tokenizer's own chat template; the
    observation is what that template puts between the assistant's text and the next turn.
    """

    _: KW_ONLY
    instruction: str = (
        "Answer the question. Use the tools to find what you do not know, one step at a time. When you are sure, "
        "reply with a short answer inside <answer> and </answer>.\n\nTools:\n{tools}\n\n"
        'Call a tool like this: <tool_call>{"name": "search", "arguments": {"query": "..."}}</tool_call>'
    )
    invalid_notice: str = "That tool call could not be read: write JSON with a name and arguments."
    last_turn_notice: str = "No more tool calls are possible. Answer now."
    think: str = "think"
    reply_role: str = "user"  # "tool" where the model's chat template knows it
    several_calls: bool = False

    @property
    def stops(self) -> tuple[str, ...]:
        return ("</answer>",) if self.several_calls else ("</tool_call>", "</answer>")

    def prompt(self, task: Task, tools: Sequence[Tool], observation: str, tokenizer: Any) -> str:
        described = "\n".join(
            json.dumps({"name": t.name, "description": t.description, "parameters": dict(t.parameters)}) for t in tools
        )
        messages = [
            {"role": "system", "content": self.instruction.replace("{tools}", described)},
            {"role": "user", "content": task.question.strip() + (f"\n\n{observation}" if observation else "")},
        ]
        return chat_text(tokenizer, messages)

    def parse(self, text: str) -> Parsed:
        thoughts = list(re.finditer(rf"<{re.escape(self.think)}>(.*?)</{re.escape(self.think)}>", text, re.DOTALL))
        spans: list[tuple[str, int, int]] = [("think", *stripped(text, *m.span(1))) for m in thoughts]
        calls: list[Call] = []
        valid = True
        for match in re.finditer(r"<tool_call>(.*?)</tool_call>", text, re.DOTALL):
            call = _read_call(match.group(1))
            valid &= call is not None
            if call is not None:
                calls.append(call)
                spans.append(("query", *stripped(text, *match.span(1))))
        if calls or not valid or "<tool_call>" in text:
            return Parsed(tuple(calls), tuple(spans), valid=valid and bool(calls))
        answer = re.search(r"<answer>(.*?)(</answer>|$)", text, re.DOTALL)
        start, stop = answer.span(1) if answer else (thoughts[-1].end() if thoughts else 0, len(text))
        start, stop = stripped(text, start, stop)
        return Parsed(spans=(*spans, ("answer", start, stop)), answered=start < stop, valid=start < stop)

    def write(self, thought: str, *, query: str | Sequence[str] | None = None, answer: str | None = None) -> str:
        said = f"<{self.think}>{thought}</{self.think}>\n" if thought else ""
        if answer is not None:
            return f"{said}<answer>{answer}</answer>"
        asked = [{"name": "search", "arguments": {"query": one}} for one in _several(query)]
        return said + "\n".join(f"<tool_call>{json.dumps(call, ensure_ascii=False)}</tool_call>" for call in asked)

    def observation(
        self, outcome: Outcome | None, *, tools_off_next: bool, eos_sampled: bool, tokenizer: Any
    ) -> tuple[str, tuple[str, ...], str]:
        body: tuple[str, ...] = (self.invalid_notice,)
        if outcome is not None:
            body = tuple(text if not n else f"\n{text}" for n, text in enumerate(outcome.observations))
        notice = f"\n{self.last_turn_notice}" if tools_off_next and self.last_turn_notice else ""
        head, tail = _between_turns(tokenizer, self.reply_role)
        eos = tokenizer.eos_token or ""
        if eos_sampled and head.startswith(eos):
            head = head[len(eos) :]  # the turn already ends with it
        return head, body, notice + tail


def _several(query: str | Sequence[str] | None) -> Sequence[str | None]:
    return [query] if query is None or isinstance(query, str) else query


def chat_text(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    """The messages and the opening of the assistant's turn, in the tokenizer's chat template.

    Raises:
        CapabilityError: the tokenizer has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise CapabilityError(
            "this tokenizer has no chat template; use TagTemplate() without chat=True, or give the tokenizer one "
            "(tokenizer.chat_template = ...)"
        )
    return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)


def _between_turns(tokenizer: Any, role: str) -> tuple[str, str]:
    """What the chat template writes before and after a reply to the assistant's text."""
    turn, reply = "\u2045turn\u2046", "\u2045reply\u2046"
    text = chat_text(
        tokenizer,
        [{"role": "user", "content": "?"}, {"role": "assistant", "content": turn}, {"role": role, "content": reply}],
    )
    if text.count(turn) != 1 or text.count(reply) != 1:
        raise CapabilityError(f"the chat template does not keep an assistant turn and a {role!r} reply as they are")
    after = text[text.index(turn) + len(turn) :]
    head, tail = after.split(reply)
    return head, tail


def _read_call(text: str) -> Call | None:
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        return None
    arguments = data.get("arguments", {})
    return Call(data["name"], arguments) if isinstance(arguments, dict) else None
