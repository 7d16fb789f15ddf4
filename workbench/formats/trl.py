"""TRL's completions: what GRPOTrainer logs with ``log_completions=True``, completions/completions_00010.parquet.

Layout of TRL 1.16 (trl/trainer/grpo_trainer.py, `log`): the columns step, prompt, completion (both a text, or a list of
messages), one a reward function, those that reward functions logged beside, and advantage. A reward that is NaN or null
is a function that returned None for this sample: not applicable. TRL's weights are not in the file: each counts 1. The
rows of one prompt and step form a tree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Row, Table, parquet_rows
from workbench.formats.losses import lost
from workbench.formats.messages import end_of as end_of_chat
from workbench.formats.messages import read_chat, written
from workbench.formats.paying import number, paid, summed, total_of, unpaid
from workbench.formats.reading import Rollout, each, rest_of, task_named, text_id, together
from workbench.formats.tagged_rollouts import question_in
from workbench.formats.tags import end_of, steps_of
from workbench.trajectory import Trajectory

USED = ("step", "prompt", "completion")


def sniff(head: Head) -> float:
    if not {"prompt", "completion"} <= head.columns.keys():
        return 0.0
    return 1.0 if {"step", "advantage"} <= head.columns.keys() else 0.7


def read(path: Path) -> Iterator[Read]:
    columns = Head.of(path).columns
    rewards = [name for name, kind in columns.items() if kind in ("double", "float") and name != "advantage"]
    return together(each(parquet_rows(path), lambda row: [_rollout(row, rewards)]))


def _rollout(row: Row, rewards: list[str]) -> Rollout:
    value, name = row.value, str(row.number)
    prompt, completion, update = value["prompt"], value["completion"], int(value.get("step") or 0)
    made = trajectory_of(prompt, completion, name)
    made = replace(made, extras={**rest_of(value, *USED, *rewards), **made.extras})
    terms = {n: (1.0, unpaid() if math.isnan(number(value[n])) else paid(value[n])) for n in rewards}
    task = made.task
    key = f"{update} {text_id('p', json.dumps(prompt, sort_keys=True))}"
    tree = f"{task.id}@{update}" if update else task.id
    return Rollout(key, made, summed(terms) if terms else None, (), update, row.size, tree)


def trajectory_of(prompt: str | list, completion: str | list, name: str) -> Trajectory:
    """One completion, both as a text or both as messages; its task knows the question alone."""
    if isinstance(completion, str):
        text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
        steps = steps_of(completion, name, text)
        return Trajectory(name, task_named(question_in(text)), steps, *end_of(steps))
    given = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    chat = read_chat([*given, *completion], name, prompt=len(given))
    plain = len(given) == 1 and chat.prompt[0].role == "user"
    extras = {} if plain else {"prompt": [_full(message) for message in given]}
    return Trajectory(name, task_named(chat.question), chat.steps, *end_of_chat(chat.steps), extras=extras)


def _full(message: dict[str, Any]) -> dict[str, Any]:
    """A message without the empty fields that Parquet gives every row."""
    return {key: value for key, value in message.items() if value is not None}


def write(records: Iterable[Record], path: Path) -> None:
    """Conversational prompts and completions, and one reward: the total (the file has no place for weights)."""
    import pyarrow as pa

    function = pa.struct({"name": pa.string(), "arguments": pa.string()})
    call = pa.struct({"id": pa.string(), "type": pa.string(), "function": function})
    fields = {"role": pa.string(), "content": pa.string(), "tool_calls": pa.list_(call), "tool_call_id": pa.string()}
    messages = pa.list_(pa.struct(fields))
    schema = pa.schema({"step": pa.int64(), "prompt": messages, "completion": messages, "reward": pa.float64()})
    with Table(path, schema.append(pa.field("advantage", pa.float64()))) as table:
        for record in records:
            for n, trajectory in enumerate(record.tree):
                prompt, completion = written(trajectory)
                row = {"step": record.update, "prompt": prompt, "completion": completion}
                table.write({**row, "reward": total_of(record.scores[n]) if record.scores else None})


FORMAT = Format(
    "trl",
    "TRL's logged completions, Parquet",
    (".parquet",),
    sniff,
    read,
    write,
    lost(
        "ids origins context step.spans step.role step.policy step.native_reward step.episode step.valid step.seconds "
        "call.hits call.result call.error call.spent call.valid task.id task.question task.golds task.gold_pages "
        "task.sub_questions task.rubrics task.kind task.extras tree.id tree.extras trajectory.id trajectory.end "
        "trajectory.role trajectory.fork trajectory.extras scores.steps scores.parts scores.names scores.why labels"
    ),
)
