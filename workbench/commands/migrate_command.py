"""`workbench migrate`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import add_command

LESSON = """
bring a lab of an older workbench to this one

A lab says which schema it has, and a workbench that has a newer one asks for this command. It first keeps a backup in
the lab's folder backups/ (the rows' files are linked, so that it takes next to no room), then adds what the newer
schema has; no recorded row is changed. Interrupted, it can be run again. To go back, put the backup in the lab's place.

examples:
  workbench migrate lab

  # see that everything is there
  workbench check lab
"""


def add(commands: Any) -> None:
    kept = "the lab can be opened as before, or the command be run again; a backup may be in {lab}/backups"
    parser = add_command(commands, "migrate", run, LESSON, kept=kept)
    parser.add_argument("lab", nargs="?", default="lab", metavar="LAB", help="the lab's folder (default: lab)")


def run(args: argparse.Namespace) -> None:
    from workbench.store.migrating import migrate

    done = migrate(args.lab)
    if done.backup is None:
        print(f"lab {args.lab} has schema {done.after}, this workbench's: nothing to do")
    else:
        print(f"lab {args.lab}: schema {done.before} -> {done.after}; as it was before: {done.backup}")
