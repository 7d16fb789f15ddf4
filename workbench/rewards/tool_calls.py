"""`ToolCallMatch`: the calls that were made against those that were due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

import numpy as np

from workbench.errors import MissingGold, SettingError
from workbench.rewards.answers import token_f1
from workbench.rewards.overlap import jaccard
from workbench.rewards.reward import Reward
from workbench.scores import Part, Scores
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Call, Task, Trajectory

Grain = Literal["fine", "refined", "intermediate", "coarse"]
CHOICES: dict[str, tuple[str, ...]] = {
    "grain": get_args(Grain),
    "matching": ("optimal", "greedy"),
    "gold": ("calls", "sub_questions"),
    "values": ("equal", "f1"),
}


Gains = Sequence[Sequence[float]]


@part
class ToolCallMatch(Reward):
    """How well the calls of a trajectory match the gold calls, from -`most` (nothing right) to `most` (all right).

    With n gold calls, each matched with at most one made call of its name:

    - names: Jaccard index of the tool names, as multisets, in [0, 1];
    - keys: sum over the pairs of the Jaccard index of their argument names, in [0, n];
    - values: how many gold arguments have their value, in [0, K] for K gold arguments.

    Together S of at most S_max = 1 + n + K, paid as most * (2 S / S_max - 1). Each of the three is a part of the score
    that runs between minus and plus its share of S_max, so a part below its share names the level that failed. Calls
    of a turn that could not be read do not count; those that a tool refused do. The order of calls does not matter.

    A task without a gold call (an empty list) pays 0 whatever was called: the form alone can punish a call too many.

    `grain` says how partial credit is given (section "granularity" of the paper): "fine" as above; "refined", names and
    keys are right or not; "intermediate", a pair is right or not, S_max = 1 + n; "coarse",
    `most` where all calls are right, else -`most`.

    Source: ToolRL (Qian et al. 2025, arXiv:2504.13958), ``rlla.py``. Its paper pairs calls so that S is largest
    (matching="optimal"); its code takes, for each gold call in turn, the best that is left (matching="greedy").

    Raises:
        MissingGold: the task has no list of calls (gold="calls") or no sub-question (gold="sub_questions").
    """

    _: KW_ONLY
    most: float = 3.0  # reward units
    grain: Grain = "fine"
    matching: Literal["optimal", "greedy"] = "optimal"
    gold: Literal["calls", "sub_questions"] = "calls"
    """Gold calls are ``task.extras["gold_calls"]``, each a name and parameters; or a search for each sub-question,
    whose query is one of its `queries` or, where it has none, the sub-question itself."""
    values: Literal["equal", "f1"] = "equal"  # "f1": texts count with the F1 of their words, as search queries need it

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise SettingError(f"{field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}")
        if not 0 < self.most < float("inf"):
            raise SettingError(f"most must be a finite number above 0, got {self.most}")

    @property
    def range(self) -> tuple[float, float]:
        return -self.most, self.most

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"gold_calls" if self.gold == "calls" else "sub_questions"})

    def score(self, trajectory: Trajectory) -> Scores:
        golds = gold_calls(trajectory.task) if self.gold == "calls" else gold_searches(trajectory.task)
        made = [call for step in trajectory.steps if step.valid for call in step.calls]
        levels = self._levels(golds, made)
        if self.grain == "coarse":
            right = all(level.got == level.due for level in levels)
            return Scores.trajectory((self.most if right else -self.most) if golds else 0.0, _why(golds, levels))
        due = sum(level.due for level in levels)
        paid = [self.most * (2 * level.got - level.due) / due if golds else 0.0 for level in levels]
        parts = tuple(
            Part(level.name, 1.0, Scores.trajectory(value, f"{level.got:.4g} of {level.due}"))
            for level, value in zip(levels, paid, strict=True)
        )
        scores = Scores.trajectory(sum(paid), _why(golds, levels))
        scores.parts = parts
        return scores

    def _levels(self, golds: Sequence[GoldCall], made: Sequence[Call]) -> list[Level]:
        names = jaccard(Counter(gold.name for gold in golds), Counter(call.tool for call in made))
        pairs = [[self._pair(gold, call) for call in made] for gold in golds]
        gains_GM = [[keys + values for keys, values in row] for row in pairs]
        chosen = _greedy(golds, made, gains_GM) if self.matching == "greedy" else _optimal(gains_GM)
        got = [pairs[g][m] for g, m in chosen]
        if self.grain == "refined":
            names = float(names == 1)
        first = Level("call_names", names, 1)
        if self.grain in ("intermediate", "coarse"):
            return [first, Level("calls", sum(pair[0] for pair in got), len(golds))]
        arguments = sum(len(gold.arguments) for gold in golds)
        keys = Level("call_keys", sum(pair[0] for pair in got), len(golds))
        return [first, keys, Level("call_values", sum(pair[1] for pair in got), arguments)]

    def _pair(self, gold: GoldCall, call: Call) -> tuple[float, float]:
        """What a pair adds to keys and to values; to whole calls and nothing where pairs are right or not."""
        if gold.name != call.tool:
            return 0.0, 0.0
        keys = jaccard(gold.arguments.keys(), call.arguments.keys())
        values = sum(
            max(self._agrees(one, call.arguments[key]) for one in allowed)
            for key, allowed in gold.arguments.items()
            if key in call.arguments
        )
        if self.grain in ("intermediate", "coarse"):
            return float(keys == 1 and values == len(gold.arguments)), 0.0
        return float(keys == 1) if self.grain == "refined" else keys, values

    def _agrees(self, gold: Any, given: Any) -> float:
        if self.values == "f1" and isinstance(gold, str) and isinstance(given, str):
            return token_f1(normalize_answer(given), normalize_answer(gold))
        return float(bool(gold == given))


@dataclass(frozen=True)
class GoldCall:
    """A call that is due: each argument with the values of which any one will do."""

    name: str
    arguments: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Level:
    """One level of the match: how much is right, and how much could be."""

    name: str
    got: float
    due: int


def gold_calls(task: Task) -> list[GoldCall]:
    """The gold calls in ``task.extras["gold_calls"]``; an empty list where none is due.

    Raises:
        MissingGold: the task has no such list, or one of its calls has no name.
    """
    written = task.extras.get("gold_calls")
    if written is None:
        raise MissingGold(
            f"task {task.id!r} has no extras['gold_calls']; ToolCallMatch needs a list, empty where no call is due"
        )
    calls = []
    for n, call in enumerate(written):
        name, arguments = call.get("name"), call.get("parameters", call.get("arguments", {}))
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            raise MissingGold(f"gold call {n} of task {task.id!r} has no name or no mapping of parameters: {call!r}")
        calls.append(GoldCall(name, {key: (value,) for key, value in arguments.items()}))
    return calls


def gold_searches(task: Task) -> list[GoldCall]:
    """A search for each sub-question of the task.

    Raises:
        MissingGold: it has none.
    """
    if not task.sub_questions:
        raise MissingGold(f"task {task.id!r} has no sub_questions; ToolCallMatch(gold='sub_questions') needs one")
    return [GoldCall("search", {"query": one.queries or (one.question,)}) for one in task.sub_questions]


def _why(golds: Sequence[GoldCall], levels: Sequence[Level]) -> str:
    if not golds:
        return "no call is due"
    return ", ".join(f"{one.name.removeprefix('call_')} {one.got:.4g} of {one.due}" for one in levels)


def _greedy(golds: Sequence[GoldCall], made: Sequence[Call], gains_GM: Gains) -> list[tuple[int, int]]:
    """For each gold call in turn, the unused call of its name that gains most."""
    free = list(range(len(made)))
    chosen = []
    for g, gold in enumerate(golds):
        same = [m for m in free if made[m].tool == gold.name]
        if same:
            best = max(same, key=lambda m: gains_GM[g][m])
            chosen.append((g, best))
            free.remove(best)
    return chosen


def _optimal(gains_GM: Gains) -> list[tuple[int, int]]:
    """The pairs, each row and column in at most one, whose gains add up to the most.

    The best column of every row, where these are different ones; else the Hungarian method with potentials (Kuhn
    1955; Jonker & Volgenant 1987): rows join one by one, each along the cheapest path of exchanges.
    """
    if not gains_GM or not gains_GM[0]:
        return []
    best = [row.index(max(row)) for row in gains_GM]
    if len(set(best)) == len(best):
        return list(enumerate(best))
    cost_GM = -np.array(gains_GM)
    turned = len(cost_GM) > len(cost_GM[0])
    cost_GM = cost_GM.T if turned else cost_GM
    rows, columns = cost_GM.shape
    price_G, price_M = np.zeros(rows), np.zeros(columns + 1)
    row_of = np.full(columns + 1, -1)  # of each column; the last column is where a joining row begins
    for g in range(rows):
        _join(g, cost_GM, price_G, price_M, row_of)
    chosen = [(int(row_of[m]), m) for m in range(columns) if row_of[m] >= 0]
    return [(m, g) for g, m in chosen] if turned else chosen


def _join(g: int, cost_GM: np.ndarray, price_G: np.ndarray, price_M: np.ndarray, row_of: np.ndarray) -> None:
    """Give row `g` a column, exchanging those of earlier rows where that is cheaper."""
    start = column = cost_GM.shape[1]
    row_of[start] = g
    least_M, before_M = np.full(start, np.inf), np.full(start, start)
    tried_M = np.zeros(start + 1, dtype=bool)
    while row_of[column] >= 0:
        tried_M[column] = True
        row = row_of[column]
        reduced_M = cost_GM[row] - price_G[row] - price_M[:-1]
        better_M = ~tried_M[:-1] & (reduced_M < least_M)
        least_M[better_M], before_M[better_M] = reduced_M[better_M], column
        nearest = int(np.where(tried_M[:-1], np.inf, least_M).argmin())
        step = least_M[nearest]
        price_G[row_of[tried_M]] += step
        price_M[tried_M] -= step
        least_M[~tried_M[:-1]] -= step
        column = nearest
    while column != start:
        previous = int(before_M[column])
        row_of[column], column = row_of[previous], previous
    row_of[start] = -1
