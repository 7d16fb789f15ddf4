"""Records as JSON and back, unchanged to the bit: what the formats jsonl and parquet hold.

A tree is one object. Fields that have their default are left out, so that such a file can be written by hand:
``{"task": {"id": "q1", "question": "..."}, "trajectories": [{"id": "t", "end": "answered", "steps": [...]}]}``. A step
that stands again in the same tree is only named by its id.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from workbench import plain
from workbench.errors import FormatError
from workbench.formats.contract import Label, Record
from workbench.scores import Level, Part, Scores, Status
from workbench.trajectory import Call, Context, End, Hit, Span, Step, SubQuestion, Task, Tokens, Trajectory, Tree

VERSION = 1
ESCAPED = "escaped"
"""Set on a record whose texts had to be escaped (see `workbench.plain`)."""

_STATUS = {Status.SCORED: "scored", Status.NOT_APPLICABLE: "not applicable", Status.MISSING: "missing"}
_STATUS_OF = {name: status for status, name in _STATUS.items()}
_ORIGINS = "int8"
_CANONICAL_NAN = np.float32("nan").tobytes()


def record_text(record: Record) -> str:
    """A record as one line of JSON.

    Raises:
        SettingError: extras hold what cannot be brought back.
    """
    tree, seen = record.tree, dict[str, Step]()
    row: dict[str, Any] = {"workbench": VERSION, "id": tree.id, "update": int(record.update), "task": _task(tree.task)}
    if tree.extras:
        row["extras"] = plain.pack(tree.extras, f"extras of tree {tree.id!r}")
    row["trajectories"] = [_trajectory(trajectory, tree.task, seen) for trajectory in tree]
    if record.scores:
        row["scores"] = [_scores(scores) for scores in record.scores]
    if record.labels:
        row["labels"] = [_lean(label) | {"value": plain.pack(float(label.value))} for label in record.labels]
    text = plain.text_of(row)
    return text if plain.is_plain(text) else plain.text_of(plain.escaped(row) | {ESCAPED: True})


def record_of(row: Mapping[str, Any]) -> Record:
    """The record of a line that `record_text` wrote, or that was written by hand.

    Raises:
        FormatError: it is not a record, or one of a later version.
    """
    if "task" not in row or "trajectories" not in row:
        raise FormatError(f"a tree needs a task and trajectories; the row has {sorted(row)[:12]}")
    if row.get("workbench", VERSION) > VERSION:
        raise FormatError(f"written by a later workbench (layout {row['workbench']}, this one reads up to {VERSION})")
    if row.get(ESCAPED):
        row = plain.unescaped(row)
    task, steps = _task_of(row["task"]), dict[str, Step]()
    name = str(row.get("id", task.id))
    members = tuple(_trajectory_of(given, n, task, steps) for n, given in enumerate(row["trajectories"]))
    tree = Tree(name, task, members, plain.unpack(row.get("extras", {})))
    scores = tuple(_scores_of(given) for given in row.get("scores", ()))
    labels = tuple(Label(**{**given, "value": plain.unpack(given["value"])}) for given in row.get("labels", ()))
    return Record(tree, scores, labels, int(row.get("update", 0)))


# ---------------------------------------------------------------- what is not its default


def _lean(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults; numbers and texts as plain data."""
    kept = {}
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if type(held) is type(field.default) and repr(held) == repr(field.default):  # NaN is NaN, -0.0 is not 0.0
            continue
        kept[field.name] = held if type(held) in (str, int, bool) else _value(held)
    return kept


def _value(held: Any) -> Any:
    return held if isinstance(held, tuple | frozenset | Mapping) or dataclasses.is_dataclass(held) else plain.pack(held)


def _task(task: Task) -> dict[str, Any]:
    row = _lean(task)
    row |= {"golds": list(task.golds)} if task.golds else {}
    row |= {"gold_pages": sorted(task.gold_pages)} if task.gold_pages else {}
    if task.sub_questions:
        row["sub_questions"] = [
            _lean(one) | {"golds": list(one.golds), "queries": list(one.queries)} for one in task.sub_questions
        ]
    if task.rubrics:
        row["rubrics"] = [plain.pack(rubric, f"rubrics of task {task.id!r}") for rubric in task.rubrics]
    row.pop("extras", None)
    return row | ({"extras": plain.pack(task.extras, f"extras of task {task.id!r}")} if task.extras else {})


def _task_of(row: Mapping[str, Any]) -> Task:
    subs = tuple(
        SubQuestion(**{**one, "golds": tuple(one.get("golds", ())), "queries": tuple(one.get("queries", ()))})
        for one in row.get("sub_questions", ())
    )
    lists = {"golds": tuple(row.get("golds", ())), "gold_pages": frozenset(row.get("gold_pages", ()))}
    rubrics = tuple(plain.unpack(rubric) for rubric in row.get("rubrics", ()))
    made = {**row, **lists, "sub_questions": subs, "rubrics": rubrics, "extras": plain.unpack(row.get("extras", {}))}
    return Task(**{"id": str(row.get("id", row.get("question"))), **made})


def _trajectory(trajectory: Trajectory, task: Task, seen: dict[str, Step]) -> dict[str, Any]:
    row = _lean(trajectory) | {"end": str(End(trajectory.end)), "steps": []}
    row.pop("extras", None)
    row.pop("task")
    if trajectory.task is not task and trajectory.task != task:
        row["task"] = _task(trajectory.task)
    for step in trajectory.steps:
        row["steps"].append(step.id if seen.get(step.id) is step else _step(step))
        seen[step.id] = step
    if trajectory.extras:
        row["extras"] = plain.pack(trajectory.extras, f"extras of trajectory {trajectory.id!r}")
    return row


