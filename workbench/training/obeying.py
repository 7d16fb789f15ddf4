"""Requests of people elsewhere, carried out by the run they are asked of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.protocols import Request
from workbench.rewards.compose import reweighted
from workbench.rewards.score import score
from workbench.training.changes import plan_changes

if TYPE_CHECKING:
    from workbench.training.run import Run

LISTEN_EVERY_S = 0.5
"""Seconds between two looks for requests; a look costs some 20 ms."""


def obey(run: Run, request: Request) -> str:
    """Do what is asked, between two updates. Returns what came of it, a refusal included."""
    try:
        if request.trouble:
            return f"refused: {request.trouble}"
        if request.what == "change":
            return _change(run, request)
        if request.what == "roll back":
            run.roll_back(int(request.told["update"]))
            return f"rolled back to update {request.told['update']}"
        {"pause": run.pause, "resume": run.resume, "stop": run.stop}[request.what]()
        return f"done after update {run.update}"
    except (WorkbenchError, TypeError) as error:
        return f"refused: {error}"


def _change(run: Run, request: Request) -> str:
    told, old = dict(request.told), run.plan
    if weights := told.pop("weights", None):
        told["reward"] = reweighted(told.get("reward", old.reward), weights)
    new = old.replace(**told)
    if "reward" in told and run.latest is not None:
        score(run.latest.trees[:1], new.reward)  # what cannot score them would end the run
    changes = plan_changes(old.spec(), new.spec())
    run.plan = new
    return f"from update {run.update + 1} on: {'; '.join(changes) or 'nothing changed'}"
