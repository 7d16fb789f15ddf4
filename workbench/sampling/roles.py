"""One policy in several roles: the same weights under several prompts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.agents.loop import begin, run_to_end
from workbench.errors import CapabilityError, SettingError
from workbench.protocols import Environment, Policy, Reward
from workbench.sampling.group import GroupSampler
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Step, Task, Trajectory, Tree


@part
class RoleSampler:
    """`group_size` rollouts of every task in each of the roles.

    A task's rollouts in all roles are one tree; only those of one role are compared (`Trajectory.group_key` holds the
    role). AdaSearch (arXiv:2512.16883) learns to solve in two roles so, "param" and "search", before it learns to
    decide in a third.
    """

    roles: tuple[str, ...]
    group_size: int = 8
    batch: int = 128  # trajectories in flight

    def __post_init__(self) -> None:
        if not self.roles or len(set(self.roles)) < len(self.roles):
            raise SettingError(f"roles are one or more different names, got {self.roles}")
        GroupSampler(self.group_size, self.batch)  # which checks them

    def sample(
        self,
        policy: Policy,
        environment: Environment,
        tasks: Sequence[Task],
        scorer: Reward | None,
        rng: np.random.Generator,
    ) -> Iterator[Tree]:
        """Yield a tree a task, when it was played in every role.

        Raises:
            CapabilityError: the policy plays no roles.
            UnknownName: the policy lacks one of these roles.
        """
        sampler = GroupSampler(self.group_size, self.batch)
        drawn = [
            sampler.sample(in_role(policy, role), environment, tasks, scorer, stream)
            for role, stream in zip(self.roles, rng.spawn(len(self.roles)), strict=True)
        ]
        waiting: dict[str, list[deque[Tree]]] = {}  # each role ends its tasks in an order of its own
        for trees in zip(*drawn, strict=True):
            for r, tree in enumerate(trees):
                waiting.setdefault(tree.task.id, [deque() for _ in self.roles])[r].append(tree)
            for id in dict.fromkeys(tree.task.id for tree in trees):
                if all(waiting[id]):
                    yield _merged([one.popleft() for one in waiting[id]])


def _merged(trees: Sequence[Tree]) -> Tree:
    return replace(trees[0], trajectories=tuple(trajectory for tree in trees for trajectory in tree))


def in_role(policy: Any, role: str) -> Any:
    """The policy in a role.

    Raises:
        CapabilityError: it plays none.
        UnknownName: it has no such role.
    """
    if not hasattr(policy, "in_role"):
        raise CapabilityError(
            f"{type(policy).__name__} plays no roles; a LanguagePolicy(roles=...) or TabularPolicy(roles=...) does"
        )
    return policy.in_role(role)


@part
class DecideThenSolve:
    """Plays a task in two stages: a first role says yes or no, and that decides in which role it is solved.

    A rollout is then the decision, followed by the solution; each step carries its role, and the solution starts from
    a prompt of its own. Without a clear yes it is solved in the role for no: an agent that does not say that it knows
    searches. For use and evaluation: the stages are trained apart (`RoleSampler`), since no reward of the solution
    should pay for the decision. AdaSearch's inference (arXiv:2512.16883).
    """

    decide: str = "decide"
    if_yes: str = "param"
    if_no: str = "search"
    group_size: int = 1
    batch: int = 128
    span: str = "assessment"  # in which the decision stands

    def sample(
        self,
        policy: Policy,
        environment: Environment,
        tasks: Sequence[Task],
        scorer: Reward | None,
        rng: np.random.Generator,
    ) -> Iterator[Tree]:
        """Yield a tree a task.

        Raises:
            CapabilityError: the policy plays no roles.
            UnknownName: the policy lacks one of the roles.
        """
        sampler = GroupSampler(self.group_size, self.batch)
        trees = list(sampler.sample(in_role(policy, self.decide), environment, tasks, scorer, rng.spawn(1)[0]))
        solved: dict[str, Trajectory] = {}
        for role in (self.if_yes, self.if_no):
            mine = [one for tree in trees for one in tree if self._role_after(one) == role]
            for first in range(0, len(mine), self.batch):
                solved |= self._solved(mine[first : first + self.batch], in_role(policy, role), environment, rng)
        for tree in trees:
            yield replace(tree, trajectories=tuple(solved[one.id] for one in tree))

    def _role_after(self, decision: Trajectory) -> str:
        said = {normalize_answer(span.text) for step in decision.steps for span in step.spans if span.name == self.span}
        return self.if_yes if said == {"yes"} else self.if_no

    def _solved(
        self, decisions: Sequence[Trajectory], solver: Policy, environment: Environment, rng: np.random.Generator
    ) -> dict[str, Trajectory]:
        """The whole rollouts by id of the decision."""
        streams = rng.spawn(len(decisions))
        live = [begin(solver, environment, one.task, stream) for one, stream in zip(decisions, streams, strict=True)]
        owner = {one.id: decision for one, decision in zip(live, decisions, strict=True)}
        return {owner[one.id].id: _joined(owner[one.id], one.done()) for one in run_to_end(solver, environment, live)}


def _joined(decision: Trajectory, solution: Trajectory) -> Trajectory:
    steps: list[Step] = [*decision.steps]
    steps += [replace(step, id=f"{decision.id}.{len(steps) + s}") for s, step in enumerate(solution.steps)]
    return replace(solution, id=decision.id, task=decision.task, steps=tuple(steps), role="agent")
