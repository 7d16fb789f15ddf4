"""A model card: what was trained, on what, how, and what came of it."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.training.changes import formula
from workbench.training.report import Report

if TYPE_CHECKING:
    from workbench.training.run import Run

PACKAGES = ("reward-workbench", "torch", "transformers", "peft", "numpy")


def model_card(run: Run, *, notes: str = "") -> str:
    """Markdown about a run's policy: every plan that was in force, the returns, the checks that lit up.

    Args:
        notes: what a person adds: an evaluation, what it is meant for, a licence.
    """
    return "\n".join(_lines(run, notes)) + "\n"


def _lines(run: Run, notes: str) -> Iterator[str]:
    yield from (f"# {run.policy.name}", "", f"Trained by reinforcement learning in run `{run.name}`.", "")
    yield from (f"- base weights: `{run.base}` (digest), updates: {run.update} of {run.updates}, seed: {run.seed}",)
    if run.continues:
        yield f"- goes on from run `{run.continues['run']}`, update {run.continues['update']}"
    for first, plan in run.plans:
        spec = plan.spec()
        yield from ("", f"## From update {first}", "")
        yield f"- tasks: {len(plan.tasks)} (`{spec['tasks']}`), {plan.tasks_per_update} an update"
        for name in ("reward", "sampler", "credit", "loss", "critic", "optimiser", "end_rule"):
            if spec[name] is not None:
                yield f"- {name}: `{formula(spec[name])}`"
    yield from ("", "## What came of it", "", *_figures(run.reports))
    if notes:
        yield from ("", "## Notes", "", notes)
    yield from ("", "## Made with", "", *(f"- {name} {_version(name)}" for name in PACKAGES))


def _figures(reports: list[Report]) -> Iterator[str]:
    """Returns at the beginning and the end, and every check that lit up."""
    if not reports:
        yield "Nothing was trained in this process."
        return
    first, last = reports[:5], reports[-5:]
    yield f"Means over the first {len(first)} and last {len(last)} updates of this process, on the tasks trained on:"
    yield from ("", "| | first | last |", "|---|---|---|")
    yield f"| return | {_mean(r.mean_return for r in first)} | {_mean(r.mean_return for r in last)} |"
    for name in reports[-1].parts:
        shown = [_mean(r.parts.get(name, math.nan) for r in some) for some in (first, last)]
        yield f"| {name} | {shown[0]} | {shown[1]} |"
    lit: dict[str, list[int]] = {}
    for report in reports:
        for check in report.alarms:
            lit.setdefault(check.name, []).append(report.update)
    told = [f"{name} ({len(at)} updates, the last {at[-1]})" for name, at in lit.items()]
    yield from ("", f"Training checks that lit up: {', '.join(told) or 'none'}.")


def _mean(values: Iterator[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{sum(known) / len(known):.3f}" if known else "not scored"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
