"""tau-bench's results: a conversation with a simulated user a row, with reward 0 or 1.

Layout of sierra-research/tau-bench (tau_bench/types.py, `EnvRunResult`; historical_trajectories/*.json): task_id,
reward, info, traj (chat messages), trial; a JSON array, one row as a file (Docent's sample), or jsonl, there with
messages and gold_actions. The trials of a task form a tree; the gold actions are kept in the task's extras.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.messages import rollout_of
from workbench.formats.paying import paid
from workbench.formats.reading import Rollout, each, first_of, task_named, together


def sniff(head: Head) -> float:
    if head.has("traj", "task_id", "reward"):
        return 1.0
    return 1.0 if head.has("messages", "task_id", "trial", "reward") else 0.0


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), lambda row: [_rollout(row)]))


def _rollout(row: Row) -> Rollout:
    value = row.value
    info = value.get("info") or {}
    task_info = info.get("task") or {}
    told = value.get("reward_info") or info.get("reward_info") or {}
    actions = first_of(value, "gold_actions") or task_info.get("actions") or []
    made, chat = rollout_of(first_of(value, "traj", "messages"), f"{value['task_id']}.{value.get('trial', 0)}")
    question = str(value.get("question") or task_info.get("instruction") or chat.question)
    task = task_named(question, value["task_id"], extras={"gold_actions": actions})
    model = str(value.get("model") or "")
    steps = tuple(replace(step, policy=step.policy or model) for step in made.steps)
    made = replace(made, task=task, steps=steps, extras={**made.extras, "reward_info": told})
    return Rollout(str(value["task_id"]), made, paid(value["reward"]), size=row.size)


FORMAT = Format(
    "tau_bench",
    "tau-bench's conversations with reward",
    (".json", ".jsonl"),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result step.policy task.id task.question task.extras trajectory.id "
        "trajectory.extras scores"
    ),
)
