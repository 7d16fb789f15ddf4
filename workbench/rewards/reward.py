"""`Reward`: what all rewards share, their declarations, their algebra and the check of what they return.

A reward is written for one trajectory (`score`) and lifted to groups, or, where a rollout's pay depends on its
siblings, for a group (`score_group`, level GROUP). It is a ``@part``: its fields are its settings.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from workbench.errors import LevelError, MissingTokens, ScoreError
from workbench.rewards.totals import ranged_totals, tried_totals
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Group, Trajectory

if TYPE_CHECKING:
    from workbench.rewards.compose import WeightedSum
    from workbench.rewards.gates import Product
    from workbench.rewards.reduce import Clip


class Reward:
    """Base of the rewards. Subclasses declare what they are and write `score` or `score_group`::

        @part
        class Searches(Reward):
            level = Level.STEP
            range = (0.0, 1.0)
            causal = True

            def score(self, trajectory: Trajectory) -> Scores:
                return Scores.steps([float(bool(step.queries)) for step in trajectory.steps])

    Rewards add, subtract, multiply, scale and clip: ``ExactMatch() + 0.5 * CoverageGain()`` is a `WeightedSum`,
    ``a * b`` a `Product`. Printed, a reward reads like the formula that makes it.
    """

    __array_ufunc__ = None  # np.float64(0.5) * reward asks the reward

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the short repr: a dataclass would write its own, with every default in it."""
        super().__init_subclass__(**kwargs)
        if "__repr__" not in cls.__dict__:
            setattr(cls, "__repr__", Reward.__repr__)  # noqa: B010 (mypy refuses the assignment)

    # ------------------------------------------------------------ declarations

    @property
    def level(self) -> Level:
        """What one value stands for."""
        return Level.TRAJECTORY

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value that can be paid at one place, reward units. A value outside is a ScoreError."""
        return -np.inf, np.inf

    @property
    def needs(self) -> frozenset[str]:
        """What must be there: golds, gold_pages, sub_questions, gold_texts, gold_calls, references, rubrics, judge,
        encoder, tokens."""
        return frozenset()

    @property
    def causal(self) -> bool:
        """True where a prefix of a trajectory scores the same alone as inside the whole."""
        return False

    @property
    def name(self) -> str:
        """What its term is called in a sum: the class name, unless `named` gave another."""
        return type(self).__name__

    @property
    def place(self) -> str:
        """Where its values land among the tokens, see `Placed`."""
        return {Level.STEP: "end_of_step", Level.TOKEN: "every_token"}.get(self.level, "end")

    @property
    def levels(self) -> frozenset[Level]:
        """The levels inside: several for a sum that mixes them. TRAJECTORY and GROUP count as one."""
        return frozenset({Level.TRAJECTORY if self.level.single else self.level})

    @property
    def grouped(self) -> bool:
        """True where a trajectory can only be scored among its siblings."""
        return self.level is Level.GROUP

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        """Lowest and highest total of a rollout of at most `steps` steps whose answer is right, or is not.

        What `workbench.evaluation.spec_lint` reads. This default is for rewards that do not look at the answer; one
        that does says what a right and what a wrong answer is paid (a graded one: wholly right, wholly wrong).
        """
        return ranged_totals(self, steps)

    @property
    def concerns(self) -> tuple[str, ...]:
        """What these settings do that nobody would expect, a sentence each; `spec_lint` passes it on."""
        return ()

    # ------------------------------------------------------------ scoring

    @overload
    def __call__(self, group: Group) -> list[Scores]: ...
    @overload
    def __call__(self, group: Trajectory) -> Scores: ...
    def __call__(self, group: Group | Trajectory) -> list[Scores] | Scores:
        """Score a group (one Scores a trajectory, in order) or, for convenience, one trajectory.

        Raises:
            LevelError: one trajectory was given to a reward that compares siblings.
            ScoreError: the reward broke its contract (wrong level or length).
        """
        if isinstance(group, Trajectory):
            if self.grouped:
                raise LevelError(f"{self!r} compares siblings: give it a Group, not the one trajectory {group.id!r}")
            return self._checked(self.score(group), group)
        if not isinstance(group, Group):
            raise LevelError(f"a reward scores a Group or a Trajectory, got {type(group).__name__}; see Tree.groups()")
        scores = self.score_group(group)
        if len(scores) != len(group):
            raise ScoreError(f"{self!r} gave {len(scores)} scores for a group of {len(group)}; give one a trajectory")
        return [self._checked(one, trajectory) for one, trajectory in zip(scores, group, strict=True)]

    def score(self, trajectory: Trajectory) -> Scores:
        """Score one trajectory. Most rewards write this."""
        raise NotImplementedError(f"{type(self).__name__} must define score(trajectory) or score_group(group)")

    def score_group(self, group: Group) -> list[Scores]:
        """Score all trajectories of a group. Rewards of level GROUP write this."""
        return [self.score(trajectory) for trajectory in group]

    def _checked(self, scores: Scores, trajectory: Trajectory) -> Scores:
        if not isinstance(scores, Scores):
            raise ScoreError(f"{self!r} returned {type(scores).__name__}; see Scores.trajectory and Scores.steps")
        if scores.level != self.level:
            raise ScoreError(f"{self!r} declares level {self.level} and returned level {scores.level}")
        wanted = length_of(self.level, trajectory)
        if len(scores) != wanted:
            raise ScoreError(f"{self!r} gave {trajectory.id!r} {len(scores)} values; level {self.level} has {wanted}")
        if not scores.parts:
            scores.name = self.name
            self._check_range(scores, trajectory)
        return scores

    def _check_range(self, scores: Scores, trajectory: Trajectory) -> None:
        """What a reward pays lies in the range that it declares: the lint goes by it."""
        low, high = self.range
        paid = scores.values_S[~np.isnan(scores.values_S)]
        slack = 1e-6 * max(1.0, *(abs(bound) for bound in (low, high) if np.isfinite(bound)), 0.0)
        if len(paid) and (paid.min() < low - slack or paid.max() > high + slack):
            raise ScoreError(
                f"{self!r} paid {trajectory.id!r} between {paid.min():g} and {paid.max():g} and declares the range "
                f"({low:g}, {high:g}); declare what it can pay, since the lint goes by that"
            )

    # ------------------------------------------------------------ algebra

    def __add__(self, other: Reward) -> WeightedSum:
        from workbench.rewards.compose import WeightedSum

        return WeightedSum(((1.0, self), (1.0, other))) if isinstance(other, Reward) else NotImplemented

    def __radd__(self, other: Any) -> Reward:
        return self if isinstance(other, numbers.Real) and other == 0 else NotImplemented  # sum() starts at 0

    def __sub__(self, other: Reward) -> WeightedSum:
        from workbench.rewards.compose import WeightedSum

        return WeightedSum(((1.0, self), (-1.0, other))) if isinstance(other, Reward) else NotImplemented

    def __neg__(self) -> Reward:
        return -1.0 * self

    @overload
    def __mul__(self, other: Reward) -> Product: ...
    @overload
    def __mul__(self, other: float) -> Reward: ...
    def __mul__(self, other: Reward | float) -> Reward:
        from workbench.rewards.compose import scaled
        from workbench.rewards.gates import Product

        if isinstance(other, Reward):
            return Product((self, other))
        return scaled(self, float(other)) if isinstance(other, numbers.Real) else NotImplemented

    def __rmul__(self, weight: float) -> Reward:
        return self * weight

    def clip(self, low: float | None = None, high: float | None = None) -> Clip:
        """This reward, its values held between `low` and `high`; None leaves that side open."""
        from workbench.rewards.reduce import Clip

        return Clip(self, low, high)

    def named(self, name: str) -> Named:
        """This reward under another name."""
        return Named(self, name)

    # ------------------------------------------------------------ printing

    def __repr__(self) -> str:
        """The settings that differ from their defaults, as one would type them."""
        fields: tuple[dataclasses.Field, ...] = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        shown = [_typed(self, field) for field in fields if not _is_default(self, field)]
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_default(value: Any, field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING and getattr(value, field.name) == field.default


def _typed(value: Any, field: dataclasses.Field) -> str:
    """A setting as typed: by position where it has no default, else by name."""
    text = repr(getattr(value, field.name))
    return text if field.default is dataclasses.MISSING else f"{field.name}={text}"


def length_of(level: Level, trajectory: Trajectory) -> int:
    """How many values a score of `level` has for this trajectory.

    Raises:
        MissingTokens: level TOKEN, and a step was imported as text.
    """
    if level is Level.TOKEN:
        return int(own_counts(trajectory).sum())
    return len(trajectory.steps) if level is Level.STEP else 1


def own_counts(trajectory: Trajectory) -> np.ndarray:
    """int64 [S]: own (sampled) tokens of each step.

    Raises:
        MissingTokens: a step was imported as text.
    """
    for s, step in enumerate(trajectory.steps):
        if step.tokens is None:
            raise MissingTokens(
                f"step {s} of trajectory {trajectory.id!r} is text only; token-level scores and places need the ids "
                "the policy sampled"
            )
    return np.array([step.own_tokens for step in trajectory.steps], dtype=np.int64)


class Wrapper(Reward):
    """A reward around one other, `reward`, whose declarations it shares unless it says otherwise."""

    reward: Reward

    @property
    def level(self) -> Level:
        return self.reward.level

    @property
    def range(self) -> tuple[float, float]:
        return self.reward.range

    @property
    def needs(self) -> frozenset[str]:
        return self.reward.needs

    @property
    def causal(self) -> bool:
        return self.reward.causal

    @property
    def name(self) -> str:
        return self.reward.name

    @property
    def place(self) -> str:
        return self.reward.place

    @property
    def levels(self) -> frozenset[Level]:
        return self.reward.levels

    @property
    def grouped(self) -> bool:
        return self.reward.grouped

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return tried_totals(self, [self.reward], lambda one, blank: self.change(one[0], blank), right, steps)

    def score(self, trajectory: Trajectory) -> Scores:
        return self.change(self.reward(trajectory), trajectory)

    def score_group(self, group: Group) -> list[Scores]:
        return [self.change(scores, trajectory) for scores, trajectory in zip(self.reward(group), group, strict=True)]

    def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
        """What it makes of the inner reward's scores."""
        return scores


