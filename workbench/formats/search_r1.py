"""Rollouts of Search-R1 and its descendants, a row each, as text with tags.

Search-R1 itself (PeterGriffinJin/Search-R1, search_r1/llm_agent/generation.py) prints its sequences; people keep them
as jsonl under many names. Read is a row with a response (response, output, completion, generation, ...) or a whole
sequence (sequences_str, sequence, text), in which ``<search>``, ``<information>`` and ``<answer>`` stand; a prompt
(prompt, input) or a question; golds (golden_answers, ground_truth, target, answers, answer); and a number (score,
reward, em). Rows of one prompt form a tree, within a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import FormatError
from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.reading import Rollout, each, first_of, together
from workbench.formats.tagged_rollouts import parted, tagged

RESPONSES = ("response", "responses", "output", "completion", "generation", "generated_text", "solution_str")
SEQUENCES = ("sequences_str", "sequence", "full_text", "text")
PROMPTS = ("prompt", "input")
GOLDS = ("golden_answers", "ground_truth", "target", "gts", "answers", "answer", "golds")
TAGS = ("<search>", "<information>", "<answer>")
USED = (*RESPONSES, *SEQUENCES, *PROMPTS, *GOLDS, "question", "step", "score", "id", "task_id", "question_id")


def sniff(head: Head) -> float:
    text = _text(head.row)
    found = sum(tag in text for tag in TAGS)
    return (0.0, 0.4, 0.8, 0.9)[found]


def _text(row: Mapping[str, Any]) -> str:
    text = first_of(row, *RESPONSES, *SEQUENCES)
    return text if isinstance(text, str) else ""


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), _rollouts))


def _rollouts(row: Row) -> list[Rollout]:
    value = row.value
    response, whole = first_of(value, *RESPONSES), first_of(value, *SEQUENCES)
    prompt = first_of(value, *PROMPTS)
    if response is None:
        if not isinstance(whole, str):
            raise FormatError(f"no text of a response; the row has {sorted(value)[:12]}")
        before, response = parted(whole)
        prompt = prompt or before
    return [tagged(row, prompt or str(value.get("question") or ""), response, first_of(value, *GOLDS), used=USED)]


FORMAT = Format(
    "search_r1",
    "text with <search>, <information> and <answer> tags, a rollout a row",
    (".jsonl", ".json"),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result task.golds task.id task.question scores scores.parts scores.names update"
    ),
)
