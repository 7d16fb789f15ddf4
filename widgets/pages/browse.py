"""Browse: the runs of a lab, the tasks of a run, its trajectories; each a table that asks the store page by page."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from typing import Any

from widgets.pages.asking import address_of, query_from
from widgets.pages.visit import Shown, Visit, address
from widgets.rollout_table import Column, Fetch, RolloutTable, part_column
from workbench.errors import UnknownRun
from workbench.trajectory import End

RUNS = [
    Column("run", "run", "text"),
    Column("kind", "kind", "text", "what made it", minor=True),
    Column("status", "status", "end", "how it ended; running also where it was killed"),
    Column("started", "started", "time", minor=True),
    Column("updates", "updates", "number", "the newest optimiser update that holds rollouts", minor=True),
    Column("trajectories", "trajectories", "number", filter="range"),
    Column("return", "mean return", "paid", "mean over the trajectories that are scored", filter="range"),
    Column(
        "unscored", "unscored", "number", "trajectories without a return: never scored, or a score is missing", True
    ),
]

TASKS = [
    Column("question", "question", "text"),
    Column("golds", "gold answers", "list", minor=True),
    Column("task", "task", "text", "its id", minor=True),
    Column("hops", "hops", "number", "sub-questions, at least 1", minor=True, filter="range"),
    Column("trajectories", "trajectories", "number", minor=True, filter="range"),
    Column("return", "mean return", "paid", "mean over its scored trajectories", filter="range"),
    Column("spread", "spread", "number", "standard deviation of the returns: 0 teaches nothing", filter="range"),
    Column("unscored", "unscored", "number", "trajectories without a return", minor=True, filter="range"),
]

TRAJECTORIES = [
    Column("question", "question", "text"),
    Column("answer", "answer", "text", "the final answer"),
    Column("golds", "gold answers", "list", minor=True),
    Column("return", "return", "paid", "all parts, weighted and added up", filter="range"),
    Column("ended", "end", "end", filter="choice", choices=tuple(End)),
    Column("update", "update", "number", "optimiser update it was drawn for", minor=True, filter="range"),
    Column("hops", "hops", "number", "sub-questions of the task, at least 1", minor=True, filter="range"),
    Column("steps", "steps", "number", minor=True, filter="range"),
    Column("searches", "searches", "number", minor=True, filter="range"),
    Column("own_tokens", "own tokens", "number", "tokens that the policy drew", minor=True, filter="range"),
]


def browse(visit: Visit) -> Shown:
    """The page that the address asks for: all runs, or what one holds."""
    run = visit.asked.get("run", "")
    if not run:
        return _runs(visit)
    kind = _kind(visit, run)
    return _tasks(visit, run, kind) if visit.asked.get("show") == "tasks" else _trajectories(visit, run, kind)


def _kind(visit: Visit, run: str) -> str:
    found = visit.store.sql("select settings->>'kind' as kind from runs where run = $run", run=run)
    if not len(found):
        raise UnknownRun.among("run", run, visit.store.runs(), where="this lab")
    return str(found["kind"][0])


def _runs(visit: Visit) -> Shown:
    lab = shlex.quote(str(visit.store.path))
    empty = (
        "This lab holds no run yet. Start a small training on the page Train, or type in a terminal, for example:\n\n"
        f"    workbench rollout --limit 20 --lab {lab}\n    workbench demo --lab {lab}"
    )
    table = _table(
        visit, RUNS, visit.store.browsing.runs, ("run",), "./", label="Runs", finds="name and kind", empty=empty
    )
    return Shown("Runs", [table])


def _tasks(visit: Visit, run: str, kind: str) -> Shown:
    table = _table(
        visit,
        TASKS,
        partial(visit.store.browsing.tasks, run),
        ("task",),
        address("./", run=run),
        label=f"Tasks of {run}",
        finds="question and golds",
        empty="This run holds no rollouts.",
        run=run,
        show="tasks",
    )
    return Shown(f"Tasks of {run}", [table], _trail(run, kind))


def _trajectories(visit: Visit, run: str, kind: str) -> Shown:
    columns = [*TRAJECTORIES[:4], *map(part_column, visit.store.browsing.parts(run)), *TRAJECTORIES[4:]]
    table = _table(
        visit,
        columns,
        partial(visit.store.browsing.trajectories, run),
        ("tree", "trajectory"),
        address("step", run=run),
        label=f"Trajectories of {run}",
        finds="question and answer",
        empty="This run holds no rollouts (yet).",
        run=run,
    )
    return Shown(f"Trajectories of {run}", [table], _trail(run, kind))


def _trail(run: str, kind: str) -> list[tuple[str, str]]:
    watch = [("watch the training", address("train", run=run))] if kind == "train" else []
    here = [("trajectories", address("./", run=run)), ("tasks", address("./", run=run, show="tasks"))]
    return [("all runs", "./"), *here, *watch]


def _table(
    visit: Visit, columns: list[Column], fetch: Fetch, opens: tuple[str, ...], link: str, **told: Any
) -> RolloutTable:
    place = {name: told.pop(name, None) for name in ("run", "show")}
    asked = dict(visit.asked)
    if "task" in asked:  # what a row of the tasks leads to
        asked["is.task"] = asked.pop("task")
    table = RolloutTable(columns, fetch, opens=opens, link=link, asked=query_from(asked), **told)
    table.observe(_following(visit, place), "asked")
    return table


def _following(visit: Visit, place: dict[str, str | None]) -> Callable[[Any], None]:
    return lambda change: visit.follow(address_of(change["new"], **place))
