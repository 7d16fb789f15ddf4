"""What a format cannot carry, taken out of a record: what is left must come back equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from workbench.formats import Record
from workbench.formats.paying import total_of
from workbench.scores import Level, Scores, Status
from workbench.trajectory import Call, Context, End, Hit, Origin, Step, Task, Tokens, Trajectory, Tree

NO_TASK = Task("", "")
NO_CALL = Call("")
NO_STEP = Step("", "")


def stripped(record: Record, lost: Collection[str]) -> Record:
    """The record without the fields that are lost; steps are renumbered (their ids belong to our own formats)."""
    tree = record.tree
    trajectories = tuple(_trajectory(one, n, lost) for n, one in enumerate(tree))
    made = Tree("" if "tree.id" in lost else tree.id, _task(tree.task, lost), trajectories)
    made = replace(made, extras={} if "tree.extras" in lost else tree.extras)
    name_of = {one.id: new.id for one, new in zip(tree, trajectories, strict=True)}
    labels = tuple(replace(label, trajectory=name_of[label.trajectory]) for label in record.labels)
    scores = () if "scores" in lost else tuple(_scores(one, lost) for one in record.scores)
    if "scores.why" in lost and all(math.isnan(one.total) for one in scores):
        scores = ()  # that nothing was scored is one with that there are no scores
    return Record(made, scores, () if "labels" in lost else labels, 0 if "update" in lost else record.update)


def _task(task: Task, lost: Collection[str]) -> Task:
    fields = ("id", "question", "golds", "gold_pages", "sub_questions", "rubrics", "kind", "extras")
    return replace(task, **{name: getattr(NO_TASK, name) for name in fields if f"task.{name}" in lost})


def _trajectory(one: Trajectory, n: int, lost: Collection[str]) -> Trajectory:
    steps = [_step(step, s, lost) for s, step in enumerate(one.steps)]
    if "steps" in lost and steps:
        said = "".join(step.text + step.observation for step in steps)
        steps = [replace(NO_STEP, text=said, context=steps[0].context)]
    changes: dict = {"steps": tuple(steps), "task": _task(one.task, lost)}
    changes |= {"id": str(n)} if "trajectory.id" in lost else {}
    changes |= {"end": End.ANSWERED, "end_reason": ""} if "trajectory.end" in lost else {}
    changes |= {"role": "agent"} if "trajectory.role" in lost else {}
    changes |= {"fork": 0} if "trajectory.fork" in lost else {}
    changes |= {"extras": {}} if "trajectory.extras" in lost else {}
    return replace(one, **changes)


def _step(step: Step, s: int, lost: Collection[str]) -> Step:
    changes: dict = {"id": str(s), "calls": tuple(_call(call, lost) for call in step.calls)}
    for name in ("spans", "role", "policy", "native_reward", "episode", "valid", "seconds"):
        if f"step.{name}" in lost:
            changes[name] = getattr(NO_STEP, name)
    changes |= {"calls": ()} if "calls" in lost else {}
    context = step.context
    if "context" in lost:
        context = (context or Context("")) if s == 0 else None
    tokens = _tokens(step.tokens, lost)
    if context is not None:
        context = Context(context.text, _tokens(context.tokens, lost))
    return replace(step, **changes, tokens=tokens, context=context)


def _tokens(tokens: Tokens | None, lost: Collection[str]) -> Tokens | None:
    if tokens is None or "ids" in lost or ("origins" in lost and not len(tokens)):
        return None
    if "origins" not in lost:
        return tokens
    own_T = tokens.own_T
    logprobs_T = np.where(own_T, tokens.logprobs_T, np.float32("nan"))
    return Tokens(tokens.ids_T, logprobs_T, np.where(own_T, Origin.SAMPLED, Origin.ENVIRONMENT))


def _call(call: Call, lost: Collection[str]) -> Call:
    changes: dict = {}
    changes |= {"hits": ()} if "call.hits" in lost else {}
    changes |= {"result": None} if "call.result" in lost else {}
    changes |= {"error": None} if "call.error" in lost else {}
    changes |= {"cost": 0.0, "seconds": 0.0} if "call.spent" in lost else {}
    changes |= {"valid": True} if "call.valid" in lost else {}
    return replace(call, **changes)


def _scores(scores: Scores, lost: Collection[str]) -> Scores:
    """A score reduced to totals of its terms (steps), to its total (parts), without reasons (why)."""
    if "scores.steps" not in lost:
        return scores
    if "scores.parts" in lost:
        return _named(_total(scores, lost), scores, lost)
    terms = [(p.name, p.weight, p.scores) for p in scores.parts] or [(scores.name, 1.0, scores)]
    kept = {name: (w, _total(s, lost)) for name, w, s in terms if not math.isnan(s.total) or _is_missing(s)}
    told = [(name, w if s.value == s.value else 1.0, s.value, s.why_S) for name, (w, s) in kept.items()]
    return Scores.trajectory(0.0, repr(told)) if told else Scores.missing("")


def _is_missing(scores: Scores) -> bool:
    return bool((scores.status_S == Status.MISSING).any())


def _total(scores: Scores, lost: Collection[str]) -> Scores:
    total, why = total_of(scores), "" if "scores.why" in lost else "; ".join(scores.why_S)
    return Scores.missing(why) if total is None else Scores.trajectory(total, why)


def _named(made: Scores, scores: Scores, lost: Collection[str]) -> Scores:
    made.name = "reward" if "scores.names" in lost else scores.name
    assert made.level is Level.TRAJECTORY
    return made


def differs(left: Record, right: Record, facts: Callable) -> bool:
    """True where two records are not the same to the bit."""
    return whole(left, facts) != whole(right, facts)


def whole(record: Record, facts: Callable) -> tuple:
    """Everything in a record as something that == compares to the bit."""
    return facts(record.tree), facts(record.scores), facts(record.labels), record.update


__all__ = ["Hit", "differs", "stripped", "whole"]
