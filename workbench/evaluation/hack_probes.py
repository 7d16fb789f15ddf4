"""What cheap tricks earn beside the honest rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import SettingError
from workbench.evaluation.probes import PROBES, Material, Search, honest_rollout, stranger
from workbench.rewards.reward import Reward
from workbench.scores import Scores, Status
from workbench.trajectory import Group, Step, Task, Trajectory

if TYPE_CHECKING:
    import pandas as pd

EQUAL = 1e-9
"""Reward units within which two totals are the same."""
COLUMNS = ["tried", "honest", "paid", "gain", "more", "same", "flagged", "verdict"]


def hack_probes(
    reward: Reward, honest: Task | Trajectory | Sequence[Trajectory], *, search: Search | None = None
) -> pd.DataFrame:
    """Make tricky rollouts out of honest ones, and compare what each is paid.

    A tricky rollout keeps the hits where the same query brings them. Where rollouts are of several tasks, the others
    lend their searches as off-topic ones; the question as query needs `search`.

    Args:
        honest: rollouts to start from, those with right answers before all: beside a wrong answer junk is no worse.
            A task: the rollout an able agent would make is written for it, from its golds.
        search: asks the corpus, for tricks that search anew.

    Returns:
        One row a trick: tried (rollouts it could be made of and that were scored), honest and paid (mean pay without
        and with it, reward units), gain (their difference), more and same (share of the tried in which it is paid more,
        or the same), flagged (it pays more anywhere, or at least as much on average), verdict (a few words). What does
        not apply pays nothing; what is missing is not compared.

    Raises:
        SettingError: there is no rollout.
        MissingGold: a task lacks what the reward needs.
    """
    import pandas as pd

    strangers: dict[str, Step] = {}
    if isinstance(honest, Task):
        strangers, honest = {"": stranger(search)}, honest_rollout(honest, search)
    rollouts = [honest] if isinstance(honest, Trajectory) else list(honest)
    if not rollouts:
        raise SettingError("hack_probes needs at least one honest rollout, or a task to write one for")
    material = Material(search, strangers or _strangers(rollouts))
    rows = {name: _row(name, reward, rollouts, material) for name in PROBES}
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("trick")


def _strangers(rollouts: Sequence[Trajectory]) -> dict[str, Step]:
    """One search of each task, by its question; a handful is enough."""
    found: dict[str, Step] = {}
    for rollout in rollouts:
        step = next((step for step in rollout.steps if step.queries), None)
        if step is not None and len(found) < 8:
            found.setdefault(rollout.task.question, step)
    return found


def _row(name: str, reward: Reward, rollouts: Sequence[Trajectory], material: Material) -> list[object]:
    pairs, reasons = [], []
    for rollout in rollouts:
        made = PROBES[name](rollout, material)
        if isinstance(made, str):
            reasons.append(made)
            continue
        pairs.append(_pair(reward, rollout, made, rollouts))
    paid_N2 = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    paid_N2 = paid_N2[~np.isnan(paid_N2).any(axis=1)]
    if not len(paid_N2):
        why = max(set(reasons), key=reasons.count) if reasons else "nothing was scored"
        return [0, *[np.nan] * 5, False, f"not tried: {why}"]
    gain_N = paid_N2[:, 1] - paid_N2[:, 0]
    more, same, gain = (gain_N > EQUAL).mean(), (np.abs(gain_N) <= EQUAL).mean(), gain_N.mean()
    verdict = _verdict(more, same, gain)
    return [len(paid_N2), *paid_N2.mean(axis=0), gain, more, same, verdict != "pays less", verdict]


def _verdict(more: float, same: float, gain: float) -> str:
    if same == 1.0:
        return "costs nothing"
    if gain >= -EQUAL:
        return "pays more"
    return f"pays more in {more:.0%} of them" if more else "pays less"


def _pair(reward: Reward, honest: Trajectory, made: Trajectory, rollouts: Sequence[Trajectory]) -> tuple[float, float]:
    """What both are paid; where siblings are compared, among all rollouts of their task."""
    if not reward.grouped:
        return _paid(reward(honest)), _paid(reward(made))
    key = honest.group_key
    siblings = [one for one in rollouts if one is not honest and one.group_key == key == made.group_key]
    scores = reward(Group((honest, made, *siblings))) if key == made.group_key else []
    return (_paid(scores[0]), _paid(scores[1])) if scores else (np.nan, np.nan)


def _paid(scores: Scores) -> float:
    """The total, in a sum: what does not apply adds nothing."""
    if (scores.status_S == Status.MISSING).any():
        return np.nan
    return float(np.nansum(scores.values_S))
