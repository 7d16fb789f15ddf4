"""`workbench demo`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import add_command, add_lab, whole

LESSON = """
the main job on the embedded world: roll out, score, train, log, ask

Measures the tiny policy on held-out questions, trains it with exact match as the reward, measures it again, and prints
what changed. Everything is logged in the lab, with a plot; the last lines say what to ask it. Needs no network and no
GPU: some minutes on two cores.

examples:
  workbench demo

  # a quick look, in a lab of its own
  workbench demo --updates 3 --tasks 40 --lab trylab
"""


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "demo",
        run,
        LESSON,
        kept="what was measured and trained so far is kept in {lab}; see: workbench sql --lab {lab} --tables",
    )
    add_lab(parser)
    parser.add_argument("--updates", type=whole(1), default=40, metavar="N", help="optimiser updates (default: 40)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of everything random (default: 0)")
    parser.add_argument(
        "--tasks", type=whole(1), default=400, metavar="N", help="held-out tasks to measure on (default: 400)"
    )


def run(args: argparse.Namespace) -> None:
    from workbench.commands.material import demo_world
    from workbench.main_job import main_job

    demo_world()  # says what to type where the tiny policy has not been made
    main_job(args.lab, updates=args.updates, seed=args.seed, tasks=args.tasks)
