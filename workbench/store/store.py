"""The store: a lab folder that keeps everything rolled out, scored and said, and answers SQL about it."""

from __future__ import annotations

import contextlib
import getpass
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd

from workbench import spec
from workbench.errors import ScoreError, SettingError, StoreError, UnknownName, UnknownRun
from workbench.plain import dumps, escape, loads, null_if_nan, pack, unpack
from workbench.scores import Scores
from workbench.store import lake, queries, upkeep
from workbench.store.browsing import Browsing
from workbench.store.reading import Reader
from workbench.store.rows import Rows, arrow, now, time_id, tree_rows
from workbench.store.scoring import score_rows
from workbench.store.views import Listing, described
from workbench.store.writer import Writer
from workbench.trajectory import Tree

Json = Mapping[str, Any]


class Store:
    """A lab, open. `open_store` makes one.

    Recording returns at once: a thread of its own writes. What was recorded here is written before anything is read
    here, at `flush`, at `close` and when the interpreter exits. If writing fails, the next call raises the error (and
    does nothing else); what was recorded before is kept and tried again after that.
    """

    def __init__(self, path: Path, connection: lake.Connection, *, lock_timeout_s: float) -> None:
        self.path = path
        self._writer = Writer(path, deadline_s=lock_timeout_s, linger_s=0.25)
        self._reader = Reader(connection, deadline_s=lock_timeout_s, before=self._writer.flush)
        self.browsing = Browsing(self._reader)  # runs, tasks and trajectories page by page, for tables of any length
        self._lock_timeout_s = lock_timeout_s
        self._runs: set[str] = set()  # known to exist
        weakref.finalize(self, self._writer.close_at_exit)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def flush(self) -> None:
        """Return when everything recorded so far is on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Write everything recorded so far and let go of the lab. Closing twice does nothing."""
        self._writer.close()
        self._reader.close()

    def tidy(self) -> None:
        """Merge the small files that many writes leave. The writer does so now and then by itself."""
        self.flush()
        with contextlib.closing(lake.connect(self.path, read_only=False)) as connection:
            upkeep.tidy(self.path, connection, deadline_s=self._lock_timeout_s)

    # ------------------------------------------------------------ recording (protocols.Recorder)

    def start_run(self, settings: Json, *, name: str | None = None) -> str:
        """Open a run and return its name: the given one, or the next free of r1, r2 ...

        Raises:
            SettingError: the name is taken or empty, or `settings` hold what cannot be stored.
        """
        if name is not None and not name.strip():
            raise SettingError(f"a run's name needs letters, got {name!r}; leave it out for the next free one")
        told = dumps(pack(spec.to_spec(settings), "settings"))
        run = self._writer.run(lambda connection: _claim_run(connection, name, told))
        self._runs.add(run)
        return run

    def record_trees(self, trees: Sequence[Tree], *, run: str, update: int = 0) -> None:
        """Keep `trees`. A tree that the run holds already (same id, same content) is not kept twice.

        Raises:
            ShapeError: two trajectories of a tree, or two different steps of it, share an id.
            SettingError: extras hold what cannot be brought back.
            StoreError: (at a later call) the run holds another tree of the same id.
        """
        self._check_run(run)
        self._writer.put(tree_rows(trees, run=run, update=int(update)))

    def record_scores(
        self,
        trees: Sequence[Tree],
        scores: Sequence[Sequence[Scores]],
        *,
        run: str,
        update: int = 0,
        reward: str = "{}",
        version: str = "",
    ) -> None:
        """Keep one scoring of `trees`. Earlier ones stay; the newest of a tree is in force.

        Args:
            update: used for trees that are not recorded; a score stands at the update of its tree.
            reward: its spec as JSON text (`workbench.spec.dumps`).
            version: code version of the reward (`workbench.spec.code_version`).

        Raises:
            ScoreError: there is not one Scores a trajectory, or one has the wrong length.
        """
        self._check_run(run)
        self._writer.put(score_rows(trees, scores, run=run, update=int(update), settings=reward, code=version))

    def record_plan(self, plan: str, *, run: str, update: int) -> None:
        """Keep a plan (its spec as JSON text), in force from this update on."""
        self._record("plans", run, (run, int(update), plan, now()))

    def record_report(self, report: Json, *, run: str, update: int) -> None:
        """Keep what an update reported. NaN becomes null."""
        told = dumps(pack(_null_if_nan(spec.to_spec(report)), "the report"))
        self._record("reports", run, (run, int(update), told, now()))

    def end_run(self, run: str, status: str) -> None:
        """Say how the run ended, and return when everything of it is on disk."""
        self._record("run_events", run, (run, "end", status, None, now()))
        self.flush()

    def _record(self, table: str, run: str, row: tuple) -> None:
        self._check_run(run)
        self._writer.put(Rows(escape(run), {table: arrow(table, [row])}))

    # ------------------------------------------------------------ what people say

    def edit(
        self,
        run: str,
        tree: str,
        trajectory: str,
        part: str,
        new: float | None,
        why: str,
        *,
        step: int | None = None,
        who: str | None = None,
    ) -> str:
        """Lay another value over a score; the score as given stays in scores_log. Undo is one more edit.

        Args:
            new: reward units before weighting; None: the score as given counts again.
            step: index of the step; None for a trajectory's one number.
            who: author; the user's login name where left out.

        Returns:
            The id of the edit.

        Raises:
            ScoreError: `new` is NaN, or there is no such score to edit.
        """
        if new is not None and null_if_nan(new) is None:
            raise ScoreError(f"an edit needs a number (or None: the score as given), got {new}")
        at = {"run": run, "tree": tree, "trajectory": trajectory}
        found = self._reader.rows(queries.SCORE_IN_FORCE, **at, part=part, step=step)
        if len(found) != 1:
            held = [p if s is None else f"{p} at step {s}" for p, s in self._reader.rows(queries.PARTS_OF, **at)]
            where = f"part {part!r}" + ("" if step is None else f" at step {step}")
            raise ScoreError(
                f"{len(found) or 'no'} scores of {where} in trajectory {trajectory!r} of tree {tree!r}, run {run!r}; "
                f"an edit needs exactly one. Scored are: {', '.join(held) or 'none'}"
            )
        node, reward, old = found[0]
        made = (time_id(), who or getpass.getuser())
        self._record("edits", run, (*made, *at.values(), step, part, node, reward, old, new, why, now()))
        return made[0]

    def label(
        self,
        run: str,
        tree: str,
        trajectory: str,
        name: str,
        value: float,
        why: str = "",
        *,
        step: int | None = None,
        who: str | None = None,
    ) -> str:
        """Keep a person's judgement `name` (correct, helpful ...) of a step or, with step None, a whole trajectory.

        Returns:
            The id of the label. NaN as value withdraws what was said before.
        """
        made = (time_id(), who or getpass.getuser())
        self._record("labels", run, (*made, run, tree, trajectory, step, name, null_if_nan(value), why, now()))
        return made[0]

    # ------------------------------------------------------------ reading back

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
        found = self._reader.columns(queries.TREES, run=run, update=update, task=task, limit=limit)
        return self._reader.trees(run, found)

    def tree(self, id: str, run: str | None = None) -> Tree:
        """One tree as it was recorded.

        Raises:
            UnknownName: no such tree.
            StoreError: several runs hold a tree of this id; say which with `run`.
        """
        columns = self._reader.columns(queries.ONE_TREE, tree=id, run=run)
        runs = columns.pop("run")
        if not runs:
            known = [name for (name,) in self._reader.rows(queries.TREE_NAMES, run=run)]
            raise UnknownName.among("tree", id, known, where=f"lab {str(self.path)!r}")
        if len(runs) > 1:
            raise StoreError(f"runs {', '.join(sorted(runs))} all hold a tree {id!r}; say which: run={runs[0]!r}")
        return self._reader.trees(runs[0], columns)[0]

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

    def _check_run(self, run: str) -> str:
        if run not in self._runs:
            self._runs |= set(self.runs())
        if run not in self._runs:
            raise UnknownRun.among("run", run, self._runs, where=f"lab {str(self.path)!r}")
        return run


def _claim_run(connection: lake.Connection, name: str | None, settings: str) -> str:
    """Enter a run under its name, inside the write transaction: no other process can take the same."""
    taken = {run for (run,) in connection.execute(queries.RUN_NAMES).fetchall()}
    if name is not None and escape(name) in taken:
        raise SettingError(f"run {name!r} is there already; choose another name, or leave it out for the next free one")
    if name is None:
        name = next(free for n in range(1, len(taken) + 2) if (free := f"r{n}") not in taken)
    row = {"run": escape(name), "settings": settings, "now": now()}
    connection.execute("insert into run_events values ($run, 'start', null, $settings, $now)", row)
    return name


def _null_if_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_null_if_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: _null_if_nan(item) for key, item in value.items()}
    return null_if_nan(value) if isinstance(value, float) else value
