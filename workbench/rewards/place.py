"""Where rewards land among the tokens: `Placed` says it, `place` does it."""

from __future__ import annotations

import numpy as np

from workbench.errors import MissingTokens
from workbench.rewards.reward import Reward, Wrapper, own_counts
from workbench.scores import Level, Scores, Status
from workbench.spec import part
from workbench.trajectory import Trajectory


@part
class Placed(Wrapper):
    """A reward that lands elsewhere among the tokens than its level says. Totals per step do not change.

    `at` is one of

    - ``"end"``: the last own token of the trajectory (default of trajectory-level rewards);
    - ``"end_of_step"``: the last own token of the step (default of step-level rewards);
    - ``"every_token"``: shared evenly by the own tokens of the step, or of the trajectory, that is paid;
    - the name of a span (``"think"``, ``"query"``): the token that ends the last span of that name in the step. The
      closing tag of a step's last span belongs to it. A step without the span is paid at its end; a value per
      trajectory goes to the last step that has the span.

    StepSearch pays a search on the token that ends ``</search>``, where its turn ends: ``"end_of_step"``.
    """

    reward: Reward
    at: str = "end"

    @property
    def place(self) -> str:
        return self.at


def place(scores: Scores, trajectory: Trajectory, at: str | None = None) -> np.ndarray:
    """Scores as token rewards.

    Each part of a sum lands by its own `place`, weighted; a score without parts lands at `at` (default: by its
    level). Nothing is lost: the token rewards of a scored trajectory add up to its total.

    Returns:
        float64 [T] over the own tokens of the trajectory, in order; 0 where nothing lands, all NaN where a part is
        missing.

    Raises:
        MissingTokens: a step was imported as text, or the trajectory has no own token.
    """
    if scores.parts:
        return np.sum([one.weight * place(one.scores, trajectory, one.place) for one in scores.parts], axis=0)
    values_X, tokens_X, shares_X = landing(scores.level, at or "", trajectory)
    rewards_T = np.zeros(int(own_counts(trajectory).sum()))
    np.add.at(rewards_T, tokens_X, np.nan_to_num(scores.values_S)[values_X] * shares_X)
    return np.full_like(rewards_T, np.nan) if (scores.status_S == Status.MISSING).any() else rewards_T


def landing(level: Level, at: str, trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which value reaches which own token with which share: three arrays [X]."""
    counts_S = own_counts(trajectory)
    tokens = int(counts_S.sum())
    if not tokens:
        raise MissingTokens(f"trajectory {trajectory.id!r} has no own token for a reward to land on")
    if level is Level.TOKEN:
        return np.arange(tokens), np.arange(tokens), np.ones(tokens)
    steps = np.arange(len(counts_S))
    ends_S = np.maximum(np.cumsum(counts_S) - 1, 0)  # a step without own tokens: the token before it
    if at == "every_token":
        owner_T = np.zeros(tokens, np.int64) if level.single else np.repeat(steps, counts_S)
        bare = np.zeros(0, np.int64) if level.single else steps[counts_S == 0]
        shares_T = 1.0 / np.bincount(owner_T)[owner_T]
        owners = np.concatenate([owner_T, bare])
        return owners, np.concatenate([np.arange(tokens), ends_S[bare]]), np.concatenate([shares_T, np.ones(len(bare))])
    if at == "end" or (level.single and at in ("", "end_of_step")):
        values = np.zeros(1, np.int64) if level.single else steps
        return values, np.full(len(values), tokens - 1), np.ones(len(values))
    if at not in ("", "end_of_step"):
        ends_S = np.array([_span_end(trajectory, s, at, int(end)) for s, end in enumerate(ends_S)])
    if level.single:
        having = [s for s, step in enumerate(trajectory.steps) if step.span(at) is not None]
        return np.zeros(1, np.int64), ends_S[having[-1:]] if having else np.array([tokens - 1]), np.ones(1)
    return steps, ends_S, np.ones(len(steps))


def _span_end(trajectory: Trajectory, s: int, name: str, end: int) -> int:
    """Own token that ends the last span `name` of step `s`, whose last own token is `end`."""
    step = trajectory.steps[s]
    found = [i for i, span in enumerate(step.spans) if span.name == name]
    if not found or found[-1] == len(step.spans) - 1 or step.tokens is None:
        return end
    stop = step.spans[found[-1]].stop
    if stop is None:
        return end
    after = int(step.tokens.own_T[stop:].sum())
    return max(end - after, end - step.own_tokens + 1)
