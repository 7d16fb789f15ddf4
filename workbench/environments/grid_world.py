"""Chains, corridors and grids: worlds small enough to know the best value of every cell.

A turn's calls are moves, ``Call("move", {"direction": "up"})``; the world pays its own reward, either for reaching a
goal or for what has been seen. It is played by a table policy and used where a method's claim needs an exact answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from workbench.errors import SettingError
from workbench.protocols import Limits, Outcome, Prefix
from workbench.trajectory import Call, End, Task

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1), "stay": (0, 0)}
DIRECTIONS = tuple(MOVES)

Cell = tuple[int, int]
"""Row and column, from the upper left."""


@dataclass(frozen=True)
class GridState:
    """Where the agent is and what it has seen. A value: keep it to fork from it later."""

    cell: Cell
    seen: frozenset[Cell] = frozenset()  # cells sensed so far; kept only where coverage pays
    turns: int = 0
    seed: int = 0  # of the slips: forks of one state slip alike in the same turn


@dataclass(frozen=True)
class GridWorld:
    """A grid drawn in text: ``S`` start, ``G`` goal, ``#`` wall, ``.`` free.

    With `sense` None a move pays `step_reward`, the move onto the goal `goal_reward` on top, and reaching the goal
    ends the episode. With `sense` a number there is no goal: a move pays 1 for each cell within that many steps (as
    the crow walks: |rows| + |columns|, walls ignored) that was not sensed before, the start's own excluded, and the
    episode ends when the turns are used up or nothing is left to see.

    >>> GridWorld.chain(4).optimal_steps()
    3
    """

    layout: tuple[str, ...]
    turns: int = 30
    goal_reward: float = 1.0
    step_reward: float = 0.0
    slip: float = 0.0  # chance that a move goes in one of the four directions, drawn evenly, instead
    wall: Literal["stay", "reset"] = "stay"  # what running into a wall or the edge does: nothing, or back to the start
    sense: int | None = None  # how far the agent sees, in steps; None: the goal pays, not coverage

    def __post_init__(self) -> None:
        drawn = "".join(self.layout)
        if drawn.count("S") != 1 or drawn.count("G") != (self.sense is None) or set(drawn) - set("SG#."):
            goals = "one G" if self.sense is None else "no G (coverage pays)"
            raise SettingError(f"a layout has one S, {goals}, and otherwise only # and . ; got {self.layout}")
        if not 0 <= self.slip <= 1 or self.turns < 1 or self.wall not in ("stay", "reset"):
            raise SettingError(f"slip is 0 to 1, turns at least 1, wall 'stay' or 'reset'; got {self!r}")

    @classmethod
    def chain(cls, length: int, **settings: Any) -> GridWorld:
        """A corridor of `length` cells, start at its left end, goal at its right end."""
        return cls(("S" + "." * (length - 2) + "G",), **settings)

    @classmethod
    def rectangle(cls, rows: int, columns: int, **settings: Any) -> GridWorld:
        """An empty grid, start in the upper left; goal in the lower right, unless coverage pays (`sense`)."""
        drawn = ["." * columns for _ in range(rows)]
        drawn[0] = "S" + drawn[0][1:]
        if settings.get("sense") is None:
            drawn[-1] = drawn[-1][:-1] + "G"
        return cls(tuple(drawn), **settings)

    # ------------------------------------------------------------ the environment

    @property
    def limits(self) -> Limits:
        return Limits(turns=self.turns, observation_tokens=None, final_turn=False)

    @property
    def tools(self) -> Sequence[Any]:
        """None: moves change the state, which a tool does not have."""
        return ()

    def tasks(self, count: int = 1) -> list[Task]:
        """`count` tasks that differ in nothing but their id."""
        aim = "Reach the goal." if self.sense is None else "See as many cells as you can."
        return [Task(f"grid-{i}", aim, kind="grid") for i in range(count)]

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[GridState, str]:
        """The agent on the start cell."""
        seed = int(rng.integers(2**63)) if self.slip else 0
        return GridState(self.start, self._sensed(self.start), 0, seed), describe(self.start)

    def step(self, state: GridState, calls: Sequence[Call]) -> Outcome:
        """Make the moves of one turn. A call that is no move fails, and the agent stays where it is."""
        rng = np.random.default_rng((state.seed, state.turns)) if self.slip else None
        paid, answered = 0.0, []
        for call in calls:
            state, call, reward = self._move(state, call, rng)
            answered.append(call)
            paid += reward
        state = replace(state, turns=state.turns + 1)
        texts = tuple(call.error or call.result or "" for call in answered)
        return Outcome(state, tuple(answered), texts, paid, self._end(state))

    def _move(self, state: GridState, call: Call, rng: np.random.Generator | None) -> tuple[GridState, Call, float]:
        direction = call.arguments.get("direction")
        if call.tool != "move" or not isinstance(direction, str) or direction not in MOVES:
            error = f"a call here is move with a direction of {', '.join(MOVES)}; got {call.tool}({direction!r})"
            return state, replace(call, valid=False, error=error), 0.0
        if state.cell == self.goal:
            return state, replace(call, error="the goal has been reached"), 0.0
        if rng is not None and rng.random() < self.slip:
            direction = DIRECTIONS[int(rng.integers(4))]
        cell = self._next(state.cell, direction)
        sensed = self._sensed(cell) - state.seen
        arrived = replace(state, cell=cell, seen=state.seen | sensed)
        return arrived, replace(call, result=describe(cell)), self._pay(cell) + len(sensed)

    def _pay(self, cell: Cell) -> float:
        return self.step_reward + (self.goal_reward if cell == self.goal else 0.0)

    def _end(self, state: GridState) -> End | None:
        if self.sense is None:
            return End.ANSWERED if state.cell == self.goal else None
        return End.ANSWERED if state.turns >= self.turns or len(state.seen) == len(self.cells) else None

    # ------------------------------------------------------------ the map

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells that are no walls, row by row: the order of `C` in the arrays below."""
        return tuple((r, c) for r, row in enumerate(self.layout) for c, mark in enumerate(row) if mark != "#")

    @cached_property
    def start(self) -> Cell:
        return self._marked("S")[0]

    @cached_property
    def goal(self) -> Cell | None:
        return next(iter(self._marked("G")), None)

    def _marked(self, mark: str) -> list[Cell]:
        return [(r, c) for r, c in self.cells if self.layout[r][c] == mark]

    def _next(self, cell: Cell, direction: str) -> Cell:
        down, right = MOVES[direction]
        ahead = (cell[0] + down, cell[1] + right)
        if ahead in self._numbers:
            return ahead
        return cell if self.wall == "stay" else self.start

    @cached_property
    def _numbers(self) -> dict[Cell, int]:
        return {cell: number for number, cell in enumerate(self.cells)}

    def _sensed(self, cell: Cell) -> frozenset[Cell]:
        return self._near[cell] if self.sense is not None else frozenset()

    @cached_property
    def _near(self) -> dict[Cell, frozenset[Cell]]:
        reach = self.sense or 0
        return {a: frozenset(b for b in self.cells if abs(a[0] - b[0]) + abs(a[1] - b[1]) <= reach) for a in self.cells}

    # ------------------------------------------------------------ what is best, exactly

    def optimal_steps(self, cell: Cell | None = None) -> int | None:
        """Fewest moves from `cell` (the start if None) to the goal when nothing slips; None: it cannot be reached."""
        first = self.start if cell is None else cell
        steps, queue = {first: 0}, deque([first])
        while queue:
            here = queue.popleft()
            if here == self.goal:
                return steps[here]
            for direction in MOVES:
                ahead = self._next(here, direction)
                if ahead not in steps:
                    steps[ahead] = steps[here] + 1
                    queue.append(ahead)
        return None

    def optimal_values(self, discount: float = 1.0) -> np.ndarray:
        """Expected return of the best play, by backward induction.

        V[h, c] = max_a sum_c' P(c' | c, a) (reward(c') + discount V[h-1, c']), V[0] = 0 and V[h, goal] = 0.

        Returns:
            values_HC: float [turns + 1, C], reward units; row h: h turns left, one move a turn; columns as `cells`.

        Raises:
            SettingError: coverage pays; its best play has no such table.
        """
        return self._values(lambda action_values_AC: action_values_AC.max(axis=0), discount)

    def policy_values(self, policy_CA: np.ndarray, discount: float = 1.0) -> np.ndarray:
        """As `optimal_values`, for a policy: probabilities [C, 5] of the moves in the order of `DIRECTIONS`."""
        return self._values(lambda action_values_AC: (policy_CA.T * action_values_AC).sum(axis=0), discount)

    def _values(self, choose: Any, discount: float) -> np.ndarray:
        if self.sense is not None:
            raise SettingError("values are known where a goal pays, not where coverage does (sense is set)")
        ahead_AC = np.array([[self._numbers[self._next(c, d)] for c in self.cells] for d in DIRECTIONS])
        pay_C = np.array([self._pay(cell) for cell in self.cells])
        values_HC = np.zeros((self.turns + 1, len(self.cells)))
        for h in range(1, self.turns + 1):
            aimed_AC = (pay_C + discount * values_HC[h - 1])[ahead_AC]
            slipped_1C = aimed_AC[:4].mean(axis=0, keepdims=True)
            values_HC[h] = choose((1 - self.slip) * aimed_AC + self.slip * slipped_1C)
            values_HC[h, self._numbers[self.goal]] = 0.0  # type: ignore[index]  # a goal is there: sense is None
        return values_HC

    def cell_of(self, prefix: Prefix) -> Cell:
        """Where the agent stands: the feature a table policy needs. Read from the moves it has made."""
        results = (call.result for step in reversed(prefix.steps) for call in reversed(step.calls))
        last = next((result for result in results if result), None)
        return self.start if last is None else cell_in(last)


def describe(cell: Cell) -> str:
    """What the agent is told: ``"row 0, column 3"``."""
    return f"row {cell[0]}, column {cell[1]}"


def cell_in(text: str) -> Cell:
    """The cell that `describe` wrote."""
    _, row, _, column = text.replace(",", "").split()
    return int(row), int(column)
