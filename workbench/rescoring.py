"""`rescore`: another reward over what a lab holds, recorded as a new version beside the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from workbench.errors import StoreError
from workbench.rewards import Reward
from workbench.rewards.score import score
from workbench.scores import Scores, Status
from workbench.spec import code_version, dumps
from workbench.store import Store
from workbench.store.scoring import reward_version

AT_ONCE = 500
"""Trajectories that are in memory together."""


@dataclass(frozen=True)
class Rescored:
    """What `rescore` did. `version` goes into ``store.compare("previous", version)``."""

    version: str
    runs: tuple[str, ...]
    trees: int  # scored now
    kept: int  # trees whose scores in force were this version's already
    trajectories: int  # scored now
    missing: int  # of these, trajectories that should have a score and where the attempt failed
    not_applicable: int  # of these, trajectories of which the reward says nothing


def rescore(
    store: Store,
    reward: Reward,
    run: str | Sequence[str] | None = None,
    *,
    update: int | None = None,
    progress: bool = True,
) -> Rescored:
    """Score recorded trees again and record that as a new version: it is then in force, and earlier ones stay.

    Some hundred trajectories are in memory at a time, groups whole. Ctrl-C, an error or the end of the process loses
    nothing that was scored before it: the same call goes on where it stopped, since trees whose scores in force are
    this version's (same settings, same code) are left alone. What encoders made of texts is kept in the lab, and what
    is there is not made again.

    Args:
        run: one run, or several; None: all that hold trees.
        update: only trees of this update.
        progress: show a bar.

    Raises:
        UnknownRun: no such run.
        SettingError: the reward holds what cannot be stored (a plain function: write a class with ``@part``).
        StoreError: there are no trees to score.
        MissingGold: a task lacks what the reward needs.
    """
    settings, code = dumps(reward), code_version(reward)
    version = reward_version(settings, code)
    names = store.runs() if run is None else [run] if isinstance(run, str) else list(run)
    todo = {name: store.batches(name, update, lacking=version, trajectories=AT_ONCE) for name in dict.fromkeys(names)}
    left, kept = sum(batches.left for batches in todo.values()), sum(batches.held for batches in todo.values())
    if not left + kept:
        raise StoreError(f"{', '.join(names) or 'the lab'} holds no trees{_of(update)}; there is nothing to score")
    counts = [0, 0, 0]
    with tqdm(total=left, desc="score", unit="tree", disable=not progress) as bar:
        for name, batches in todo.items():
            for trees in batches:  # before it reads on, the store has on disk what was recorded
                scores = score(trees, reward, vectors=store.vectors)
                store.record_scores(trees, scores, run=name, reward=settings, version=code)
                for one in (one for tree in scores for one in tree):
                    counts = [n + more for n, more in zip(counts, _counted(one), strict=True)]
                bar.update(len(trees))
    return Rescored(version, tuple(todo), left, kept, *counts)


def _of(update: int | None) -> str:
    return "" if update is None else f" of update {update}"


def _counted(scores: Scores) -> tuple[int, int, int]:
    """One trajectory; whether its score is missing; whether there is nothing to score."""
    missing = bool((scores.status_S == Status.MISSING).any())
    scored = bool((scores.status_S == Status.SCORED).any())
    return 1, int(missing), int(not missing and not scored)
