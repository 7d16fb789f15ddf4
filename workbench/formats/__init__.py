"""Trajectories in files of other projects: read, guessed, written. One module a format; see contract.py."""

from __future__ import annotations

from workbench.formats.contract import BadRow, Format, Label, Record
from workbench.formats.importing import Imported, import_file
from workbench.formats.registry import Guess, format_named, formats, guess, read, write

__all__ = ["BadRow", "Format", "Guess", "Imported", "Label", "Record", "format_named", "formats", "guess"]
__all__ += ["import_file", "read", "write"]
