"""Supervised fine-tuning on the best trajectories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import MissingTokens, SettingError
from workbench.handing_on import choosing
from workbench.handing_on.choosing import Paid
from workbench.handing_on.conversations import completion_of, holds_markers, is_one_conversation, prompt_of
from workbench.handing_on.folder import Card, TrainingSet, write_folder
from workbench.store.asking import Asking
from workbench.trajectory import Trajectory

CHAT = (
    "Conversations: `prompt` and `completion` are lists of messages (role, content, tool_calls), as TRL's prompt-"
    "completion layout has them; `tools` is JSON. Every message of the role assistant was written by the agent, and no "
    "other was: what tools and the environment said has the role tool or user."
)
CHAT_TRAINING = (
    "Train on the assistant's messages only: in TRL `SFTConfig(assistant_only_loss=True)`. The default for this layout "
    "(`completion_only_loss`) would also teach the model to write what its tools answer."
)
TOKENS = (
    "Tokens as they were sampled, never tokenised again: `input_ids`, and `assistant_masks`, 1 where the policy drew "
    "the token and 0 for prompts, observations and forced tokens. One row an append-only stretch of a trajectory."
)
TOKENS_TRAINING = (
    "TRL's SFTTrainer takes rows with `input_ids` as they are and leaves out of the loss what `assistant_masks` marks "
    "0. The ids belong to the tokenizer of the policies {policies}."
)


def write_sft(
    store: Asking,
    folder: str | Path,
    run: str | Sequence[str] | None = None,
    *,
    part: str | None = None,
    least: float | None = None,
    best: int = 1,
    answered: bool = True,
    tokens: bool = False,
    test: float = 0.1,
    progress: bool = True,
) -> TrainingSet:
    """Write the best trajectories of each task as a training set for supervised fine-tuning, with a card.

    Args:
        store: a lab, or a lab as it was (`Store.at`).
        folder: a new one; `datasets.load_dataset` reads it.
        run: one run, or several; None: all.
        part: rank by what this part pays (unweighted) instead of by the return. Scores in force count, edits included.
        least: only trajectories that were paid at least so much, reward units; None: any that were scored.
        best: at most so many of a task, over all runs; of equal ones the first recorded.
        answered: only trajectories that ended with an answer.
        tokens: write sampled ids with a mask of the policy's own tokens instead of chat messages.
        test: share of the tasks whose rows go into test.jsonl.
        progress: show a bar.

    Returns:
        What was written and left out. What was said twice in the same words for a task is written once.

    Raises:
        SettingError: nothing was left, or the folder is there already.
        UnknownName: no such run or part.
    """
    if best < 1:
        raise SettingError(f"best is how many trajectories of a task are taken, at least 1, got {best}")
    runs = choosing.runs_of(store, run)
    held = choosing.all_paid(store, runs, part)
    selection = {"ranked by": part or "return", "paid at least": "any" if least is None else least}
    selection |= {"best of each task": best, "only answered": answered}
    card = Card("Supervised fine-tuning", TOKENS if tokens else CHAT, CHAT_TRAINING, selection, ("trl", "sft"))
    chosen = _chosen(held, card, least, best, answered)
    rows = _rows(store, chosen, card, tokens=tokens, progress=progress)
    return write_folder(folder, rows, card, store, held, test)


def _chosen(
    held: Sequence[Paid], card: Card, least: float | None, best: int, answered: bool
) -> dict[tuple[str, str, str], Paid]:
    left = card.left_out
    kept = [paid for paid in held if paid.answered or not answered]
    left["did not answer"] += len(held) - len(kept)
    scored = choosing.scored(kept, left)
    good = [paid for paid in scored if least is None or paid.value >= least]
    left[f"paid less than {least}"] += len(scored) - len(good)
    of_task: dict[str, list[Paid]] = {}
    for paid in sorted(good, key=lambda paid: -paid.value):  # stable: of equal ones the first recorded
        of_task.setdefault(paid.task, []).append(paid)
    top = {paid.place: paid for ranked in of_task.values() for paid in ranked[:best]}
    left[f"not among the best {best} of their task"] += len(good) - len(top)
    return {paid.place: paid for paid in good if paid.place in top}


def _rows(
    store: Asking, chosen: dict[tuple[str, str, str], Paid], card: Card, *, tokens: bool, progress: bool
) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, ...]] = set()
    policies: set[str] = set()
    for run, tree, members in choosing.read(store, chosen, progress=progress):
        for trajectory in members.values():
            paid = chosen[run, tree, trajectory.id]
            said = (paid.task, *(text for step in trajectory.steps for text in (step.text, step.observation)))
            if said in seen:
                card.left_out["say the same as another of their task"] += 1
                continue
            seen.add(said)
            policies |= {step.policy for step in trajectory.steps if step.policy}
            where = {"task": paid.task, "run": run, "tree": tree, "trajectory": trajectory.id, "value": paid.value}
            yield from ({**row, **where} for row in (_sampled if tokens else _chat)(trajectory, card))
    if tokens:
        card.training = TOKENS_TRAINING.format(policies=", ".join(sorted(policies)) or "that sampled them")


def _chat(trajectory: Trajectory, card: Card) -> Iterator[dict[str, Any]]:
    if not is_one_conversation(trajectory):
        card.left_out["whose context was rewritten on the way, which no chat can say (use tokens)"] += 1
        return
    prompt, completion = prompt_of(trajectory), completion_of(trajectory.steps)
    if holds_markers([*prompt, *completion]):
        card.notes["rows hold markers of a chat template other than ChatML; the trainer's would frame them twice"] += 1
    tools = trajectory.extras.get("tools")
    yield {"prompt": prompt, "completion": completion, **({"tools": json.dumps(tools)} if tools else {})}


def _sampled(trajectory: Trajectory, card: Card) -> Iterator[dict[str, Any]]:
    try:
        segments = trajectory.segments()
    except MissingTokens:
        card.left_out["carry no token ids"] += 1
        return
    for segment in segments:
        own_T = segment.tokens.own_T
        if own_T.any():
            yield {"input_ids": segment.tokens.ids_T.tolist(), "assistant_masks": own_T.astype(int).tolist()}
