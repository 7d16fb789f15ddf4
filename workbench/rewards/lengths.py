"""Rewards for how much a rollout writes: `OverLong` and `ReachLength`."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

from workbench.errors import SettingError
from workbench.rewards.reward import Reward, own_counts
from workbench.scores import Scores
from workbench.spec import part
from workbench.trajectory import Trajectory


@part
class OverLong(Reward):
    """What a rollout loses for writing much, in [-1, 0]: nothing up to `most` - `buffer`, all of it from `most` on, and
    in between its share of the buffer (the soft overlong punishment of DAPO, Yu et al. 2025, arXiv:2503.14476, eq. 13).

    Counted are the agent's own turns, never what the environment answered: in tokens that it drew, or in words.

    Raises:
        MissingTokens: of="tokens" and a step was imported as text.
    """

    most: int
    buffer: int
    _: KW_ONLY
    of: Literal["tokens", "words"] = "tokens"

    range = (-1.0, 0.0)

    def __post_init__(self) -> None:
        if not 0 < self.buffer <= self.most:
            raise SettingError(f"buffer is at least 1 and at most {self.most} (most), got {self.buffer}")
        if self.of not in ("tokens", "words"):
            raise SettingError(f"of is 'tokens' or 'words', got {self.of!r}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"tokens"} if self.of == "tokens" else ())

    def score(self, trajectory: Trajectory) -> Scores:
        length = int(own_counts(trajectory).sum()) if self.of == "tokens" else words_written(trajectory)
        into = (length - (self.most - self.buffer)) / self.buffer
        return Scores.trajectory(-min(max(into, 0.0), 1.0), f"{length} {self.of} of {self.most}")


@part
class ReachLength(Reward):
    """How near a rollout comes to writing `target` words, in [0, 1]: its share of them, 1 from `target` on.

    Counted are the words of the agent's spans called `span`, over all turns, or of its whole turns. ToolRL (Qian et
    al. 2025, arXiv:2504.13958, ``rlla.py``) pays thinking so, with digits=2, and finds that it does not help.
    """

    target: float = 512.0  # words; a schedule may move it
    _: KW_ONLY
    span: str | None = "think"  # None: all that the agent wrote
    digits: int | None = None  # round the share to this many digits; None: do not

    range = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 < self.target < float("inf"):
            raise SettingError(f"target must be a finite number of words above 0, got {self.target}")

    def score(self, trajectory: Trajectory) -> Scores:
        words = words_written(trajectory, self.span)
        share = words / self.target
        share = share if self.digits is None else round(share, self.digits)
        return Scores.trajectory(min(1.0, share), f"{words} of {self.target:g} words")


def words_written(trajectory: Trajectory, span: str | None = None) -> int:
    """Words in the agent's turns, or in its spans of one name."""
    if span is None:
        return sum(len(step.text.split()) for step in trajectory.steps)
    return sum(len(one.text.split()) for step in trajectory.steps for one in step.spans if one.name == span)
