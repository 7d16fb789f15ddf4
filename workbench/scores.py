"""Scores: what a reward pays for one trajectory, and why.

Zero is a score. What was not scored is NaN, with a status that says which kind: *not applicable* (the term adds
nothing here: a step without a search has no redundancy) or *missing* (a judge failed: any sum with it is missing
too). Neither is ever 0.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.errors import LevelError, ScoreError


class Status(enum.IntEnum):
    SCORED = 0
    NOT_APPLICABLE = 1
    MISSING = 2


class Level(enum.StrEnum):
    """What one value of a reward stands for. The axis of Scores is 1 for trajectory and group, S or T else."""

    TOKEN = "token"  # one value per own (sampled) token of the trajectory
    STEP = "step"
    TRAJECTORY = "trajectory"
    GROUP = "group"  # one value per trajectory that depends on its whole group

    @property
    def single(self) -> bool:
        """True where a trajectory gets one number."""
        return self in (Level.TRAJECTORY, Level.GROUP)


@dataclass(eq=False)
class Scores:
    """Values of one trajectory with status and reason each.

    `values_S` float64 [S], reward units, NaN where not scored; `status_S` int8 [S] (see `Status`); `why_S`: a short
    sentence a person can check, ``""`` where there is nothing to say. The axis is [S] steps at level step, [1] at
    level trajectory and group, [T] own tokens at level token. `parts` are the named terms a sum was made of; a score
    without parts is one term, called `name` (a reward gives its own).
    """

    values_S: np.ndarray
    status_S: np.ndarray
    why_S: tuple[str, ...] = ()
    level: Level = Level.STEP
    parts: tuple[Part, ...] = ()
    name: str = "reward"

    def __post_init__(self) -> None:
        self.level = Level(self.level)
        self.values_S = np.array(self.values_S, dtype=np.float64)
        self.status_S = np.array(self.status_S, dtype=np.int8)
        self.why_S = tuple(self.why_S) or ("",) * len(self.values_S)
        if not self.values_S.shape == self.status_S.shape == (len(self.why_S),):
            raise ScoreError(
                f"values, statuses and reasons must have one length, got {self.values_S.shape}, "
                f"{self.status_S.shape} and {len(self.why_S)}"
            )
        if self.level.single and len(self.values_S) != 1:
            raise ScoreError(f"a score of level {self.level} is one number, got {len(self.values_S)}")
        wrong = np.isnan(self.values_S) != (self.status_S != Status.SCORED)
        if wrong.any():
            s = int(wrong.argmax())
            raise ScoreError(
                f"value {self.values_S[s]} at {s} has status {Status(self.status_S[s]).name}; "
                "NaN and only NaN is unscored"
            )

    @classmethod
    def unscored(cls, length: int, status: Status = Status.NOT_APPLICABLE, *, level: Level = Level.STEP) -> Scores:
        """All NaN. Fill with `set`."""
        return cls(np.full(length, np.nan), np.full(length, status), level=level)

    @classmethod
    def steps(cls, values_S: Sequence[float] | np.ndarray, why_S: Sequence[str] = ()) -> Scores:
        """A score per step; NaN means not applicable."""
        values_S = np.asarray(values_S, dtype=np.float64)
        status_S = np.where(np.isnan(values_S), Status.NOT_APPLICABLE, Status.SCORED)
        return cls(values_S, status_S, tuple(why_S))

    @classmethod
    def trajectory(cls, value: float, why: str = "", *, level: Level = Level.TRAJECTORY) -> Scores:
        """One number for the whole trajectory."""
        return cls(np.array([value]), np.array([Status.SCORED]), (why,), level)

    @classmethod
    def missing(cls, why: str, length: int = 1, *, level: Level = Level.TRAJECTORY) -> Scores:
        """Nothing could be scored: `why` says what failed."""
        return cls(np.full(length, np.nan), np.full(length, Status.MISSING), (why,) * length, level)

    def set(self, s: int, value: float, why: str = "") -> None:
        """Score position `s`. A NaN value is refused: leave it unscored, or use `miss`."""
        if np.isnan(value):
            raise ScoreError(f"position {s} was given NaN; leave it unscored, or call miss({s}, why)")
        self.values_S[s], self.status_S[s] = value, Status.SCORED
        self._say(s, why)

    def miss(self, s: int, why: str) -> None:
        """Mark position `s` as missing: it should have a score and the attempt failed."""
        self.values_S[s], self.status_S[s] = np.nan, Status.MISSING
        self._say(s, why)

    def skip(self, s: int, why: str) -> None:
        """Mark position `s` as not applicable, with the reason."""
        self.values_S[s], self.status_S[s] = np.nan, Status.NOT_APPLICABLE
        self._say(s, why)

    def _say(self, s: int, why: str) -> None:
        self.why_S = (*self.why_S[:s], why, *self.why_S[s + 1 :])

    @property
    def value(self) -> float:
        """The one number of a trajectory-level score; NaN where unscored."""
        if not self.level.single:
            raise LevelError(f"a score of level {self.level} is {len(self)} values; reduce it with ReduceSteps")
        return float(self.values_S[0])

    @property
    def total(self) -> float:
        """Sum of the scored values; NaN where one is missing or nothing is scored."""
        scored_S = self.status_S == Status.SCORED
        if (self.status_S == Status.MISSING).any() or not scored_S.any():
            return float("nan")
        return float(self.values_S[scored_S].sum())

    def __len__(self) -> int:
        return len(self.values_S)

    def __repr__(self) -> str:
        shown = [Status(s).name.lower() if s else f"{v:.4g}" for v, s in zip(self.values_S, self.status_S, strict=True)]
        return f"Scores({self.level}: {', '.join(shown)})"

    def same_as(self, other: Scores) -> bool:
        """True where level, values (NaN equals NaN), statuses, reasons and parts are the same."""
        return (
            self.level == other.level
            and np.array_equal(self.values_S, other.values_S, equal_nan=True)
            and np.array_equal(self.status_S, other.status_S)
            and self.why_S == other.why_S
            and len(self.parts) == len(other.parts)
            and all(mine.same_as(theirs) for mine, theirs in zip(self.parts, other.parts, strict=True))
        )


@dataclass(frozen=True, eq=False)
class Part:
    """A named term of a sum: its raw scores and its weight, kept apart so that a weight can change alone."""

    name: str
    weight: float
    scores: Scores
    place: str = field(default="end")  # where it lands among the tokens, see workbench.rewards.place

    def same_as(self, other: Part) -> bool:
        mine, theirs = (self.name, self.weight, self.place), (other.name, other.weight, other.place)
        return mine == theirs and self.scores.same_as(other.scores)


def combined_status(status_RS: np.ndarray) -> np.ndarray:
    """Status of a sum [S] from those of its terms [R, S]: any missing, else any scored, else not applicable."""
    missing_S = (status_RS == Status.MISSING).any(axis=0)
    scored_S = (status_RS == Status.SCORED).any(axis=0)
    kind_S = np.where(scored_S, Status.SCORED, Status.NOT_APPLICABLE)
    return np.where(missing_S, Status.MISSING, kind_S).astype(np.int8)
