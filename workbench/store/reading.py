"""Asking the lake: each question on a cursor of its own; trees and scores made again from their rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import duckdb
import pandas as pd

from workbench.errors import StoreError, UnknownName
from workbench.plain import escape
from workbench.scores import Scores
from workbench.store import lake, queries
from workbench.store.catalog import is_damage
from workbench.store.overlay import laid_over
from workbench.store.rows import Rows, build_trees, column_lists, group_ids
from workbench.store.scoring import build_scores
from workbench.store.team import why_away
from workbench.store.views import RELATIONS
from workbench.trajectory import Tree

T = TypeVar("T")
Columns = dict[str, list]
Ask = Callable[..., Columns]
"""ask(query, **parameters): the answer as lists by column."""


class Reader:
    """A read-only connection to a lab.

    `before` runs ahead of every question, and may return edits and labels that the lake does not hold yet.
    """

    def __init__(
        self, connection: lake.Connection, *, deadline_s: float, before: Callable[[], Sequence[Rows] | None]
    ) -> None:
        self._connection = connection
        self._deadline_s = deadline_s
        self._before = before
        self._closed = False

    def close(self) -> None:
        """Let go of the lab."""
        self._closed = True
        self._connection.close()

    def frame(self, query: str, **parameters: Any) -> pd.DataFrame:
        """The answer as a data frame."""
        return self.work(lambda cursor: _asked(cursor, query, parameters).df())

    def columns(self, query: str, **parameters: Any) -> Columns:
        """The answer as lists by column, exact to the bit."""
        return self.work(lambda cursor: _columns(cursor, query, parameters))

    def rows(self, query: str, **parameters: Any) -> list[tuple]:
        """The answer as rows."""
        return list(zip(*self.columns(query, **parameters).values(), strict=True))

    def glance(self, query: str, **parameters: Any) -> list[tuple]:
        """The answer as rows, from what the lake holds at this moment: nothing that waits here is folded before."""
        found = self.work(lambda cursor: _columns(cursor, query, parameters), settled=False)
        return list(zip(*found.values(), strict=True))

    def work(self, job: Callable[[lake.Connection], T], *, settled: bool = True) -> T:
        """What `job` returns, given a fresh cursor; done again from the start where the catalog was locked."""
        try:
            if not self._closed:
                waiting = (settled and self._before()) or ()
                return lake.retried(
                    lambda: job(laid_over(lake.cursor(self._connection), waiting)), deadline_s=self._deadline_s
                )
        except duckdb.Error as error:
            if is_damage(error):
                raise StoreError(
                    f"the lab is damaged: {error}. What is lost, and how to save the rest, says: workbench check LAB"
                ) from error
            if away := why_away(error):
                raise StoreError(f"the lab cannot be reached: {away}. What is recorded meanwhile is safe") from error
            if not self._closed:  # meanwhile, by another thread
                raise
        raise StoreError("this lab is closed; open it again to ask")

    def trees(self, query: str, *, run: str, **parameters: Any) -> list[Tree]:
        """The trees of `run` whose columns tree, task_key and extras the query gives."""
        columns = self._at_once(lambda ask: _tree_columns(ask, query, run, parameters))
        return [replace(tree, run=run) for tree in build_trees(columns)]

    def scores(self, run: str, trees: Sequence[Tree], version: str | None) -> list[list[Scores]]:
        """The newest scoring of each tree, or the newest by this reward version."""
        found, log, tokens = self._at_once(lambda ask: _score_columns(ask, run, trees, version))
        names = [tree.id for tree in trees]
        shapes = dict(zip(found["tree"], found["shapes"], strict=True))
        for name in names:
            if name not in shapes:
                held = [reward for (reward,) in self.rows(queries.VERSIONS, run=run, tree=name)]
                where = f"tree {name!r} of run {run!r}"
                raise UnknownName.among("scoring by version", version or "of any version", held, where=where)
        return build_scores(trees, shapes, zip(*log.values(), strict=True), zip(*tokens.values(), strict=True))

    def _at_once(self, job: Callable[[Ask], T]) -> T:
        """What `job` returns: all its questions are answered from one moment of the lab, and faster than one by one."""

        def whole(cursor: lake.Connection) -> T:
            with lake.transaction(cursor):
                return job(lambda query, **parameters: _columns(cursor, query, parameters))

        return self.work(whole)

    def sql(self, query: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
        """The answer to a question that a person typed, or an error that says what to type instead."""
        _check_only_reads(query)
        try:
            return self.frame(query, **parameters)
        except duckdb.CatalogException as error:
            missing = re.search(r"Table with name (\S+) does not exist", str(error))
            if missing is None:
                raise StoreError(f"the lab cannot answer this: {error}") from error
            known = [relation.name for relation in RELATIONS]
            raise UnknownName.among("table", missing[1], known, where="the lab (store.tables() says more)") from error
        except duckdb.Error as error:
            raise StoreError(f"the lab cannot answer this: {error}") from error


def _asked(cursor: lake.Connection, query: str, parameters: Mapping[str, Any]) -> lake.Connection:
    try:
        return cursor.execute(query, {name: _escaped(value) for name, value in parameters.items()})
    except RuntimeError as error:  # DuckDB's word for Ctrl-C
        if not isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise
        cursor.interrupt()  # or its other threads work on, and whatever is next waits for them
        cursor.execute("select 1")  # ends the work under way: a cursor that is closed before that waits for it
        raise KeyboardInterrupt from error


def _columns(cursor: lake.Connection, query: str, parameters: Mapping[str, Any]) -> Columns:
    return column_lists(_asked(cursor, query, parameters).to_arrow_table())


def _tree_columns(ask: Ask, query: str, run: str, parameters: Mapping[str, Any]) -> dict[str, Columns]:
    """Columns by table, as `build_trees` takes them."""
    found = ask(query, run=run, **parameters)
    trajectories = ask(queries.TRAJECTORIES, run=run, trees=found["tree"])
    updates = trajectories.pop("update") or [0]
    bounds = _bounds(trajectories.pop("group_id")) | {"earliest": min(updates), "latest": max(updates)}
    return {
        "tasks": ask(queries.TASKS, keys=sorted({*found["task_key"], *trajectories["task_key"]})),
        "trees": found,
        "trajectories": trajectories,
        "step_rows": ask(queries.STEPS, run=run, trees=found["tree"], **bounds),
        "shared_steps": ask(queries.SHARED_STEPS, run=run, trees=found["tree"]),
    }


def _score_columns(ask: Ask, run: str, trees: Sequence[Tree], version: str | None) -> tuple[Columns, Columns, Columns]:
    """Scorings, and the rows of scores_log and token_scores that they made."""
    found = ask(queries.SCORINGS, run=run, trees=[tree.id for tree in trees], version=version)
    bounds = _bounds([group for tree in trees for group in group_ids(tree)])
    log = ask(queries.SCORES, run=run, passes=found["pass"], **bounds)
    return found, log, ask(queries.TOKEN_SCORES, run=run, passes=found["pass"])


def _bounds(groups: Sequence[str]) -> dict[str, Any]:
    """First and last group id: rows are sorted by it, so that whole files and row groups are skipped."""
    return {"first": min(groups, key=escape, default=""), "last": max(groups, key=escape, default="")}


def _escaped(value: Any) -> Any:
    """A parameter with texts as the store holds them."""
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return escape(value) if isinstance(value, str) else value


def _check_only_reads(query: str) -> None:
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise StoreError(f"this is not SQL that DuckDB understands: {error}") from error
    if len(statements) != 1:
        raise StoreError(f"sql() answers one statement at a time, got {len(statements)}: {query!r:.200}")
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise StoreError(
            f"sql() only reads, and this is {statements[0].type.name}: {query!r:.200}. Allowed are SELECT, WITH, FROM, "
            "DESCRIBE, SHOW, SUMMARIZE and EXPLAIN. Rows of a lab are never changed: record_scores() adds a new "
            "version of the scores, edit() lays a value over one, label() says something of a step"
        )
