"""PRM800K: solutions of maths problems, every step rated by a person (-1, 0, 1).

Layout of openai/prm800k (README, "Instructions"; prm800k/data/phase2_train.jsonl): label.steps holds completions for
each step, each with text and rating, and which one was chosen to go on from. The chosen ones (or what the labeler wrote
instead, or the last one that was tried) are one trajectory; the others share its prefix and are pruned. A rating is a
label of the person who gave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Label, Read, Record
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.reading import each, first_of, rest_of, task_named, texts
from workbench.formats.solutions import solution, stated
from workbench.trajectory import Context, End, Step, Trajectory, Tree


def sniff(head: Head) -> float:
    return 1.0 if head.has("labeler", "question", "label") else 0.0


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [_record(row)])


def _record(row: Row) -> Record:
    value: Mapping[str, Any] = row.value
    asked, labelled = value["question"], value["label"]
    golds = texts(first_of(asked, "ground_truth_answer", "ground_truth_solution"))
    task = task_named(str(asked["problem"]), golds=golds)
    tree = f"{task.id}.{row.number}"
    path, others = _paths(labelled["steps"], tree, task.question)
    reason = str(labelled.get("finish_reason") or "")
    main = solution("chosen", task, [step.text for step, _ in path], answer=_answer(path, reason))
    main = replace(main, steps=tuple(step for step, _ in _with_answer(path, main)), extras=rest_of(value, "question"))
    if reason != "solution":
        main = replace(main, end=End.TRUNCATED, end_reason=reason)
    ratings = [("chosen", s, rating) for s, (_, rating) in enumerate(path)]
    trajectories = [main]
    for n, (depth, step, rating) in enumerate(others):
        name = f"other{n}"
        steps = (*main.steps[:depth], step)
        trajectories.append(Trajectory(name, task, steps, End.PRUNED, "another was chosen", fork=depth))
        ratings.append((name, depth, rating))
    who = str(value.get("labeler") or "PRM800K")
    labels = (Label(name, s, "rating", float(rating), who) for name, s, rating in ratings if rating is not None)
    return Record(Tree(tree, task, tuple(trajectories), {"finish_reason": reason}), (), tuple(labels))


Rated = tuple[Step, float | None]


def _paths(steps: list[Mapping[str, Any]], name: str, question: str) -> tuple[list[Rated], list[tuple]]:
    """The steps gone on from with their ratings, and those not chosen with their depth."""
    path: list[Rated] = []
    others: list[tuple] = []
    for s, given in enumerate(steps):
        tried = list(given.get("completions") or ())
        context = Context(question) if s == 0 else None
        made = [
            (Step(f"{name}.{s}.{c}", str(one["text"]), context=context), one.get("rating"))
            for c, one in enumerate(tried)
        ]
        chosen, human = given.get("chosen_completion"), given.get("human_completion")
        if chosen is None and human:
            path.append((Step(f"{name}.{s}.human", str(human["text"]), context=context, policy="human"), None))
        elif made:
            path.append(made.pop(0 if chosen is None else int(chosen)))
        others += [(s, *one) for one in made]
    return path, others


def _answer(path: list[Rated], reason: str) -> str:
    last = path[-1][0].text if path else ""
    behind = last.partition("# Answer")[2].strip()
    return behind or (stated(last, "answer is") if reason == "solution" else "")


def _with_answer(path: list[Rated], main: Trajectory) -> list[Rated]:
    """The path, its last step with the answer span of `main`."""
    spans = main.steps[-1].spans if main.steps else ()
    return [(replace(step, spans=spans), r) if s + 1 == len(path) else (step, r) for s, (step, r) in enumerate(path)]


FORMAT = Format(
    "prm800k",
    "PRM800K: steps rated by people",
    (".jsonl",),
    sniff,
    read,
    None,
    all_but("steps task.question task.golds trajectory.end trajectory.fork trajectory.extras tree.extras labels"),
)
