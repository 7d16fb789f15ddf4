"""Folds: what decides, after every update, what the next one will do: curricula, switches of phase, an early stop.

A fold is pure: from its state, the report and the plan of an update to the next state and the plan of the next update.
Its state is plain JSON data that goes into the checkpoints, so that a resumed run goes on as it would have done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Protocol

from workbench.errors import SettingError
from workbench.training.plan import Plan
from workbench.training.report import Report
from workbench.training.schedules import Schedule
from workbench.trajectory import Task

State = Any
"""Plain JSON data, never None."""


class Fold(Protocol):
    """Decides the next plan."""

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        """State and plan before the first update."""
        ...

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        """State and plan after an update; no plan: the run has come to its end."""
        ...

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        """The tasks of a plan made in that state, for a run that goes on from it. A fold that leaves a plan's tasks
        alone gives back those it is given."""
        ...


@dataclass(frozen=True)
class Folds:
    """Several, one after another: each sees the plan that the one before made."""

    folds: Sequence[Fold]

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        states = []
        for fold in self.folds:
            state, plan = fold.begin(plan)
            states.append(state)
        return states, plan

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        states: list[State] = []
        for fold, before in zip(self.folds, state, strict=True):
            after, made = fold(before, report, plan)
            states.append(after)
            if made is None:
                return [*states, *state[len(states) :]], None
            plan = made
        return states, plan

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        for fold, one in zip(self.folds, state, strict=True):
            tasks = fold.tasks(one, tasks)
        return tasks


@dataclass(frozen=True)
class EarlyStop:
    """Ends the run when a number of its reports has not risen for a while.

    What is compared is the mean over the last `window` updates; it has risen where it is more than `least` above the
    best so far.
    """

    patience: int  # updates without a rise
    _: KW_ONLY
    of: str = "mean_return"  # a field of the report, or the name of a part
    window: int = 5  # updates
    least: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1 or self.window < 1:
            raise SettingError(f"patience and window are at least 1, got {self.patience} and {self.window}")

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        return {"last": [], "best": None, "since": 0}, plan

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        last = [*state["last"], number_of(report, self.of)][-self.window :]
        known = [value for value in last if value is not None]
        mean = sum(known) / len(known) if known else None
        full = len(last) == self.window and mean is not None
        best, since = state["best"], state["since"] + 1
        if full and (best is None or mean > best + self.least):
            best, since = mean, 0
        made = {"last": last, "best": best, "since": since}
        return made, None if full and since >= self.patience else plan

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        return tasks


@dataclass(frozen=True)
class Curriculum:
    """Tasks in stages, easy ones first: the next stage joins when the mean over `window` updates reaches `reach`."""

    stages: Sequence[Sequence[Task]]
    _: KW_ONLY
    reach: float  # of the number below
    of: str = "mean_return"  # a field of the report, or the name of a part
    window: int = 5  # updates of a stage, at least, before the next
    keep: bool = True  # the tasks of earlier stages stay

    def __post_init__(self) -> None:
        if not self.stages or not all(self.stages) or self.window < 1:
            raise SettingError(
                f"a curriculum has at least one stage, each with tasks, and a window of at least 1; got "
                f"{[len(stage) for stage in self.stages]} tasks and window {self.window}"
            )

    @classmethod
    def by_hops(cls, tasks: Sequence[Task], *, reach: float, **settings: Any) -> Curriculum:
        """A stage for each number of hops among the tasks, fewest first."""
        hops = sorted({task.hops for task in tasks})
        return cls([[task for task in tasks if task.hops == n] for n in hops], reach=reach, **settings)

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        return {"stage": 0, "last": []}, plan.replace(tasks=self._tasks(0))

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        stage, last = state["stage"], [*state["last"], number_of(report, self.of)][-self.window :]
        known = [value for value in last if value is not None]
        reached = len(known) == self.window and sum(known) / len(known) >= self.reach
        if not reached or stage + 1 == len(self.stages):
            return {"stage": stage, "last": last}, plan
        return {"stage": stage + 1, "last": []}, plan.replace(tasks=self._tasks(stage + 1))

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        return self._tasks(state["stage"])

    def _tasks(self, stage: int) -> tuple[Task, ...]:
        first = 0 if self.keep else stage
        return tuple(task for tasks in self.stages[first : stage + 1] for task in tasks)


@dataclass(frozen=True)
class Phases:
    """Other fields of the plan from given updates on: ``Phases({20: {"reward": second}, 40: {"epochs": 2}})``. Tasks
    are the business of a `Curriculum`."""

    at: dict[int, dict[str, Any]]  # by the first update that they count for

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        return {}, plan.replace(**self.at.get(1, {}))

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        return {}, plan.replace(**self.at.get(report.update + 1, {}))

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        return tasks


@dataclass(frozen=True)
class Scheduled:
    """Fields of the plan that follow the number of the update: ``Scheduled(lambda n: {"reward": mixed(beta(n))})``.

    `make` is told the update (from 1) and gives the fields for it; `workbench.training.schedules` has the usual curves.
    """

    make: Callable[[int], Mapping[str, Any]]

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        return {}, plan.replace(**self.make(1))

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        return {}, plan.replace(**self.make(report.update + 1))

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        return tasks


@dataclass(frozen=True)
class TaskSchedule:
    """Numbers that every task carries in its extras and that follow the update, for environments and rewards to read::

        TaskSchedule({"noise": Ramp(0.0, 0.5, 203, shape="exponential", base=4)})  # of a SimulatedSearch

    It leaves open which tasks there are: among `Folds` it comes after a `Curriculum`.
    """

    numbers: Mapping[str, Schedule]  # by the key in extras; told the update, from 1

    def begin(self, plan: Plan) -> tuple[State, Plan]:
        return self._next(1, plan)

    def __call__(self, state: State, report: Report, plan: Plan) -> tuple[State, Plan | None]:
        return self._next(report.update + 1, plan)

    def tasks(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        told = {key: number(state["update"]) for key, number in self.numbers.items()}
        return tuple(replace(task, extras={**task.extras, **told}) for task in tasks)

    def _next(self, update: int, plan: Plan) -> tuple[State, Plan]:
        state = {"update": update}
        return state, plan.replace(tasks=tuple(self.tasks(state, plan.tasks)))


def number_of(report: Report, name: str) -> float | None:
    """A number of a report, by its field or part; None where it is unknown in this update.

    Raises:
        SettingError: it has no such number.
    """
    value = report.parts[name] if name in report.parts else getattr(report, name, None)
    if not isinstance(value, int | float):
        raise SettingError(f"a report has no number {name!r}; its parts are {sorted(report.parts)}")
    return None if math.isnan(value) else float(value)
