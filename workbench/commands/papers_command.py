"""`workbench papers`."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_family, whole

if TYPE_CHECKING:
    from workbench.papers import Proof

LESSON = """
published methods: what each claims, and a proof of it that runs here

Alone it lists them all: what a method brings, where its formulas are known from (released code, the paper, or an
abstract and our reconstruction), whether its mechanism was reproduced at small scale, and its own headline number. What
is reproduced is the mechanism, on a problem of seconds; the headline number is the paper's.

examples:
  workbench papers
  workbench papers show reseek
  workbench papers run reseek --seed 1
"""

SHOW = """
one method: claim, formula, its rewards, what differs from the publication

The rewards are printed as they are typed: into `workbench score`, or after `import workbench as wb`.

examples:
  workbench papers show subsearch
  workbench papers show 18
"""

RUN = """
run the proof of one method: its mechanism beside what the paper compares it with

Uses the same rewards, credit, losses and samplers as a training of a language model does; takes seconds on one core.
With --on-world the tiny policy is trained on the embedded world instead, where the method has such a proof; that takes
many minutes.
The exit code is 1 where the verdict is another than the one that the method is listed with.

examples:
  workbench papers run zerosearch
  workbench papers run 25 --seed 3
  workbench papers run subsearch --on-world
"""


def add(commands: Any) -> None:
    parser = add_family(commands, "papers", LESSON)
    parser.set_defaults(run=lambda args: print(listing()))
    family = parser.add_subparsers(title="commands", metavar="COMMAND")
    shown = add_command(family, "show", show, SHOW)
    proven = add_command(family, "run", prove, RUN)
    for one in (shown, proven):
        one.add_argument("name", metavar="NAME", help="its name, or the number of its card")
    proven.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of everything drawn (default: 0)")
    proven.add_argument("--on-world", action="store_true", help="train the tiny policy on the embedded world")


def listing() -> str:
    """A line a method."""
    from workbench.commands.tables import text_table
    from workbench.papers import CATALOGUE, built
    from workbench.papers.results import kept

    here = built()
    rows = [
        [one.number, one.name, one.kind, one.fidelity, _status(kept(one.name).verdict, one in here), one.published]
        for one in CATALOGUE
    ]
    table = text_table(["card", "name", "brings", "known from", "proof", "published"], rows)
    return f"{table}\n\n{len(here)} of {len(CATALOGUE)} are built; workbench papers show NAME tells more of one."


def _status(verdict: str | None, here: bool) -> str:
    return (verdict or "not kept") if here else "not built"


def show(args: argparse.Namespace) -> None:
    from workbench.papers import claim, entry, load
    from workbench.papers.results import kept

    one, paper = entry(args.name), load(args.name)
    print(f"{one.title} ({one.source})\n\n{claim(one.name)}\n\nformula\n{textwrap.indent(paper.formula, '  ')}")
    print("\nrewards")
    for name, reward in paper.rewards.items():
        print(f"  {name}\n    {reward!r}")
    if paper.differs:
        print("\nother than published\n" + "\n".join(f"  - {line}" for line in paper.differs))
    print(f"\npublished: {one.published}")
    results = kept(one.name)
    for where, proofs in (("mechanism", results.proofs), ("embedded world", results.on_world)):
        for seed, proof in proofs.items():
            print(f"{where}, seed {seed}: {proof.verdict}")


def prove(args: argparse.Namespace) -> int:
    from workbench.errors import SettingError
    from workbench.papers import entry, load

    one, paper = entry(args.name), load(args.name)
    make = paper.on_world if args.on_world else paper.proof
    if make is None:
        raise SettingError(f"{one.title} has no proof on the embedded world; leave --on-world out")
    print(f"{one.title} ({one.source}), seed {args.seed}", flush=True)
    proof = make(args.seed)
    print(f"\n{proof_text(proof)}")
    if args.on_world or proof.verdict == paper.verdict:
        return 0
    print(f"It is listed as {paper.verdict!r}.")
    return 1


def proof_text(proof: Proof) -> str:
    """The figures of every arm, the checks, what is only reported, the verdict."""
    from workbench.commands.tables import text_table

    figures = list(dict.fromkeys(name for arm in proof.arms.values() for name in arm))
    rows = [[arm, *(found.get(name) for name in figures)] for arm, found in proof.arms.items()]
    parts = [text_table(["", *figures], rows)] if rows else []
    parts.append("\n".join(f"{'holds' if check.holds else 'FAILS'}  {check.says}" for check in proof.checks))
    parts += [f"seen, not claimed: {line}" for line in proof.reported]
    why = f" ({proof.direction_only})" if proof.direction_only else ""
    return "\n\n".join([*parts, f"{proof.verdict}{why}"])
