"""R1-Searcher's evaluated runs: steps of think, search, information and answer, with a judge's verdict.

From RUCAIBox/R1-Searcher (data/eval_results), kept as rows with question, answers, pred, judge_correct, judge_raw and
steps ([{type, text}]). The thoughts before a search are its turn; the information is what it was shown. The verdict is
a score, "judge".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.passages import hits_in
from workbench.formats.paying import paid
from workbench.formats.reading import Rollout, alone, each, rest_of, task_named, texts
from workbench.trajectory import Call, Context, End, Span, Step, Trajectory

HELD = ("id", "question", "answers", "steps", "judge_correct", "judge_raw", "model", "stop_reason")
SPANS = {"search": "query"}


def sniff(head: Head) -> float:
    steps = head.row.get("steps")
    typed = isinstance(steps, list) and bool(steps) and isinstance(steps[0], dict) and "type" in steps[0]
    return 1.0 if typed and head.has("judge_correct") else 0.0


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [alone(_rollout(row))])


def _rollout(row: Row) -> Rollout:
    value = row.value
    name = str(value.get("id") or row.number)
    task = task_named(value["question"], name, golds=texts(value.get("answers")))
    steps = tuple(_steps(value["steps"], name, task.question, str(value.get("model") or "")))
    answered = bool(steps) and steps[-1].span("answer") is not None
    end = End.ANSWERED if answered else End.TRUNCATED
    reason = "" if answered else str(value.get("stop_reason") or "no answer")
    made = Trajectory(name, task, steps, end, reason, extras=rest_of(value, *HELD))
    scores = paid(value["judge_correct"], f"the judge said {value.get('judge_raw')!r}", name="judge")
    return Rollout(name, made, scores, size=row.size)


def _steps(pieces: list[dict[str, Any]], name: str, question: str, model: str) -> Iterator[Step]:
    """A step a search; what comes after the last one is a step too."""
    made = Step(f"{name}.0", "", context=Context(question), policy=model)
    s = 0
    for piece in pieces:
        kind, text = piece["type"], str(piece["text"])
        if kind == "information":
            query = made.span("query") or ""
            call = Call("search", {"query": query}, hits_in(text, query), text)
            yield replace(made, calls=(call,), observation=text)
            s += 1
            made = Step(f"{name}.{s}", "", policy=model)
        else:
            span = Span(SPANS.get(kind, kind), text)
            made = replace(made, text=made.text + text, spans=(*made.spans, span))
    if made.text or s == 0:
        yield made


FORMAT = Format(
    "r1_searcher",
    "R1-Searcher's evaluated runs",
    (".jsonl",),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result step.policy task.id task.question task.golds trajectory.id "
        "trajectory.end trajectory.extras scores scores.names scores.why"
    ),
)
