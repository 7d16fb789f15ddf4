"""A policy small enough to check by hand: features to a softmax over named actions.

It yields real steps of one pseudo-token each (the id is the action's number), so rewards, credit, losses, samplers and
the training run treat it like a language model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from workbench.errors import SettingError, UnknownName
from workbench.protocols import Environment, Observed, Outcome, Prefix, Turn
from workbench.trajectory import Call, Context, Span, Task, Tokens, Trajectory

Action = Callable[[Prefix], Call | str | Turn]
"""From the trajectory so far to a tool call, to the text of a final answer, or to all that a turn holds: several calls,
spans of any name, a context of its own. Its token is the policy's."""


CLOSED = -1e9
"""Added to the logit of an action that a role does not have. Finite, so that an entropy stays a number."""


class TabularPolicy:
    """Softmax over actions with one row of logits a feature.

    Args:
        actions: what can be done, by name, in a fixed order.
        features: from a prefix to the table's row (any hashable), or to a vector [d] of numbers for a linear policy.
        width: d, for a linear policy; None for a table, whose rows appear as they are met.
        temperature: of sampling; 0 is greedy.
        roles: the roles it can play, each with the names of the actions that are open in it. `features` is told the
            role by the prefix.
        rows: most different features a table can hold.
    """

    def __init__(
        self,
        actions: Mapping[str, Action],
        features: Callable[[Prefix], Any],
        *,
        width: int | None = None,
        temperature: float = 1.0,
        roles: Mapping[str, Sequence[str]] | None = None,
        rows: int = 1024,
        label: str = "table",
    ) -> None:
        if not actions:
            raise SettingError("a TabularPolicy needs at least one action")
        for action in (action for open_now in (roles or {}).values() for action in open_now):
            if action not in actions:
                raise UnknownName.among("action", action, actions)
        self.roles, self.role = dict(roles or {}), "agent"
        every = {"agent": list(actions), **self.roles}
        self._closed = {
            role: torch.tensor([0.0 if a in some else CLOSED for a in actions]) for role, some in every.items()
        }
        self.actions, self.features, self.temperature, self.label = dict(actions), features, temperature, label
        self.width, self._version = width, [0]  # a list, which `at` and `in_role` share: the weights are one
        self.row_of: dict[Hashable, int] = {}
        self.table = torch.nn.Parameter(torch.zeros(rows if width is None else width, len(actions)))

    @property
    def name(self) -> str:
        return f"{self.label}@{self.weights_version}"

    @property
    def weights_version(self) -> int:
        return self._version[0]

    @weights_version.setter
    def weights_version(self, version: int) -> None:
        self._version[0] = version

    def at(self, temperature: float) -> TabularPolicy:
        """The same table (shared, not copied) at another temperature."""
        other = copy.copy(self)
        other.temperature = temperature
        return other

    def in_role(self, role: str) -> TabularPolicy:
        """The same table (shared, not copied) in another role.

        Raises:
            UnknownName: it has no such role.
        """
        if role not in self.roles:
            raise UnknownName.among("role", role, self.roles, where="this policy")
        other = copy.copy(self)
        other.role = role
        return other

    def weights_changed(self) -> None:
        self.weights_version += 1

    def probabilities(self, prefix: Prefix) -> dict[str, float]:
        """Probability of each action, at temperature 1."""
        with torch.no_grad():
            row_A = self._logits([prefix])[0].softmax(-1)
        return dict(zip(self.actions, row_A.tolist(), strict=True))

    def start(self, task: Task, observation: str, environment: Environment) -> Context:
        return Context(task.question + observation, Tokens.foreign([]))

    def act(self, prefixes: Sequence[Prefix], seeds: Sequence[int]) -> list[Turn]:
        with torch.no_grad():
            logits_BA = self._logits(prefixes).double()
            logprobs_BA = (logits_BA / (self.temperature or 1.0)).log_softmax(-1).numpy()
        if self.temperature == 0:
            chosen = logits_BA.argmax(-1).tolist()
        else:
            uniform = [np.random.Generator(np.random.Philox(seed)).random() for seed in seeds]
            below_BA = np.exp(logprobs_BA).cumsum(-1)
            chosen = [int((row < u * row[-1]).sum()) for row, u in zip(below_BA, uniform, strict=True)]
        return [self._turn(p, a, logprobs_BA[b, a]) for b, (p, a) in enumerate(zip(prefixes, chosen, strict=True))]

    def observe(self, turn: Turn, outcome: Outcome | None, limit: int | None, *, tools_off_next: bool) -> Observed:
        if outcome is None:
            return Observed(Context("", Tokens.foreign([])))
        return Observed(Context("".join(outcome.observations), Tokens.foreign([])), outcome.calls)

    def trajectory_logits(self, trajectory: Trajectory) -> torch.Tensor:
        """float [S, A] with gradient: logits, at temperature 1, of every action before each step."""
        return self._logits(_prefixes(trajectory))

    def trajectory_states(self, trajectory: Trajectory) -> torch.Tensor:
        """float32 [S, rows or d]: the features before each step, those of a table as one 1 in the row's place."""
        found = self._features(_prefixes(trajectory))
        return found if self.width is not None else torch.eye(len(self.table))[found]

    def _turn(self, prefix: Prefix, action: int, logprob: float) -> Turn:
        name, make = list(self.actions.items())[action]
        done = make(prefix)
        tokens = Tokens.sampled([action], [logprob])
        if isinstance(done, Turn):
            return replace(done, tokens=tokens)
        if isinstance(done, Call):
            return Turn(text=name, calls=(done,), spans=(Span("query", done.query, 0, 1),), tokens=tokens)
        return Turn(text=name, spans=(Span("answer", done, 0, 1),), tokens=tokens, answered=True)

    def _logits(self, prefixes: Sequence[Prefix]) -> torch.Tensor:
        found = self._features(prefixes)
        logits = self.table[found] if self.width is None else found @ self.table
        return logits if not self.roles else logits + torch.stack([self._closed[prefix.role] for prefix in prefixes])

    def _features(self, prefixes: Sequence[Prefix]) -> torch.Tensor:
        """Rows of the table, int64 [P]; float32 [P, d] for a linear policy."""
        features = [self.features(prefix) for prefix in prefixes]
        if self.width is not None:
            return torch.tensor(np.array(features), dtype=torch.float32)
        numbers = [self.row_of.setdefault(feature, len(self.row_of)) for feature in features]
        if len(self.row_of) > len(self.table):
            raise SettingError(
                f"the table is full: more than {len(self.table)} different features were met. Use fewer features, or "
                "a linear policy (width=...)"
            )
        return torch.tensor(numbers, dtype=torch.long)


def _prefixes(trajectory: Trajectory) -> list[Prefix]:
    """What the policy saw before each step."""
    steps = trajectory.steps
    prompt = steps[0].context.text if steps and steps[0].context else ""
    first = prompt.removeprefix(trajectory.task.question)  # `start` wrote the question, then the observation
    observed = [first, *(step.observation for step in steps)]
    empty = Context("", None)
    return [
        Prefix(trajectory.id, trajectory.task, steps[:s], observed[s], empty, role=trajectory.role)
        for s in range(len(steps))
    ]
