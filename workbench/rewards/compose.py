"""Rewards made of rewards: what they share (`Composite`), and the sum.

Sums may mix levels; products, clips and reductions ask for one level and say so when they are made. *Not applicable*
adds nothing to a sum and makes a product not applicable; *missing* makes everything made of it missing.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np

from workbench.errors import LevelError, ScoreError, SettingError, UnknownName
from workbench.rewards.place import landing
from workbench.rewards.reward import Reward, factor, length_of
from workbench.rewards.totals import tried_totals
from workbench.scores import Level, Part, Scores, Status, combined_status
from workbench.spec import part
from workbench.trajectory import Group, Trajectory


class Composite(Reward):
    """A reward made of several, listed by `inner`. Subclasses write `combine`."""

    @property
    def infix(self) -> bool:
        """True where it prints as a sum or product, so that a product around it needs brackets."""
        return False

    @property
    def inner(self) -> tuple[Reward, ...]:
        raise NotImplementedError

    @cached_property
    def levels(self) -> frozenset[Level]:
        return frozenset[Level]().union(*(reward.levels for reward in self.inner))

    @cached_property
    def level(self) -> Level:
        """The finest level inside: token, then step, then trajectory (group, where one of them compares siblings)."""
        for level in (Level.TOKEN, Level.STEP):
            if level in self.levels:
                return level
        grouped = any(reward.level is Level.GROUP for reward in self.inner)
        return Level.GROUP if grouped else Level.TRAJECTORY

    @property
    def needs(self) -> frozenset[str]:
        return frozenset[str]().union(*(reward.needs for reward in self.inner))

    @property
    def causal(self) -> bool:
        return all(reward.causal for reward in self.inner)

    @property
    def grouped(self) -> bool:
        return any(reward.grouped for reward in self.inner)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return tried_totals(self, self.inner, self.combine, right, steps)

    def score(self, trajectory: Trajectory) -> Scores:
        return self.combine([reward(trajectory) for reward in self.inner], trajectory)

    def score_group(self, group: Group) -> list[Scores]:
        columns = zip(*(reward(group) for reward in self.inner), strict=True)
        return [self.combine(column, trajectory) for column, trajectory in zip(columns, group, strict=True)]

    def combine(self, scores: Sequence[Scores], trajectory: Trajectory) -> Scores:
        """One Scores from those of the inner rewards."""
        raise NotImplementedError


def one_level(what: str, *rewards: Reward) -> None:
    """Refuse rewards of different levels.

    Raises:
        LevelError: they do not all pay at one level.
    """
    levels = frozenset[Level]().union(*(reward.levels for reward in rewards))
    if len(levels) > 1:
        raise LevelError(
            f"{what} needs one level, got {' and '.join(sorted(levels))}; bring steps to a trajectory with "
            "ReduceSteps(reward, kind=...)"
        )


# ---------------------------------------------------------------- sums


@part
class WeightedSum(Composite):
    """Sum of weighted rewards. Weights are used as given: nothing is normalised.

    Where the terms' levels differ, the sum has the finest one: a value per trajectory lands on the last step. Its
    Scores keep raw terms and weights apart in `parts`; a term that has parts itself (a gated sum) gives its own. Of
    terms with one name the second is called ``name_2``, the third ``name_3``.

    `on_missing` says what a term that could not be scored does:

    - ``"rollout"``: the sum is missing, and the rollout leaves baseline and gradient;
    - ``"term"``: that term becomes not applicable in the whole group (it must then be scored as a group), so that
      all siblings are compared by the same terms.

    Sums inside are flattened where `on_missing` agrees.
    """

    terms: tuple[tuple[float, Reward], ...]
    on_missing: Literal["rollout", "term"] = "rollout"

    def __post_init__(self) -> None:
        if self.on_missing not in ("rollout", "term"):
            raise SettingError(f"on_missing is 'rollout' or 'term', got {self.on_missing!r}")
        if not self.terms:
            raise SettingError("a WeightedSum needs at least one term: ((weight, reward), ...)")
        flat: list[tuple[float, Reward]] = []
        for weight, reward in self.terms:
            if not isinstance(weight, numbers.Real) or not math.isfinite(weight):
                raise SettingError(f"the weight of {reward!r} must be a finite number, got {weight!r}")
            nested = isinstance(reward, WeightedSum) and reward.on_missing == self.on_missing
            inner = reward.terms if isinstance(reward, WeightedSum) and nested else ((1.0, reward),)
            flat += [(float(weight) * share, one) for share, one in inner]
        object.__setattr__(self, "terms", tuple(flat))

    @property
    def inner(self) -> tuple[Reward, ...]:
        return tuple(reward for _, reward in self.terms)

    @property
    def range(self) -> tuple[float, float]:
        """A term that may not apply, or not land at this place, counts with 0."""
        ends = [_weighted(weight, *reward.range) for weight, reward in self.terms]
        if len(ends) == 1:
            return ends[0]
        return sum(min(low, 0.0) for low, _ in ends), sum(max(high, 0.0) for _, high in ends)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        ends = [_weighted(weight, *reward.totals(right, steps)) for weight, reward in self.terms]
        return sum(low for low, _ in ends), sum(high for _, high in ends)

    @property
    def grouped(self) -> bool:
        return self.on_missing == "term" or super().grouped

    @property
    def infix(self) -> bool:
        return self.on_missing == "rollout"

    def score_group(self, group: Group) -> list[Scores]:
        columns = zip(*(reward(group) for reward in self.inner), strict=True)
        all_parts = [self._parts(column) for column in columns]
        if self.on_missing == "term":
            all_parts = _drop_missing(all_parts, group)
        return [self._summed(parts, trajectory) for parts, trajectory in zip(all_parts, group, strict=True)]

    def combine(self, scores: Sequence[Scores], trajectory: Trajectory) -> Scores:
        return self._summed(self._parts(scores), trajectory)

    def _parts(self, scores: Sequence[Scores]) -> list[Part]:
        parts: list[Part] = []
        for (weight, reward), one in zip(self.terms, scores, strict=True):
            inner = one.parts or (Part(reward.name, 1.0, one, reward.place),)
            parts += [Part(term.name, weight * term.weight, term.scores, term.place) for term in inner]
        return unique(parts)

    def _summed(self, parts: Sequence[Part], trajectory: Trajectory) -> Scores:
        landed = [_landed(term, self.level, trajectory) for term in parts]
        values_RX, status_RX = (np.stack(rows) for rows in zip(*landed, strict=True))
        weights_R = np.array([term.weight for term in parts])
        status_X = combined_status(status_RX)
        sums_X = np.where(status_X == Status.SCORED, weights_R @ np.nan_to_num(values_RX), np.nan)
        return Scores(sums_X, status_X, _reasons(parts, len(status_X)), self.level, tuple(parts))

    def __repr__(self) -> str:
        text = _formula(self.terms)
        return text if self.on_missing == "rollout" else f"WeightedSum({self.terms!r}, on_missing='term')"


def _weighted(weight: float, low: float, high: float) -> tuple[float, float]:
    ends = sorted((weight * low, weight * high)) if weight else (0.0, 0.0)  # 0 * inf is nothing
    return ends[0], ends[1]


def scaled(reward: Reward, weight: float) -> Reward:
    """`weight` times `reward`; a weight of 1 gives the reward itself."""
    if weight == 1.0:
        return reward
    if isinstance(reward, WeightedSum):
        return replace(reward, terms=tuple((weight * share, one) for share, one in reward.terms))
    return WeightedSum(((weight, reward),))


def weights_of(reward: Reward) -> dict[str, float]:
    """The weight of each term by name; a reward that is no sum is one term of weight 1.

    >>> from workbench.rewards import ExactMatch, WellFormed
    >>> weights_of(ExactMatch() + 0.5 * WellFormed())
    {'ExactMatch': 1.0, 'WellFormed': 0.5}
    """
    terms = reward.terms if isinstance(reward, WeightedSum) else ((1.0, reward),)
    return dict(zip(_numbered([term.name for _, term in terms]), [weight for weight, _ in terms], strict=True))


def reweighted(reward: Reward, weights: Mapping[str, float]) -> Reward:
    """The reward with some of its weights changed, by the names that `weights_of` gives.

    Raises:
        UnknownName: it has no term of that name.
        SettingError: a weight is not a finite number.
    """
    old = weights_of(reward)
    for name in weights:
        if name not in old:
            raise UnknownName.among("term", name, old, where=f"the reward {reward!r}")
    new = [weights.get(name, weight) for name, weight in old.items()]
    if not isinstance(reward, WeightedSum):
        return scaled(reward, new[0])
    return replace(reward, terms=tuple(zip(new, reward.inner, strict=True)))


def unique(parts: Sequence[Part]) -> list[Part]:
    """The parts with later ones of the same name numbered: ``name_2``, ``name_3``."""
    names = _numbered([term.name for term in parts])
    return [term if name == term.name else replace(term, name=name) for name, term in zip(names, parts, strict=True)]


def _numbered(names: Sequence[str]) -> list[str]:
    given: list[str] = []
    for name in names:
        free, number = name, 1
        while free in given:
            number += 1
            free = f"{name}_{number}"
        given.append(free)
    return given


def _formula(terms: Sequence[tuple[float, Reward]]) -> str:
    text = ""
    for n, (weight, reward) in enumerate(terms):
        size = "" if abs(weight) == 1 else f"{abs(weight)!r} * "
        sign = "-" if weight < 0 else "+"
        text += f" {sign} " if n else sign.replace("+", "")
        text += size + factor(reward)
    return text


def _landed(term: Part, level: Level, trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Values and statuses of a term at the places of a sum of `level`."""
    scores = term.scores
    if scores.level is level or (scores.level.single and level.single):
        return scores.values_S, scores.status_S
    places = length_of(level, trajectory)
    if not places:
        raise ScoreError(f"trajectory {trajectory.id!r} has no step for {term.name} to land on")
    values_X = np.full(places, np.nan)
    status_X = np.full(places, Status.NOT_APPLICABLE, dtype=np.int8)
    if level is Level.STEP:
        values_X[-1], status_X[-1] = scores.values_S[0], scores.status_S[0]
        return values_X, status_X
    given_X, tokens_X, shares_X = landing(scores.level, term.place, trajectory)
    landing_status_X = scores.status_S[given_X]
    paid_X = landing_status_X == Status.SCORED
    sums_X = np.zeros(places)
    np.add.at(sums_X, tokens_X[paid_X], (scores.values_S[given_X] * shares_X)[paid_X])
    status_X[tokens_X[paid_X]] = Status.SCORED
    status_X[tokens_X[landing_status_X == Status.MISSING]] = Status.MISSING
    return np.where(status_X == Status.SCORED, sums_X, np.nan), status_X


