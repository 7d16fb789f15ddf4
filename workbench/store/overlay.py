"""Edits and labels that a person just made here, laid over the lake until it holds them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from workbench.store import lake
from workbench.store.rows import Rows

SAID = {"edits": "edit", "labels": "label"}
"""Tables of what people say, with the column of each row's id."""


def is_said(rows: Rows) -> bool:
    """Whether the rows are edits and labels only: these are shown before the lake holds them."""
    return rows.tables.keys() <= SAID.keys()


def laid_over(cursor: lake.Connection, waiting: Sequence[Rows]) -> lake.Connection:
    """The cursor, on which edits, labels and every view over them hold the `waiting` rows too.

    Temporary views go before the lake's tables wherever a bare name is looked up, inside the lake's own views as well.
    A row that the lake holds by now is taken from there, so none is shown twice.
    """
    for name, id in SAID.items():
        pieces = [rows.tables[name] for rows in waiting if name in rows.tables]
        if pieces:
            cursor.register(f"waiting_{name}", pa.concat_tables(pieces))
            cursor.execute(
                f"create or replace temp view {name} as from lake.{name} union all by name "
                f"(from waiting_{name} w where w.{id}::uuid not in (select {id} from lake.{name}))"
            )
    return cursor
