"""What can be said of a reward before anything is rolled out: from its ranges, weights, gates and tables alone."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.errors import SettingError
from workbench.rewards.compose import WeightedSum, weights_of
from workbench.rewards.gates import Gate
from workbench.rewards.reward import Reward
from workbench.trajectory import Task

Kind = Literal["order", "table", "unbounded", "idle", "gate", "growing", "needs", "missing"]
SMALL = 0.01
"""A term that moves the total by less than this share of what the strongest term does is as good as absent."""
IN_TASK = {
    "golds": lambda task: task.golds,
    "gold_pages": lambda task: task.gold_pages,
    "sub_questions": lambda task: task.sub_questions,
    "rubrics": lambda task: task.rubrics,
    "gold_texts": lambda task: task.extras.get("gold_texts"),
}
MODELS = {"judge", "encoder"}


@dataclass(frozen=True)
class Remark:
    """One thing to know about a reward."""

    kind: Kind
    says: str
    alarm: bool = False  # it can pay for the wrong thing, or cannot be scored

    def __str__(self) -> str:
        return f"{'LOOK: ' if self.alarm else ''}{self.says}"


@dataclass(frozen=True)
class Lint:
    """What `spec_lint` found. Printed, a remark a line."""

    remarks: tuple[Remark, ...]
    worst_right: float  # lowest total of a rollout with a right answer, reward units
    best_wrong: float  # highest total of one with a wrong answer

    @property
    def ordered(self) -> bool:
        """No wrong answer can be paid as much as a right one."""
        return self.worst_right > self.best_wrong

    @property
    def alarms(self) -> tuple[Remark, ...]:
        return tuple(remark for remark in self.remarks if remark.alarm)

    def __str__(self) -> str:
        return "\n".join(str(remark) for remark in self.remarks)

    __repr__ = __str__


def spec_lint(reward: Reward, *, steps: int = 4, tasks: Sequence[Task] = ()) -> Lint:
    """Read a reward without rollouts: can a wrong answer outscore a right one, what never matters, what is absent?

    A right answer at its worst is set against a wrong one at its best, every term on its own: two terms that can
    never be at their ends together make the truth milder than this. Whoever wants it sharper declares
    `Reward.totals`.

    Args:
        steps: turns of a rollout that a step term may pay; it counts so often.
        tasks: those it is meant for; terms whose golds some of them lack are named.

    Raises:
        SettingError: steps is below 1.
    """
    if steps < 1:
        raise SettingError(f"steps must be at least 1, got {steps}")
    right, wrong = reward.totals(True, steps), reward.totals(False, steps)
    remarks = [_order(reward, right, wrong, steps)]
    remarks += [Remark("table", says, alarm=True) for one in reward_and_inner(reward) for says in one.concerns]
    remarks += [*_unbounded(reward, steps), *_growing(reward, steps), *_idle(reward, steps), *_gates(reward, steps)]
    remarks += [*_needs(reward, tasks), *_missing(reward)]
    return Lint(tuple(dict.fromkeys(remarks)), right[0], wrong[1])


def reward_and_inner(reward: Reward) -> Iterator[Reward]:
    """The reward and every reward that its settings hold, outermost first."""
    yield reward
    for inner in _inner(reward):
        yield from reward_and_inner(inner)


def _inner(reward: Reward) -> Iterator[Reward]:
    """The rewards that its own settings hold."""
    held: list[Any] = []
    if dataclasses.is_dataclass(reward):
        held = [getattr(reward, field.name) for field in dataclasses.fields(reward)]
    while held:
        value = held.pop(0)
        if isinstance(value, Reward):
            yield value
        elif isinstance(value, tuple):
            held = [*value, *held]


# ---------------------------------------------------------------- right against wrong


def _order(reward: Reward, right: tuple[float, float], wrong: tuple[float, float], steps: int) -> Remark:
    if not _bounded(reward, steps):
        return Remark("order", "A wrong answer can outscore a right one by any amount: a term has no bound.", True)
    if right == wrong:
        return Remark("order", f"Nothing in it looks at the answer: right or wrong, it pays {_from_to(right)}.", True)
    worst, best = right[0], wrong[1]
    within = f" (up to {steps} steps)" if _grows(reward, steps) else ""
    if worst > best:
        margin = f"the worst right one is paid {_n(worst)}, the best wrong one {_n(best)}"
        return Remark("order", f"No wrong answer can be paid as much as a right one: {margin}{within}.")
    can = "be paid as much as" if worst == best else "outscore"
    made = f"the best wrong one is paid {_n(best)}{_made_of(reward, False, steps)}"
    against = f"the worst right one {_n(worst)}{_made_of(reward, True, steps)}"
    return Remark("order", f"A wrong answer can {can} a right one: {made}, {against}{within}.", alarm=True)


def _made_of(reward: Reward, right: bool, steps: int) -> str:
    """The terms that lift the best wrong answer, or pull the worst right one, in brackets."""
    if not isinstance(reward, WeightedSum):
        return ""
    names = weights_of(reward)
    parts = []
    for name, (weight, term) in zip(names, reward.terms, strict=True):
        low, high = (0.0, 0.0) if weight == 0 else sorted(weight * end for end in term.totals(right, steps))
        pay = low if right else high
        parts += [f"{name} {pay:+.4g}"] if pay else []
    return f" ({', '.join(parts)})" if parts else ""


# ---------------------------------------------------------------- terms


def _terms(reward: Reward) -> Iterator[tuple[float, Reward]]:
    """Every term of every sum inside, with its weight there."""
    for one in reward_and_inner(reward):
        if isinstance(one, WeightedSum):
            yield from one.terms


def _unbounded(reward: Reward, steps: int) -> Iterator[Remark]:
    for one in _open(reward, steps):
        paid = f"it pays {_from_to(one.range)}"
        yield Remark("unbounded", f"{one.name} has no bound: {paid}; hold it with .clip(low, high).", alarm=True)


def _open(reward: Reward, steps: int) -> list[Reward]:
    """The innermost rewards that make this one unbounded."""
    if _bounded(reward, steps):
        return []
    paid = [reward.then] if isinstance(reward, Gate) else _inner(reward)  # a condition is not paid
    return [one for inner in paid for one in _open(inner, steps)] or [reward]


def _bounded(reward: Reward, steps: int) -> bool:
    """Whether its totals are; a sum over the steps has an open range, and a bound for so many steps."""
    return all(math.isfinite(end) for right in (True, False) for end in reward.totals(right, steps))


def _growing(reward: Reward, steps: int) -> Iterator[Remark]:
    """Terms of the whole that pay more, the more steps there are."""
    terms = reward.terms if isinstance(reward, WeightedSum) else ((1.0, reward),)
    for weight, term in terms:
        once, twice = (max(weight * end for end in term.totals(True, n)) for n in (steps, 2 * steps))
        if weight and math.isfinite(twice) and twice > once > 0:
            paid = f"up to {_n(once)} in {steps} steps and {_n(twice)} in {2 * steps}"
            name = term.name if isinstance(reward, WeightedSum) else "It"
            yield Remark("growing", f"{name} is paid again at every step, {paid}: more steps earn more.", True)


def _grows(reward: Reward, steps: int) -> bool:
    return any(reward.totals(right, steps) != reward.totals(right, 2 * steps) for right in (True, False))


def _idle(reward: Reward, steps: int) -> Iterator[Remark]:
    terms = [*_terms(reward)]
    spans = [_span(weight, term, steps) for weight, term in terms]
    widest = max(spans, default=0.0)
    for (weight, term), span in zip(terms, spans, strict=True):
        name = f"{weight:g} * {term.name}"
        if span == 0:
            yield Remark("idle", f"{name} never matters: it pays every rollout the same.")
        elif span < SMALL * widest < math.inf:
            yield Remark("idle", f"{name} hardly matters: it moves the total by {_n(span)}, another by {_n(widest)}.")


def _span(weight: float, term: Reward, steps: int) -> float:
    ends = [end for right in (True, False) for end in term.totals(right, steps)]
    return abs(weight) * (max(ends) - min(ends)) if weight and max(ends) > min(ends) else 0.0


def _gates(reward: Reward, steps: int) -> Iterator[Remark]:
    for one in reward_and_inner(reward):
        if isinstance(one, Gate):
            low, high = one.condition.range
            if high <= one.above:
                reach = f"{one.condition.name} reaches {_n(high)}, and the gate asks for more than {_n(one.above)}"
                yield Remark("gate", f"A gate never opens: {reach}.", alarm=True)
            elif low > one.above:
                reach = f"{one.condition.name} is at least {_n(low)}, above {_n(one.above)} always"
                yield Remark("gate", f"A gate never closes: {reach}.")


# ---------------------------------------------------------------- what it needs


def _needs(reward: Reward, tasks: Sequence[Task]) -> Iterator[Remark]:
    lacking: Counter[str] = Counter()
    for need in sorted(reward.needs & IN_TASK.keys()):
        lacking[need] = sum(not IN_TASK[need](task) for task in tasks)
    for need, count in lacking.items():
        if count:
            who = ", ".join(dict.fromkeys(one.name for one in _leaves(reward) if need in one.needs))
            some = "no task has any" if count == len(tasks) else f"{count} of {len(tasks)} tasks have none"
            yield Remark("needs", f"{who} needs {need}, and {some}: scoring stops there.", alarm=True)
    if reward.needs and not tasks:
        yield Remark("needs", f"It needs {', '.join(sorted(reward.needs))}.")


def _leaves(reward: Reward) -> Iterator[Reward]:
    """Those that need something themselves, not by what they hold."""
    return (one for one in reward_and_inner(reward) if one.needs - _union(inner.needs for inner in _inner(one)))


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def _missing(reward: Reward) -> Iterator[Remark]:
    """What happens where a model that scores fails."""
    who = " or ".join(dict.fromkeys(one.name for one in _leaves(reward) if one.needs & MODELS))
    if not who:
        return
    rules = {one.on_missing for one in reward_and_inner(reward) if isinstance(one, WeightedSum)}
    if rules == {"term"}:
        yield Remark("missing", f"Where {who} fails, its term is left out for the whole group.")
    else:
        more = "; WeightedSum(..., on_missing='term') leaves out the term instead" if "rollout" in rules else ""
        yield Remark("missing", f"Where {who} fails, the rollout is not trained on{more}.")


def _from_to(ends: tuple[float, float]) -> str:
    return _n(ends[0]) if ends[0] == ends[1] else f"{_n(ends[0])} to {_n(ends[1])}"


def _n(value: float) -> str:
    return f"{value + 0.0:.4g}"
