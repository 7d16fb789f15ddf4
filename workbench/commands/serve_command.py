"""`workbench serve`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import add_command, whole

LESSON = """
serve a lab as an app: browse it, step through it, train

Shows the lab's runs, tasks and trajectories in a browser, sorted and filtered by any part of the reward; opens any of
them step by step, where a reward can be edited with a reason; watches trainings live, and starts small ones. It listens
on this machine only, unless --address says otherwise; then let people in by name, with --auth. Everything comes from
this server: it works with the network off.

A login lasts a day, and no longer than the server, unless the environment variable WORKBENCH_COOKIE_SECRET holds the
key that signs the cookies. widgets/app.py says how to let people in with OAuth instead.

examples:
  workbench serve lab

  # for colleagues: they log in, and their edits carry their names
  workbench users add ann --file users.json
  workbench serve lab --address 0.0.0.0 --auth users.json

  # behind a proxy that is reached as lab.example.org (tell it to pass websockets on)
  workbench serve lab --auth users.json --allow-origin lab.example.org --proxied --no-show
"""

GROUP = "workbench.serve"
"""Entry points by which the app is found: this package imports nothing of it."""


def add(commands: Any) -> None:
    parser = add_command(commands, "serve", run, LESSON, kept="everything recorded is kept in {lab}")
    parser.add_argument("lab", nargs="?", default="lab", metavar="LAB", help="the lab's folder (default: lab)")
    parser.add_argument(
        "--port", type=whole(0, 65535), default=5006, metavar="N", help="0: any free one (default: 5006)"
    )
    parser.add_argument(
        "--address", default="127.0.0.1", metavar="HOST", help="to listen on; 0.0.0.0: all (default: 127.0.0.1)"
    )
    parser.add_argument("--auth", metavar="FILE", help="let in only who logs in: a file made by `workbench users add`")
    parser.add_argument(
        "--allow-origin",
        nargs="+",
        default=[],
        metavar="HOST:PORT",
        help="further names under which browsers reach this server, as behind a proxy",
    )
    parser.add_argument(
        "--proxied",
        action="store_true",
        help="a proxy stands in front: believe its X-Forwarded-For and X-Forwarded-Proto",
    )
    parser.add_argument("--no-show", action="store_true", help="open no browser")


def run(args: argparse.Namespace) -> None:
    from workbench.commands.labs import check_lab

    check_lab(args.lab)
    serve = part_of_app("app")
    serve(
        args.lab,
        port=args.port,
        address=args.address,
        users=args.auth,
        origins=args.allow_origin,
        proxied=args.proxied,
        show=not args.no_show,
    )


def part_of_app(name: str) -> Any:
    """What the app offers under this name.

    Raises:
        MissingPackage: the app is not installed, or a package that it needs.
    """
    from importlib.metadata import entry_points

    from workbench.errors import MissingPackage

    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise MissingPackage(
            "the app is not installed with this workbench; run: pip install 'reward-workbench[lab]' "
            "(in a clone: pip install -e '.[lab]')"
        )
    try:
        return found[0].load()
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"the app needs the package {error.name}; run: pip install 'reward-workbench[lab]'"
        ) from error
