"""Rewards for how much a rollout writes: `OverLong`."""

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
        if self.of == "tokens":
            length = int(own_counts(trajectory).sum())
        else:
            length = sum(len(step.text.split()) for step in trajectory.steps)
        into = (length - (self.most - self.buffer)) / self.buffer
        return Scores.trajectory(-min(max(into, 0.0), 1.0), f"{length} {self.of} of {self.most}")
