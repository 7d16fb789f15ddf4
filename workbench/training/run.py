"""A training run: what one update does, what is kept of it, and how to go back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench.agents.language_policy import LanguagePolicy
from workbench.batch import Advantages, flat_batch
from workbench.errors import CapabilityError, SettingError
from workbench.protocols import Environment, Policy, Recorder, Steering
from workbench.rewards.score import score
from workbench.scores import Scores
from workbench.spec import code_version, dumps
from workbench.training.branches import Saved, Trunk, pick, update_folder
from workbench.training.check_update import check_update, weights_holder, weights_version
from workbench.training.checkpoint import Checkpoint, load_checkpoint
from workbench.training.driving import Driven
from workbench.training.folds import Fold
from workbench.training.held_out import HeldOut, Looks
from workbench.training.interrupt import interrupt_held
from workbench.training.model_card import model_card
from workbench.training.obeying import LISTEN_EVERY_S, obey
from workbench.training.plan import Plan
from workbench.training.report import Report, describe
from workbench.training.weights import Weights
from workbench.trajectory import Task, Tree

log = logging.getLogger(__name__)


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
        fold: Fold | None = None,
        fold_state: Any = None,
        held_out: HeldOut | None = None,
    ) -> None:
        super().__init__()
        if held_out is not None:
            held_out.check_apart(plan.tasks)
        self.held_out = held_out
        self._looks = None if held_out is None else Looks(held_out, recorder)
        if fold is not None and fold_state is None:
            fold_state, plan = fold.begin(plan)
        self.fold, self._fold_state, self._planning = fold, fold_state, threading.Lock()
        self.policy, self.environment, self.recorder = policy, environment, recorder
        self.updates, self.seed, self.checkpoint_every = updates, seed, checkpoint_every
        self.weights = Weights(policy, plan)
        self.base = self.weights.digest()
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
        self._listens_to = recorder if isinstance(recorder, Steering) else None
        self._listened, self._obeyed = 0.0, set[str]()
        self.looks_every_s = None if self._listens_to is None else LISTEN_EVERY_S

    def _named(self, name: str | None) -> str:
        """Open the run in the recorder; the name it goes by."""
        if self.recorder is None:
            return name or "run"
        settings: dict[str, Any] = {"kind": "train", "policy": self.policy.name, "seed": self.seed}
        settings |= {"updates": self.updates, "plan": self.plan.spec()}
        settings |= {"continues": dict(self.continues)} if self.continues else {}
        compute = getattr(getattr(self.policy, "engine", None), "compute", None)
        settings |= {"compute": str(compute).removeprefix("torch.")} if compute else {}
        return self.recorder.start_run(settings, name=name)

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
        if (plan.critic and plan.critic.form) != (self._plan.critic and self._plan.critic.form):
            raise SettingError(
                f"a run keeps the critic it began with ({self._plan.critic}), and this plan has {plan.critic}; start "
                "another run for another critic"
            )
        with self._planning:
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
        scores = score(trees, plan.reward, vectors=getattr(self.recorder, "vectors", None))
        batch = flat_batch(trees, scores)
        advantages = plan.credit(self.weights.looked_at(plan, trees, plan.end_rule(batch)))
        clock.append(time.perf_counter())
        with interrupt_held():  # weights, optimiser, counters and log move together
            lr = self.weights.set_optimiser(plan, number)
            version = weights_version(self.policy)
            fitted, trained = self.weights.learn(plan, trees, advantages)
            self.weights.learner.updated()
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
                checks=check_update(self.policy, self.weights.learner, trees, advantages, trained, version),
                value_loss=fitted.loss,
                explained=fitted.explained,
                **(self._looks.told(self, number) if self._looks else {}),
                **describe(trees, advantages.batch, trained),
            )
            self._fold(report)
            self._record(trees, scores, plan, report)
            self.latest = Latest(self.name, number, plan, tuple(trees), tuple(scores), advantages)
        return report

    def _fold(self, report: Report) -> None:
        """Let the fold decide what comes next; where it has had enough, this was the last update."""
        if self.fold is None:
            return
        with self._planning:  # a plan assigned from another thread is what the fold goes on from, or stays
            self._fold_state, plan = self.fold(self._fold_state, report, self._plan)
            self._plan = self._plan if plan is None else plan
        if plan is None:
            self.updates = self.update

    def _draw(self, plan: Plan, number: int) -> list[Tree]:
        rng = np.random.default_rng([self.seed, number])
        tasks = tasks_of_update(plan.tasks, self.drawn, plan.tasks_per_update, self.seed)
        drawn = plan.sampler.sample(self.policy, self.environment, tasks, plan.reward, rng)
        return [tree if self.recorder is None else replace(tree, run=self.name) for tree in drawn]

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
        if self._looks is not None:
            self._looks.end()

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
            "fold": self._fold_state,
        }
        return self.weights.save(folder, state)

    def save(self, folder: str | Path, *, merged: bool = False, notes: str = "") -> Path:
        """Save the policy as it is now, with a model card that says what was trained on what.

        Args:
            merged: adapters and base as one model.
            notes: what the card shall say beside, in Markdown.

        Raises:
            CapabilityError: it is no language model.
            SettingError: the folder holds something.
        """
        if not isinstance(self.policy, LanguagePolicy):
            raise CapabilityError(f"a {type(self.policy).__name__} cannot be saved as a model; it has checkpoints")
        return self.policy.save(folder, merged=merged, card=model_card(self, notes=notes))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of a run with the same base weights."""
        state = checkpoint.state
        self.weights.restore(checkpoint)
        self.update, self.drawn = state["update"], state["drawn"]
        self._fold_state = state.get("fold")
        self.reports = [report for report in self.reports if report.update <= self.update]
        self.plans = [(first, plan) for first, plan in self.plans if first <= self.update]
        self.latest = None
        self._trunk = self._trunk.leave(checkpoint.folder.parent, self.update)
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
        tasks = self.plan.tasks
        return Plan.from_spec(spec, tasks if self.fold is None else self.fold.tasks(checkpoint.state["fold"], tasks))

    def fold_state_of(self, checkpoint: Checkpoint) -> Any:
        """What this run's fold had come to."""
        return None if self.fold is None else checkpoint.state["fold"]

    def _between_updates(self) -> None:
        """Obey requests from elsewhere, and roll back where that was asked."""
        self._obey()
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

    def _obey(self) -> None:
        """Do what was asked through the recorder, and answer."""
        if self._listens_to is None or time.monotonic() - self._listened < LISTEN_EVERY_S:
            return
        self._listened = time.monotonic()
        try:
            for request in self._listens_to.requests(sorted({self.name, self.first_name})):
                if request.id not in self._obeyed:
                    self._obeyed.add(request.id)
                    self._listens_to.answer(request, obey(self, request))
        except Exception:  # a store that is away is no reason to lose a training
            log.exception("run %r cannot look for requests; it goes on and looks again", self.name)

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
