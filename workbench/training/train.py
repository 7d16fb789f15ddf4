"""`train`, `resume` and `clone`: from a policy, tasks and a reward to a run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.errors import SettingError
from workbench.protocols import Environment, Policy, Recorder
from workbench.training.branches import check_unused, folder_after, pick
from workbench.training.checkpoint import load_checkpoint
from workbench.training.folds import Fold
from workbench.training.method import DrGRPO, Method
from workbench.training.plan import Optimiser, Plan
from workbench.training.run import Run
from workbench.trajectory import Task


def train(
    policy: Policy,
    tasks: Sequence[Task],
    environment: Environment,
    reward: Any,
    *,
    method: Method | None = None,
    updates: int = 50,
    tasks_per_update: int = 8,
    optimiser: Optimiser | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
    name: str | None = None,
    checkpoints: str | Path | None = None,
    checkpoint_every: int = 10,
    fold: Fold | None = None,
    **plan: Any,
) -> Run:
    """Prepare a run; nothing happens until it is iterated, finished or started.

    Args:
        policy: trained in place. For a large model wrap its engine first: ``add_lora(policy.engine)``.
        reward: what is paid, see `workbench.rewards`.
        method: sampler, credit and loss; default `DrGRPO`.
        updates: optimiser updates to do.
        tasks_per_update: tasks drawn an update; rollouts = this x the method's group size.
        recorder: a store; rollouts, scores, plans and reports go there, checkpoints into its folder.
        checkpoints: folder for checkpoints, which holds none yet; default the recorder's.
        checkpoint_every: updates between checkpoints (one is always made at the end); 0: only at the end.
        fold: decides after every update what the next will do: `Curriculum`, `Phases`, `EarlyStop`, or several `Folds`.
        plan: further fields of `Plan` (end_rule, micro_batch_tokens).

    Raises:
        CapabilityError: the policy's weights are not in this process.
        SettingError: no tasks, a setting that makes no sense, or a folder with the checkpoints of another run.
    """
    if getattr(policy, "temperature", 1.0) == 0:
        raise SettingError("a greedy policy (temperature 0) explores nothing; train policy.at(1.0)")
    made = Plan.of(
        method or DrGRPO(),
        tasks,
        reward,
        optimiser=optimiser or Optimiser(),
        tasks_per_update=tasks_per_update,
        **plan,
    )
    folder = Path(checkpoints) if checkpoints is not None else None
    if folder is not None:
        check_unused(folder)
    return Run(
        policy,
        environment,
        made,
        updates=updates,
        seed=seed,
        recorder=recorder,
        name=name,
        folder=folder,
        checkpoint_every=checkpoint_every,
        fold=fold,
    )


def resume(
    checkpoint: str | Path,
    policy: Policy,
    tasks: Sequence[Task],
    environment: Environment,
    *,
    reward: Any = None,
    updates: int | None = None,
    recorder: Recorder | None = None,
    name: str | None = None,
    checkpoint_every: int = 10,
    fold: Fold | None = None,
) -> Run:
    """A new run that goes on from a checkpoint, to the same numbers as if it had never stopped.

    Args:
        checkpoint: a folder such as ``lab/checkpoints/r1/update-00020``.
        policy: with the weights that the first run began with; they are brought to the checkpoint's.
        tasks: the same as then.
        reward: needed where the first run's was a plain function, which no checkpoint can hold.
        updates: total, counted from the first run's start; default as planned then.
        fold: the same as then.

    Raises:
        SettingError: other tasks or other base weights.
    """
    saved = load_checkpoint(checkpoint)
    state = saved.state
    if (fold is None) != (state.get("fold") is None):
        raise SettingError(
            f"the checkpoint was made {'with' if fold is None else 'without'} a fold (curriculum, phases, early stop); "
            f"{'give it again: resume(..., fold=...)' if fold is None else 'leave fold out'}"
        )
    if fold is not None:
        tasks = fold.tasks(state["fold"], tasks)
    run = Run(
        policy,
        environment,
        Plan.from_spec(state["plan"], tasks, reward),
        updates=state["updates"] if updates is None else updates,
        seed=state["seed"],
        recorder=recorder,
        name=name,
        folder=folder_after(saved.folder, state["update"]) if recorder is None else None,
        checkpoint_every=checkpoint_every,
        continues={"run": state["run"], "update": state["update"]},
        fold=fold,
        fold_state=state.get("fold"),
    )
    if run.base != state["base"]:
        raise SettingError(
            f"the checkpoint continues from base weights {state['base']}, the policy given has {run.base}; load the "
            f"policy that run {state['run']!r} began with ({state['policy']})"
        )
    run.restore(saved)
    run.base = state["base"]
    return run


def clone(
    run: Run,
    update: int | None = None,
    *,
    policy: Policy | None = None,
    updates: int | None = None,
    name: str | None = None,
    **changes: Any,
) -> Run:
    """Another run that goes on from where this one was, with a change: ``clone(run, 20, optimiser=Optimiser(1e-4))``.

    The run itself is left as it is and may be going on. Without a change the clone does what it did, to the last bit.

    Args:
        update: goes on from the checkpoint made after this update; default the newest.
        policy: takes the checkpoint's weights; default a copy of the run's.
        updates: total, counted from the first run's start; default as the run's.
        changes: fields of `Plan`, in force from the clone's first update on.

    Raises:
        SettingError: no such checkpoint, no such field, or another kind of critic.
    """
    saved = run.checkpoints()
    newest = saved[-1].update if saved else run.update
    checkpoint = load_checkpoint(pick(saved, newest if update is None else update, run.name).folder)
    plan = run.plan_of(checkpoint)
    changed = plan.replace(**changes)
    if (plan.critic and plan.critic.form) != (changed.critic and changed.critic.form):
        raise SettingError(f"a clone keeps the critic of its run, {plan.critic}; got {changed.critic}")
    state = checkpoint.state
    other = Run(
        copy.deepcopy(run.policy) if policy is None else policy,
        run.environment,
        changed,
        updates=run.updates if updates is None else updates,
        seed=state["seed"],
        recorder=run.recorder,
        name=name,
        folder=folder_after(checkpoint.folder, -1) if run.recorder is None else None,
        checkpoint_every=run.checkpoint_every,
        continues={"run": state["run"], "update": state["update"]},
        fold=run.fold,
        fold_state=run.fold_state_of(checkpoint),
    )
    other.restore(checkpoint)
    other.base = state["base"]
    return other
