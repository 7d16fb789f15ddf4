"""rLLM's episodes: what EpisodeLogger writes (a JSON file an episode), or a row each of Episode.to_dict().

Layout of rLLM (rllm-org/rllm, rllm/agents/agent.py, `Episode.to_dict`, and rllm/utils/episode_logger.py): an episode
holds trajectories, each of an agent that has a name; a step has its chat_completions so far and, in to_dict,
prompt_ids, response_ids and logprobs. A step's reward is the environment's own. Episodes of one task (the part of the
id before the colon) and update form a tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.messages import end_of, read_chat
from workbench.formats.paying import paid, summed
from workbench.formats.reading import Rollout, each, first_of, rest_of, task_named, texts, together
from workbench.formats.turns import drawn_of, with_tokens
from workbench.trajectory import Context, End, Step, Task, Trajectory

Raw = Mapping[str, Any]
QUESTIONS = ("question", "problem", "instruction", "prompt", "query")
GOLDS = ("ground_truth", "answer", "answers", "golden_answers", "golds")
HELD = ("trajectories", "task", "id", "episode_id", "is_correct", "training_step")
FAILED = ("error", "timeout")


def sniff(head: Head) -> float:
    if not head.has("trajectories", "task"):
        return 0.0
    return 1.0 if head.has("is_correct") else 0.5 * head.has("termination_reason")


def read(path: Path) -> Iterator[Read]:
    return together(each(json_rows(path), _rollouts))


def _rollouts(row: Row) -> Iterator[Rollout]:
    episode: Raw = row.value
    identity = str(first_of(episode, "id", "episode_id") or row.number)
    task = _task(episode.get("task"), identity.rpartition(":")[0])
    update = int(episode.get("training_step") or 0)
    extras = rest_of(episode, *HELD)
    for n, given in enumerate(episode["trajectories"]):
        name = f"{identity}.{n}"
        steps = _steps(given["steps"], name)
        end, reason = _end(episode, steps)
        role = str(given.get("name") or "agent")
        trajectory = Trajectory(name, task, steps, end, reason, role, extras=extras)
        terms = {} if given.get("reward") is None else {"reward": (1.0, paid(given["reward"]))}
        if "is_correct" in episode:
            terms["is_correct"] = (0.0 if terms else 1.0, paid(episode["is_correct"]))
        tree = f"{task.id}@{update}" if update else task.id
        yield Rollout(tree, trajectory, summed(terms) if terms else None, (), update, row.size, tree)


def _task(given: Any, identity: str) -> Task:
    if not isinstance(given, Mapping):
        return task_named(str(given), identity)
    question = first_of(given, *QUESTIONS)
    text = question if isinstance(question, str) else json.dumps(given, ensure_ascii=False, sort_keys=True)
    golds = texts(first_of(given, *GOLDS))
    return task_named(text, identity or given.get("id"), golds=golds, extras=rest_of(given, *QUESTIONS, *GOLDS, "id"))


def _steps(given: Sequence[Raw], name: str) -> tuple[Step, ...]:
    """One step a model call; a chat that does not extend the one before is a context of its own."""
    chats = [list(step.get("chat_completions") or ()) for step in given]
    if all(chats) and all(two[: len(one)] == one for one, two in zip(chats, chats[1:], strict=False)):
        turns = {len(chat) - 1 for chat in chats}
        chat = read_chat(chats[-1], name, prompt=len(chats[0]) - 1)
        steps = chat.steps if set(chat.step_of) == turns else tuple(map(_own, given, chats, range(len(given))))
    else:
        steps = tuple(map(_own, given, chats, range(len(given))))
    steps = tuple(
        replace(step, id=f"{name}.{s}", native_reward=float(raw.get("reward") or 0.0))
        for s, (step, raw) in enumerate(zip(steps, given, strict=True))
    )
    drawn = [drawn_of(raw.get("prompt_ids"), raw.get("response_ids"), raw.get("logprobs")) for raw in given]
    return with_tokens(steps, drawn)


def _own(raw: Raw, chat: Sequence[Raw], s: int) -> Step:
    """A step by itself: its whole prompt is its context."""
    if chat:
        return read_chat(chat, "", prompt=len(chat) - 1).steps[-1]
    said = str(first_of(raw, "model_response", "output") or "")
    asked = first_of(raw, "observation", "input")
    return Step(str(s), said, context=Context(asked if isinstance(asked, str) else json.dumps(asked, default=str)))


def _end(episode: Raw, steps: Sequence[Step]) -> tuple[End, str]:
    reason = str(episode.get("termination_reason") or "")
    if reason.lower() in FAILED:
        return End.FAILED, reason
    if "max" in reason.lower() or "truncat" in reason.lower():
        return End.TRUNCATED, reason
    end, why = end_of(steps)
    return end, why or (reason if end is not End.ANSWERED else "")


FORMAT = Format(
    "rllm",
    "rLLM's episodes",
    (".json", ".jsonl"),
    sniff,
    read,
    None,
    all_but(
        "ids steps context calls call.hits call.result step.native_reward task.id task.question task.golds "
        "task.extras trajectory.id trajectory.end trajectory.role trajectory.extras scores scores.parts "
        "scores.names update"
    ),
)
