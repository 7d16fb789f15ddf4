"""`workbench dataset sft`, `dpo` and `prm`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import Parser, add_command, add_family, add_lab, number, whole

LESSON = """
make a training set of what runs did: sft, dpo or prm

A folder in TRL's layout that `datasets.load_dataset` reads: train.jsonl and test.jsonl, split by task, and a README
that says what it was made of, how to train on it, and what was left out.

examples:
  workbench dataset sft r1 best --least 1
  workbench dataset dpo r1 pairs --margin 0.5
  workbench dataset prm r1 steps --part CoverageGain
"""

SFT = """
the best trajectories of each task, for supervised fine-tuning

Chat messages (or, with --tokens, the sampled ids with a mask), so that a trainer learns what the agent wrote and not
what its tools answered.

examples:
  # of each task the best two, if they were paid at least 1
  workbench dataset sft r1 best --best 2 --least 1

  # two runs together, ranked by one part
  workbench dataset sft r1 r2 best --part ExactMatch
"""

DPO = """
pairs of trajectories of a group, the one paid more and the one paid less

Written are the two turns at which they part, behind what came before; with --whole the whole trajectories.

examples:
  workbench dataset dpo r1 pairs --margin 0.5 --pairs 2

  # whole trajectories, compared by one part
  workbench dataset dpo r1 pairs --whole --part ExactMatch
"""

PRM = """
judged steps, for a process reward model

Judged by a part of the reward that pays steps, or by what people said.

examples:
  workbench dataset prm r1 steps --part CoverageGain
  workbench dataset prm r1 steps --label helpful --above 0.5
"""


def add(commands: Any) -> None:
    family = add_family(commands, "dataset", LESSON)
    kinds = family.add_subparsers(title="commands", metavar="COMMAND")
    kept = "no half-written {folder} is left"
    sft = _common(add_command(kinds, "sft", run_sft, SFT, kept=kept))
    sft.add_argument("--part", metavar="NAME", help="rank by what this part pays (default: by the return)")
    sft.add_argument("--least", type=float, metavar="X", help="only what was paid at least X (default: any)")
    sft.add_argument("--best", type=whole(1), default=1, metavar="N", help="at most N of a task (default: 1)")
    sft.add_argument("--unanswered", action="store_true", help="also trajectories that gave no answer")
    sft.add_argument("--tokens", action="store_true", help="sampled ids with a mask instead of messages")
    dpo = _common(add_command(kinds, "dpo", run_dpo, DPO, kept=kept))
    dpo.add_argument("--part", metavar="NAME", help="compare by what this part pays (default: by the return)")
    dpo.add_argument("--margin", type=number(0), default=0.0, metavar="X", help="paid more than X apart (default: 0)")
    dpo.add_argument("--pairs", type=whole(1), default=1, metavar="N", help="at most N of a group (default: 1)")
    dpo.add_argument("--answered", action="store_true", help="only trajectories that gave an answer")
    dpo.add_argument("--whole", action="store_true", help="whole trajectories instead of the turns that differ")
    prm = _common(add_command(kinds, "prm", run_prm, PRM, kept=kept))
    prm.add_argument("--part", metavar="NAME", help="judged by this part")
    prm.add_argument("--label", metavar="NAME", help="judged by people's labels of this name")
    prm.add_argument("--who", nargs="+", metavar="NAME", help="only these people's labels (default: everyone's)")
    prm.add_argument("--above", type=float, default=0.0, metavar="X", help="good above X (default: 0)")


def _common(parser: Parser) -> Parser:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs of the lab")
    parser.add_argument("folder", metavar="FOLDER", help="to write")
    parser.add_argument(
        "--test", type=number(0), default=0.1, metavar="SHARE", help="share of the tasks in test.jsonl (default: 0.1)"
    )
    add_lab(parser)
    return parser


def run_sft(args: argparse.Namespace) -> None:
    chosen = {"part": args.part, "least": args.least, "best": args.best, "answered": not args.unanswered}
    _write("write_sft", args, tokens=args.tokens, **chosen)


def run_dpo(args: argparse.Namespace) -> None:
    chosen = {"part": args.part, "margin": args.margin, "pairs": args.pairs, "answered": args.answered}
    _write("write_dpo", args, whole=args.whole, **chosen)


def run_prm(args: argparse.Namespace) -> None:
    _write("write_prm", args, part=args.part, label=args.label, who=args.who, above=args.above)


def _write(name: str, args: argparse.Namespace, **chosen: Any) -> None:
    import sys

    from workbench import handing_on
    from workbench.commands.labs import existing_lab

    with existing_lab(args.lab) as store:
        write = getattr(handing_on, name)
        made = write(store, args.folder, args.runs, test=args.test, progress=sys.stderr.isatty(), **chosen)
    print(made)
    print(f"What it is and what was left out: {made.folder / 'README.md'}")
