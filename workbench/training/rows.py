"""Training rows: the append-only segments of the trajectories, with what the loss needs of every token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.batch import Advantages
from workbench.errors import MissingTokens
from workbench.trajectory import Origin, Tokens, Trajectory, Tree


@dataclass(frozen=True, eq=False)
class Row:
    """One segment. Arrays [T] over all its tokens; `train_T` marks those that enter the loss."""

    trajectory: Trajectory
    number: int  # of the trajectory in the batch
    tokens: Tokens
    step_T: np.ndarray  # int32, step each token belongs to, -1 context
    train_T: np.ndarray  # bool
    advantages_T: np.ndarray  # float32, 0 where not trained
    weights_T: np.ndarray  # float32, 0 where not trained

    def __len__(self) -> int:
        return len(self.tokens)


def training_rows(trees: Sequence[Tree], advantages: Advantages) -> list[Row]:
    """Rows of every trajectory in the gradient; a step that several trajectories share is trained on once.

    Rows in which nothing is trained on (all advantages 0 is not such a case: a KL or entropy term may still pull) are
    left out. Weights are 0 until `weighted` sets them.
    """
    trajectories = [trajectory for tree in trees for trajectory in tree]
    batch, by_trajectory = advantages.batch, advantages.by_trajectory()
    token_starts = np.concatenate([[0], np.cumsum(batch.tokens_S)])
    done: set[str] = set()
    rows = []
    for n in np.flatnonzero(batch.gradient_N):
        trajectory, path = trajectories[n], batch.path(int(n))
        fresh_S = np.array([step.id not in done for step in trajectory.steps])
        done.update(step.id for step in trajectory.steps)
        token_advantages = None
        if advantages.values_T is not None:
            token_advantages = [advantages.values_T[token_starts[s] : token_starts[s + 1]] for s in path]
        for row in _rows(trajectory, int(n), by_trajectory[n], token_advantages, fresh_S):
            if row.train_T.any():
                rows.append(row)
    return rows


def _rows(
    trajectory: Trajectory,
    number: int,
    advantages_S: np.ndarray,
    token_advantages: list[np.ndarray] | None,
    fresh_S: np.ndarray,
) -> Iterator[Row]:
    for segment in trajectory.segments():
        tokens, step_T = segment.tokens, segment.step_T
        own_T = tokens.origins_T == Origin.SAMPLED
        if (own_T & (step_T < 0)).any():
            raise MissingTokens(f"a context of trajectory {trajectory.id!r} claims sampled tokens of its own")
        train_T = own_T & np.where(step_T >= 0, fresh_S[step_T], False)
        advantages_T = np.zeros(len(tokens), np.float32)
        advantages_T[train_T] = advantages_S[step_T[train_T]]
        if token_advantages is not None:
            for s in np.unique(step_T[train_T]):
                advantages_T[train_T & (step_T == s)] = token_advantages[s]
        yield Row(trajectory, number, tokens, step_T, train_T, advantages_T, np.zeros(len(tokens), np.float32))


def weighted(rows: Sequence[Row], weights_T: np.ndarray) -> list[Row]:
    """The rows with loss weights filled in; `weights_T` runs over the trained tokens of all rows in order."""
    out, start = [], 0
    for row in rows:
        count = int(row.train_T.sum())
        filled_T = np.zeros(len(row), np.float32)
        filled_T[row.train_T] = weights_T[start : start + count]
        out.append(replace(row, weights_T=filled_T))
        start += count
    return out


def trained_trajectories(rows: Sequence[Row]) -> np.ndarray:
    """int64 [T]: number of the trajectory of each trained token, rows in order."""
    if not rows:
        return np.zeros(0, np.int64)
    return np.concatenate([np.full(int(row.train_T.sum()), row.number) for row in rows])


def micro_batches(rows: Sequence[Row], max_tokens: int) -> list[list[Row]]:
    """Rows of like length together, each micro-batch at most `max_tokens` padded tokens (one row at least)."""
    batches: list[list[Row]] = []
    for row in sorted(rows, key=len):
        width = len(row)
        if batches and width * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
