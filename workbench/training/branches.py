"""Checkpoints as a run finds them again: its own and, up to where it left them, those of the runs that it continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from workbench.errors import SettingError


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk, by the update it was made after."""

    update: int
    folder: Path


def update_folder(folder: Path, update: int) -> Path:
    """Where a run whose checkpoints lie in `folder` keeps the one made after `update`."""
    return folder / f"update-{update:05d}"


def check_unused(folder: Path) -> None:
    """A folder whose checkpoints are another run's cannot take this one's.

    Raises:
        SettingError: it holds checkpoints.
    """
    held = _in_folder(folder)
    if held:
        raise SettingError(
            f"folder {str(folder)!r} holds the checkpoints of another run (the last after update {held[-1].update}); "
            f"give another folder, or go on from it: resume({str(held[-1].folder)!r}, ...)"
        )


def folder_after(checkpoint: Path, update: int) -> Path:
    """Where a run that goes on from `checkpoint`, made after `update`, keeps its own: beside it where that is the
    last, else in a folder of its own in there, since what is saved stays.
    """
    folder = checkpoint.parent
    if not any(one.update > update for one in _in_folder(folder)):
        return folder
    free = (folder / f"from-{update:05d}{tail}" for tail in chain([""], (f".{n}" for n in count(2))))
    return next(one for one in free if not one.exists())


@dataclass(frozen=True)
class Trunk:
    """What a run grew out of: folders of checkpoints, oldest first, each with the update at which it was left."""

    left: tuple[tuple[Path, int], ...] = ()

    def leave(self, folder: Path, update: int) -> Trunk:
        """The trunk of a run that goes on from the checkpoint of `folder` made after `update`."""
        older = [one for one in self.left if one[1] < update and one[0] != folder]
        return Trunk((*older, (folder, update)))

    def saved(self, folder: Path | None, update: int) -> list[Saved]:
        """The checkpoints of a run that is at `update` and keeps its own in `folder`, oldest first."""
        found: dict[int, Saved] = {}
        for place, last in (*self.left, *([] if folder is None else [(folder, update)])):
            above = max(found, default=0)
            found |= {one.update: one for one in _in_folder(place) if above < one.update <= last}
        return list(found.values())


def _in_folder(folder: Path) -> list[Saved]:
    states = sorted(folder.glob("update-*/state.json"))
    return [Saved(int(state.parent.name.removeprefix("update-")), state.parent) for state in states]


def pick(saved: Sequence[Saved], update: int, run: str) -> Saved:
    """The checkpoint made after `update`.

    Raises:
        SettingError: there is none; says which there are.
    """
    for one in saved:
        if one.update == update:
            return one
    there = ", ".join(str(one.update) for one in saved) or "none yet; train(..., checkpoint_every=N) makes them"
    raise SettingError(f"run {run!r} has no checkpoint of update {update}; there are: {there}")
