"""What a format is, and what passes through it.

A format reads a file one `Record` at a time, in a memory that does not grow with the file. A row that cannot be read
becomes a `BadRow`; the reading goes on. What a format cannot carry is declared (`Format.lacks`, in the words of
losses.py), and tests hold every format that writes to exactly that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workbench.formats.files import Head
from workbench.formats.losses import FIELDS
from workbench.scores import Scores
from workbench.trajectory import Tree


@dataclass(frozen=True)
class Label:
    """What a person (or a judge that is not a reward) said of a step, or of a whole trajectory."""

    trajectory: str  # its id
    step: int | None  # index of the step; None: the whole trajectory
    name: str  # what is judged: correct, helpful ...
    value: float
    who: str
    why: str = ""


@dataclass(frozen=True, eq=False)
class Record:
    """One tree, and what else the file says of it."""

    tree: Tree
    scores: tuple[Scores, ...] = ()  # one a trajectory; () where the file pays nothing here
    labels: tuple[Label, ...] = ()
    update: int = 0  # optimiser step it was drawn for; 0 outside a training


@dataclass(frozen=True)
class BadRow:
    """A row that could not be read, and was left out."""

    where: str  # "dump.jsonl, line 3"
    why: str


Read = Record | BadRow


@dataclass(frozen=True)
class Format:
    """One way in which trajectories are kept in a file."""

    name: str
    title: str  # what it is, in a line
    endings: tuple[str, ...]  # of file names, gzipped or not
    sniff: Callable[[Head], float]  # 0: not this format, 1: surely this; from the name and the first bytes
    read: Callable[[Path], Iterator[Read]]
    write: Callable[[Iterable[Record], Path], None] | None = None  # None: it is only read
    lacks: frozenset[str] = field(default=frozenset())  # of losses.FIELDS: empty after reading, lost in writing

    def __post_init__(self) -> None:
        if unknown := self.lacks - FIELDS.keys():
            raise ValueError(f"format {self.name} lacks {sorted(unknown)}, which losses.FIELDS does not name")
