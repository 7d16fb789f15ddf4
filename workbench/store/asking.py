"""Asking a lab: everything that only reads, of the lab as it is (`Store`) or as it was (`history.Past`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd

from workbench import spec
from workbench.errors import SettingError, StoreError, UnknownName, UnknownRun
from workbench.plain import loads, unpack
from workbench.scores import Scores
from workbench.store import comparing, copying, queries
from workbench.store.batches import Batches
from workbench.store.browsing import Browsing
from workbench.store.frames import frame_of
from workbench.store.reading import Reader
from workbench.store.views import Listing, described
from workbench.trajectory import Tree


class Asking:
    """What can be asked of a lab."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader
        self.browsing = Browsing(reader)  # runs, tasks and trajectories page by page, for tables of any length
        self._runs: set[str] = set()  # known to exist

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lab."""
        self._reader.close()

    # ------------------------------------------------------------ what was recorded

    def runs(self) -> list[str]:
        """Names of all runs, oldest first."""
        return [run for (run,) in self._reader.rows(queries.RUNS)]

    def trees(
        self, run: str, update: int | None = None, task: str | None = None, limit: int | None = None
    ) -> list[Tree]:
        """Trees as they were recorded, by update, then in order of recording; at most `limit`.

        Raises:
            UnknownRun: no such run.
        """
        self._check_run(run)
        return self._reader.trees(queries.TREES, run=run, update=update, task=task, limit=limit)

    def batches(
        self,
        run: str,
        update: int | None = None,
        *,
        only: Collection[str] | None = None,
        lacking: str | None = None,
        trajectories: int = 500,
    ) -> Batches:
        """The trees of a run, some at a time: what `trees` gives, without holding a whole run in memory.

        Args:
            only: ids of trees; the others are left out.
            lacking: a reward version; trees whose scores in force are its own are left out.
            trajectories: a batch ends with the tree that fills it up to so many.

        Returns:
            A Batches: iterate over it for lists of trees; `left` trees will come, `held` were left out, `update_of`
            tells the update of each.

        Raises:
            UnknownRun: no such run.
        """
        listed = self._reader.rows(queries.TREE_LIST, run=self._check_run(run), update=update)
        done = set() if lacking is None else set(self._reader.rows(queries.IN_FORCE_BY, run=run, version=lacking))
        todo = [row for row in listed if (row[1],) not in done and (only is None or row[1] in only)]
        return Batches(self._reader, run, todo, held=len(listed) - len(todo), trajectories=trajectories)

    def tree(self, id: str, run: str | None = None) -> Tree:
        """One tree as it was recorded.

        Raises:
            UnknownName: no such tree, or (UnknownRun) no such run.
            StoreError: several runs hold a tree of this id; say which with `run`.
        """
        if run is not None:
            self._check_run(run)
        runs = [name for (name,) in self._reader.rows(queries.RUNS_OF_TREE, tree=id, run=run)]
        if not runs:
            known = [name for (name,) in self._reader.rows(queries.TREE_NAMES, run=run)]
            raise UnknownName.among("tree", id, known, where=f"lab {str(self.path)!r}")
        if len(runs) > 1:
            raise StoreError(f"runs {', '.join(sorted(runs))} all hold a tree {id!r}; say which: run={runs[0]!r}")
        return self._reader.trees(queries.TREES_NAMED, run=runs[0], trees=[id])[0]

    def scores(self, run: str, trees: Sequence[Tree], version: str | None = None) -> list[list[Scores]]:
        """Scores as the reward gave them (people's edits are in the view `scores`), one list a tree.

        Args:
            version: reward version, see the table rewards; None: each tree's newest scoring.

        Raises:
            UnknownName: a tree was not scored (by this version).
        """
        self._check_run(run)
        return self._reader.scores(run, trees, version) if trees else []

    def reward(self, version: str) -> Any:
        """The reward of this version, made again from its stored settings.

        Raises:
            UnknownName: no such version, or it uses a part that no imported module defines.
            StoreError: what was scored came without its reward's settings.
        """
        known = dict(self._reader.rows(queries.REWARDS))
        if version not in known:
            raise UnknownName.among("reward version", version, known, where=f"lab {str(self.path)!r}")
        if known[version] == "{}":
            raise StoreError(f"the scores of version {version!r} were recorded without the settings of their reward")
        return spec.loads(known[version])

    def reports(self, run: str) -> pd.DataFrame:
        """What the updates of `run` reported: one row an update, a column a number (nested ones a.b), NaN = unknown."""
        self._check_run(run)
        rows = self._reader.rows(queries.REPORTS, run=run)
        frame = pd.json_normalize([{"update": update, **unpack(loads(report))} for update, report in rows])
        return frame.fillna(float("nan")).infer_objects()

    def history(self, run: str, tree: str | None = None, trajectory: str | None = None) -> pd.DataFrame:
        """All that was ever scored, edited and said in `run` (in one of its trees, of one trajectory), oldest first.

        Returns:
            One row a scoring, edit or label: recorded (UTC), what (scored, edit or label), who, tree, trajectory, step,
            part (or name of the label), old and new value [reward units before weighting] (NaN: none), why, reward
            (version that scored, or that the edit corrects). Undo and redo are rows like any other.
        """
        at = {"run": self._check_run(run), "tree": tree, "trajectory": trajectory}
        found = frame_of(self._reader.columns(queries.HISTORY, **at))
        return found.astype({"step": "Int64", "old": float, "new": float})

    def versions(self, run: str | Sequence[str] | None = None) -> pd.DataFrame:
        """The reward versions that scored something, the last used first.

        Returns:
            One row a version: version, trees int, first and last (scoring, UTC), code (version of its classes),
            settings (its spec as JSON).
        """
        return comparing.versions(self._reader, self._runs_named(run))

    def compare(
        self,
        before: str = "previous",
        after: str = "newest",
        run: str | Sequence[str] | None = None,
        *,
        limit: int = 20,
    ) -> comparing.Comparison:
        """What moved from one reward version to another, on the trees that both scored, as the rewards gave it.

        Args:
            before: a version, the beginning of one, "newest" or "previous" (the last two that were used).
            run: look at one run, or at several; None: at all.
            limit: how many of each part's biggest movers are listed.

        Raises:
            UnknownName: no such version.
            StoreError: nothing was scored by both.
        """
        return comparing.compare(self._reader, before, after, self._runs_named(run), limit=limit)

    def copy_to(self, path: str | Path, run: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Hand the lab on, whole or some of its runs, to people who have no workbench.

        Args:
            path: ends in .duckdb or .db: one plain DuckDB file. Else: a folder, one folder of Parquet files a table,
                with a README that says what every column means and lab.sql, which makes the views. Tables, views and
                columns keep their names. It appears when it is whole.

        Returns:
            One row a table: table, rows.

        Raises:
            SettingError: there is something at `path` already.
            UnknownRun: no such run.
        """
        return copying.copy_lab(self._reader, Path(path), self._runs_named(run))

    # ------------------------------------------------------------ questions

    def mean_return_by_update(self, run: str) -> pd.DataFrame:
        """Mean of each part at each update of `run`.

        Returns:
            One row per (update, part), ordered: update int, part str, mean_return float [reward units before
            weighting], scored int [rows], missing int [rows].
        """
        return self._reader.frame(queries.MEAN_RETURN_BY_UPDATE, run=self._check_run(run))

    def mean_by_hops(self, run: str, part: str = "ExactMatch") -> pd.DataFrame:
        """Mean of one part by update and hops of the task.

        Returns:
            One row per (update, hops): mean float [reward units], scored int [rows], missing int [rows].
        """
        return self._reader.frame(queries.MEAN_BY_HOPS, run=self._check_run(run), part=part)

    def searches_by_update(self, run: str) -> pd.DataFrame:
        """How the agent searched, by update and hops of the task.

        Returns:
            One row per (update, hops): trajectories int, and per trajectory the means searches, repeated (queries
            asked before in the same trajectory), gold_found (gold pages brought).
        """
        return self._reader.frame(queries.SEARCHES_BY_UPDATE, run=self._check_run(run))

    def ends_by_update(self, run: str) -> pd.DataFrame:
        """How trajectories ended, by update.

        Returns:
            One row an update: trajectories, answered, truncated, failed, pruned int, and the means own_tokens, steps.
        """
        return self._reader.frame(queries.ENDS_BY_UPDATE, run=self._check_run(run))

    def groups_by_spread(self, run: str, limit: int = 20) -> pd.DataFrame:
        """The groups whose returns differ most: there is something to learn from them.

        Returns:
            At most `limit` rows: update, group_id, task, question, scored int [trajectories], mean_return and spread
            (population standard deviation) float [reward units].
        """
        return self._reader.frame(queries.GROUPS_BY_SPREAD, run=self._check_run(run), limit=limit)

    def sql(self, query: str, **parameters: Any) -> pd.DataFrame:
        """Answer one question in SQL (DuckDB's): ``store.sql("from scores where run = $run", run="r1")``.

        `store.tables()` says what can be asked. Nothing can be changed from here.

        Raises:
            StoreError: not one SELECT, or DuckDB refuses it.
            UnknownName: it names a table that the lab does not have.
        """
        return self._reader.sql(query, parameters)

    def tables(self, name: str | None = None) -> Listing:
        """What there is to ask: tables and views with columns, types and meanings; all, or the one named."""
        return described(name)

    # ------------------------------------------------------------ inside

    def _runs_named(self, run: str | Sequence[str] | None) -> list[str] | None:
        """Names of one run or several; None: all."""
        if run is None:
            return None
        named = [self._check_run(name) for name in ([run] if isinstance(run, str) else run)]
        if not named:
            raise SettingError("no run is named; name one, or leave it out for all")
        return named

    def _check_run(self, run: str) -> str:
        if run not in self._runs:
            self._runs |= set(self.runs())
        if run not in self._runs:
            raise UnknownRun.among("run", run, self._runs, where=f"lab {str(self.path)!r}")
        return run
