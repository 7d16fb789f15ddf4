"""A run as plain rows for a page: its updates, its training checks, where its plan changed, its newest groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from workbench.batch import Advantages, flat_batch
from workbench.scores import Scores
from workbench.training.changes import formula, plan_changes
from workbench.training.plan import Plan
from workbench.training.report import Report
from workbench.trajectory import Tree

Row = dict[str, Any]
AnyReport = Report | Mapping[str, Any]
AnyPlan = Plan | Mapping[str, Any]

AS_THEY_ARE = (
    *("update", "run", "mean_return", "parts", "rollouts", "ends", "searches", "equal_groups", "groups"),
    *("loss", "grad_norm", "clipped", "kl", "entropy", "lr", "rollout_s", "score_s", "train_s"),
    *("value_loss", "explained"),
)


class Newest(Protocol):
    """The trees of the newest update. `workbench.training.run.Latest` is one."""

    @property
    def run(self) -> str: ...
    @property
    def update(self) -> int: ...
    @property
    def plan(self) -> Plan | None:
        """What they were drawn under; None where that is not at hand."""
        ...

    @property
    def trees(self) -> Sequence[Tree]: ...
    @property
    def scores(self) -> Sequence[Sequence[Scores]]: ...
    @property
    def advantages(self) -> Advantages | None: ...


def plain_report(report: AnyReport) -> Mapping[str, Any]:
    """A report as plain data, as a store gives it."""
    return report.as_json() if isinstance(report, Report) else report


def report_row(report: AnyReport) -> Row:
    """One update: its numbers, tokens a second, and the checks that did not hold."""
    told = plain_report(report)
    row = {name: told.get(name) for name in AS_THEY_ARE}
    row["sampled_per_s"] = _rate(told.get("sampled_tokens"), told.get("rollout_s"))
    row["trained_per_s"] = _rate(told.get("trained_tokens"), told.get("train_s"))
    row["alarms"] = [check for check in told.get("checks") or () if not check["ok"]]
    return row


def _rate(tokens: float | None, seconds: float | None) -> float | None:
    return tokens / seconds if tokens is not None and seconds else None


class PlanWords:
    """Plans in words. Each plan's spec is made once: it goes over all tasks."""

    def __init__(self) -> None:
        self._specs: dict[int, tuple[AnyPlan, Mapping[str, Any]]] = {}  # by identity, which the plan held keeps alive

    def spec(self, plan: AnyPlan) -> Mapping[str, Any]:
        if id(plan) not in self._specs:
            self._specs[id(plan)] = plan, plan.spec() if isinstance(plan, Plan) else plan
        return self._specs[id(plan)][1]

    def row(self, plan: AnyPlan) -> Row:
        """The reward's formula, and how rollouts are drawn, compared and learned from."""
        spec = self.spec(plan)
        return {
            name: formula(spec[name]) for name in ("reward", "sampler", "credit", "loss", "optimiser") if name in spec
        }

    def marks(self, plans: Sequence[tuple[int, AnyPlan]]) -> list[Row]:
        """Where the plan changed, and what: one entry for each plan but the first."""
        found = []
        for (_, old), (update, new) in zip(plans, plans[1:], strict=False):
            lines = plan_changes(self.spec(old), self.spec(new)) or ("the same settings again",)
            found.append({"update": update, "kind": "plan", "lines": lines})
        return found


def group_rows(newest: Newest) -> list[Row]:
    """Each group of the newest update: question, returns, their mean and spread (population std), ends."""
    advantages = newest.advantages
    batch = flat_batch(newest.trees, newest.scores) if advantages is None else advantages.batch
    owner_N = [number for number, tree in enumerate(newest.trees) for _ in tree]
    rows = []
    for group in np.unique(batch.group_N):
        members = np.flatnonzero(batch.group_N == group)
        returns = batch.returns_N[members]
        scored = returns[~np.isnan(returns)]
        task = newest.trees[owner_N[members[0]]].task
        rows.append(
            {
                "tree": owner_N[members[0]],
                "task": task.id,
                "question": task.question,
                "returns": returns,
                "mean": scored.mean() if len(scored) else None,
                "spread": scored.std() if len(scored) else None,
                "ends": Counter(str(end) for end in batch.end_N[members]),
            }
        )
    return rows