@part
class Named(Wrapper):
    """A reward under another name. The terms of a named sum are called ``name/term``."""

    reward: Reward
    name: str = "reward"

    def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
        parts = tuple(dataclasses.replace(one, name=f"{self.name}/{one.name}") for one in scores.parts)
        return dataclasses.replace(scores, parts=parts)


def factor(reward: Reward) -> str:
    """`reward` printed so that it can stand in a product: a sum or product in brackets."""
    text = repr(reward)
    return f"({text})" if getattr(reward, "infix", False) else text


@dataclasses.dataclass(frozen=True)
class FunctionReward(Reward):
    """A plain function as a reward. Made by `reward_of`; it cannot be stored."""

    function: Callable[[Trajectory], Any]
    level: Level = Level.TRAJECTORY
    name: str = "reward"

    def score(self, trajectory: Trajectory) -> Scores:
        given = self.function(trajectory)
        if isinstance(given, Scores):
            return given
        if not self.level.single:
            return dataclasses.replace(Scores.steps(_floats(given)), level=self.level)
        value = np.nan if given is None else float(given)
        return Scores.unscored(1, level=self.level) if np.isnan(value) else Scores.trajectory(value, level=self.level)

    def __repr__(self) -> str:
        return f"reward_of({self.name}, level={self.level.value!r})"


def _floats(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]


def reward_of(function: Callable[[Trajectory], Any], *, level: str = "trajectory", name: str = "") -> FunctionReward:
    """Lift a plain function of a trajectory to a reward, to try an idea in a cell.

    It cannot be written to a store or read back (``workbench.spec`` raises SettingError): for that, write a class
    with ``@part``.

    Args:
        function: gives a number (level trajectory), a sequence of numbers (step, token), or Scores. None and NaN mean
            *not applicable*.
        level: "trajectory", "step" or "token".
        name: what its term is called; default the function's name.
    """
    wanted = Level(level)
    if wanted is Level.GROUP:
        raise LevelError("reward_of lifts functions of one trajectory; for level group write a class with score_group")
    return FunctionReward(function, wanted, name or getattr(function, "__name__", "reward"))
