"""Stepwise supervision: which steps are good, by a part of a reward or by what people said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import SettingError, UnknownName
from workbench.handing_on import choosing
from workbench.handing_on.conversations import is_one_conversation, prompt_of, text_of, turns_of
from workbench.handing_on.folder import Card, TrainingSet, write_folder
from workbench.store.asking import Asking
from workbench.trajectory import Trajectory

LAYOUT = (
    "Stepwise supervision, as TRL has it: `prompt` is a text, `completions` a list of texts, `labels` says of each "
    "whether it is good. A completion is a turn of the agent, behind what it was shown since the turn before; a turn "
    "that nobody judged stands with the next one that was."
)
TRAINING = (
    "A process reward model is asked after each completion; put the loss on the label there, as TRL's PRMTrainer does, "
    "and on no other token: completions hold what tools answered."
)

SCORED = """
    select tree, trajectory, step, value from scores
    where run = $run and part = $part and step is not null and value is not null
"""
SAID = """
    select tree, trajectory, step, value, who from (
        select * from labels where run = $run and name = $name and step is not null
            and ($who is null or list_contains($who, who))
        qualify row_number() over (partition by who, tree, trajectory, step order by label desc) = 1
    ) where value is not null
"""
NAMES = "select distinct name from labels where run = $run and step is not null"
STEPWISE = "select distinct part from scores where run = $run and step is not null"

Judged = dict[tuple[str, str, str], dict[int, bool]]
"""What is good, by step of (run, tree, trajectory)."""


def write_prm(
    store: Asking,
    folder: str | Path,
    run: str | Sequence[str] | None = None,
    *,
    part: str | None = None,
    label: str | None = None,
    who: str | Sequence[str] | None = None,
    above: float = 0.0,
    test: float = 0.1,
    progress: bool = True,
) -> TrainingSet:
    """Write judged steps as a training set for a process reward model, with a card.

    Args:
        store, folder, run, test, progress: as `write_sft`.
        part: steps are judged by this part of the scores in force (one that pays steps) ...
        label: ... or by people's labels of this name. Give one of the two.
        who: only the labels of these people; None: everyone's. Where they differ the majority counts; of a step on
            which they are even nothing is said.
        above: a step is good where its value is above this.

    Raises:
        SettingError: nothing was left, the folder is there already, or not exactly one of `part` and `label` is given.
        UnknownName: no such run, or no steps are judged by such a part or label.
    """
    if (part is None) == (label is None):
        raise SettingError(f"steps are judged by a part or by a label: give one of them, got {part!r} and {label!r}")
    runs = choosing.runs_of(store, run)
    held = choosing.all_paid(store, runs, None)
    people = [who] if isinstance(who, str) else who if who is None else list(who)
    selection: dict[str, Any] = {"judged by the part": part} if label is None else {"judged by the label": label}
    selection |= {"good above": above} | ({"by": ", ".join(people)} if people else {})
    card = Card("Stepwise supervision", LAYOUT, TRAINING, selection, ("trl", "prm"))
    judged = {
        place: steps
        for name in runs
        for place, steps in (
            _by_part(store, name, part, above)
            if part is not None
            else _by_people(store, name, label, people, above, card)
        ).items()
    }
    if not judged:
        query, kind = (STEPWISE, "part that pays steps") if label is None else (NAMES, "label of steps")
        known = {value for name in runs for value in choosing.frame_of(store, query, run=name).iloc[:, 0]}
        raise UnknownName.among(kind, str(part or label), known, where=f"{', '.join(runs)}")
    used = [paid for paid in held if paid.place in judged]
    card.left_out["trajectories without a judged step"] += len(held) - len(used)
    tasks = {paid.place: paid.task for paid in used}
    rows = _rows(store, judged, tasks, card, progress=progress)
    return write_folder(folder, rows, card, store, used, test)


def _by_part(store: Asking, run: str, part: str, above: float) -> Judged:
    judged: Judged = {}
    for tree, trajectory, step, value in choosing.frame_of(store, SCORED, run=run, part=part).itertuples(index=False):
        judged.setdefault((run, tree, trajectory), {})[int(step)] = value > above
    return judged


def _by_people(
    store: Asking, run: str, label: str | None, who: Sequence[str] | None, above: float, card: Card
) -> Judged:
    votes: dict[tuple[str, str, str], dict[int, int]] = {}
    for row in choosing.frame_of(store, SAID, run=run, name=label, who=who).itertuples(index=False):
        of_step = votes.setdefault((run, row.tree, row.trajectory), {})
        of_step[int(row.step)] = of_step.get(int(row.step), 0) + (1 if row.value > above else -1)
    even = sum(count == 0 for of_step in votes.values() for count in of_step.values())
    card.left_out["steps on which people are even"] += even
    judged = {place: {step: n > 0 for step, n in of_step.items() if n} for place, of_step in votes.items()}
    return {place: steps for place, steps in judged.items() if steps}


def _rows(
    store: Asking, judged: Judged, tasks: Mapping[tuple[str, str, str], str], card: Card, *, progress: bool
) -> Iterator[dict[str, Any]]:
    for run, tree, members in choosing.read(store, judged, progress=progress):
        for trajectory in members.values():
            if not is_one_conversation(trajectory):
                card.left_out["trajectories whose context was rewritten on the way"] += 1
                continue
            place = (run, tree, trajectory.id)
            completions, labels = _stretches(trajectory, judged[place])
            prompt = "\n\n".join(str(message["content"]) for message in prompt_of(trajectory))
            where = {"task": tasks[place], "run": run, "tree": tree, "trajectory": trajectory.id}
            yield {"prompt": prompt, "completions": completions, "labels": labels, **where}


def _stretches(trajectory: Trajectory, good: Mapping[int, bool]) -> tuple[list[str], list[bool]]:
    """Texts that each end with a judged turn, and what was judged."""
    completions, labels, waiting = [], [], ""
    for s, step in enumerate(trajectory.steps):
        turn, *shown = [text_of(message) for message in turns_of([step], s)]
        waiting += turn
        if s in good:
            completions.append(waiting)
            labels.append(good[s])
            waiting = ""
        waiting += "".join(shown)
    return completions, labels
