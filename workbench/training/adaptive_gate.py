"""`AdaptiveGate`: a coefficient that rises while the outcome stays low and falls once it is good and rising."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from workbench.errors import SettingError
from workbench.training.folds import State, number_of
from workbench.training.plan import Plan
from workbench.training.report import Report
from workbench.trajectory import Task


@dataclass(frozen=True)
class AdaptiveGate:
    """A fold that moves the coefficient beta of a process reward by how the outcome does::

        ema  <- decay * ema + (1 - decay) * outcome;  slope = ema - previous ema
        ema < target and |slope| <= flat:  beta <- beta + gain * (target - ema) * (high - beta)
        ema > target and slope > flat:     beta <- beta - gain * (ema - target) * (beta - low)

    A move is at most `most`, and beta stays in [low, high]. `make` gives the fields of the plan for a beta:
    ``AdaptiveGate(lambda beta: {"reward": Residual(outcome, process, beta)}, of="ExactMatch")``.

    An update without an outcome changes nothing. The state holds beta, ema and slope, so that a run can be resumed;
    begin again with another run. Source: SubSearch (arXiv:2604.07415, ``qa_em.py``), whose code keeps the state in the
    scoring process and moves it once for every rollout scored: ``per="rollout"`` does that with the mean of the update.
    """

    make: Callable[[float], Mapping[str, Any]]
    _: KW_ONLY
    of: str = "mean_return"  # the outcome: a field of the report, or the name of a part
    start: float = 0.2
    low: float = 0.02
    high: float = 0.2
    target: float = 0.65  # of the outcome's average
    flat: float = 5e-4  # a slope up to this is a plateau
    gain: float = 0.2
    most: float = 0.01  # of one move
    decay: float = 0.98
    per: Literal["update", "rollout"] = "update"

    def __post_init__(self) -> None:
        if not self.low <= self.start <= self.high or not 0 <= self.decay < 1 or self.most <= 0:
            raise SettingError(f"low <= start <= high, decay in [0, 1) and most above 0; got {self!r}")
        if self.per not in ("update", "rollout"):
            raise SettingError(f"per is 'update' or 'rollout', got {self.per!r}")

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        return {"beta": self.start, "ema": 0.0, "slope": 0.0}, plan.replace(**self.make(self.start))

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        outcome = number_of(report, self.of)
        if outcome is None:
            return state, plan
        for _ in range(report.rollouts if self.per == "rollout" else 1):
            state = self.moved(state, outcome)
        return state, plan.replace(**self.make(state["beta"]))

    def moved(self, state: Mapping[str, float], outcome: float) -> dict[str, float]:
        """The state after one more outcome."""
        ema = self.decay * state["ema"] + (1 - self.decay) * outcome
        slope = ema - state["ema"]
        return {"beta": self.beta_at(state["beta"], ema, slope), "ema": ema, "slope": slope}

    def beta_at(self, beta: float, ema: float, slope: float) -> float:
        """The next beta from the present one and how the outcome does."""
        move = 0.0
        if ema < self.target and abs(slope) <= self.flat:
            move = self.gain * (self.target - ema) * (self.high - beta)
        elif ema > self.target and slope > self.flat:
            move = -self.gain * (ema - self.target) * (beta - self.low)
        return min(max(beta + min(max(move, -self.most), self.most), self.low), self.high)

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        return tasks
