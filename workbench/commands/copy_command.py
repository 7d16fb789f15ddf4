"""`workbench copy`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import add_command, add_lab

LESSON = """
hand a lab on to people without a workbench: one DuckDB file, or a folder of Parquet

Every table and view keeps its name and columns, and what they mean stands beside them. The copy holds one moment of the
lab, by default now; it appears when it is whole.

examples:
  # one file, which any DuckDB opens
  workbench copy lab.duckdb

  # a folder of Parquet files with a README; two runs only
  workbench copy tables --runs r1 r2

  # the lab as it was
  workbench copy before.duckdb --at "2026-03-01 12:00"
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "copy", run, LESSON, kept="no half-written {path} is left")
    parser.add_argument("path", metavar="PATH", help="to write: a file that ends in .duckdb, or a folder for Parquet")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="only these runs (default: all)")
    parser.add_argument(
        "--at", metavar="WHEN", help="as it was then: a time, UTC, or the number of a snapshot (default: now)"
    )
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    import contextlib

    from workbench.commands.labs import existing_lab
    from workbench.commands.tables import text_table

    with contextlib.ExitStack() as stack:
        store: Any = stack.enter_context(existing_lab(args.lab))
        if args.at is not None:
            store = stack.enter_context(store.at(int(args.at) if args.at.isdigit() else args.at))
        made = store.copy_to(args.path, args.runs)
    print(text_table(["table", "rows"], made.to_numpy().tolist()))
    print(f"\n{args.lab} copied to {args.path}")
