"""verl's rollout dumps: what `trainer.rollout_data_dir` and `trainer.validation_data_dir` write, a file an update.

Layout of verl 0.9 (verl/trainer/ppo/ray_trainer.py, `_write_generations`): a line a rollout with input and output (the
decoded prompt and response, special tokens left out), gts (the ground truth), score (the sum of its token scores),
step (the update), and whatever the reward function returned beside the score. `v1/trainer_base.py` adds uid,
"<sample>_<rollout>_<output>". Rows of one sample form a tree, else those of one prompt and step (verl reorders the
rows of a batch, so they need not stand together).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Lines, Row, json_rows
from workbench.formats.losses import lost
from workbench.formats.paying import total_of
from workbench.formats.reading import Rollout, each, together
from workbench.formats.tagged_rollouts import tagged
from workbench.trajectory import Trajectory

UID = re.compile(r"(.+)_(\d+)_(\d+)", re.DOTALL)
USED = ("input", "output", "gts", "score", "step", "uid")


def sniff(head: Head) -> float:
    if not head.has("input", "output"):
        return 0.0
    return 1.0 if head.has("step") and (head.has("score") or head.has("gts")) else 0.7 * head.has("score")


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), _rollouts))


def _rollouts(row: Row) -> list[Rollout]:
    value = row.value
    uid = UID.fullmatch(value["uid"]) if isinstance(value.get("uid"), str) else None
    return [tagged(row, value["input"], value["output"], value.get("gts"), used=USED, key=uid[1] if uid else "")]


def write(records: Iterable[Record], path: Path) -> None:
    """As verl writes it; the terms of a score go beside it, as what a reward function returned."""
    with Lines(path) as lines:
        for record in records:
            for n, trajectory in enumerate(record.tree):
                row = _row(trajectory, record.update, f"{record.tree.id}_{n}_0")
                if record.scores:
                    scores = record.scores[n]
                    row["score"] = total_of(scores)
                    row |= {p.name: total_of(p.scores) for p in scores.parts if p.name not in (*USED, "reward")}
                lines.write(row)


def _row(trajectory: Trajectory, update: int, uid: str) -> dict[str, Any]:
    first = trajectory.steps[0].context if trajectory.steps else None
    prompt = first.text if first else trajectory.task.question
    said = "".join(step.text + step.observation for step in trajectory.steps)
    golds = list(trajectory.task.golds)
    return {"input": prompt, "output": said, "gts": golds, "step": update, "uid": uid}


FORMAT = Format(
    "verl",
    "verl's rollout dump: input, output, score, step",
    (".jsonl",),
    sniff,
    read,
    write,
    lost(
        "ids origins steps context step.spans step.role step.policy step.native_reward step.episode step.valid "
        "step.seconds calls call.hits call.result call.error call.spent call.valid task.id task.question "
        "task.gold_pages task.sub_questions task.rubrics task.kind task.extras tree.extras trajectory.id "
        "trajectory.end trajectory.role trajectory.fork trajectory.extras scores.steps scores.parts scores.names "
        "scores.why labels"
    ),
)
