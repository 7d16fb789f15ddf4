"""Training rows: the append-only segments of the trajectories, with what the loss needs of every token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    flat_T: np.ndarray  # int64, number of the token among all own tokens of the batch, -1 where not trained
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
    batch, known_T = advantages.batch, advantages.values_T
    if known_T is None:
        known_T = advantages.values_S[batch.owner_T]
    done: set[str] = set()
    rows = []
    for n in np.flatnonzero(batch.gradient_N):
        trajectory = trajectories[n]
        fresh_S = np.array([step.id not in done for step in trajectory.steps])
        done.update(step.id for step in trajectory.steps)
        for row in _rows(trajectory, int(n), fresh_S, batch.first_token_S[batch.path(int(n))]):
            if row.train_T.any():
                row.advantages_T[row.train_T] = known_T[row.flat_T[row.train_T]]
                rows.append(row)
    return rows


def _rows(trajectory: Trajectory, number: int, fresh_S: np.ndarray, first_token_S: np.ndarray) -> Iterator[Row]:
    """The segments, nothing credited yet; `first_token_S`: where each step's own tokens begin in the batch."""
    for segment in trajectory.segments():
        tokens, step_T = segment.tokens, segment.step_T
        own_T = tokens.origins_T == Origin.SAMPLED
        if (own_T & (step_T < 0)).any():
            raise MissingTokens(f"a context of trajectory {trajectory.id!r} claims sampled tokens of its own")
        flat_T = np.full(len(tokens), -1, np.int64)
        steps = step_T[own_T]  # in order, so that a search finds where each step begins
        flat_T[own_T] = first_token_S[steps] + np.arange(len(steps)) - np.searchsorted(steps, steps)
        train_T = own_T & np.where(step_T >= 0, fresh_S[step_T], False)
        flat_T[~train_T] = -1
        nothing_T = np.zeros(len(tokens), np.float32)
        yield Row(trajectory, number, tokens, step_T, train_T, flat_T, nothing_T.copy(), nothing_T)


def flat_tokens(rows: Sequence[Row]) -> np.ndarray:
    """int64 [T]: number among the batch's own tokens of each trained token, rows in order."""
    return np.concatenate([row.flat_T[row.train_T] for row in rows]) if rows else np.zeros(0, np.int64)


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


def padded(rows: Sequence[Row]) -> int:
    """Tokens of rows read side by side, padding among them."""
    return len(rows) * max(len(row) for row in rows)


def micro_batches(
    rows: Sequence[Row], max_tokens: int, tokens: Callable[[Sequence[Row]], int] = padded, *, whole: bool = False
) -> list[list[Row]]:
    """Rows that are cheap to compute together, at most `max_tokens` tokens in each micro-batch (one row at least).

    Tried are rows of like length together, which saves padding, and rows that begin alike, where what they have in
    common is computed once. `tokens` counts what rows cost together, never more than `padded`.
    `whole`: all rows of a trajectory stay together.
    """
    units: dict[int, list[Row]] = {}
    for n, row in enumerate(rows):
        units.setdefault(row.number if whole else n, []).append(row)
    ways = [_filled(sorted(units.values(), key=key), max_tokens, tokens) for key in (_longest, _begins)]
    return min(ways, key=lambda batches: sum(map(tokens, batches)))


def _filled(units: Sequence[Sequence[Row]], max_tokens: int, tokens: Callable[[Sequence[Row]], int]) -> list[list[Row]]:
    batches: list[list[Row]] = []
    for unit in units:
        more = [*batches[-1], *unit] if batches else []
        if more and (padded(more) <= max_tokens or tokens(more) <= max_tokens):
            batches[-1] = more
        else:
            batches.append([*unit])
    return batches


def _longest(unit: Sequence[Row]) -> int:
    return max(len(row) for row in unit)


def _begins(unit: Sequence[Row]) -> bytes:
    return unit[0].tokens.ids_T.tobytes()
