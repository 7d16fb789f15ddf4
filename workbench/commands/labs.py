"""Labs as the commands use them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import StoreError
from workbench.store import Store, open_store

SIGNS = ("catalog.sqlite", "team.json")
"""A folder with one of these is a lab."""


def existing_lab(folder: str) -> Store:
    """A lab to read from: a mistyped name shall not make an empty one.

    Raises:
        StoreError: there is no lab in `folder`.
    """
    check_lab(folder)
    return open_store(folder)


def check_lab(folder: str) -> None:
    """Raises StoreError where there is no lab in `folder`, and says what to type."""
    if not any((Path(folder) / part).exists() for part in (*SIGNS, "data")):  # data alone: damaged
        here = sorted(str(path.parent) for sign in SIGNS for path in Path().glob(f"*/{sign}"))
        raise StoreError(
            f"no lab in {folder!r}; here are: {', '.join(here) or 'none'}. Commands that log make one: "
            f"workbench rollout --lab {shlex.quote(folder)}"
        )


class Told:
    """A lab as a recorder that keeps the command line with the settings of every run, and remembers the run's name."""

    def __init__(self, store: Store, command: str) -> None:
        self.store, self.command = store, command
        self.run = ""  # the last one started

    def start_run(self, settings: Mapping[str, Any], *, name: str | None = None) -> str:
        self.run = self.store.start_run({**settings, "command": self.command}, name=name)
        return self.run

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def in_lab(command: str, lab: str) -> str:
    """A command to type next, naming the lab where it is not the default."""
    return f"  workbench {command}" + ("" if lab == "lab" else f" --lab {shlex.quote(lab)}")
