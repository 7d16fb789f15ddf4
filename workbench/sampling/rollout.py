"""`rollout`: draw trees with progress, record them as they finish, keep what is done on Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from workbench.protocols import Environment, Policy, Recorder, Reward, Sampler
from workbench.sampling.group import GroupSampler
from workbench.spec import PARTS, to_spec
from workbench.trajectory import Task, Tree


def rollout(
    policy: Policy,
    tasks: Sequence[Task],
    environment: Environment,
    *,
    group_size: int = 8,
    sampler: Sampler | None = None,
    scorer: Reward | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
    run: str | None = None,
    progress: bool = True,
) -> list[Tree]:
    """Roll the policy out on every task.

    Args:
        group_size: rollouts a task, for the default sampler.
        sampler: how trees are drawn; default ``GroupSampler(group_size)``.
        scorer: for samplers that choose among candidates by a reward.
        seed: same seed, same weights, same machine: same rollouts.
        recorder: where finished trees go (a store); recorded one by one, as they finish.
        run: name of the run in the recorder; default the next free one.
        progress: show a bar.

    Returns:
        The finished trees, in the order of the tasks. Ctrl-C returns (and keeps recorded) those finished so far.
    """
    sampler = sampler or GroupSampler(group_size)
    if recorder is not None:
        known = PARTS.get(type(sampler).__name__) is type(sampler)
        settings = {"kind": "rollout", "policy": policy.name, "seed": seed, "tasks": len(tasks)}
        run = recorder.start_run({**settings, "sampler": to_spec(sampler) if known else str(sampler)}, name=run)
    trees: list[Tree] = []
    status = "failed"
    rng = np.random.default_rng(seed)
    try:
        drawn = sampler.sample(policy, environment, tasks, scorer, rng)
        for tree in tqdm(drawn, total=len(tasks), desc="rollout", unit="task", disable=not progress):
            trees.append(tree if recorder is None else replace(tree, run=run))
            if recorder is not None and run is not None:
                recorder.record_trees(trees[-1:], run=run)
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        print(f"interrupted: {len(trees)} of {len(tasks)} tasks are finished and kept")
    finally:
        if recorder is not None and run is not None:
            recorder.end_run(run, status)
    place: dict[str, int] = {}
    for task in tasks:
        place.setdefault(task.id, len(place))
    return sorted(trees, key=lambda tree: place[tree.task.id])
