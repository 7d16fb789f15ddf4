"""Step: the trees of an update in a StepThrough; the address follows where one is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from widgets.edits import Edit
from widgets.form import Field, Form
from widgets.pages.stored_run import credit_at
from widgets.pages.visit import Shown, Signing, Visit, address
from widgets.sheet import Sheet
from widgets.step_through import StepThrough
from workbench.credit import GroupAdvantage
from workbench.errors import SettingError, UnknownName
from workbench.scores import Scores
from workbench.store import Store
from workbench.store.browsing import Query
from workbench.trajectory import Tree

MOST_TREES = 24
"""Trees of an update that are shown beside the one asked for."""

UPDATE_OF = "select update from trees where run = $run and tree = $tree"

EDITED = """
    select tree, trajectory, part, step, value, why from scores
    where run = $run and tree in (select unnest($trees)) and edited and value is not null
"""


def step(visit: Visit) -> Shown:
    """The page of the tree, or of the update, that the address asks for; the newest where it says nothing."""
    runs = [row["run"] for row in visit.store.browsing.runs(Query(ranges={"trajectories": (1, None)}, limit=500)).rows]
    if not runs:
        return Shown("Step", says="This lab holds no rollouts yet; the page Browse says how to make some.")
    run, update = _place(visit, runs)
    trees = _trees(visit, run, update)
    view = _view(visit, run, update, trees)
    chooser = _chooser(runs, run, visit.store.browsing.updates(run), update)
    return Shown(
        f"Step through {run}, update {update}", [chooser, view], [("its trajectories", address("./", run=run))]
    )


def _place(visit: Visit, runs: Sequence[str]) -> tuple[str, int]:
    """Run and update that the address means."""
    tree = visit.asked.get("tree")
    run = visit.asked.get("run") or (visit.store.tree(tree).run if tree else runs[0])
    if run not in runs:
        raise UnknownName.among("run with rollouts", run, runs, where="this lab")
    if tree:
        found = visit.store.sql(UPDATE_OF, run=run, tree=tree)
        if not len(found):
            raise UnknownName(
                f"run {run!r} holds no tree {tree!r}; take the tree out of the address to see what it holds"
            )
        return run, int(found["update"][0])
    updates = visit.store.browsing.updates(run)
    update = visit.number("update")
    if update is not None and update not in updates:
        raise SettingError(f"run {run!r} holds no rollouts of update {update}; it holds those of {_some(updates)}")
    return run, updates[-1] if update is None else update


def _some(updates: Sequence[int]) -> str:
    if updates == list(range(updates[0], updates[-1] + 1)):
        return f"{updates[0]} to {updates[-1]}"
    return ", ".join(map(str, updates[:12])) + (" ..." if len(updates) > 12 else "")


def _trees(visit: Visit, run: str, update: int) -> list[Tree]:
    """The trees of an update, with the one asked for among them."""
    trees = visit.store.trees(run, update=update, limit=MOST_TREES)
    asked = visit.asked.get("tree")
    if asked and asked not in {tree.id for tree in trees}:
        trees.insert(0, visit.store.tree(asked, run))
    return trees


def _view(visit: Visit, run: str, update: int, trees: list[Tree]) -> StepThrough:
    asked: dict[str, Any] = {name: visit.asked[name] for name in ("tree", "trajectory") if visit.asked.get(name)}
    number = visit.number("step")
    at = asked if number is None else {**asked, "step": number}
    view = StepThrough(
        trees,
        scores_in_force(visit.store, run, trees),
        credit=credit_at(visit.store, run, update) or GroupAdvantage(),
        recorder=Signing(visit.store, visit.who),
        run=run,
        who=visit.who,
        at=at,
    )
    view.observe(lambda change: visit.follow(address("", run=run, **change["new"])), "at")
    visit.follow(address("", run=run, **view.at))
    return view


def scores_in_force(store: Store, run: str, trees: Sequence[Tree]) -> list[list[Scores]] | None:
    """The newest scores of `trees` with what people laid over them; None where one of them was never scored."""
    try:
        scored = store.scores(run, trees)
    except UnknownName:
        return None
    edits = store.sql(EDITED, run=run, trees=[tree.id for tree in trees])
    laid: dict[str, dict] = {}
    for tree, trajectory, part, at, value, why in edits.itertuples(index=False):
        number = None if at is None or at != at else int(at)
        edit = Edit(tree, trajectory, part, number, None, float(value), why)
        laid.setdefault(tree, {})[edit.place] = edit
    return [_laid(tree, scores, laid.get(tree.id, {})) for tree, scores in zip(trees, scored, strict=True)]


def _laid(tree: Tree, scores: Sequence[Scores], edits: dict) -> list[Scores]:
    if not edits:
        return list(scores)
    sheet = Sheet(tree, scores, GroupAdvantage())
    sheet.lay(edits)
    return list(sheet.scores or scores)


def _chooser(runs: Sequence[str], run: str, updates: Sequence[int], update: int) -> Form:
    fields = [
        Field("run", "run", run, choices=tuple(runs)),
        Field("update", "update", str(update), choices=tuple(map(str, updates))),
    ]
    return Form(fields, link="step", label="What to step through")
