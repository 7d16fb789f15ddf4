"""verifiers' traces: traces.jsonl of verifiers 0.4 (an episode a line), and results.jsonl of verifiers 0.1.

An episode (verifiers/v1/episode.py, trace.py, graph.py) holds traces; a trace a graph of messages, each with the token
ids that it adds, a mask of those sampled, and their logprobs. A path from root to leaf is a trajectory; the rewards are
named and weighted, the metrics stand beside them with weight 0. Traces of one group (or of one task, where there is no
group) form a tree. verifiers rounds logprobs to four digits in its file; we write them whole. A row of verifiers 0.1
(utils/save_utils.py, `state_to_output`) has prompt, completion, answer, reward, metrics and example_id, and no ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.formats import verifiers_results, verifiers_traces
from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Lines, Row, json_rows
from workbench.formats.losses import lost
from workbench.formats.reading import Rollout, each, together


def sniff(head: Head) -> float:
    if head.has("traces", "task"):
        return 1.0
    if head.has("prompt", "completion", "reward") and (head.has("example_id") or head.has("is_completed")):
        return 0.95
    return 0.6 if head.has("prompt", "completion") and isinstance(head.row["completion"], list) else 0.0


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), _rollouts))


def _rollouts(row: Row) -> Iterable[Rollout]:
    return verifiers_traces.rollouts(row) if "traces" in row.value else verifiers_results.rollouts(row)


def write(records: Iterable[Record], path: Path) -> None:
    """An episode of verifiers 0.4 a trajectory."""
    with Lines(path) as lines:
        for record in records:
            for n in range(len(record.tree)):
                lines.write(verifiers_traces.episode(record, n))


FORMAT = Format(
    "verifiers",
    "verifiers' traces.jsonl (or results.jsonl of 0.1)",
    (".jsonl",),
    sniff,
    read,
    write,
    lost(
        "origins context step.spans step.role step.native_reward step.episode step.valid call.hits call.result "
        "call.error call.spent call.valid task.gold_pages task.sub_questions task.rubrics task.kind task.extras "
        "tree.extras trajectory.fork trajectory.extras scores.steps scores.why labels"
    ),
)
