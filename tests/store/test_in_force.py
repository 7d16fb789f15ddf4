"""The scores in force beside a plain computation: random scorings, scorings again, edits, undone edits, tidying."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.builders import a_trajectory, a_tree
from workbench.scores import Part, Scores, Status
from workbench.store import Store, lake, open_store
from workbench.store.schema import TABLES
from workbench.trajectory import Tree

WEIGHTS = {"ExactMatch": 1.0, "Judge": 0.5, "CoverageGain": 0.25}
VERSIONS = ("strict", "lenient", "careful")
Place = tuple[str, str, str, str, int | None]
"""Run, tree, trajectory, part, step."""


@dataclass
class Ledger:
    """What was scored and edited, and what is in force by plain reasoning."""

    newest: dict[tuple[str, str], str] = field(default_factory=dict)  # version in force, by run and tree
    given: dict[tuple[str, Place], float] = field(default_factory=dict)  # by version; NaN: missing
    edits: dict[tuple[str, Place], float] = field(default_factory=dict)

    def score(self, version: str, run: str, tree: Tree, scores: list[Scores]) -> None:
        self.newest[run, tree.id] = version
        for key in [key for key in self.given if key[0] == version and key[1][:2] == (run, tree.id)]:
            del self.given[key]
        for trajectory, score in zip(tree, scores, strict=True):
            for part in score.parts:
                statuses = zip(part.scores.values_S.tolist(), part.scores.status_S.tolist(), strict=True)
                for s, (value, status) in enumerate(statuses):
                    if status != Status.NOT_APPLICABLE:
                        step = None if part.scores.level.single else s
                        self.given[version, (run, tree.id, trajectory.id, part.name, step)] = value

    def in_force(self) -> dict[Place, tuple[float | None, bool]]:
        """Value (None: missing) and whether a person changed it."""
        found = {}
        for (version, place), value in self.given.items():
            if self.newest[place[:2]] == version:
                edited = (version, place) in self.edits
                now = self.edits.get((version, place), value)
                found[place] = (None if math.isnan(now) else now, edited)
        return found

    def returns(self) -> dict[tuple[str, str, str], float | None]:
        """Weighted sums by run, tree and trajectory; None where a score is missing."""
        sums: dict[tuple[str, str, str], float | None] = {}
        for (run, tree, trajectory, part, _), (value, _) in self.in_force().items():
            before = sums.get((run, tree, trajectory), 0.0)
            sums[run, tree, trajectory] = None if value is None or before is None else before + WEIGHTS[part] * value
        return sums


def told(store: Store) -> dict[Place, tuple[float | None, bool]]:
    rows = store.sql("select run, tree, trajectory, part, step, value, edited from scores").itertuples(index=False)
    found = {}
    for run, tree, trajectory, part, step, value, edited in rows:
        place = (run, tree, trajectory, part, None if pd.isna(step) else int(step))
        assert place not in found, f"{place} stands twice"
        found[place] = (None if math.isnan(value) else value, bool(edited))
    return found


def told_returns(store: Store) -> dict[tuple[str, str, str], float | None]:
    rows = store.sql("select run, tree, trajectory, value from returns").itertuples(index=False)
    return {(run, tree, trajectory): None if math.isnan(value) else value for run, tree, trajectory, value in rows}


def random_scores(rng: np.random.Generator, tree: Tree) -> list[Scores]:
    """Numbers that add up exactly; some missing, some not applicable."""
    return [_one(rng, len(trajectory.steps)) for trajectory in tree]


def _one(rng: np.random.Generator, steps: int) -> Scores:
    judge = Scores.missing("no answer") if rng.random() < 0.2 else Scores.trajectory(float(rng.integers(9)) / 8)
    gain_S = np.where(rng.random(steps) < 0.3, np.nan, rng.integers(0, 9, steps) / 8)
    given = {
        "ExactMatch": Scores.trajectory(float(rng.integers(2))),
        "Judge": judge,
        "CoverageGain": Scores.steps(gain_S),
    }
    parts = tuple(Part(name, weight, given[name]) for name, weight in WEIGHTS.items())
    return Scores(np.zeros(steps), np.full(steps, Status.SCORED), parts=parts)


@pytest.mark.parametrize("seed", range(3))
def test_the_scores_in_force_are_the_newest_scoring_with_the_newest_edits(lab: Path, seed: int):
    rng, ledger = np.random.default_rng(seed), Ledger()
    with open_store(lab) as store:
        held = [(store.start_run({}), tree) for tree in three_trees()]
        held += [(store.start_run({}), tree) for tree in three_trees()]  # the same ids in other runs
        for run, tree in held:
            store.record_trees([tree], run=run)
            score_one(store, ledger, rng, run, tree)
        for n in range(24):
            if rng.random() < 0.3:
                score_one(store, ledger, rng, *held[int(rng.integers(len(held)))])
            else:
                edit_one(store, ledger, rng)
            if n % 8 == 7:
                assert told(store) == ledger.in_force()
                assert told_returns(store) == ledger.returns()
        assert any(edited for _, edited in ledger.in_force().values())
        store.tidy()
        assert told(store) == ledger.in_force()
        assert told_returns(store) == ledger.returns()


def three_trees() -> list[Tree]:
    return [a_tree(*(a_trajectory(["p1"], None, id=f"{n}.{m}") for m in "ab"), id=f"t{n}") for n in range(3)]


def score_one(store: Store, ledger: Ledger, rng: np.random.Generator, run: str, tree: Tree) -> None:
    """Score a tree by some version, perhaps not for the first time."""
    version, scores = VERSIONS[int(rng.integers(3))], random_scores(rng, tree)
    store.record_scores([tree], [scores], run=run, reward=f'"{version}"')
    ledger.score(version, run, tree, scores)


def edit_one(store: Store, ledger: Ledger, rng: np.random.Generator) -> None:
    """Edit a score in force, or undo an edit of it."""
    places = list(ledger.in_force())
    known = [place for place, (_, edited) in ledger.in_force().items() if edited]
    undo = bool(known) and rng.random() < 0.3
    run, tree, trajectory, part, step = (known if undo else places)[int(rng.integers(len(known if undo else places)))]
    version = ledger.newest[run, tree]
    new = None if undo else float(rng.integers(9)) / 8
    store.edit(run, tree, trajectory, part, new, "as asked", step=step)
    key = (version, (run, tree, trajectory, part, step))
    if new is None:
        ledger.edits.pop(key, None)
    else:
        ledger.edits[key] = new


def test_an_edit_of_an_older_version_counts_again_when_that_version_does(lab: Path):
    tree = a_tree(a_trajectory(None, id="a"), id="t")
    first, second = (
        [Scores(np.zeros(1), np.zeros(1, np.int8), parts=(Part("ExactMatch", 1.0, Scores.trajectory(value)),))]
        for value in (0.25, 0.5)
    )
    with open_store(lab) as store:
        run = store.start_run({})
        store.record_trees([tree], run=run)
        store.record_scores([tree], [first], run=run, reward='"strict"')
        store.edit(run, "t", "a", "ExactMatch", 1.0, "it is right")
        assert store.sql("select value, edited from scores").to_numpy().tolist() == [[1.0, True]]
        store.record_scores([tree], [second], run=run, reward='"lenient"')
        assert store.sql("select value, edited from scores").to_numpy().tolist() == [[0.5, False]]
        store.record_scores([tree], [[replace(first[0])]], run=run, reward='"strict"')
        assert store.sql("select value, edited from scores").to_numpy().tolist() == [[1.0, True]]
        assert store.sql("select value, missing from returns").to_numpy().tolist() == [[1.0, 0]]


@pytest.mark.embedded("looks at its files of rows")
def test_tidying_leaves_the_files_that_someone_may_be_reading(lab: Path):
    with open_store(lab) as store:
        run = store.start_run({})
        for n in range(3):
            store.record_trees([a_tree(a_trajectory(None, id="a"), id=f"t{n}")], run=run)
            store.flush()
        before = set(lab.rglob("step_rows/*.parquet"))
        store.tidy()
        after = set(lab.rglob("step_rows/*.parquet"))
    assert len(before) == 3
    assert before < after  # merged into a new one, and still there


def test_scores_of_a_version_lie_together_after_tidying(lab: Path):
    tree = a_tree(a_trajectory(["p1"], None, id="a"), id="t")
    rng = np.random.default_rng(0)
    with open_store(lab) as store:
        run = store.start_run({})
        store.record_trees([tree], run=run)
        for version in ("strict", "lenient") * 20:  # enough rows for files
            store.record_scores([tree] * 8, [random_scores(rng, tree)] * 8, run=run, reward=f'"{version}"')
            store.flush()
        store.tidy()
        found = store.sql("select run, reward, pass::varchar as pass from scores_log")
    rows = list(found.itertuples(index=False, name=None))
    assert len({reward for _, reward, _ in rows}) == 2
    assert rows == sorted(rows)  # so that DuckDB reads the version in force alone


def test_a_new_lab_has_figures_of_every_table_and_no_rows(lab: Path):
    # without figures of DuckLake's, every question about an empty table takes five times as long
    with contextlib.closing(lake.connect(lab, read_only=True)) as connection:
        known = connection.execute("select count(*) from __ducklake_metadata_lake.ducklake_table_stats").fetchall()
        assert known == [(len(TABLES),)]
        for table in TABLES:
            held = connection.execute(f"select count(*) from {table.name}").fetchall()
            assert held == [(1 if table.name == "lab" else 0,)]
