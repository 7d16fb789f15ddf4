"""Which formats there are, and which one a file is in.

Formats are entry points of the group ``workbench.formats``, the built-in ones too: a package of your own adds one with
``[project.entry-points."workbench.formats"]`` and ``name = "package.module:FORMAT"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from workbench.errors import FormatError, UnknownName
from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, check_is_file
from workbench.formats.strangers import advice

GROUP = "workbench.formats"

CLOSE = 0.05
"""Confidences that differ by less are as good as equal."""

SURE = 0.85
"""From this confidence on, a guess needs no word about it."""


@cache
def formats() -> dict[str, Format]:
    """Every format by name.

    Raises:
        FormatError: none is installed (an old installation), or one cannot be loaded.
    """
    found: dict[str, Format] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        made = point.load()
        if not isinstance(made, Format):
            raise FormatError(f"entry point {point.name!r} of {GROUP} is a {type(made).__name__}, not a Format")
        found[made.name] = made
    if not found:
        raise FormatError("no formats are installed: this installation is older than they are; install it again")
    return found


def format_named(name: str) -> Format:
    """One format.

    Raises:
        UnknownName: no such format; the nearest name is suggested.
    """
    if name not in formats():
        raise UnknownName.among("format", name, formats())
    return formats()[name]


@dataclass(frozen=True)
class Guess:
    """What a file seems to be."""

    format: Format
    confidence: float
    others: tuple[Format, ...] = ()  # that fit nearly as well

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE and not self.others


def guess(path: Path) -> Guess:
    """The format that fits the file's name and beginning best.

    Raises:
        FormatError: there is no such file, it is empty, or none fits; says what can be done.
    """
    head = Head.of(path)
    if not head.start.strip():
        raise FormatError(f"nothing can be read from {path.name}: {advice(head)}")
    fits = sorted(((made.sniff(head), name) for name, made in formats().items()), key=lambda fit: (-fit[0], fit[1]))
    best, name = fits[0]
    if best <= 0.0:
        names = ", ".join(formats())
        raise FormatError(f"{path.name} is in no format that is known: {advice(head)}\n  formats (--format): {names}")
    near = tuple(formats()[other] for fit, other in fits[1:] if fit > 0 and best - fit < CLOSE)
    return Guess(formats()[name], best, near)


def read(path: str | Path, format: str | None = None) -> Iterator[Read]:
    """Every record of a file, one at a time, with a BadRow for each row that could not be read.

    Raises:
        FormatError: there is no such file, or no format fits it.
        UnknownName: no format of this name.
    """
    path = Path(path)
    made = format_named(format) if format is not None else guess(path).format
    check_is_file(path)
    return made.read(path)


def write(records: Iterable[Record], path: str | Path, format: str) -> None:
    """Write records to a file, which appears when it is whole.

    Raises:
        UnknownName: no format of this name.
        FormatError: it is a format that is only read, or no file can be made there.
    """
    path, made = Path(path), format_named(format)
    if made.write is None:
        able = ", ".join(name for name, one in formats().items() if one.write is not None)
        raise FormatError(f"{format} is only read here; written can be: {able}")
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"cannot be made: there is no folder {path.parent}"
        raise FormatError(f"{path} {why}; name a file in a folder that is there")
    partly = path.with_name(f".partly-{path.name}")
    try:
        made.write(records, partly)
        partly.replace(path)
    finally:
        partly.unlink(missing_ok=True)
