"""Where a lab is: all in its folder (`embedded.py`), or shared by a team (`team.py`)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from workbench.store.embedded import Embedded
from workbench.store.team import NAME, Team


class Place(Protocol):
    """Where a lab keeps its catalog and its rows, and the lock that its writers take turns with."""

    @property
    def lab(self) -> Path:
        """The folder on this machine. What was recorded here waits in its journal/."""

    @property
    def extensions(self) -> Sequence[str]:
        """DuckDB's, to load."""

    @property
    def data(self) -> str:
        """Folder or address of the rows, with a / at its end."""

    @property
    def is_made(self) -> bool:
        """False: there is nothing to open yet."""

    def statements(self, *, read_only: bool, snapshot: int | None = None, name: str = "lake") -> list[str]:
        """What attaches the lab under a name; as it was at `snapshot`, where one is given."""

    def told(self, error: Exception) -> str:
        """What an error of these statements says, without secrets."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process that opens the lab has to find in its environment."""

    @property
    def advice(self) -> str:
        """What to do where the lab cannot be read."""

    def check_may_be_made(self) -> None:
        """Raises StoreError where making the lab would hide what is there."""

    @property
    def keeps_merged_files(self) -> bool:
        """True while a backup needs files that tidying would delete once they are merged into others."""

    def back_up(self, name: str) -> Path:
        """A copy of the lab in its folder backups/, a lab of its own; the lock is held. To go back, put the copy in the
        lab's place.

        Raises:
            StoreError: it cannot be written; nothing was changed.
        """

    def locked(self, deadline_s: float) -> contextlib.AbstractContextManager[None]:
        """The write lock, held for a block.

        Raises:
            StoreBusy: another process held it until the deadline.
            StoreError: it cannot be taken at all.
        """


def place_of(lab: Path) -> Place:
    """Where the lab of this folder is.

    Raises:
        StoreError: its folder says so in a way that is not understood.
    """
    return Team.read(lab) if (lab / NAME).exists() else Embedded(lab)