def _reasons(parts: Sequence[Part], places: int) -> tuple[str, ...]:
    """What the terms say, joined, at the places where they have one reason a place; the last place hears the rest."""
    lines: list[list[str]] = [[] for _ in range(places)]
    for term in parts:
        whys = term.scores.why_S
        at = range(places) if len(whys) == places else [places - 1] * len(whys)
        for x, why in zip(at, whys, strict=True):
            if why:
                lines[x].append(f"{term.name}: {why}")
    return tuple("; ".join(line) for line in lines)


def _drop_missing(all_parts: list[list[Part]], group: Group) -> list[list[Part]]:
    """Make a term that is missing anywhere in the group not applicable everywhere in it."""
    columns = [list(column) for column in zip(*all_parts, strict=True)]
    for column in columns:
        failed = [n for n, term in enumerate(column) if (term.scores.status_S == Status.MISSING).any()]
        if failed:
            first = column[failed[0]].scores
            why = first.why_S[int((first.status_S == Status.MISSING).argmax())]
            reason = f"left out for the whole group: missing in {group.trajectories[failed[0]].id!r} ({why})"
            column[:] = [replace(term, scores=skipped(term.scores, reason)) for term in column]
    return [list(row) for row in zip(*columns, strict=True)]


def skipped(scores: Scores, why: str) -> Scores:
    """The same shape, nothing applicable, for one reason."""
    made = Scores.unscored(len(scores), level=scores.level)
    return replace(made, why_S=(why,) * len(scores))
