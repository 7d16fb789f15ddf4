"""What the trainings of the tiny policy have in common, where a method is tried on text: the pupil, and its course."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from workbench.agents.templates import Template
from workbench.protocols import Environment
from workbench.rewards import Reward
from workbench.trajectory import Task, Trajectory

if TYPE_CHECKING:
    from workbench.agents.language_policy import LanguagePolicy
    from workbench.training.report import Report


def pupil(template: Template) -> LanguagePolicy:
    """The tiny policy of the embedded world, loaded anew, with a template that it does not know yet."""
    from workbench.embedded import demo
    from workbench.training.tiny_policy import tiny_policy

    return tiny_policy(demo().policy.engine, template)  # type: ignore[arg-type]


def teach(
    policy: Any, shown: Sequence[Trajectory], *, updates: int, seed: int, lr: float = 4e-4, **settings: Any
) -> None:
    """Supervised, 4,000 tokens an update."""
    from workbench.training.plan import Optimiser
    from workbench.training.sft import sft

    optimiser = Optimiser(lr, warmup=10)
    sft(policy, shown, updates=updates, tokens_per_update=4000, optimiser=optimiser, seed=seed, **settings)


def learn(
    policy: Any,
    tasks: Sequence[Task],
    environment: Environment,
    reward: Reward,
    *,
    updates: int,
    seed: int,
    group: int = 8,
    tasks_per_update: int = 8,
    progress: bool = True,
) -> Iterator[tuple[Report, list[Trajectory]]]:
    """Train by GRPO without a KL term: the report and the rollouts of every update. The policy is trained in place."""
    from workbench.training.method import GRPO
    from workbench.training.plan import Optimiser
    from workbench.training.train import train

    run = train(
        policy,
        tasks,
        environment,
        reward,
        method=GRPO(group, kl=0.0),
        updates=updates,
        tasks_per_update=tasks_per_update,
        optimiser=Optimiser(1e-4, warmup=3),
        seed=seed,
    )
    for report in run:
        if progress:
            print(report, flush=True)
        assert run.latest is not None
        yield report, [trajectory for tree in run.latest.trees for trajectory in tree]


def played(
    policy: Any, tasks: Sequence[Task], environment: Environment, *, seed: int, group: int = 1
) -> list[Trajectory]:
    """Rollouts, `group` a task, with the policy's own temperature."""
    from workbench.sampling.rollout import rollout

    trees = rollout(policy, tasks, environment, group_size=group, seed=1000 + seed, progress=False)
    return [trajectory for tree in trees for trajectory in tree]
