"""`workbench sql`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_lab, whole

if TYPE_CHECKING:
    import pandas as pd

LESSON = """
ask a lab in SQL

One SELECT over everything that was logged: runs, tasks, trajectories, steps, searches, scores, returns, reports ... The
SQL is DuckDB's; nothing can be changed from here. A table is cut to fit the terminal; an answer of a single row is
shown whole, one column a line. A score that is missing is NULL, which avg() leaves out.

examples:
  # what can be asked, with the meaning of every column
  workbench sql --tables

  workbench sql "select run, status, started, finished from runs order by started"

  # did training help? (after `workbench demo` or `workbench train`)
  workbench sql "select run, update, avg(value) as paid from returns group by run, update order by run, update"

  # what searches found nothing of use, as a file
  workbench sql "select task, query from searches where gold_hits = 0" --csv
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "sql", run, LESSON)
    parser.add_argument("query", nargs="?", metavar="QUERY", help="one SELECT, in quotes")
    parser.add_argument(
        "--tables",
        nargs="?",
        const="",
        metavar="NAME",
        help="list tables, views and their columns instead: all, or the one named",
    )
    parser.add_argument("--csv", action="store_true", help="all rows as comma-separated values, nothing cut off")
    parser.add_argument("--rows", type=whole(1), default=40, metavar="N", help="most rows shown (default: 40)")
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    from workbench.commands.labs import existing_lab
    from workbench.errors import StoreError, UnknownName

    if args.tables is not None:
        print(tables(args.tables))
        return
    if args.query is None:
        raise StoreError("sql needs a question in quotes; 'workbench sql --tables' lists what can be asked")
    with existing_lab(args.lab) as store:
        try:
            answer = store.sql(args.query)
        except (StoreError, UnknownName) as error:
            raise StoreError(f"{error}\n  'workbench sql --tables' lists tables and columns") from error
    if args.csv:
        answer.to_csv(sys.stdout, index=False)
    else:
        print(table(answer, args.rows))


def table(answer: pd.DataFrame, most: int) -> str:
    """The answer for a person, at most `most` rows of it."""
    from workbench.commands.tables import text_table, whole_row

    columns = [str(column) for column in answer.columns]
    rows = list(answer.head(most).itertuples(index=False, name=None))
    if len(answer) == 1:
        return whole_row(columns, rows[0])
    told = f"{len(answer):,} rows"
    if len(answer) > most:
        told = f"{most:,} of {told}; --rows {len(answer)} shows all, --csv writes them whole"
    return f"{text_table(columns, rows)}\n{told}"


def tables(name: str) -> str:
    """What can be asked: all, or one table."""
    from workbench.errors import UnknownName
    from workbench.store.views import RELATIONS, described

    known = [relation.name for relation in RELATIONS]
    if name and name not in known:
        raise UnknownName.among("table", name, known, where="a lab")
    return described(name or None)
