"""What a paper is here: its method composed from parts, and a proof of its mechanism that runs in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from workbench.protocols import Reward

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["reproduced", "direction only", "not reproduced"]


@dataclass(frozen=True)
class Check:
    """One thing that the mechanism must show, and whether it did."""

    says: str
    holds: bool


@dataclass(frozen=True)
class Proof:
    """What came of running a method at small scale, beside what the paper compares it with.

    A verdict: *reproduced* where every check holds, *not reproduced* where one does not; a proof that can show only
    which way the effect goes, and not how large it is, says so itself (`direction_only`).
    """

    arms: Mapping[str, Mapping[str, float]]  # each setting that was run: its figures, by name
    checks: Sequence[Check]
    reported: Sequence[str] = ()  # what was seen and is not claimed, a sentence each
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)  # a figure over the run, by arm
    curve_of: str = ""  # what the curves show, such as "exact match"
    curve_by: str = "update"  # what their points stand for
    direction_only: str = ""  # why the proof cannot speak of the size of the effect

    @property
    def verdict(self) -> Verdict:
        if not all(check.holds for check in self.checks):
            return "not reproduced"
        return "direction only" if self.direction_only else "reproduced"

    @property
    def table(self) -> pd.DataFrame:
        """The figures, a row an arm."""
        import pandas as pd

        return pd.DataFrame(self.arms).T


@dataclass(frozen=True)
class Paper:
    """A published method, built from parts of the workbench. A module of this room holds one as ``PAPER``."""

    number: str  # of its card, two digits
    formula: str  # plain text, a line each; the names are those of the code
    rewards: Mapping[str, Reward]  # what can be applied to rollouts, the paper's own first; variants by name
    proof: Callable[[int], Proof]  # of the mechanism, from a seed: seconds on one core
    verdict: Verdict  # of `proof`, as tested
    differs: Sequence[str] = ()  # where what is here is not what was published, a sentence each
    on_world: Callable[[int], Proof] | None = None  # the tiny policy on the embedded world: many minutes
