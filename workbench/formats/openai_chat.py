"""OpenAI's chat messages with tool calls, one conversation a row: ``{"messages": [{"role", "content", ...}]}``.

The layout of OpenAI's chat completions API and fine-tuning files (openai-python, types/chat), which TRL, tinker
(tinker_cookbook/example_data/conversations.jsonl) and most others share. Beside `messages` a row may have id, question
(or the question stands in the prompt), answers (or golds, answer), reward, and what else it likes: that is kept in the
task's extras. Rows of the same prompt form one tree, within a window (see reading.together).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Lines, Row, json_rows
from workbench.formats.losses import lost
from workbench.formats.messages import ROLES, rollout_of, written
from workbench.formats.paying import paid, total_of
from workbench.formats.reading import Rollout, each, first_of, rest_of, task_named, texts, together
from workbench.trajectory import End

GOLDS = ("answers", "golden_answers", "answer")
USED = ("messages", "conversations", "id", "task_id", "question", "reward", "metadata", "tools", "golds", *GOLDS)


def sniff(head: Head) -> float:
    messages = head.row.get("messages", head.row.get("conversations"))
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict):
        return 0.0
    known = str(messages[0].get("role", messages[0].get("from", ""))).lower() in ROLES
    return (0.95 if set(head.row) <= {"messages", "tools", "metadata"} else 0.85) * known


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), _rollouts))


def _rollouts(row: Row) -> list[Rollout]:
    value = row.value
    ours = value.get("metadata") if isinstance(value.get("metadata"), dict) else {}
    told = {**value, **ours.get("workbench", {})}
    messages = value.get("messages", value.get("conversations"))
    trajectory, chat = rollout_of(messages, str(told.get("trajectory", row.number)))
    golds = tuple(told["golds"]) if "golds" in told else texts(first_of(value, *GOLDS))
    question = str(told["question"] if isinstance(told.get("question"), str) else chat.question)
    task = task_named(question, told.get("task_id", told.get("id")), golds=golds, extras=rest_of(value, *USED))
    end = {"end": End(told["end"]), "end_reason": told.get("end_reason", "")} if "end" in told else {}
    extras = {**trajectory.extras, **({"tools": value["tools"]} if value.get("tools") else {})}
    made = replace(trajectory, task=task, extras=extras, **end)
    scores = paid(told["reward"]) if "reward" in told else None
    tree = str(told.get("tree", task.id))
    return [Rollout(tree, made, scores, (), int(told.get("update", 0)), row.size, tree)]


def write(records: Iterable[Record], path: Path) -> None:
    """Messages as OpenAI has them; what they have no place for stands in ``metadata.workbench``."""
    with Lines(path) as lines:
        for record in records:
            for n, trajectory in enumerate(record.tree):
                prompt, completion = written(trajectory)
                task = trajectory.task
                told: dict[str, Any] = {"tree": record.tree.id, "trajectory": trajectory.id, "task_id": task.id}
                told |= {"question": task.question, "golds": list(task.golds), "end": str(trajectory.end)}
                told |= {"end_reason": trajectory.end_reason, "update": record.update}
                if record.scores:
                    told["reward"] = total_of(record.scores[n])
                row = {"messages": prompt + completion, "metadata": {"workbench": told}}
                if tools := trajectory.extras.get("tools"):
                    row["tools"] = tools
                lines.write(row)


FORMAT = Format(
    "openai",
    "OpenAI chat messages with tool calls, one conversation a row",
    (".jsonl", ".json"),
    sniff,
    read,
    write,
    lost(
        "ids origins context step.spans step.role step.policy step.native_reward step.episode step.valid step.seconds "
        "call.hits call.result call.error call.spent call.valid task.gold_pages task.sub_questions task.rubrics "
        "task.kind task.extras tree.extras trajectory.role trajectory.fork trajectory.extras scores.steps scores.parts "
        "scores.names scores.why labels"
    ),
)
