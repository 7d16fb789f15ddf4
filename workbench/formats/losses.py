"""What a format may be unable to carry, by field of our data model. A format declares the names it lacks."""

from __future__ import annotations

from collections.abc import Iterable

FIELDS = {
    "ids": "token ids and logprobs",
    "origins": "who wrote a token, beyond sampled or not",
    "steps": "where a step ends (tags may say it)",
    "context": "contexts that do not simply grow",
    "step.spans": "named spans, beyond those that tags mark",
    "step.role": "role of a step",
    "step.policy": "policy and weights version",
    "step.native_reward": "the environment's own reward",
    "step.episode": "episode numbers",
    "step.valid": "which turns could not be read",
    "step.seconds": "time of a turn",
    "calls": "tool calls (tags may say them)",
    "call.hits": "hits",
    "call.result": "a tool's result where the agent was shown something else",
    "call.error": "errors of calls",
    "call.spent": "cost and time of calls",
    "call.valid": "which calls could not be made",
    "task.id": "ids of tasks",
    "task.question": "the question apart from the prompt",
    "task.golds": "gold answers",
    "task.gold_pages": "gold pages",
    "task.sub_questions": "sub-questions",
    "task.rubrics": "rubrics",
    "task.kind": "kind of a task",
    "task.extras": "extras of a task",
    "tree.id": "ids of trees",
    "tree.extras": "extras of a tree",
    "trajectory.id": "ids of trajectories",
    "trajectory.end": "how a trajectory ended, beyond whether its last turn answers",
    "trajectory.role": "role of a trajectory",
    "trajectory.fork": "which first steps siblings share",
    "trajectory.extras": "extras of a trajectory",
    "scores": "scores",
    "scores.steps": "scores of single steps and tokens",
    "scores.parts": "terms of a score",
    "scores.names": "names of scores",
    "scores.why": "reasons and kinds of scores (why, missing or not applicable)",
    "labels": "labels",
    "update": "the update it was drawn for",
}
"""Every loss by name, in the order in which they are told."""

IMPORTANT = frozenset(
    ["ids", "steps", "context", "calls", "call.hits", "task.golds", "task.gold_pages"]
    + ["scores", "scores.steps", "scores.parts", "labels"]
)
"""What a reward needs: told first and always."""


_STEPS = ("calls", "context", "step.spans", "step.role", "step.policy", "step.native_reward")
IMPLIED = {
    "origins": "ids",
    **dict.fromkeys((name for name in FIELDS if name.startswith("scores.")), "scores"),
    **dict.fromkeys((name for name in FIELDS if name.startswith("call.")), "calls"),
    **dict.fromkeys((*_STEPS, "step.episode", "step.valid", "step.seconds"), "steps"),
}
"""Losses that go without saying once another is said."""


def told(lacks: Iterable[str]) -> str:
    """The losses that matter most, and how many more there are, in a line."""
    lacking = set(lacks)
    lost = {name for name in lacking if IMPLIED.get(name) not in lacking}
    first = [FIELDS[name] for name in FIELDS if name in lost and name in IMPORTANT]
    more = len(lost) - len(first)
    rest = [f"{more} more"] if more and first else [FIELDS[name] for name in FIELDS if name in lost and not first]
    return "; ".join([*first, *rest]) or "nothing"


def lost(names: str) -> frozenset[str]:
    """The losses named in a text, as in ``lost("ids origins")``."""
    return frozenset(names.split())


def all_but(names: str) -> frozenset[str]:
    """Every loss except those named in a text."""
    return frozenset(FIELDS) - lost(names)
