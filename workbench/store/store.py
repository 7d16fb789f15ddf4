"""The store: a lab folder that keeps everything rolled out, scored and said, and answers SQL about it."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workbench import spec
from workbench.errors import ScoreError, SettingError
from workbench.plain import dumps, escape, null_if_nan, pack
from workbench.protocols import Request
from workbench.scores import Scores
from workbench.store import history, lake, queries, steering, upkeep
from workbench.store.asking import Asking
from workbench.store.reading import Reader
from workbench.store.rows import Rows, arrow, now, time_id, tree_rows
from workbench.store.scoring import score_rows
from workbench.store.vectors import StoreVectors
from workbench.store.visitors import Visitors
from workbench.store.writer import Writer
from workbench.trajectory import Tree

Json = Mapping[str, Any]


class Store(Asking):
    """A lab, open. `open_store` makes one.

    A call that records returns when its rows are on disk, in a journal of this process (milliseconds, whatever others
    do): a kill loses nothing after that. A thread of its own takes them into the tables, where every process sees
    them: a quarter of a second later, before anything is read here, at `flush`, at `close` and when the interpreter
    exits. Edits and labels show here at once. Where the tables cannot be written (another process holds the lock for
    long, the disk is full), a warning says so once, rows wait in the journal, and reading answers without them. Rows
    that contradict the lab are dropped, and the next call raises that (and does nothing else).
    """

    def __init__(self, path: Path, connection: lake.Connection, *, lock_timeout_s: float) -> None:
        self._writer = Writer(path, deadline_s=lock_timeout_s, linger_s=0.25)
        super().__init__(path, Reader(connection, deadline_s=lock_timeout_s, before=self._writer.settle))
        self._lock_timeout_s = lock_timeout_s
        self.visitors = Visitors(path, before=self._writer.settle)  # answers SQL of people who are not trusted
        self.vectors = StoreVectors(self._reader, self._writer)  # what encoders made, for ``score(..., vectors=)``
        self._writer.adopt()
        weakref.finalize(self, self._writer.close_at_exit)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def flush(self) -> None:
        """Return when everything recorded so far is in the tables, for every process to see.

        Where the lock is not had in time this warns and returns: the rows are safe, and come in with the next commit.

        Raises:
            StoreError: they cannot be written (a full disk ...) and wait in the journal, or rows were refused.
        """
        self._writer.flush()

    def together(self) -> contextlib.AbstractContextManager[None]:
        """What this thread records in the block is on disk at its end: one wait for the disk for many rows."""
        return self._writer.together()

    def close(self) -> None:
        """Take everything recorded so far into the tables and let go of the lab. Closing twice does nothing."""
        self.visitors.close()
        try:
            self._writer.close()
        finally:
            self._reader.close()

    def tidy(self) -> None:
        """Merge the small files that many writes leave. The writer does so now and then by itself."""
        self.flush()
        with contextlib.closing(lake.connect(self.path, read_only=False)) as connection:
            upkeep.tidy(self.path, connection, deadline_s=self._lock_timeout_s)

    def at(self, when: int | str | datetime.datetime) -> history.Past:
        """The lab as it was at a time or snapshot: everything that only reads works there, people's edits included.

        Args:
            when: number of a snapshot (see `snapshots`), or a time: without a zone it is UTC; a text is ISO 8601. What
                the tables held by then counts: a row is in them some tenths of a second after it was recorded. Tidying
                changes nothing of it.

        Raises:
            SettingError: `when` is neither, or lies in the future.
            StoreError: the lab was made later.
            UnknownName: no such snapshot.
        """
        self.flush()
        return history.Past(self.path, *history.find(self._reader, when), deadline_s=self._lock_timeout_s)

    def snapshots(self) -> pd.DataFrame:
        """Every commit, oldest first: snapshot (number for `at`), recorded (UTC), what (which tables it added to)."""
        self.flush()
        return history.snapshots(self._reader)

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
        """Say how the run ended, and return when everything of it is in the tables."""
        self._record("run_events", run, (run, "end", status, None, now()))
        self.flush()

    def _record(self, table: str, run: str, row: tuple) -> None:
        self._check_run(run)
        self._writer.put(Rows(escape(run), {table: arrow(table, [row])}))

    # ------------------------------------------------------------ steering a run that another process drives

    def steer(self, run: str, what: str, *, who: str | None = None, **told: Any) -> str:
        """Ask something of a run, whichever process drives it: it obeys before its next update.

        Args:
            what: "pause", "resume", "stop", "roll back" (with ``update=10``), or "change" with fields of its plan:
                ``reward=``, ``credit=``, ``optimiser=``, ``tasks=`` ..., or ``weights={"CoverageGain": 0.2}`` of the
                terms of its reward.
            who: asks; the user's login name where left out.

        Returns:
            The id of the request; `steered` says what came of it.

        Raises:
            UnknownRun: no such run.
            SettingError: the run has ended, or what is told does not fit the request.
        """
        self._check_run(run)
        [(status,)] = self._reader.rows("select status from runs where run = $run", run=run)
        if status != "running":
            raise SettingError(f"run {run!r} has ended ({status}); nobody is there to obey")
        id = time_id()
        settings = steering.asked(id, who or getpass.getuser(), what, told)
        self._record("run_events", run, (run, "asked", what, settings, now()))
        return id

    def steered(self, run: str | None = None) -> pd.DataFrame:
        """Everything that was ever asked of a run (of all): recorded (UTC), run, who, what, told (JSON), answer (none
        yet: NaN) and when it was answered. Oldest first."""
        return self._reader.frame(steering.ALL, run=run and self._check_run(run))

    def requests(self, runs: Sequence[str]) -> list[Request]:
        """Those of these runs that nobody has answered, the oldest first (protocols.Steering). What this process
        recorded in the last tenths of a second is not looked at: it would cost every update a commit."""
        return [steering.request(*row) for row in self._reader.glance(steering.OPEN, runs=list(runs))]

    def answer(self, request: Request, says: str) -> None:
        """What came of a request, in a sentence (protocols.Steering)."""
        row = (request.run, "answered", says, dumps({"id": request.id}), now())
        self._record("run_events", request.run, row)

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
            UnknownRun: no such run.
        """
        if new is not None and null_if_nan(new) is None:
            raise ScoreError(f"an edit needs a number (or None: the score as given), got {new}")
        at = {"run": self._check_run(run), "tree": tree, "trajectory": trajectory}
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
