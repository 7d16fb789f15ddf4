"""A training run: what one update does, what is kept of it, and how to go back."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.batch import Advantages, FlatBatch, flat_batch
from workbench.errors import SettingError
from workbench.protocols import Environment, Policy, Recorder
from workbench.rewards.score import score
from workbench.scores import Scores
from workbench.spec import code_version, dumps
from workbench.training.branches import Saved, Trunk, pick, update_folder
from workbench.training.check_update import check_update, weights_holder, weights_version
from workbench.training.checkpoint import Checkpoint, load_checkpoint, restore_moments, save_checkpoint
from workbench.training.critic import Fitted, Values
from workbench.training.driving import Driven
from workbench.training.interrupt import interrupt_held
from workbench.training.kl_term import with_kl_term
from workbench.training.learners import Learner, learner_for
from workbench.training.plan import Plan
from workbench.training.report import Report, describe
from workbench.training.rows import Row, micro_batches, training_rows
from workbench.training.update import Trained, train_on
from workbench.trajectory import Task, Tree

CRITIC = "critic."
"""Before the names of the critic's tensors in a checkpoint."""


@dataclass(frozen=True, eq=False)
class Latest:
    """What the newest update drew, was paid and learned from."""

    run: str
    update: int
    plan: Plan
    trees: tuple[Tree, ...]
    scores: tuple[list[Scores], ...]
    advantages: Advantages


@dataclass(frozen=True, eq=False)
class _Return:
    """A roll-back that was asked for: to which checkpoint, with which plan; `since` is the plan of that moment."""

    checkpoint: Checkpoint
    plan: Plan
    since: Plan


