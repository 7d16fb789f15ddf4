"""`workbench export`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_lab, whole

if TYPE_CHECKING:
    from workbench.formats import Label, Record
    from workbench.store import Store

LESSON = """
write the trajectories of a run to a file for another project

The scores go with them, as the reward gave them (its newest version); labels go where the format has a place. What the
format cannot carry is said. The file appears when it is whole.

examples:
  # our own, lossless; `workbench import` brings it back as it was
  workbench export r1 r1.jsonl.gz
  workbench export r1 r1.parquet

  # for others
  workbench export r1 traces.jsonl --format verifiers
  workbench export r1 chat.jsonl --format openai --limit 100
"""

ENDINGS = {".parquet": "parquet", ".jsonl": "jsonl", ".gz": "jsonl"}
"""What a file is written as where no format is named."""


def add(commands: Any) -> None:
    parser = add_command(commands, "export", run, LESSON, kept="no half-written {file} is left")
    parser.add_argument("name", metavar="RUN", help="a run of the lab")
    parser.add_argument("file", metavar="FILE", help="to write; gzipped where its name ends in .gz")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="jsonl, parquet, openai, verifiers, trl, verl ... (default: by the file's ending)",
    )
    parser.add_argument("--limit", type=whole(1), metavar="N", help="only the first N trees (default: all)")
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    import itertools

    from workbench.commands.import_command import told
    from workbench.commands.labs import existing_lab
    from workbench.errors import SettingError
    from workbench.formats import format_named, write

    path = Path(args.file)
    name = args.format or ENDINGS.get(path.suffix)
    if name is None:
        raise SettingError(f"{path.name} does not say how it is to be written; name it: --format jsonl, or another")
    made = format_named(name)
    if path.is_file():
        raise SettingError(f"{path} is there already; export to a new file")
    counted = [0, 0]
    with existing_lab(args.lab) as store:
        records = itertools.islice(records_of(store, args.name), args.limit)
        write(_counted(records, counted), path, made.name)
    if not counted[0]:
        path.unlink()
        raise SettingError(f"run {args.name!r} holds no trajectories; there is nothing to write")
    print(f"{counted[0]:,} trees, {counted[1]:,} trajectories of run {args.name} written to {path} as {made.name}")
    print(told(made))


def _counted(records: Iterator[Record], counted: list[int]) -> Iterator[Record]:
    for record in records:
        counted[0] += 1
        counted[1] += len(record.tree)
        yield record


SCORED = "select distinct tree from scorings where run = $run"
LABELS = """
    select tree, trajectory, coalesce(step, -1) as step, name, value, who, why from (
        select * from labels where run = $run
        qualify row_number() over (partition by who, tree, trajectory, step, name order by label desc) = 1
    ) where value is not null order by label
"""


def records_of(store: Store, run: str) -> Iterator[Record]:
    """Everything of a run that a file may hold, in order of update, a part of it in memory at a time.

    Raises:
        UnknownRun: no such run.
    """
    from workbench.formats import Record
    from workbench.plain import unescape

    batches = store.batches(run)
    scored = {unescape(tree) for tree in store.sql(SCORED, run=run).tree}
    labels = _labels(store, run)
    for trees in batches:
        paid = [tree for tree in trees if tree.id in scored]
        scores = dict(zip((tree.id for tree in paid), store.scores(run, paid), strict=True))
        for tree in trees:
            told = tuple(scores.get(tree.id, ())), tuple(labels.get(tree.id, ()))
            yield Record(tree, *told, batches.update_of[tree.id])


def _labels(store: Store, run: str) -> dict[str, list[Label]]:
    """The labels in force, by tree."""
    from workbench.formats import Label
    from workbench.plain import unescape

    made: dict[str, list[Label]] = {}
    for row in store.sql(LABELS, run=run).itertuples(index=False):
        step = int(row.step) if row.step >= 0 else None
        trajectory, name, who, why = map(unescape, (row.trajectory, row.name, row.who, row.why))
        made.setdefault(unescape(row.tree), []).append(Label(trajectory, step, name, float(row.value), who, why))
    return made
