"""Visits to the pages of the app, and small labs to visit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.builders import a_task, a_trajectory, a_tree
from widgets.pages.trainer import Trainer
from widgets.pages.visit import Shown, Visit
from widgets.rollout_table import RolloutTable
from workbench.scores import Part, Scores, Status
from workbench.store import Store
from workbench.trajectory import Tree

ENDS: list[Callable[[], None]] = []


def no_training(*_: Any, **__: Any) -> Any:
    raise AssertionError("no test starts a training here")


def visit(
    store: Store,
    who: str | None = None,
    trainer: Trainer | None = None,
    followed: list[str] | None = None,
    **asked: str,
) -> Visit:
    """A visit whose query string is `asked`; `followed` takes what it shows in the address bar."""
    follow = [].append if followed is None else followed.append
    return Visit(store, trainer or Trainer(store, no_training), who, asked, follow, ENDS.append)


def scored(exact: float, gains: list[float]) -> Scores:
    parts = (Part("ExactMatch", 1.0, Scores.trajectory(exact)), Part("Gain", 0.5, Scores.steps(gains)))
    return Scores(np.zeros(len(gains)), np.full(len(gains), Status.SCORED), parts=parts)


def filled(store: Store, *, run: str = "one", trees: int = 3, kind: str = "rollout") -> list[Tree]:
    """A run whose tree n, of update n, has a right and a wrong trajectory."""
    made = []
    store.start_run({"kind": kind}, name=run)
    for n in range(trees):
        task = replace(a_task(f"task-{n}"), question=f"Question {n}?")
        members = [a_trajectory(["p1"], answer=said, id=f"{run}.{n}.{said}", task=task) for said in ("Paris", "Rome")]
        tree = a_tree(*members, id=f"tree-{n}")
        store.record_trees([tree], run=run, update=n)
        store.record_scores([tree], [[scored(1.0, [0.5, np.nan]), scored(0.0, [0.25, np.nan])]], run=run)
        made.append(tree)
    return made


def told(component: Any) -> list[tuple[dict[str, Any], Any]]:
    """From now on: what the component tells its page, as (message, data)."""
    heard: list[tuple[dict[str, Any], Any]] = []

    def send(content: Any, buffers: Any = None) -> None:
        heard.append((content, json.loads(buffers[0]) if buffers else None))

    component.send = send
    return heard


def only(shown: Shown, kind: type) -> Any:
    [found] = [part for part in shown.parts if isinstance(part, kind)]
    return found


def rows_of(table: RolloutTable) -> list[list[Any]]:
    """The rows that a page would show."""
    heard = told(table)
    table.hear_hello()
    return [row["cells"] for message, data in heard if message["kind"] == "rows" for row in data]
