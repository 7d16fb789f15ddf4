"""Explore: a box to ask a lab in SQL, with what can be asked beside it."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import pandas as pd
import pyarrow as pa
import traitlets

from widgets.component import Component
from workbench.errors import SettingError, WorkbenchError
from workbench.store import Store
from workbench.store.views import RELATIONS
from workbench.store.visitors import Answer, Question

EXAMPLES = (
    (
        "What has been run?",
        "select run, status, started, settings->>'command' as command\nfrom runs order by started desc",
    ),
    (
        "Did training help?",
        "select run, update, avg(value) as mean_return, count(value) as scored,\n"
        "       count(*) - count(value) as missing\nfrom returns group by all order by all",
    ),
    (
        "What did each part of the reward pay?",
        "select run, update, part, avg(value) as mean, count(value) as scored\nfrom scores group by all order by all",
    ),
    (
        "Which groups differ most, so that there is something to learn?",
        "select run, update, tree, group_id, avg(value) as mean_return, stddev_pop(value) as spread\n"
        "from returns group by all order by spread desc nulls last limit 100",
    ),
    (
        "Which searches found nothing of use?",
        "select run, tree, trajectory, step, query, hits\nfrom searches where gold_hits = 0 limit 1000",
    ),
    (
        "Paid well without a gold page?",
        "select r.run, r.tree, r.trajectory, r.value, t.answer\n"
        "from returns r join trajectories t using (run, tree, trajectory)\n"
        "where r.value > 0.5 and not exists (\n"
        "    from searches s where (s.run, s.tree, s.trajectory) = (r.run, r.tree, r.trajectory) and s.gold_hits > 0\n"
        ") order by r.value desc",
    ),
    (
        "How did trajectories end?",
        "select run, update, ended, count(*) as trajectories, avg(own_tokens) as own_tokens\n"
        "from trajectories group by all order by all",
    ),
    (
        "Which queries are asked again?",
        "select run, tree, trajectory, query, count(*) as times\n"
        "from searches group by all having count(*) > 1 order by times desc limit 1000",
    ),
    (
        "What did people change?",
        "select recorded, who, run, tree, part, old, new, why\nfrom edits order by recorded desc",
    ),
)
"""(question, SQL): one click each."""

Ask = Callable[[str], Question]
"""`Visitors.ask`."""


class Explore(Component):
    """A box for one SELECT: Ctrl-Enter runs it, the answer comes as a table, which goes as CSV. ? lists the keys.

    What is typed runs in a process of its own that can only read the lab, within limits of time, memory and rows
    (`store.visitors`). SQL that is given, or came with an address, waits in the box until the person runs it.

    Args:
        store: the lab to ask.
        asked: what stands in the box at first.
        link: address of a page that opens a tree; rows with run and tree then lead there.
    """

    asked = traitlets.Unicode(help="kernel to page: what stands in the box at first; then what was asked last").tag(
        sync=True
    )
    link = traitlets.Unicode(help="kernel to page: address at which a tree opens").tag(sync=True)
    label = traitlets.Unicode("SQL").tag(sync=True)

    def __init__(self, store: Store, asked: str = "", **traits: Any) -> None:
        self._visitors = store.visitors
        self.answer: Answer | None = None  # the newest
        self._question: Question | None = None
        self._told: Callable[..., None] = lambda **_: None  # says the newest answer again
        self._closed = False
        traits = {"label": f"SQL over {store.path.name}", **traits}
        super().__init__(asked=asked, **traits)

    @property
    def frame(self) -> pd.DataFrame:
        """The newest answer, as much of it as came.

        Raises:
            SettingError: nothing was answered yet.
        """
        if self.answer is None:
            raise SettingError("nothing was answered yet; run a question first")
        return self.answer.table.to_pandas()

    # ------------------------------------------------------------ what the page asks

    def hear_hello(self) -> None:
        """A page was drawn: what can be asked, and the newest answer."""
        self._visitors.make_ready()
        tables = [
            {
                "name": relation.name,
                "meaning": relation.meaning,
                "columns": [[column.name, column.type.lower(), column.meaning] for column in relation.columns],
            }
            for relation in RELATIONS
        ]
        limits = self._visitors.limits
        self.say("known", {"tables": tables, "examples": EXAMPLES}, rows=limits.rows, seconds=limits.seconds)
        self._told()

    def hear_ask(self, sql: str, number: int = 0) -> None:
        """Run `sql`; `number` comes back with the answer."""
        if self._question is not None:
            raise SettingError("a question of yours is being answered; cancel it, or wait for its answer")
        if not sql.strip():
            raise SettingError("nothing is in the box; type a question, or choose an example")
        self._question = self._visitors.ask(sql)
        self.asked = sql
        threading.Thread(target=self._answer, args=(self._question, number), daemon=True).start()

    def hear_cancel(self) -> None:
        """End the question under way."""
        question = self._question
        if question is not None:
            question.cancel()

    def _answer(self, question: Question, number: int) -> None:
        try:
            self.answer = question.answer()
            told = partial(self.say, "answer", columns_of(self.answer.table), **_facts(self.answer))
        except WorkbenchError as error:
            told = partial(self.say, "refused", says=str(error))
        except Exception as error:  # the person must hear of it
            told = partial(self.say, "refused", says=f"{type(error).__name__}: {error}")
            raise
        finally:
            self._question = None
            self._told = told
            if not self._closed:
                self.still = repr(self)
                told(number=number)

    def close(self) -> None:
        """Let go of the page and end its question."""
        self._closed = True
        self.hear_cancel()
        super().close()

    # ------------------------------------------------------------ without a page

    def __repr__(self) -> str:
        found = "nothing asked yet" if self.answer is None else f"{self.answer.table.num_rows:,} rows"
        return f"Explore({' '.join(self.asked.split())!r:.120}, {found})"

    def picture(self) -> str:
        """The question and the first rows of its answer."""
        if self.answer is None:
            return super().picture()
        columns = columns_of(self.answer.table.slice(0, 20))
        head = "".join(f"<th>{escape(str(column['name']))}</th>" for column in columns)
        lines = zip(*(column["cells"] for column in columns), strict=True)
        body = "".join(f"<tr>{''.join(f'<td>{escape(_word(cell))}</td>' for cell in line)}</tr>" for line in lines)
        return f"<pre>{escape(self.asked)}</pre><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _facts(answer: Answer) -> dict[str, Any]:
    return {"rows": answer.table.num_rows, "cut": answer.cut, "took": answer.seconds}


# ---------------------------------------------------------------- cells


def columns_of(table: pa.Table) -> list[dict[str, Any]]:
    """The columns as a page draws them: name, kind (number or text), cells."""
    return [
        {"name": name, "kind": "number" if _is_number(column.type) else "text", "cells": _cells(column)}
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_integer(kind):
        return [value if value is None or abs(value) <= 2**53 else str(value) for value in column.to_pylist()]
    if pa.types.is_floating(kind):
        return [value if value is None or math.isfinite(value) else str(value) for value in column.to_pylist()]
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.to_pylist()
    try:
        return column.cast(pa.string()).to_pylist()
    except pa.ArrowException:  # nested, an interval, bytes
        return [_text(value) for value in column]


def _text(scalar: pa.Scalar) -> str | None:
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):  # a time that Python has no number for
        return str(scalar)
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)


def _word(cell: Any) -> str:
    return "NULL" if cell is None else str(cell)[:200]
