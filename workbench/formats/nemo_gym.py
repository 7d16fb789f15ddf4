"""NeMo Gym's rollouts: rollouts.jsonl, a verified response of OpenAI's Responses API a row.

Layout of nemo-gym 0.4 (nemo_gym/rollout_collection.py, openai_utils.py, base_resources_server.py): the request
(responses_create_params), the response whose output holds the items of all turns, the reward, and whatever the
verifier adds. Items logged for training carry prompt_token_ids, generation_token_ids and generation_log_probs. Rows of
one task (_ng_task_index, else the same input) form a tree; numbers beside the reward are terms of weight 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.chats import chat_of
from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.messages import end_of, prompt_messages, read_chat
from workbench.formats.paying import reward_and_metrics
from workbench.formats.reading import Rollout, each, first_of, rest_of, task_named, text_id, texts, together
from workbench.formats.turns import drawn_of, with_tokens
from workbench.trajectory import End, Trajectory

GOLDS = ("expected_answer", "expected_answers", "ground_truth", "answer", "answers", "gold")
HELD = (
    "responses_create_params",
    "response",
    "reward",
    "question",
    "id",
    "_ng_task_index",
    "_ng_rollout_index",
    *GOLDS,
)


def sniff(head: Head) -> float:
    return 1.0 if head.has("responses_create_params", "response") else 0.0


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), lambda row: [_rollout(row)]))


def _rollout(row: Row) -> Rollout:
    value: Mapping[str, Any] = row.value
    asked, response = value["responses_create_params"], value["response"]
    instructions = [{"role": "system", "content": asked["instructions"]}] if asked.get("instructions") else []
    prompt = instructions + chat_of(asked["input"])
    raws = prompt + chat_of(response["output"], "assistant")
    name = str(row.number)
    chat = read_chat(raws, name, prompt=len(prompt))
    question = str(value.get("question") or chat.question)
    index = first_of(value, "id", "_ng_task_index")
    task = task_named(question, index, golds=texts(first_of(value, *GOLDS)), kind=str(value.get("type") or ""))
    turns = [raws[number] for number in sorted(chat.step_of)]
    drawn = [
        drawn_of(turn.get("prompt_token_ids"), turn.get("generation_token_ids"), turn.get("generation_log_probs"))
        for turn in turns
    ]
    steps = with_tokens(chat.steps, drawn)
    steps = tuple(replace(step, policy=step.policy or str(response.get("model") or "")) for step in steps)
    cut = response.get("incomplete_details") or {}
    end, reason = (End.TRUNCATED, str(cut.get("reason"))) if cut else end_of(steps)
    beside = rest_of(value, *HELD, "type", "_ng_task_index", "_ng_rollout_index")
    numbers = {key: item for key, item in beside.items() if isinstance(item, bool | int | float)}
    extras = {key: item for key, item in beside.items() if key not in numbers}
    extras |= {"prompt": kept} if (kept := prompt_messages(raws, chat)) else {}
    extras |= {"tools": asked["tools"]} if asked.get("tools") else {}
    trajectory = Trajectory(name, task, steps, end, reason, extras=extras)
    scores = reward_and_metrics(value["reward"], numbers) if "reward" in value else None
    group = value.get("_ng_task_index")
    key = text_id("p", json.dumps(asked["input"], sort_keys=True)) if group is None else str(group)
    return Rollout(key, trajectory, scores, size=row.size)


FORMAT = Format(
    "nemo_gym",
    "NeMo Gym's rollouts",
    (".jsonl",),
    sniff,
    read,
    None,
    all_but(
        "ids steps context calls call.hits call.result step.policy task.id task.question task.golds task.kind "
        "trajectory.end trajectory.extras scores scores.parts scores.names"
    ),
)
