"""How often a policy solves each task, and which tasks to go on with by that."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import KW_ONLY, replace
from typing import Literal

import numpy as np

from workbench.errors import SettingError
from workbench.protocols import Environment, Policy, Reward
from workbench.rewards import ExactMatch
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.scores import Scores
from workbench.spec import dumps, part
from workbench.trajectory import Task

Which = Literal["hardest", "middle", "easiest", "random"]
WHICH = ("hardest", "middle", "easiest", "random")


def pass_rate(
    policy: Policy,
    tasks: Sequence[Task],
    environment: Environment,
    n: int = 8,
    *,
    reward: Reward | None = None,
    right: float | None = None,
    cache: MutableMapping[str, float] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, float]:
    """The mean pay of `n` rollouts of each task: with exact match, the share that are right.

    AdaSearch (arXiv:2512.16883) labels by it what its agent knows by heart, ACQO (arXiv:2601.21208) and BLEUBERI
    (arXiv:2505.11080) choose what to train on.

    Args:
        policy: sampled at its own temperature.
        n: rollouts a task.
        reward: any; its total over a rollout counts. Default exact match.
        right: count the share of rollouts paid this or more, in [0, 1]; None: the mean pay, reward units.
        cache: what was measured is looked up and kept here, by weights version, role and temperature of the policy;
            one policy in one environment each. Other weights are measured anew, and so a label never goes stale.
        progress: show a bar.

    Returns:
        The rate by id of the task; NaN where none of its rollouts was scored.

    Raises:
        SettingError: n is below 1.
        MissingGold: a task lacks what the reward needs.
    """
    if n < 1:
        raise SettingError(f"a pass rate needs at least one rollout a task, got n={n}")
    paid = ExactMatch() if reward is None else reward
    known: MutableMapping[str, float] = {} if cache is None else cache
    how = [policy.name, getattr(policy, "role", "agent"), getattr(policy, "temperature", 1.0), n, right, seed]
    keys = {task.id: json.dumps([*how, dumps(paid, loose=True), task.id, task.question]) for task in tasks}
    new = [task for task in tasks if keys[task.id] not in known]
    trees = rollout(policy, new, environment, group_size=n, seed=seed, progress=progress) if new else []
    if len(trees) < len(new):
        raise KeyboardInterrupt  # the rates of some of the tasks would be taken for those of all
    for tree, scores in zip(trees, score(trees, paid), strict=True):
        known[keys[tree.task.id]] = _rate(scores, right)
    return {task.id: known[keys[task.id]] for task in tasks}


def _rate(scores: Sequence[Scores], right: float | None) -> float:
    totals = np.array([one.total for one in scores])
    totals = totals[~np.isnan(totals)]
    if not len(totals):
        return float("nan")
    return float(totals.mean() if right is None else (totals >= right).mean())


def with_rates(tasks: Sequence[Task], rates: Mapping[str, float], name: str = "pass_rate") -> list[Task]:
    """The tasks, each with its rate in ``extras[name]``, where rewards and reports read it."""
    return [replace(task, extras={**task.extras, name: rates[task.id]}) for task in tasks]


@part
class PassRateBand:
    """Keeps the tasks that are neither too hard nor too easy: ``PassRateBand(0.1, 0.8)(tasks, rates)``.

    Both ends are kept. A task without a rate, or with NaN for one, is left out.
    """

    low: float = 0.0  # reward units
    high: float = 1.0
    _: KW_ONLY
    keep_easier: float = 0.0  # share of those above `high` that stay, drawn at random, lest they are forgotten
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.low <= self.high or not 0 <= self.keep_easier <= 1:
            raise SettingError(f"low is at most high and keep_easier a share from 0 to 1, got {self!r}")

    def __call__(self, tasks: Sequence[Task], rates: Mapping[str, float]) -> tuple[Task, ...]:
        """Those that stay, in their order."""
        easier = [task.id for task in tasks if rates.get(task.id, np.nan) > self.high]
        drawn = np.random.default_rng(self.seed).permutation(len(easier))[: round(self.keep_easier * len(easier))]
        stay = {easier[i] for i in drawn}
        return tuple(t for t in tasks if t.id in stay or self.low <= rates.get(t.id, np.nan) <= self.high)


def by_rate(
    tasks: Sequence[Task], rates: Mapping[str, float], count: int, which: Which = "hardest", *, seed: int = 0
) -> tuple[Task, ...]:
    """`count` of the tasks that have a rate: those of the lowest, of the highest, from the middle, or any.

    They come from the lowest rate to the highest, equal rates in the order of the tasks. BLEUBERI's four ways
    (arXiv:2505.11080). Where there are fewer tasks, all come.

    Raises:
        SettingError: no such way.
    """
    if which not in WHICH:
        raise SettingError(f"which is one of {', '.join(WHICH)}, got {which!r}")
    known = [task for task in tasks if not np.isnan(rates.get(task.id, np.nan))]
    known.sort(key=lambda task: rates[task.id])
    count = min(count, len(known))
    if which == "random":
        return tuple(known[i] for i in sorted(np.random.default_rng(seed).permutation(len(known))[:count]))
    rest = len(known) - count
    start = {"hardest": 0, "middle": rest // 2, "easiest": rest}[which]
    return tuple(known[start : start + count])
