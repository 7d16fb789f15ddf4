"""`GroupRescale`: a reward measured against the group it is paid in."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal, get_args

import numpy as np

from workbench.errors import LevelError, SettingError
from workbench.rewards.reward import Reward, Wrapper
from workbench.rewards.totals import ranged_totals
from workbench.scores import Level, Scores, Status
from workbench.spec import part
from workbench.trajectory import Group, Trajectory

Kind = Literal["z", "max", "rank", "min_max"]


@part
class GroupRescale(Wrapper):
    """A reward per trajectory on a scale of its group, so that rewards of different units can be summed.

    `kind`, over the rollouts of the group that are scored:

    - ``"z"``: (value - mean) / (std + eps); all equal, or one alone: 0;
    - ``"max"``: value / largest value, 0 where the largest is 0 or below (CaRR, arXiv:2601.06021);
    - ``"rank"``: share of the others that are lower, equal ones counting half, in [0, 1]; one alone: 0.5;
    - ``"min_max"``: (value - lowest) / (highest - lowest), in [0, 1]; all equal: 0.5.

    What is missing or does not apply stays so. BLEUBERI (Chang et al. 2025, arXiv:2505.11080) adds BLEU to a reward
    model so: ``0.5 * GroupRescale(TextOverlap()) + 0.5 * GroupRescale(model)``.
    """

    reward: Reward
    kind: Kind = "z"
    _: KW_ONLY
    ddof: int = 1  # of "z": std divides by (scored rollouts - ddof)
    eps: float = 1e-6  # of "z", added to the std, reward units

    level = Level.GROUP
    grouped = True
    causal = False

    def __post_init__(self) -> None:
        if not self.reward.level.single:
            raise LevelError(f"GroupRescale takes a reward per trajectory, got {self.reward!r}; see ReduceSteps")
        if self.kind not in get_args(Kind):
            raise SettingError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if self.ddof < 0 or not 0 <= self.eps < np.inf:
            raise SettingError(f"ddof and eps are at least 0, got {self.ddof} and {self.eps}")

    @property
    def levels(self) -> frozenset[Level]:
        return frozenset({Level.TRAJECTORY})

    @property
    def range(self) -> tuple[float, float]:
        if self.kind in ("rank", "min_max"):
            return 0.0, 1.0
        return (-np.inf, np.inf) if self.kind == "z" else (0.0 if self.reward.range[0] >= 0 else -np.inf, 1.0)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return ranged_totals(self, steps)

    def score(self, trajectory: Trajectory) -> Scores:
        raise LevelError(f"{self!r} compares siblings: give it a Group, not the one trajectory {trajectory.id!r}")

    def score_group(self, group: Group) -> list[Scores]:
        given = self.reward(group)
        values_G = np.array([scores.values_S[0] for scores in given])
        scored_G = np.array([scores.status_S[0] == Status.SCORED for scores in given])
        made_G = np.full(len(given), np.nan)
        if scored_G.any():
            made_G[scored_G] = rescaled(values_G[scored_G], self.kind, ddof=self.ddof, eps=self.eps)
        rows = zip(given, made_G, strict=True)
        return [Scores(np.array([value]), one.status_S, self._why(one), self.level) for one, value in rows]

    def _why(self, scores: Scores) -> tuple[str, ...]:
        if np.isnan(scores.values_S[0]):
            return scores.why_S
        return (f"{self.kind} of {scores.values_S[0]:.4g} in its group; {scores.why_S[0]}",)


def rescaled(values_G: np.ndarray, kind: Kind = "z", *, ddof: int = 1, eps: float = 1e-6) -> np.ndarray:
    """The values, all of them scored, on a scale of their own: see `GroupRescale`."""
    lowest, highest = values_G.min(), values_G.max()
    if kind == "max":
        return values_G / highest if highest > 0 else np.zeros_like(values_G)
    if kind == "z":
        if lowest == highest or len(values_G) <= ddof:
            return np.zeros_like(values_G)
        return (values_G - values_G.mean()) / (values_G.std(ddof=ddof) + eps)
    if lowest == highest:
        return np.full_like(values_G, 0.5)
    if kind == "min_max":
        return (values_G - lowest) / (highest - lowest)
    lower_GG = np.sign(values_G[:, None] - values_G[None, :])
    return (lower_GG.sum(axis=1) / (len(values_G) - 1) + 1) / 2
