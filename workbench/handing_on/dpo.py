"""Preferences: of two trajectories of a group, the one that was paid more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import SettingError
from workbench.handing_on import choosing
from workbench.handing_on.choosing import Paid
from workbench.handing_on.conversations import (
    completion_of,
    holds_markers,
    is_one_conversation,
    prompt_of,
    turn_of,
    turns_of,
)
from workbench.handing_on.folder import Card, TrainingSet, write_folder
from workbench.store.asking import Asking
from workbench.trajectory import Trajectory

LAYOUT = (
    "Pairs: `prompt`, `chosen` and `rejected` are lists of messages (role, content, tool_calls), as TRL's preference "
    "layout has them; `margin` is what the trajectory of the chosen side was paid more, reward units."
)
TURNS = (
    "`chosen` and `rejected` are the two turns at which the trajectories part, the prompt is all that came before: "
    "nothing that a tool or the environment said is trained on. Which turn is better is judged by how the whole "
    "trajectory was paid in the end."
)
WHOLE = (
    "`chosen` and `rejected` are whole trajectories, what tools answered included (roles tool and user). TRL's "
    "DPOTrainer puts its loss on all of it: mask every message that is not the assistant's, or write the set anew "
    "without `whole`."
)


def write_dpo(
    store: Asking,
    folder: str | Path,
    run: str | Sequence[str] | None = None,
    *,
    part: str | None = None,
    margin: float = 0.0,
    pairs: int = 1,
    answered: bool = False,
    whole: bool = False,
    test: float = 0.1,
    progress: bool = True,
) -> TrainingSet:
    """Write pairs of trajectories of one group as a training set for preferences (DPO, reward models), with a card.

    The best of a group is paired with its worst, the second best with the second worst, and so on.

    Args:
        store, folder, run, part, test, progress: as `write_sft`.
        margin: the better one was paid more than so much above the other, reward units.
        pairs: at most so many of a group.
        answered: only trajectories that ended with an answer, on both sides.
        whole: write whole trajectories instead of the turns at which the two part. Trainers put their loss on what
            tools said in them, unless told otherwise.

    Raises:
        SettingError: nothing was left, the folder is there already, or a number is outside its range.
        UnknownName: no such run or part.
    """
    if pairs < 1 or not margin >= 0.0:
        raise SettingError(f"pairs is at least 1 and margin not negative, got {pairs} and {margin}")
    runs = choosing.runs_of(store, run)
    held = choosing.all_paid(store, runs, part)
    selection = {"compared by": part or "return", "margin above": margin, "pairs of a group": pairs}
    selection |= {"only answered": answered, "whole trajectories": whole}
    card = Card("Preferences", LAYOUT, WHOLE if whole else TURNS, selection, ("trl", "dpo"))
    chosen = _pairs(held, card, margin, pairs, answered)
    rows = _rows(store, chosen, card, whole=whole, progress=progress)
    return write_folder(folder, rows, card, store, held, test)


def _pairs(held: Sequence[Paid], card: Card, margin: float, pairs: int, answered: bool) -> list[tuple[Paid, Paid]]:
    kept = [paid for paid in held if paid.answered or not answered]
    card.left_out["trajectories did not answer"] += len(held) - len(kept)
    groups: dict[tuple[str, str], list[Paid]] = {}
    for paid in choosing.scored(kept, card.left_out):
        groups.setdefault((paid.run, paid.group), []).append(paid)
    found = []
    for members in groups.values():
        ranked = sorted(members, key=lambda paid: -paid.value)
        apart = [
            (ranked[k], ranked[-1 - k])
            for k in range(min(pairs, len(ranked) // 2))
            if ranked[k].value - ranked[-1 - k].value > margin
        ]
        card.left_out[f"groups without a pair more than {margin:g} apart"] += not apart
        found += apart
    return found


def _rows(
    store: Asking, pairs: Sequence[tuple[Paid, Paid]], card: Card, *, whole: bool, progress: bool
) -> Iterator[dict[str, Any]]:
    of_tree: dict[tuple[str, str], list[tuple[Paid, Paid]]] = {}
    for better, worse in pairs:
        of_tree.setdefault((better.run, better.tree), []).append((better, worse))
    places = [paid.place for pair in pairs for paid in pair]
    for run, tree, members in choosing.read(store, places, progress=progress):
        for better, worse in of_tree[run, tree]:
            row = _row(members[better.trajectory], members[worse.trajectory], card, whole=whole)
            if row is not None:
                where = {"task": better.task, "run": run, "tree": tree}
                names = {"better": better.trajectory, "worse": worse.trajectory}
                yield {**row, "margin": better.value - worse.value, **where, **names}


def _row(better: Trajectory, worse: Trajectory, card: Card, *, whole: bool) -> dict[str, Any] | None:
    if not (is_one_conversation(better) and is_one_conversation(worse)):
        card.left_out["pairs whose context was rewritten on the way"] += 1
        return None
    at = _parting(better, worse)
    if at is None:
        card.left_out[
            "pairs that do not part at a turn (one ends where the other goes on, or they were shown other things)"
        ] += 1
        return None
    prompt = [*prompt_of(better), *turns_of(better.steps[:at])]
    if whole:
        sides = [completion_of(one.steps[at:], at) for one in (better, worse)]
    else:
        sides = [[turn_of(one.steps[at], at)] for one in (better, worse)]
    if holds_markers([*prompt, *sides[0], *sides[1]]):
        card.notes["rows hold markers of a chat template other than ChatML; the trainer's would frame them twice"] += 1
    return {"prompt": prompt, "chosen": sides[0], "rejected": sides[1]}


def _parting(better: Trajectory, worse: Trajectory) -> int | None:
    """Index of the first turn in which the two differ; None where something else differs before that."""
    if prompt_of(better) != prompt_of(worse):
        return None
    for at, (one, other) in enumerate(zip(better.steps, worse.steps, strict=False)):
        if turn_of(one, at) != turn_of(other, at):
            return at
        if one.observation != other.observation:
            return None
    return None
