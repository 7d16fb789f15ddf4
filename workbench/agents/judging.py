"""Templates in which the agent says yes or no: of every search (`JudgeTemplate`), or of itself (`AssessTemplate`).

`ClosedBookTemplate` is the role for an agent that said it knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, replace
from typing import Any, Literal

from workbench.agents.templates import Parsed, TagTemplate, stripped
from workbench.errors import SettingError
from workbench.protocols import Outcome, Tool
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Step, Task, Trajectory

JUDGE_INSTRUCTION = (
    "Answer the given question. Reason inside <think> and </think> before you act. To look something up, write "
    "<search> query </search>; results come back between <information> and </information>. After every result give "
    "exactly one judgement of it: <judge> Yes </judge> if it is of use for the question, <judge> No </judge> if it is "
    "not. After No you must search again, with another query, and may not answer. After Yes you may search on or give "
    "the final answer, short, inside <answer> and </answer>. Question: {question}\n"
)
JUDGE_INVALID = (
    "\nThat turn could not be used. After a result I judge it: <judge> Yes </judge> or <judge> No </judge>. After No I "
    "search again. Otherwise I write <search> query </search> or <answer> answer </answer>.\n"
)
ASSESS_INSTRUCTION = (
    "Here is a question. Do not answer it: say whether what you know is enough to answer it without looking anything "
    "up. Reason step by step inside <think> and </think>, trying to recall the answer. Then write "
    "<assessment>yes</assessment> if it is enough, or <assessment>no</assessment> if not. Question: {question}\n"
)
ASSESS_INVALID = "\nI must end with <assessment>yes</assessment> or <assessment>no</assessment>.\n"
CLOSED_BOOK_INSTRUCTION = (
    "Answer the given question from what you know; nothing can be looked up. Reason inside <think> and </think>, then "
    "give a short answer inside <answer> and </answer>. Question: {question}\n"
)
MISSING, AFTER_NO, UNKNOWN, NOT_DUE = (
    "no judgement of the search before",
    "an answer right after No",
    "a label that is neither yes nor no",
    "a judgement with nothing to judge",
)


@part
class JudgeTemplate(TagTemplate):
    """Search-R1's tags and one more: a judgement, a turn of its own, after every search.

    Three rules hold: a search is judged before anything else is done; the label is yes or no; after No comes another
    search and no answer. With `violation="end"` a turn that breaks one ends the rollout, without an answer; with
    ``"notice"`` it is an invalid turn, answered by the notice, and the agent tries again. A judgement where nothing is
    to be judged is always an invalid turn. `violations` lists the broken rules of a trajectory either way.

    A judgement takes a turn: allow two a search (``Limits(turns=8)`` for four searches).
    Source: ReSeek (arXiv:2510.00568), whose prompt was not found; the words are ours.
    """

    _: KW_ONLY
    instruction: str = JUDGE_INSTRUCTION
    invalid_notice: str = JUDGE_INVALID
    judge: str = "judge"
    yes: tuple[str, ...] = ("yes",)  # labels that accept, after normalising
    no: tuple[str, ...] = ("no",)
    violation: Literal["end", "notice"] = "end"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.violation not in ("end", "notice"):
            raise SettingError(f"violation is 'end' or 'notice', got {self.violation!r}")

    @property
    def stops(self) -> tuple[str, ...]:
        return *super().stops, f"</{self.judge}>"

    def parse(self, text: str) -> Parsed:
        """The first complete block of search, answer and judgement decides."""
        tag = re.escape(self.judge)
        found = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        before = super().parse(text[: found.start()] if found else text)
        if found is None or before.calls or before.answered:
            return before
        return replace(before, spans=(*before.spans, ("judge", *stripped(text, *found.span(1)))), valid=True)

    def write_judgement(self, useful: bool) -> str:
        """The turn that judges so."""
        return f"<{self.judge}> {'Yes' if useful else 'No'} </{self.judge}>"

    def ruled(self, parsed: Parsed, text: str, steps: Sequence[Step]) -> Parsed:
        """The turn, marked where it breaks a rule."""
        if not parsed.valid:
            return parsed
        label = next((text[start:stop] for name, start, stop in parsed.spans if name == "judge"), None)
        rule = self._broken(label, parsed.answered, steps)
        if not rule:
            return parsed
        ends = self.violation == "end" and rule != NOT_DUE
        return replace(parsed, valid=False, answered=False, broken=rule if ends else "")

    def violations(self, trajectory: Trajectory) -> list[str]:
        """The rules that the trajectory breaks, a short sentence each, turn by turn."""
        found = []
        for s, step in enumerate(trajectory.steps):
            answers, label = step.span("answer") is not None, step.span("judge")
            acts = answers or label is not None or bool(step.calls)
            if acts and (rule := self._broken(label, answers, trajectory.steps[:s])):
                found.append(f"turn {s}: {rule}")
        return found

    def judge_is_due(self, steps: Sequence[Step]) -> bool:
        """Whether the last search has not been judged."""
        return self._last(steps) == ""

    def _broken(self, label: str | None, answers: bool, steps: Sequence[Step]) -> str:
        """The rule that a turn with this label, an answer or a search breaks; "" where it breaks none."""
        last = self._last(steps)
        if last == "":
            if label is None:
                return MISSING
            return "" if normalize_answer(label) in (*self.yes, *self.no) else UNKNOWN
        if label is not None:
            return NOT_DUE
        return AFTER_NO if answers and last in self.no else ""

    def _last(self, steps: Sequence[Step]) -> str | None:
        """The label of the last search, "" where it has none yet; None where nothing was searched."""
        for step in reversed(steps):
            label = step.span("judge")
            if step.valid and label is not None:
                return normalize_answer(label)
            if step.valid and any(call.valid for call in step.calls):
                return ""
        return None


@part
class AssessTemplate:
    """A role in which the agent says whether it knows: ``<think>``, then ``<assessment>yes</assessment>`` or no.

    The assessment ends the rollout; it is in the span "assessment", and there is no answer. A turn without one is
    invalid. Source: AdaSearch's s_decide (arXiv:2512.16883), in words of ours.
    """

    _: KW_ONLY
    instruction: str = ASSESS_INSTRUCTION  # holds {question}
    assessment: str = "assessment"
    think: str = "think"
    invalid_notice: str = ASSESS_INVALID
    chat: bool = False  # True: the prompt is a user message in the tokenizer's chat template

    @property
    def stops(self) -> tuple[str, ...]:
        return (f"</{self.assessment}>",)

    def prompt(self, task: Task, tools: Sequence[Tool], observation: str, tokenizer: Any) -> str:
        return self._as_tags().prompt(task, tools, observation, tokenizer)

    def parse(self, text: str) -> Parsed:
        """Every complete assessment, so that a turn that says both can be told."""
        tag = re.escape(self.assessment)
        said = [stripped(text, *match.span(1)) for match in re.finditer(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)]
        thoughts = self._as_tags().parse(text).spans
        spans = (*thoughts, *(("assessment", start, stop) for start, stop in said))
        return Parsed(spans=spans, answered=bool(said), valid=bool(said))

    def write(self, thought: str, *, query: str | Sequence[str] | None = None, answer: str | None = None) -> str:
        """The turn that assesses so: `answer` is yes or no."""
        return f"<{self.think}> {thought} </{self.think}>\n<{self.assessment}>{answer}</{self.assessment}>"

    def observation(
        self, outcome: Outcome | None, *, tools_off_next: bool, eos_sampled: bool, tokenizer: Any
    ) -> tuple[str, tuple[str, ...], str]:
        return "", (self.invalid_notice,), ""

    def _as_tags(self) -> TagTemplate:
        return TagTemplate(instruction=self.instruction, think=self.think, chat=self.chat)


@part
class ClosedBookTemplate(TagTemplate):
    """A role that answers from memory: a search block is an invalid turn, and its call is kept as one not made.

    AdaSearch's s_param (arXiv:2512.16883), in words of ours.
    """

    _: KW_ONLY
    instruction: str = CLOSED_BOOK_INSTRUCTION
    invalid_notice: str = "\nI cannot look anything up. I must write <answer> answer </answer>.\n"

    def parse(self, text: str) -> Parsed:
        parsed = super().parse(text)
        if not parsed.calls:
            return parsed
        refused = tuple(
            replace(call, valid=False, error="not asked: this role answers from memory") for call in parsed.calls
        )
        return replace(parsed, calls=refused, valid=False)
