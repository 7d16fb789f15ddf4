"""G independent rollouts of every task: the plain case of a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from workbench.agents.loop import begin, run_to_end
from workbench.errors import SettingError
from workbench.protocols import Environment, Policy, Reward
from workbench.spec import part
from workbench.trajectory import Task, Trajectory, Tree


@part
class GroupSampler:
    """`group_size` independent rollouts a task, `batch` trajectories in flight.

    Every rollout draws from its own random stream, so what it does depends on neither its neighbours nor `batch`
    (up to the floating point of a batched forward).
    """

    group_size: int = 8
    batch: int = 128

    def __post_init__(self) -> None:
        if self.group_size < 1 or self.batch < 1:
            raise SettingError(f"group_size and batch must be at least 1, got {self.group_size} and {self.batch}")

    def sample(
        self,
        policy: Policy,
        environment: Environment,
        tasks: Sequence[Task],
        scorer: Reward | None,
        rng: np.random.Generator,
    ) -> Iterator[Tree]:
        """Yield a tree a task, each as soon as its last rollout ends."""
        streams = rng.spawn(len(tasks))
        per_round = max(1, self.batch // self.group_size)
        for first in range(0, len(tasks), per_round):
            chunk = list(zip(tasks, streams, strict=True))[first : first + per_round]
            yield from self._round(policy, environment, chunk)

    def _round(
        self, policy: Policy, environment: Environment, chunk: list[tuple[Task, np.random.Generator]]
    ) -> Iterator[Tree]:
        rows = [(p, task, stream) for p, (task, stream) in enumerate(chunk) for stream in stream.spawn(self.group_size)]
        live = [begin(policy, environment, task, stream) for _, task, stream in rows]
        owner = {one.id: p for one, (p, _, _) in zip(live, rows, strict=True)}
        order = {one.id: n for n, one in enumerate(live)}
        done: dict[int, list[Trajectory]] = {}
        for one in run_to_end(policy, environment, live):
            members = done.setdefault(owner[one.id], [])
            members.append(one.done())
            if len(members) == self.group_size:
                members.sort(key=lambda trajectory: order[trajectory.id])
                yield Tree(f"{members[0].id}", members[0].task, tuple(members))
