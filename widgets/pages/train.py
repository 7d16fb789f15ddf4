"""Train: watch any training of the lab, whoever drives it; start one in this server, and steer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from widgets.component import Component
from widgets.form import Field, Form
from widgets.pages.stored_run import StoredRun, keep_reading
from widgets.pages.trainer import Training
from widgets.pages.visit import Shown, Signing, Visit, address
from widgets.run_monitor import RunMonitor
from workbench.errors import UnknownRun
from workbench.store.browsing import Query
from workbench.training.method import METHODS
from workbench.training.run import Run

FIELDS = (
    Field(
        "reward",
        "reward",
        "ExactMatch() + 0.5 * CoverageGain()",
        wide=True,
        says="as the command workbench score takes it",
    ),
    Field("method", "method", "DrGRPO", choices=tuple(METHODS)),
    Field("updates", "updates", 10),
    Field("tasks_per_update", "tasks an update", 4),
    Field("group_size", "rollouts a task", 8),
    Field("seed", "seed", 0),
)


class Watching:
    """A run of this server seen by somebody who did not start it: everything of it, but no steering."""

    steers = False

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def train(visit: Visit) -> Shown:
    """The run that the address asks for, else the training of this server, else the newest; and a form for another."""
    trainings = visit.store.browsing.runs(Query(equal={"kind": "train"}, limit=500)).rows
    names = [row["run"] for row in trainings]
    here = visit.trainer.training
    name = visit.asked.get("run") or (here.run.name if here and here.run.driven else next(iter(names), ""))
    if name and name not in names:
        raise UnknownRun.among("training", name, names, where="this lab")
    parts: list[Component] = []
    if name:
        parts += [_chooser(names, name), _form(visit, "Start another training"), _monitor(visit, name, here)]
    else:
        parts += [_form(visit)]
    return Shown(f"Train {name}".strip(), parts, _trail(name), _says(visit, name, here))


def _trail(name: str) -> list[tuple[str, str]]:
    return [("its trajectories", address("./", run=name))] if name else []


def _says(visit: Visit, name: str, here: Training | None) -> str:
    if not name:
        return "No run of this lab is a training yet. Start one below: the tiny policy on the embedded world."
    if here is not None and here.run.name == name and here.who != visit.who:
        return f"{here.who} started this training in this server, and alone steers it; you watch."
    return ""


def _chooser(names: Sequence[str], name: str) -> Form:
    return Form([Field("run", "run", name, choices=tuple(names))], link="train", label="Which training to watch")


def _monitor(visit: Visit, name: str, here: Training | None) -> RunMonitor:
    signing = Signing(visit.store, visit.who)
    if here is None or here.run.name != name:
        stored = StoredRun(visit.store, name)
        monitor = RunMonitor(stored, recorder=signing, who=visit.who)
        visit.at_end(keep_reading(stored, monitor.refresh, lambda says: monitor.say("trouble", says=says)))
        return monitor
    if here.who == visit.who:
        return RunMonitor(here.run, recorder=signing, who=visit.who)
    monitor = RunMonitor(Watching(here.run), recorder=signing, who=visit.who)
    visit.at_end(here.run.listen(lambda _: monitor.refresh()))
    return monitor


def _form(visit: Visit, folded: str = "") -> Form:
    def start(answers: dict[str, Any]) -> str:
        return address("train", run=visit.trainer.start(answers, visit.who).name)

    return Form(FIELDS, start, send_label="Start a training", label="Start a training in this server", folded=folded)
