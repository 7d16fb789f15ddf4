"""`workbench check` and `workbench recover`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command

if TYPE_CHECKING:
    from workbench.store.mending import Health, Loss

CHECK = """
read every file of a lab to its end, and say what is damaged

Names every file that is missing, cut off or unreadable, with the rows and runs it held. Changes nothing. Exit code 1
where something is damaged.

examples:
  workbench check lab

  # a backup is a lab too
  workbench check lab/backups/schema-1-20260102-030405-678
"""

RECOVER = """
make a new lab of everything that can still be read in a damaged one

The damaged lab stays as it is. Where its catalog is whole, the new lab is the old one without the damaged files. Where
the catalog is lost, the tables are filled from the files of rows: small writes of the last time (edits, labels) stand
in the catalog alone, and come back only as far as its file can be read; older snapshots do not.

examples:
  workbench recover lab lab-recovered

  # and look at it before it takes the damaged one's place
  workbench check lab-recovered
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "check", check, CHECK)
    parser.add_argument("lab", nargs="?", default="lab", metavar="LAB", help="the lab's folder (default: lab)")
    parser = add_command(commands, "recover", recover, RECOVER, kept="{lab} is as it was; {new} was not made")
    parser.add_argument("lab", metavar="LAB", help="the damaged lab's folder")
    parser.add_argument("new", metavar="NEWLAB", help="folder to make")


def check(args: argparse.Namespace) -> int:
    from workbench.store import mending

    health = mending.check(args.lab)
    print("\n".join(_told(health, "can be read")))
    if not health.whole:
        print(f"to save what can be read: workbench recover {args.lab} {args.lab.rstrip('/')}-recovered")
    return 0 if health.whole else 1


def recover(args: argparse.Namespace) -> None:
    from workbench.store import mending

    health = mending.recover(args.lab, args.new)
    print("\n".join(_told(health, f"are in {args.new}")))


def _told(health: Health, held: str) -> Iterator[str]:
    """What is lost, then what there is."""
    if health.catalog:
        yield f"the catalog cannot be read: {health.catalog}"
        yield "  older snapshots are lost with it; small writes (edits, labels, reports) that no file of rows holds"
        yield "  come back as far as the catalog's file can be read"
        yield from (f"  {note}" for note in health.notes)
    current = [loss for loss in health.losses if loss.current]
    yield from map(_line, current)
    older = len(health.losses) - len(current)
    if older:
        yield f"{older} files that only older snapshots need are damaged; nothing of today is lost with them"
    if health.journal_bytes:
        yield f"{health.journal_bytes:,} bytes of the journals are damaged: rows recorded last may be lost"
    if health.whole:
        yield "nothing is damaged"
    known = sum(loss.rows or 0 for loss in current)
    if known:
        yield f"lost: {known:,} rows"
    rows = ", ".join(f"{count:,} {table}" for table, count in health.rows.items() if count)
    yield f"rows that {held}: {rows or 'none'}"


def _line(loss: Loss) -> str:
    rows = "an unknown number of rows" if loss.rows is None else f"{loss.rows:,} rows"
    return f"{loss.table}: {rows}{loss.runs and ' of ' + loss.runs}: {loss.file}: {loss.why}"
