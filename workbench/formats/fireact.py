"""FireAct's runs: thought, action, observation, as ReAct writes them, with exact match and F1.

From anchen1011/FireAct (trajs/), kept as rows with question, answers, pred, em, f1 and steps ([{type, text}]). A
thought and its action are a step; ``search[...]`` calls the search tool, ``finish[...]`` answers. EM is the score, F1
a term of weight 0 beside it. A run that could not be parsed has only `raw`: one step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.passages import hits_in
from workbench.formats.paying import paid, summed
from workbench.formats.reading import Rollout, alone, each, rest_of, task_named, texts
from workbench.trajectory import Call, Context, End, Span, Step, Trajectory

ACTION = re.compile(r"\s*(\w+)\[(.*)\]\s*", re.DOTALL)
HELD = ("id", "question", "answers", "steps", "em", "f1", "model", "qtype", "raw")


def sniff(head: Head) -> float:
    return 1.0 if head.has("steps", "em", "f1", "gt_norm") else 0.0


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [alone(_rollout(row))])


def _rollout(row: Row) -> Rollout:
    value = row.value
    name, model = str(value.get("id") or row.number), str(value.get("model") or "")
    kind = str(value.get("qtype") or "")
    task = task_named(value["question"], name, golds=texts(value.get("answers")), kind=kind)
    pieces = value.get("steps") or [{"type": "thought", "text": str(value.get("raw") or "")}]
    steps = [replace(step, policy=model) for step in _steps(pieces, name)]
    steps[:1] = [replace(step, context=Context(task.question)) for step in steps[:1]]
    answered = steps[-1].span("answer") is not None
    end = (End.ANSWERED, "") if answered else (End.TRUNCATED, "no finish[...]")
    made = Trajectory(name, task, tuple(steps), *end, extras=rest_of(value, *HELD))
    terms = {"em": (1.0, paid(value["em"], name="em")), "f1": (0.0, paid(value["f1"], name="f1"))}
    return Rollout(name, made, summed(terms), size=row.size)


def _steps(pieces: list[dict[str, Any]], name: str) -> Iterator[Step]:
    made, s = Step(f"{name}.0", ""), 0
    for piece in pieces:
        kind, text = piece["type"], str(piece["text"])
        if kind == "observation":
            calls = tuple(replace(call, result=text, hits=hits_in(text, call.query)) for call in made.calls)
            yield replace(made, calls=calls, observation=text)
            s += 1
            made = Step(f"{name}.{s}", "")
        elif kind == "action":
            made = _acted(made, text)
        else:
            made = replace(made, text=f"{made.text}{text}", spans=(*made.spans, Span("think", text)))
    if made.text or s == 0:
        yield made


def _acted(step: Step, text: str) -> Step:
    """The step with its action behind the thought, on a line of its own."""
    written = f"{step.text}\n{text}" if step.text else text
    action = ACTION.fullmatch(text)
    if action is None:
        return replace(step, text=written, valid=False)
    name, argument = action[1].lower(), action[2]
    if name == "finish":
        return replace(step, text=written, spans=(*step.spans, Span("answer", argument)))
    call = Call(name, {"query": argument})
    return replace(step, text=written, calls=(*step.calls, call), spans=(*step.spans, Span("query", argument)))


FORMAT = Format(
    "fireact",
    "FireAct's ReAct runs",
    (".jsonl",),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.result step.policy task.id task.question task.golds task.kind trajectory.id "
        "trajectory.end trajectory.extras scores scores.parts scores.names"
    ),
)
