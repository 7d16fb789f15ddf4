"""Docent's agent runs: AgentRun as JSON, one a file or row, or a list of them.

Layout of Docent (docs.transluce.org, Agent Run and Metadata; docent/data_models/agent_run.py): a run holds transcripts
(a list, formerly a dict), each a list of chat messages, and metadata whose `scores` are named numbers, each a term of
weight 1 here. A transcript is a trajectory; runs of one task_id or sample_id of the metadata form a tree. Docent's own
Inspect samples are read by the format inspect, its tau-bench samples by tau_bench.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.messages import rollout_of
from workbench.formats.paying import paid, summed
from workbench.formats.reading import Rollout, each, first_of, task_named, texts, together


def sniff(head: Head) -> float:
    transcripts = head.row.get("transcripts")
    return 0.95 if isinstance(transcripts, list | dict) and transcripts else 0.0


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), _rollouts))


def _rollouts(row: Row) -> Iterator[Rollout]:
    run: Mapping[str, Any] = row.value
    metadata = run.get("metadata") or {}
    transcripts = run["transcripts"]
    listed = list(transcripts.values()) if isinstance(transcripts, Mapping) else transcripts
    name = str(run.get("id") or row.number)
    terms = {key: (1.0, paid(value)) for key, value in (metadata.get("scores") or {}).items()}
    for n, transcript in enumerate(listed):
        made, chat = rollout_of(transcript["messages"], name if len(listed) == 1 else f"{name}.{n}")
        question = str(first_of(metadata, "question", "task_description") or chat.question)
        task = task_named(question, first_of(metadata, "task_id", "sample_id"), golds=texts(metadata.get("target")))
        extras = {**made.extras, "metadata": metadata, "transcript": transcript.get("metadata") or {}}
        role = str(transcript.get("name") or "agent") if len(listed) > 1 else "agent"
        trajectory = replace(made, task=task, role=role, extras=extras)
        yield Rollout(task.id, trajectory, summed(terms) if terms else None, size=row.size // len(listed))


FORMAT = Format(
    "docent",
    "Docent's agent runs",
    (".json", ".jsonl"),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result call.error task.id task.question task.golds trajectory.id "
        "trajectory.role trajectory.extras scores scores.parts scores.names"
    ),
)
