"""AgentProcessBench: runs of tool-calling agents with a human label for every step.

Layout of RUCBM/AgentProcessBench (data/AgentProcessBench/hotpotqa.jsonl): OpenAI messages, step_labels by number of the
assistant's message (1 right, 0 harmless or unclear, -1 wrong), final_label for the end; here with answers, and on every
tool's message the hits it brought, by id and score. The runs of a question form a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from workbench.errors import FormatError
from workbench.formats.contract import Format, Label, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.messages import rollout_of
from workbench.formats.reading import Rollout, each, first_of, rest_of, task_named, texts, together

WHO = "AgentProcessBench"
HELD = ("id", "question", "answers", "messages", "step_labels", "final_label", "query_index", "sample_index")


def sniff(head: Head) -> float:
    return 1.0 if head.has("messages", "step_labels", "final_label") else 0.0


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), lambda row: [_rollout(row)]))


def _rollout(row: Row) -> Rollout:
    value = row.value
    name = str(value.get("id") or row.number)
    made, chat = rollout_of(value["messages"], name)
    golds = texts(first_of(value, "answers", "golden_answers", "answer"))
    question = str(value.get("question") or chat.question)
    task = task_named(question, value.get("query_index"), golds=golds)
    labels = []
    for number, said in value["step_labels"].items():
        step = chat.step_of.get(int(number))
        if step is None:
            raise FormatError(f"step_labels names message {number}, which is not the assistant's")
        labels.append(Label(name, step, "correct", float(said), WHO))
    if value.get("final_label") is not None:
        labels.append(Label(name, None, "correct", float(value["final_label"]), WHO))
    made = replace(made, task=task, extras={**made.extras, **rest_of(value, *HELD)})
    return Rollout(task.id, made, None, tuple(labels), size=row.size)


FORMAT = Format(
    "agent_process_bench",
    "AgentProcessBench: every step labelled by people",
    (".jsonl",),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result task.id task.question task.golds trajectory.id trajectory.extras labels"
    ),
)
