"""`workbench users`."""

from __future__ import annotations

import argparse
import getpass
import shlex
import sys
from typing import Any

from workbench.commands.options import add_command, add_family
from workbench.commands.serve_command import part_of_app

LESSON = """
who may log in to the served app

A users file holds names and salted hashes of their passwords, readable by you alone; `workbench serve` with --auth lets
in whom it names. A change counts at once, also for a server that runs.

examples:
  workbench users add ann
  workbench users list
  workbench users remove ann
"""

ADD = """
add a user, or give one another password

Asks for the password twice, without showing it. Where the input is no terminal, its first line is the password. The
name signs what the user edits.

examples:
  workbench users add ann

  # in another users file
  workbench users add bob --file lab-users.json
"""

LIST = """
list who may log in

One name a line. Their passwords cannot be shown: the file holds salted hashes.

examples:
  workbench users list
  workbench users list --file lab-users.json
"""

REMOVE = """
take a user out

Whoever is taken out is asked to log in at the next page, and cannot; their edits stay.

examples:
  workbench users remove ann
  workbench users remove bob --file lab-users.json
"""


def add(commands: Any) -> None:
    family = add_family(commands, "users", LESSON).add_subparsers(title="commands", metavar="COMMAND")
    for name, run, lesson in (("add", add_user, ADD), ("list", list_users, LIST), ("remove", remove_user, REMOVE)):
        parser = add_command(family, name, run, lesson)
        if name != "list":
            parser.add_argument("name", metavar="NAME", help="the login name, which signs the user's edits")
        parser.add_argument("--file", default="users.json", metavar="FILE", help="(default: users.json)")


def add_user(args: argparse.Namespace) -> None:
    users = part_of_app("users")(args.file)
    told = "can log in" if users.add(args.name, _password()) else "has another password"
    print(f"{args.name} {told}: workbench serve --auth {shlex.quote(args.file)}")


def list_users(args: argparse.Namespace) -> None:
    print("\n".join(part_of_app("users")(args.file).names()) or "nobody")


def remove_user(args: argparse.Namespace) -> None:
    part_of_app("users")(args.file).remove(args.name)
    print(f"{args.name} can no longer log in")


def _password() -> str:
    from workbench.errors import SettingError

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != first:
        raise SettingError("these were two different passwords; nothing was changed")
    return first
