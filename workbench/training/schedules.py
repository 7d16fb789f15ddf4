"""Schedules: numbers that change as a run goes on. `Scheduled` of `folds` brings them into its plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, Protocol

from workbench.errors import SettingError
from workbench.spec import part


class Schedule(Protocol):
    """From the number of an update to a number."""

    def __call__(self, update: int) -> float: ...


@part
class Ramp:
    """From `start` to `end` over updates 0 to `updates`, then `end`.

    With x the share of the updates done, what lies between is

    - linear: x
    - power: x ** `power`
    - cosine: (1 - cos(pi x)) / 2
    - exponential: (`base` ** x - 1) / (`base` - 1); a base of 1 is its limit, linear
    """

    start: float
    end: float
    updates: int
    _: KW_ONLY
    shape: Literal["linear", "power", "cosine", "exponential"] = "linear"
    power: float = 2.0
    base: float = 4.0

    def __post_init__(self) -> None:
        if self.updates < 1 or self.power <= 0 or self.base <= 0:
            raise SettingError(f"updates is at least 1, power and base are above 0; got {self!r}")
        if self.shape not in ("linear", "power", "cosine", "exponential"):
            raise SettingError(f"shape is linear, power, cosine or exponential; got {self.shape!r}")

    def __call__(self, update: int) -> float:
        share = min(max(update / self.updates, 0.0), 1.0)
        return self.start + self._between(share) * (self.end - self.start)

    def _between(self, share: float) -> float:
        if self.shape == "power":
            return share**self.power
        if self.shape == "cosine":
            return (1 - math.cos(math.pi * share)) / 2
        if self.shape == "exponential" and self.base != 1:
            return (self.base**share - 1) / (self.base - 1)
        return share


@dataclass(frozen=True)
class Pieces:
    """One schedule after another: ``Pieces([(0, Ramp(0.2, 0.15, 200)), (200, Ramp(0.15, 0.02, 2000))])``.

    Each counts its updates from the update that it begins at; a number stands for itself.
    """

    pieces: Sequence[tuple[int, Schedule | float]]

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.pieces]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise SettingError(f"the pieces of a schedule begin at 0 and at rising updates, got {starts}")

    def __call__(self, update: int) -> float:
        start, piece = next((s, piece) for s, piece in reversed(self.pieces) if s <= max(update, 0))
        return float(piece) if isinstance(piece, int | float) else piece(update - start)
