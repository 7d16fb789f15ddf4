"""`workbench import`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_lab, whole

if TYPE_CHECKING:
    from workbench.formats import Format, Guess, Imported
    from workbench.formats.going_on import Earlier
    from workbench.store import Store

LESSON = """
bring trajectories in from a file of another project

The format is guessed from the file's beginning; a file of any length is read a piece at a time, gzipped or not. What
the file pays is kept as scores, what people said of a step as labels, and fields without a home of their own in extras.
Rollouts of one task become one tree, so that they can be compared. A row that cannot be read is left out and reported;
a missing score stays missing. Ctrl-C keeps what was read so far; the same command then goes on, and a file that is
there already is not recorded twice.

examples:
  workbench import dump.jsonl
  workbench import run.eval --lab evals --run baseline

  # the formats there are, and what each cannot carry
  workbench import --list

  # when the guess is wrong, or to try the first trees only
  workbench import rollouts.jsonl --format verl --limit 20
"""

KEPT = "what was read so far is kept in {lab}; the same command goes on from there"


def add(commands: Any) -> None:
    parser = add_command(commands, "import", run, LESSON, kept=KEPT)
    parser.add_argument("file", nargs="?", metavar="FILE", help="to read: .jsonl, .json, .parquet, .eval, also .gz")
    parser.add_argument("--format", metavar="NAME", help="how it is written (default: a guess; --list names all)")
    parser.add_argument(
        "--run", metavar="NAME", dest="name", help="name of the run (default: the one to go on with, else r1, r2 ...)"
    )
    parser.add_argument("--limit", type=whole(1), metavar="N", help="only the first N trees (default: all)")
    parser.add_argument("--list", action="store_true", help="list the formats instead")
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    if args.list:
        print(listing())
        return
    from workbench.errors import FormatError, SettingError
    from workbench.formats import format_named, guess, import_file
    from workbench.store import open_store

    if args.file is None:
        raise SettingError("import needs a file, such as: workbench import dump.jsonl; --list names the formats")
    path = Path(args.file)
    if args.format is None:
        found = guess(path)
        print(told_guess(path, found))
        name = found.format.name
    else:
        name = format_named(args.format).name
    started = time.perf_counter()
    with open_store(args.lab) as store:
        earlier = earlier_of(store, path, name, args.name)
        if earlier is not None and earlier.whole:
            print(told_whole(path, earlier, args.lab))
            return
        if earlier is not None:
            print(f"Going on with run {earlier.run}, which holds the beginning of it")
        imported = import_file(
            *(store, path, name),
            run=args.name if earlier is None else earlier.run,
            go_on=earlier is not None,
            limit=args.limit,
            progress=_progress(),
            command=args.typed,
        )
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if not imported.trees and not imported.held:
        raise FormatError(f"nothing in {path.name} could be read as {name}\n{left_out(imported)}")
    print(summary(imported, args.lab, time.perf_counter() - started))
    print(f"Next:\n{next_steps(imported, args.lab)}")


def earlier_of(store: Store, path: Path, format: str, run: str | None) -> Earlier | None:
    """The run that holds this file or its beginning: the one of this name, else the last.

    Raises:
        SettingError: that import has not ended, and nobody said that it shall be gone on with.
    """
    from workbench.errors import SettingError
    from workbench.formats.going_on import imports_of

    found = [one for one in imports_of(store, path, format) if run in (None, one.run)]
    if found and found[0].status == "running" and run is None:
        raise SettingError(
            f"run {found[0].run!r} holds the beginning of {path.name}, and its import has not ended: wait for it, or, "
            f"if it was killed, go on with --run {found[0].run}; --run with another name imports the file once more"
        )
    return found[0] if found else None


def told_whole(path: Path, earlier: Earlier, lab: str) -> str:
    """That there is nothing to do."""
    from workbench.commands.tables import one_line

    again = "--run with another name imports it once more"
    return f"{one_line(path.name)} is in {lab} already, as run {earlier.run}: nothing to do ({again})"


def told_guess(path: Path, found: Guess) -> str:
    """Which format, and how sure that is."""
    from workbench.commands.tables import one_line

    line = f"{one_line(path.name)} looks like {found.format.name}: {found.format.title}"
    if found.sure:
        return line
    others = f"; {' or '.join(other.name for other in found.others)} would fit too" if found.others else ""
    return f"{line}\n  not sure ({found.confidence:.0%}){others}; --format NAME says it, --list names all"


def _progress() -> Any:
    """Counts on one line of a terminal, twice a second at most."""
    last = [0.0]

    def show(imported: Imported) -> None:
        if sys.stderr.isatty() and time.monotonic() - last[0] > 0.5:
            last[0] = time.monotonic()
            bad = f", {imported.bad:,} left out" if imported.bad else ""
            print(f"\r\033[K{imported.trajectories:,} trajectories{bad}", end="", file=sys.stderr, flush=True)

    return show


def summary(imported: Imported, lab: str, seconds: float) -> str:
    """What came in, what was left out, what the format cannot carry."""
    counts = f"{imported.trees:,} trees, {imported.trajectories:,} trajectories, {imported.steps:,} steps"
    lines = [f"Run {imported.run} in {lab}: {counts} in {seconds:.1f} s"]
    said = [f"{imported.scored:,} trajectories scored"] if imported.scored else ["no scores"]
    said += [f"{imported.labels:,} labels"] if imported.labels else []
    lines.append(f"paid: {', '.join(said)}")
    if imported.held:
        lines.append(f"{imported.held:,} trees were there already")
    if imported.renamed:
        lines.append(f"{imported.renamed:,} trees had an id that came before: they are called ~2, ~3 ...")
    if imported.bad:
        lines.append(left_out(imported))
    lines.append(told(imported.format))
    return "\n".join(lines)


def told(one: Format) -> str:
    """What the format cannot carry, in a line."""
    from workbench.formats import losses

    return f"{one.name} cannot carry: {losses.told(one.lacks)}" if one.lacks else f"{one.name} carries everything"


def left_out(imported: Imported) -> str:
    """The first bad rows with their places, and how many there are."""
    from workbench.commands.tables import cut, one_line

    lines = [f"{imported.bad:,} rows left out:"]
    lines += [f"  {one_line(row.where)}: {cut(one_line(row.why), 200)}" for row in imported.bad_rows]
    more = imported.bad - len(imported.bad_rows)
    lines += [f"  ... and {more:,} more"] if more else []
    if imported.trajectories and imported.bad >= imported.trajectories:
        lines.append(
            f"  as many as were read, or more: is all of it {imported.format.name}? A file is read as one format"
        )
    return "\n".join(lines)


def next_steps(imported: Imported, lab: str) -> str:
    """What to type after an import."""
    from workbench.commands.labs import in_lab

    run = imported.run
    steps = []
    if imported.scored:
        steps.append(in_lab(f"sql \"select part, avg(value) from scores where run = '{run}' group by part\"", lab))
    if imported.golds:
        steps.append(in_lab(f'score {run} "ExactMatch()"', lab))
    if imported.labels:
        steps.append(in_lab(f"sql \"select name, value, count(*) from labels where run = '{run}' group by all\"", lab))
    steps.append(in_lab(f"sql \"select text, observation from steps where run = '{run}' limit 1\"", lab))
    steps.append(f"  workbench serve {lab}")
    return "\n".join(steps)


def listing() -> str:
    """Every format: what it is, whether it can be written, and what it cannot carry."""
    from workbench.formats import formats

    lines = []
    for name, one in formats().items():
        way = "read and written" if one.write is not None else "read"
        lines.append(f"{name} ({', '.join(one.endings)}; {way})\n    {one.title}\n    {told(one)}")
    return "\n".join(lines)
