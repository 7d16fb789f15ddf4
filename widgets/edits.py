"""What a person changed: rows that are only ever added. Undo is one more row."""

from __future__ import annotations

import math
import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

from workbench.errors import ScoreError

Place = tuple[str, str, str, int | None]
"""Tree, trajectory, part and step (None: the trajectory's one number)."""


@dataclass(frozen=True)
class Edit:
    """One value laid over another. None stands for the value as scored, where that was missing."""

    tree: str
    trajectory: str
    part: str
    step: int | None
    old: float | None  # reward units before weighting
    new: float | None
    why: str
    who: str = ""
    id: str = ""
    undoes: str = ""  # id of the row that this one takes back

    @property
    def place(self) -> Place:
        return self.tree, self.trajectory, self.part, self.step

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


class EditLog:
    """All edits, oldest first, and which of them can be taken back or done again."""

    def __init__(self) -> None:
        self.rows: tuple[Edit, ...] = ()
        self._done: list[Edit] = []
        self._undone: list[Edit] = []

    def add(self, edit: Edit) -> Edit:
        """Lay a value over another.

        Raises:
            ScoreError: it is not a number, or the same as before.
        """
        if edit.new is None or not math.isfinite(edit.new):
            raise ScoreError(f"an edit needs a finite number, got {edit.new!r}")
        if edit.new == edit.old:
            raise ScoreError(f"{edit.part} is {edit.old:g} already; an edit gives another value")
        self._undone.clear()
        row = self._append(edit)
        self._done.append(row)
        return row

    def undo(self) -> Edit | None:
        """Take the last edit back; None where there is none."""
        if not self._done:
            return None
        edit = self._done.pop()
        self._undone.append(edit)
        return self._append(replace(edit, old=edit.new, new=edit.old, why=f"undo: {edit.why}", undoes=edit.id))

    def redo(self) -> Edit | None:
        """Do the edit taken back last again; None where there is none."""
        if not self._undone:
            return None
        edit = self._undone.pop()
        row = self._append(replace(edit, why=f"redo: {edit.why}"))
        self._done.append(row)
        return row

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def in_force(self) -> dict[Place, Edit]:
        """The newest row of each place, without those that brought back the value as scored."""
        newest = {row.place: row for row in self.rows}
        first: dict[Place, Edit] = {}
        for row in self.rows:
            first.setdefault(row.place, row)
        return {place: row for place, row in newest.items() if row.new != first[place].old}

    def _append(self, edit: Edit) -> Edit:
        row = replace(edit, id=uuid.uuid4().hex[:12])
        self.rows = (*self.rows, row)
        return row
