"""Rows of verifiers 0.1: prompt, completion, reward, metrics. See verifiers.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.formats.files import Row
from workbench.formats.messages import end_of, prompt_messages, read_chat
from workbench.formats.paying import reward_and_metrics
from workbench.formats.reading import Rollout, first_of, rest_of, task_named, texts
from workbench.trajectory import End, Trajectory

USED = ("prompt", "completion", "answer", "reward", "metrics", "task", "example_id", "id", "error", "stop_condition")


def rollouts(row: Row) -> list[Rollout]:
    """One rollout. `metrics` are also laid flat in the row, as verifiers does: they are not read twice."""
    value: Mapping[str, Any] = row.value
    name = str(row.number)
    prompt = value["prompt"]
    given = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or ())
    completion = value["completion"]
    said = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion or ())
    chat = read_chat([*given, *said], name, prompt=len(given))
    metrics = value.get("metrics") or {}
    told = value.get("info")
    info: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    golds = texts(first_of({**info, **value}, "answer", "golds", "answers"))
    kind = str(value.get("task") or "")
    identity = first_of(value, "example_id", "id")
    task = task_named(chat.question, identity, golds=golds, kind=kind, extras=info)
    end, reason = _end(value, chat.steps)
    extras = {k: v for k, v in rest_of(value, *USED, "info").items() if k not in metrics}
    if kept := prompt_messages([*given, *said], chat):
        extras["prompt"] = kept
    trajectory = Trajectory(name, task, chat.steps, end, reason, extras=extras)
    scores = reward_and_metrics(value["reward"], metrics) if "reward" in value else None
    return [Rollout(task.id, trajectory, scores, size=row.size)]


def _end(value: Mapping[str, Any], steps: Any) -> tuple[End, str]:
    error = value.get("error")
    if error:
        return End.FAILED, str(error.get("error_chain_str") or error) if isinstance(error, Mapping) else str(error)
    if value.get("is_truncated"):
        return End.TRUNCATED, str(value.get("stop_condition") or "truncated")
    return end_of(steps)
