"""`evaluate`: how well a policy does on tasks it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.evaluation import Interval, bootstrap_interval, pass_at_k
from workbench.protocols import Environment, Policy, Recorder, Reward
from workbench.rewards import ExactMatch
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.spec import code_version, dumps
from workbench.trajectory import Task, Tree


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of `samples` rollouts on each of P tasks."""

    trees: list[Tree]
    values_PG: np.ndarray  # float64, reward units; NaN unscored
    hops_P: np.ndarray  # int

    @property
    def mean(self) -> float:
        """Mean over tasks of the mean over samples."""
        return float(np.nanmean(self.values_PG))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Bootstrap over tasks."""
        found = bootstrap_interval(np.nanmean(self.values_PG, axis=1), level=level)
        return found.low, found.high

    def pass_at(self, k: int, right: float = 1.0) -> Interval:
        """Chance that at least one of `k` rollouts of a task is paid `right` or more, with its interval over tasks."""
        right_PG = np.where(np.isnan(self.values_PG), np.nan, self.values_PG >= right)
        return bootstrap_interval(pass_at_k(right_PG, k))

    def by_hops(self) -> dict[int, float]:
        """Mean for each number of hops."""
        return {int(h): float(np.nanmean(self.values_PG[self.hops_P == h])) for h in np.unique(self.hops_P)}

    def hops(self, least: int, most: int = 99) -> float:
        """Mean over the tasks with `least` to `most` hops."""
        return float(np.nanmean(self.values_PG[(self.hops_P >= least) & (self.hops_P <= most)]))

    @property
    def searches(self) -> float:
        """Tool calls a rollout."""
        rollouts = [trajectory for tree in self.trees for trajectory in tree]
        return sum(len(step.calls) for t in rollouts for step in t.steps) / max(len(rollouts), 1)

    def __repr__(self) -> str:
        low, high = self.interval()
        hops = ", ".join(f"{h} hop {value:.2f}" for h, value in self.by_hops().items())
        counts = f"{self.searches:.1f} searches, {len(self.trees)} tasks"
        return f"Evaluation({self.mean:.3f} [{low:.3f}, {high:.3f}], {hops}, {counts})"


def evaluate(
    policy: Any,
    tasks: Sequence[Task],
    environment: Environment,
    *,
    reward: Reward | None = None,
    temperature: float = 0.0,
    samples: int = 1,
    seed: int = 0,
    recorder: Recorder | None = None,
    name: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Roll out and score by a trajectory-level reward (default exact match).

    Args:
        policy: evaluated at `temperature`, 0 greedy; its own temperature is left alone.
        samples: rollouts a task.
        recorder: a store; rollouts and scores go there as run `name` (default the next free name).
    """
    at: Policy = policy.at(temperature)
    paid = ExactMatch() if reward is None else reward
    run = None
    if recorder is not None:
        settings = {"kind": "evaluate", "policy": at.name, "temperature": temperature, "seed": seed}
        run = recorder.start_run(settings, name=name)
    trees = rollout(at, tasks, environment, group_size=samples, seed=seed, progress=progress)
    if len(trees) < len(tasks):
        raise KeyboardInterrupt  # an evaluation of some of the tasks would be another one
    scores = score(trees, paid)
    if recorder is not None and run is not None:
        recorder.record_trees(trees, run=run)
        recorder.record_scores(trees, scores, run=run, reward=dumps(paid, loose=True), version=code_version(paid))
        recorder.end_run(run, "finished")
    values = [[one.total for one in tree] for tree in scores]
    return Evaluation(trees, np.array(values, dtype=np.float64), np.array([tree.task.hops for tree in trees]))