def _trajectory_of(row: Mapping[str, Any], number: int, task: Task, seen: dict[str, Step]) -> Trajectory:
    name, steps = str(row.get("id", number)), []
    for s, given in enumerate(row["steps"]):
        if isinstance(given, str):
            if given not in seen:
                raise FormatError(f"trajectory {name!r} names step {given!r}, which did not stand before")
            steps.append(seen[given])
        else:
            steps.append(step := _step_of({"id": f"{name}.{s}", **given}))
            seen[step.id] = step
    own = {"task": _task_of(row["task"]) if "task" in row else task, "extras": plain.unpack(row.get("extras", {}))}
    return Trajectory(**{**row, **own, "id": name, "steps": tuple(steps), "end": End(row.get("end", "answered"))})


# ---------------------------------------------------------------- steps


def _step(step: Step) -> dict[str, Any]:
    row = _lean(step)
    row |= {"calls": [_call(call) for call in step.calls]} if step.calls else {}
    row |= {"spans": [_lean(span) for span in step.spans]} if step.spans else {}
    row |= {"tokens": _tokens(step.tokens)} if step.tokens is not None else {}
    if step.context is not None:
        tokens = step.context.tokens
        row["context"] = {"text": step.context.text} | ({} if tokens is None else {"tokens": _tokens(tokens)})
    return row


def _step_of(row: Mapping[str, Any]) -> Step:
    made: dict[str, Any] = {name: plain.unpack(value) for name, value in row.items() if name not in _NESTED}
    made["calls"] = tuple(_call_of(call) for call in row.get("calls", ()))
    made["spans"] = tuple(Span(**span) for span in row.get("spans", ()))
    made["tokens"] = _tokens_of(row.get("tokens"))
    if (context := row.get("context")) is not None:
        made["context"] = Context(context["text"], _tokens_of(context.get("tokens")))
    return Step(**{"text": "", **made})


_NESTED = {"calls", "spans", "tokens", "context"}


def _call(call: Call) -> dict[str, Any]:
    row = _lean(call)
    row.pop("arguments", None)
    if call.arguments:
        row["arguments"] = plain.pack(call.arguments, f"arguments of a call to {call.tool}")
    return row | ({"hits": [_lean(hit) for hit in call.hits]} if call.hits else {})


def _call_of(row: Mapping[str, Any]) -> Call:
    hits = tuple(Hit(**{name: plain.unpack(value) for name, value in hit.items()}) for hit in row.get("hits", ()))
    return Call(**{**{name: plain.unpack(value) for name, value in row.items()}, "hits": hits})


def _tokens(tokens: Tokens) -> dict[str, Any]:
    """Ids, logprobs (null: NaN) and origins (left out: all sampled) as lists that people can read."""
    row: dict[str, Any] = {"ids": tokens.ids_T.tolist()}
    nan_T = np.isnan(tokens.logprobs_T)
    if np.isinf(tokens.logprobs_T).any() or tokens.logprobs_T[nan_T].tobytes() != _CANONICAL_NAN * int(nan_T.sum()):
        row["logprobs_float32"] = base64.b64encode(tokens.logprobs_T.astype("<f4").tobytes()).decode()
    else:
        row["logprobs"] = [float(f"{x:.9g}") if x == x else None for x in tokens.logprobs_T]  # 9 digits: exact
    return row | ({"origins": tokens.origins_T.tolist()} if tokens.origins_T.any() else {})


def _tokens_of(row: Mapping[str, Any] | None) -> Tokens | None:
    if row is None:
        return None
    ids_T = np.array(row["ids"], np.int32)
    if "logprobs_float32" in row:
        logprobs_T = np.frombuffer(base64.b64decode(row["logprobs_float32"]), "<f4")
    else:
        logprobs_T = np.array([np.nan if x is None else x for x in row["logprobs"]], np.float32)
    return Tokens(ids_T, logprobs_T, np.array(row.get("origins", np.zeros(len(ids_T))), _ORIGINS))


# ---------------------------------------------------------------- scores


def _scores(scores: Scores) -> dict[str, Any]:
    row: dict[str, Any] = {"name": scores.name, "level": str(scores.level), "values": _numbers(scores.values_S)}
    if (scores.status_S != Status.SCORED).any():
        row["status"] = [_STATUS[Status(status)] for status in scores.status_S]
    if any(scores.why_S):
        row["why"] = list(scores.why_S)
    if scores.parts:
        row["parts"] = [
            {"name": p.name, "weight": plain.pack(float(p.weight)), "place": p.place, "scores": _scores(p.scores)}
            for p in scores.parts
        ]
    return row


def _numbers(values: Iterable[float]) -> list[Any]:
    return [None if math.isnan(value) else plain.pack(float(value)) for value in values]


def _scores_of(row: Mapping[str, Any]) -> Scores:
    values = np.array([np.nan if value is None else plain.unpack(value) for value in row["values"]], np.float64)
    given = row.get("status")
    status = (
        [_STATUS_OF[name] for name in given] if given else np.where(np.isnan(values), Status.MISSING, Status.SCORED)
    )
    parts = tuple(
        Part(part["name"], plain.unpack(part["weight"]), _scores_of(part["scores"]), part.get("place", "end"))
        for part in row.get("parts", ())
    )
    level, name = Level(row.get("level", Level.TRAJECTORY)), row.get("name", "reward")
    return Scores(values, np.array(status, np.int8), tuple(row.get("why", ())), level, parts, name)