class Run(Driven):
    """A training under way.

    Iterate over it (``for report in run``), call `finish()` for all of it with a progress line, or `start()` it in a
    thread. `pause`, `resume`, `stop`, `roll_back` and a new `plan` take effect between two updates. The policy is
    trained in place.

    Update u draws everything from ``[seed, u]``, so a run continued from a checkpoint does what it would have done.
    """

    steers = True  # by whoever holds it; a run that is only read from a store cannot be

    def __init__(
        self,
        policy: Policy,
        environment: Environment,
        plan: Plan,
        *,
        updates: int,
        seed: int = 0,
        recorder: Recorder | None = None,
        name: str | None = None,
        folder: Path | None = None,
        checkpoint_every: int = 0,
        continues: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.policy, self.environment, self.recorder = policy, environment, recorder
        self.updates, self.seed, self.checkpoint_every = updates, seed, checkpoint_every
        self.learner: Learner = learner_for(policy, keep_reference=plan.loss.kl is not None)
        self.base = weights_digest(self.learner)
        self.values = None if plan.critic is None else Values(plan.critic, self.learner)
        self.optimiser = torch.optim.AdamW(self._parameter_groups(), lr=plan.optimiser.lr)
        self.update, self.drawn = 0, 0
        self.latest: Latest | None = None
        self.plans: list[tuple[int, Plan]] = []  # those that were in force, each with its first update
        self._plan = plan
        self._recorded_plan: Plan | None = None
        self._asked: deque[_Return] = deque(maxlen=1)  # the newest wins
        self._given_folder, self._trunk, self._branches = folder, Trunk(), 1
        self.continues = continues
        self.name = self._named(name)
        self.folder = folder or self._own_folder()
        self.first_name = self.name

    def _named(self, name: str | None) -> str:
        """Open the run in the recorder; the name it goes by."""
        if self.recorder is None:
            return name or "run"
        settings: dict[str, Any] = {"kind": "train", "policy": self.policy.name, "seed": self.seed}
        settings |= {"updates": self.updates, "plan": self.plan.spec()}
        settings |= {"continues": dict(self.continues)} if self.continues else {}
        return self.recorder.start_run(settings, name=name)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """The policy's, then the critic's: one optimiser, each stepping while the other has no gradient."""
        groups = [{"params": self.learner.parameters()}]
        return groups if self.values is None else [*groups, {"params": self.values.parameters()}]

    def _own_folder(self) -> Path | None:
        """Where the checkpoints of a run of this name go."""
        path = getattr(self.recorder, "path", None)
        if self._given_folder is not None:
            return self._given_folder / self.name
        return None if path is None else Path(path) / "checkpoints" / self.name

    @property
    def plan(self) -> Plan:
        """What the next update will do. Assign a changed copy (`Plan.replace`) to swap it, whole, from any thread."""
        return self._plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        if not isinstance(plan, Plan):
            raise SettingError(f"a run's plan is a Plan, got {plan!r}; write run.plan = run.plan.replace(reward=...)")
        if (plan.critic and plan.critic.form) != (self.values and self.values.form):
            raise SettingError(
                f"a run keeps the critic it began with ({self._plan.critic}), and this plan has {plan.critic}; start "
                "another run for another critic"
            )
        self._plan = plan
        self._tell()

    # ------------------------------------------------------------ one update

    def _one_update(self) -> Report:
        plan = self.plan  # read once: a plan swapped in now counts from the next update
        number = self.update + 1
        self._in_force(plan, number)
        clock = [time.perf_counter()]
        trees = self._draw(plan, number)
        clock.append(time.perf_counter())
        scores = score(trees, plan.reward)
        batch = flat_batch(trees, scores)
        advantages = plan.credit(self._looked_at(plan, trees, plan.end_rule(batch)))
        clock.append(time.perf_counter())
        with interrupt_held():  # weights, optimiser, counters and log move together
            lr = self._set_optimiser(plan, number)
            version = weights_version(self.policy)
            rows = training_rows(trees, advantages)
            fitted = self._fit(plan, rows, advantages)
            trained = self._train(plan, rows)
            self.learner.updated()
            self.update, self.drawn = number, self.drawn + plan.tasks_per_update
            clock.append(time.perf_counter())
            rollout_s, score_s, train_s = np.diff(clock).tolist()
            report = Report(
                run=self.name,
                update=number,
                equal_groups=advantages.equal_groups,
                lr=lr,
                rollout_s=rollout_s,
                score_s=score_s,
                train_s=train_s,
                checks=check_update(self.policy, self.learner, trees, advantages, trained, version),
                value_loss=fitted.loss,
                explained=fitted.explained,
                **describe(trees, advantages.batch, trained),
            )
            self._record(trees, scores, plan, report)
            self.latest = Latest(self.name, number, plan, tuple(trees), tuple(scores), advantages)
        return report

    def _draw(self, plan: Plan, number: int) -> list[Tree]:
        rng = np.random.default_rng([self.seed, number])
        tasks = tasks_of_update(plan.tasks, self.drawn, plan.tasks_per_update, self.seed)
        drawn = plan.sampler.sample(self.policy, self.environment, tasks, plan.reward, rng)
        return [tree if self.recorder is None else replace(tree, run=self.name) for tree in drawn]

    def _looked_at(self, plan: Plan, trees: Sequence[Tree], batch: FlatBatch) -> FlatBatch:
        """The batch with what the weights say of it: the KL from the reference as a term, the critic's values."""
        kl = plan.loss.kl
        in_reward = kl is not None and kl.into == "reward"
        if not in_reward and self.values is None:
            return batch
        rows = training_rows(trees, Advantages(batch, np.zeros(len(batch.parent_S))))
        batches = micro_batches(rows, plan.micro_batch_tokens)
        if kl is not None and in_reward:
            batch = with_kl_term(batch, batches, self.learner, kl.coef)
        return batch if self.values is None else self.values.valued(batch, batches)

    def _fit(self, plan: Plan, rows: Sequence[Row], advantages: Advantages) -> Fitted:
        """Teach the critic, before the policy moves."""
        if self.values is None or plan.critic is None:
            return Fitted(float("nan"), float("nan"))
        return self.values.fit(plan.critic, self.optimiser, rows, advantages, plan.micro_batch_tokens)

    def _train(self, plan: Plan, rows: Sequence[Row]) -> Trained:
        return train_on(
            self.learner,
            self.optimiser,
            rows,
            plan.loss,
            epochs=plan.epochs,
            max_grad_norm=plan.optimiser.max_grad_norm,
            micro_batch_tokens=plan.micro_batch_tokens,
        )

    def _set_optimiser(self, plan: Plan, number: int) -> float:
        settings = plan.optimiser
        lr = settings.lr * min(1.0, number / max(settings.warmup, 1))
        for group in self.optimiser.param_groups:
            group.update(lr=lr, betas=tuple(settings.betas), weight_decay=settings.weight_decay)
        if plan.critic is not None:
            self.optimiser.param_groups[-1].update(lr=plan.critic.lr, weight_decay=0.0)
        return lr

    # ------------------------------------------------------------ keeping

    def _in_force(self, plan: Plan, number: int) -> None:
        before = [one for one in self.plans if one[0] < number]
        self.plans = before if before and before[-1][1] is plan else [*before, (number, plan)]
        if self.recorder is not None and plan is not self._recorded_plan:
            self.recorder.record_plan(dumps(plan.spec()), run=self.name, update=number)
            self._recorded_plan = plan

    def _record(self, trees: Sequence[Tree], scores: Any, plan: Plan, report: Report) -> None:
        self.reports.append(report)
        if self.recorder is not None:
            reward, version = dumps(plan.reward, loose=True), code_version(plan.reward)
            self.recorder.record_trees(trees, run=self.name, update=report.update)
            self.recorder.record_scores(
                trees, scores, run=self.name, update=report.update, reward=reward, version=version
            )
            self.recorder.record_report(report.as_json(), run=self.name, update=report.update)
        if self.folder is not None and self.checkpoint_every and report.update % self.checkpoint_every == 0:
            self.checkpoint()

    def _close(self, status: str) -> None:
        self.status = status
        if self.folder is not None and self.update and status != "failed":
            self.checkpoint()
        if self.recorder is not None:
            self.recorder.end_run(self.name, status)

    def checkpoint(self) -> Path:
        """Save the state after the last finished update; returns the folder."""
        if self.folder is None:
            raise SettingError("this run has no folder for checkpoints; give train(..., checkpoints=FOLDER)")
        folder = update_folder(self.folder, self.update)
        if folder.exists():
            return folder
        state = {
            "run": self.name,
            "update": self.update,
            "updates": self.updates,
            "drawn": self.drawn,
            "seed": self.seed,
            "plan": self.plan.spec(),
            "policy": self.policy.name,
            "weights_version": weights_version(self.policy),
            "base": self.base,
            "notes": self.learner.notes(),
        }
        return save_checkpoint(folder, state, self._weights(), self.optimiser)

    def _weights(self) -> dict[str, torch.Tensor]:
        """The policy's trained tensors, and the critic's."""
        critic = {} if self.values is None else self.values.state()
        return self.learner.state() | {f"{CRITIC}{name}": tensor for name, tensor in critic.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of a run with the same base weights."""
        state = checkpoint.state
        critic = {name: tensor for name, tensor in checkpoint.weights.items() if name.startswith(CRITIC)}
        self.learner.load_state({name: w for name, w in checkpoint.weights.items() if name not in critic})
        if self.values is not None:
            self.values.load_state({name.removeprefix(CRITIC): tensor for name, tensor in critic.items()})
        self.learner.load_notes(state["notes"])
        self.optimiser.state.clear()
        restore_moments(self.optimiser, checkpoint.optimiser)
        self.update, self.drawn = state["update"], state["drawn"]
        self.reports = [report for report in self.reports if report.update <= self.update]
        self.plans = [(first, plan) for first, plan in self.plans if first <= self.update]
        self.latest = None
        self._trunk = self._trunk.leave(checkpoint.folder.parent, self.update)
        self.learner.updated()
        holder = weights_holder(self.policy)
        if holder is not None:
            holder.weights_version = state["weights_version"]

    # ------------------------------------------------------------ going back

    def checkpoints(self) -> list[Saved]:
        """What can be rolled back to, oldest first: this run's checkpoints and those of the runs it continues."""
        return self._trunk.saved(self.folder, self.update)

    def roll_back(self, update: int) -> None:
        """Go back to the checkpoint made after `update` and go on from there, with the plan of then.

        From any thread. It happens before the next update; at once where the run is paused or nobody drives it. A
        plan assigned after this call stays. Nothing is overwritten: what was done so far ends as "rolled back", and
        the run goes on under a name of its own, with a folder of its own.

        Raises:
            SettingError: there is no such checkpoint, or its plan cannot be had again.
            FormatError: it cannot be read.
        """
        checkpoint = load_checkpoint(pick(self.checkpoints(), update, self.name).folder)
        self._asked.append(_Return(checkpoint, self.plan_of(checkpoint), self.plan))
        self._woken.set()
        self._tell()
        self._settle()

    def _settle(self) -> None:
        while self._asked and self._driving.acquire(blocking=False):
            try:
                self._between_updates()
                self.status = "new"
            finally:
                self._driving.release()

    @property
    def returning(self) -> int | None:
        """The update that a roll-back asked for, and not yet done, goes to."""
        return next((asked.checkpoint.state["update"] for asked in tuple(self._asked)), None)

    def plan_of(self, checkpoint: Checkpoint) -> Plan:
        """The plan that a checkpoint was to go on with."""
        spec = checkpoint.state["plan"]
        for plan in (self.plan, *(plan for _, plan in self.plans)):
            if plan.spec() == spec:
                return plan
        return Plan.from_spec(spec, self.plan.tasks)

    def _between_updates(self) -> None:
        """Roll back where that was asked."""
        while self._asked:
            asked = self._asked.popleft()
            state = asked.checkpoint.state
            self._close("rolled back")
            with interrupt_held():
                self.restore(asked.checkpoint)
                self.continues = {"run": state["run"], "update": state["update"]}
                if self._plan is asked.since:
                    self._plan = asked.plan
                self._branch()
            self._tell()

    def _branch(self) -> None:
        """Go on under a name and with a folder of its own: trees drawn again have the ids of those that were left."""
        self._branches += 1
        while self._given_folder is not None and (self._given_folder / f"{self.first_name}.{self._branches}").exists():
            self._branches += 1
        name = f"{self.first_name}.{self._branches}"
        try:
            self.name = self._named(name)
        except SettingError:  # somebody else's run is called that
            self.name = self._named(None)
        self.folder, self._recorded_plan = self._own_folder(), None

    def __repr__(self) -> str:
        last = f", {self.reports[-1]}" if self.reports else ""
        return f"Run({self.name!r}, {self.status}, update {self.update} of {self.updates}{last})"


def tasks_of_update(tasks: Sequence[Task], drawn: int, count: int, seed: int) -> list[Task]:
    """The next `count` tasks after `drawn`: each pass over the tasks in its own shuffled order."""
    picked = []
    for place in range(drawn, drawn + count):
        order = np.random.default_rng([seed, place // len(tasks), 7]).permutation(len(tasks))
        picked.append(tasks[int(order[place % len(tasks)])])
    return picked


def weights_digest(learner: Learner) -> str:
    """Twelve hex digits over the trained tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(learner.state().items()):
        digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


__all__ = ["Latest", "Run", "tasks_of_update", "weights_digest"]
