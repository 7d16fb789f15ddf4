"""What `workbench score RUN REWARD --report` prints: lint, terms, efficiency, tricks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from workbench.commands.tables import text_table
from workbench.evaluation import efficiency_report, hack_probes, spec_lint, term_notes, term_report
from workbench.evaluation.probes import honest_rollout
from workbench.rewards import ExactMatch, Reward

if TYPE_CHECKING:
    from workbench.scores import Scores
    from workbench.store import Store
    from workbench.trajectory import Trajectory, Tree

T = TypeVar("T")
AT_MOST = 2000
"""Rollouts that a report reads, whole trees, spread evenly over the run."""
TRICKED = 40
"""Rollouts that tricks are tried on."""
LISTED = "select tree, count(*) as n from trajectories where run = $run group by tree order by min(update), tree"


def reward_report(store: Store, run: str, reward: Reward, version: str) -> str:
    """The four reports on a run that this version of the reward has scored, as text."""
    trees, all_of = _spread(store, run)
    scores = store.scores(run, trees, version)
    rollouts = [trajectory for tree in trees for trajectory in tree]
    right_N = np.array([_right(one) for one in rollouts])
    of = "" if len(rollouts) == all_of else f" (on {len(rollouts)} of {all_of} rollouts, spread over the run)"
    sections = [
        ("What the reward says of itself", _lint(reward, rollouts)),
        (f"What each term does{of}", _terms(trees, scores, right_N)),
        ("What right answers cost", _efficiency(rollouts, right_N)),
        _tricks(reward, rollouts, right_N),
    ]
    return "\n\n".join(f"{title}\n{text}" for title, text in sections)


def _spread(store: Store, run: str) -> tuple[list[Tree], int]:
    listed = store.sql(LISTED, run=run)
    total = int(listed.n.sum())
    take = max(1, round(len(listed) * min(1.0, AT_MOST / max(total, 1))))
    picked = listed.tree.iloc[np.linspace(0, len(listed) - 1, take).round().astype(int)]
    return [tree for some in store.batches(run, only=set(picked)) for tree in some], total


def _right(trajectory: Trajectory) -> float:
    return ExactMatch()(trajectory).value if trajectory.task.golds else np.nan


def _lint(reward: Reward, rollouts: Sequence[Trajectory]) -> str:
    steps = max((sum(bool(step.queries) for step in one.steps) for one in rollouts), default=1)
    tasks = {one.task.id: one.task for one in rollouts}
    return str(spec_lint(reward, steps=max(steps, 1), tasks=list(tasks.values())))


def _terms(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]], right_N: np.ndarray) -> str:
    from workbench.batch import flat_batch

    report = term_report(flat_batch(trees, scores), outcome=right_N)
    shown = {
        "weight": "weight",
        "variance_share": "share of variance",
        "outcome_correlation": "with right answers",
        "length_correlation": "with length",
        "zero_spread": "groups it ties",
    }
    rows = [[name, *(row[column] for column in shown)] for name, row in report.iterrows()]
    notes = "".join(f"\nLOOK: {note}" for note in term_notes(report))
    return _table(["term", *shown.values()], rows) + notes


def _efficiency(rollouts: Sequence[Trajectory], right_N: np.ndarray) -> str:
    report = efficiency_report(rollouts, right_N)
    shown = {
        "trajectories": "rollouts",
        "correct": "right",
        "calls": "calls",
        "calls_per_correct": "calls a right answer",
        **({"tokens_per_correct": "tokens a right answer"} if report["own_tokens"].any() else {}),
        "over_search": "searched too much",
        "under_search": "too little",
    }
    rows = [[hops, int(row["trajectories"]), *(row[name] for name in [*shown][1:])] for hops, row in report.iterrows()]
    return _table(["hops", *shown.values()], rows)


def _tricks(reward: Reward, rollouts: Sequence[Trajectory], right_N: np.ndarray) -> tuple[str, str]:
    honest, which = _honest(rollouts, right_N)
    report = hack_probes(reward, honest)
    rows = [
        ["LOOK" if row["flagged"] else "", name, row["tried"], row["honest"], row["paid"], row["verdict"]]
        for name, row in report.iterrows()
        if not str(row["verdict"]).startswith("not tried: needs search=")  # no corpus is asked here
    ]
    return f"What tricks earn beside {which}", _table(["", "trick", "tried", "honest", "paid", "verdict"], rows)


def _honest(rollouts: Sequence[Trajectory], right_N: np.ndarray) -> tuple[list[Trajectory], str]:
    right = [one for one, is_right in zip(rollouts, right_N, strict=True) if is_right == 1]
    if right:
        picked = _evenly(right)
        return picked, f"{len(picked)} rollouts with a right answer"
    tasks = {one.task.id: one.task for one in rollouts if one.task.golds}
    written = [honest_rollout(task) for task in _evenly(list(tasks.values()))]
    if written:
        return written, f"{len(written)} rollouts written from the golds (no rollout of the run is right)"
    picked = _evenly(rollouts)
    return picked, f"{len(picked)} rollouts (no task has golds: nobody knows which are right)"


def _evenly(items: Sequence[T]) -> list[T]:
    places = np.linspace(0, len(items) - 1, min(TRICKED, len(items))).round().astype(int)
    return [items[int(place)] for place in places]


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return text_table(columns, [list(_cells(row)) for row in rows])


def _cells(row: Sequence[object]) -> Iterator[object]:
    """Three digits are enough to read; a dash where there is nothing to say."""
    for value in row:
        if isinstance(value, float):
            yield "-" if np.isnan(value) else round(value, 3) + 0.0
        else:
            yield value
