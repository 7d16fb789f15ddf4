"""A training run: a generator of reports that a notebook owns, or a thread that it steers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.batch import Advantages, FlatBatch, flat_batch
from workbench.errors import SettingError, TrainingError
from workbench.protocols import Environment, Policy, Recorder
from workbench.rewards.score import score
from workbench.spec import code_version, dumps
from workbench.training import checks
from workbench.training.checkpoint import Checkpoint, restore_moments, save_checkpoint
from workbench.training.interrupt import interrupt_held
from workbench.training.learners import Learner, learner_for
from workbench.training.plan import Plan, tasks_digest
from workbench.training.report import Report, describe
from workbench.training.rows import training_rows
from workbench.training.update import Trained, train_on
from workbench.trajectory import Task, Tree


class Run:
    """A training under way.

    Iterate over it (``for report in run``), call `finish()` for all of it with a progress line, or `start()` it in a
    thread. `pause`, `resume`, `stop` and a new `plan` take effect between two updates. The policy is trained in place.

    Update u draws everything from ``[seed, u]``, so a run continued from a checkpoint does what it would have done.
    """

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
    ) -> None:
        self.policy, self.environment, self.recorder = policy, environment, recorder
        self.updates, self.seed, self.folder, self.checkpoint_every = updates, seed, folder, checkpoint_every
        self.learner: Learner = learner_for(policy, keep_reference=plan.loss.kl is not None)
        self.base = weights_digest(self.learner)
        self.optimiser = torch.optim.AdamW(self.learner.parameters(), lr=plan.optimiser.lr)
        self.update, self.drawn, self.status = 0, 0, "new"
        self.reports: list[Report] = []
        self.error: BaseException | None = None
        self.plan = plan
        self._recorded_plan: Plan | None = None
        self._stop, self._go, self._driving = threading.Event(), threading.Event(), threading.Lock()
        self._go.set()
        self._thread: threading.Thread | None = None
        settings = {"kind": "train", "policy": policy.name, "seed": seed, "updates": updates, "plan": plan.spec()}
        self.name = name or "run"
        if recorder is not None:
            self.name = recorder.start_run(settings, name=name)
        if self.folder is None and getattr(recorder, "path", None) is not None:
            self.folder = Path(recorder.path) / "checkpoints" / self.name  # type: ignore[union-attr]

    # ------------------------------------------------------------ driving

    def __iter__(self) -> Iterator[Report]:
        """Do the updates that are left, yielding a report after each. Leaving the loop early loses nothing: iterate
        again to go on."""
        if not self._driving.acquire(blocking=False):
            raise TrainingError(f"run {self.name!r} is already being driven, by a thread or another loop")
        ended = "interrupted"
        try:
            self.status = "running"
            while self.update < self.updates and not self._stop.is_set():
                self._wait_while_paused()
                if self._stop.is_set():
                    break
                yield self._one_update()
            ended = "stopped" if self._stop.is_set() else "finished"
        except Exception as error:
            self.error, ended = error, "failed"
            raise
        finally:
            self._close(ended)
            self._driving.release()

    def finish(self, *, show: bool = True) -> list[Report]:
        """Do all updates that are left; Ctrl-C keeps what is done, and never an update by half."""
        try:
            for report in self:
                if show:
                    print(report, flush=True)
        except KeyboardInterrupt:
            print(f"interrupted after update {self.update} of {self.updates}; run.finish() goes on from there")
        return self.reports

    def start(self) -> Run:
        """Drive the run from a background thread."""
        if self._thread is not None and self._thread.is_alive():
            raise TrainingError(f"run {self.name!r} is already running in a thread")
        self._stop.clear()
        self._thread = threading.Thread(target=self._drive, name=f"run-{self.name}", daemon=True)
        self._thread.start()
        return self

    def _drive(self) -> None:
        try:
            for _ in self:
                pass
        except Exception:
            self.status = "failed"  # `error` holds it; `wait` raises it

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for the thread, seconds at most. Raises what it failed with."""
        if self._thread is not None:
            self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        return self

    def pause(self) -> None:
        """Hold before the next update."""
        self._go.clear()

    def resume(self) -> None:
        self._go.set()

    def stop(self) -> None:
        """End after the update under way."""
        self._stop.set()
        self._go.set()

    def _wait_while_paused(self) -> None:
        if not self._go.is_set():
            self.status = "paused"
            self._go.wait()
            self.status = "running"

    # ------------------------------------------------------------ one update

    def _one_update(self) -> Report:
        plan = self.plan  # read once: a plan swapped in now counts from the next update
        number = self.update + 1
        self._record_plan(plan, number)
        clock = [time.perf_counter()]
        trees = self._draw(plan, number)
        clock.append(time.perf_counter())
        scores = score(trees, plan.reward)
        batch = flat_batch(trees, scores, name=getattr(plan.reward, "name", "reward"))
        advantages = self._credit(plan, trees, plan.end_rule(batch))
        clock.append(time.perf_counter())
        with interrupt_held():  # weights, optimiser, counters and log move together
            lr = self._set_optimiser(plan, number)
            version = self._version()
            trained = self._train(plan, trees, advantages)
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
                checks=self._checks(trees, advantages, trained, version),
                **describe(trees, advantages.batch, trained),
            )
            self._record(trees, scores, plan, report)
        return report

    def _draw(self, plan: Plan, number: int) -> list[Tree]:
        rng = np.random.default_rng([self.seed, number])
        tasks = tasks_of_update(plan.tasks, self.drawn, plan.tasks_per_update, self.seed)
        return list(plan.sampler.sample(self.policy, self.environment, tasks, plan.reward, rng))

    def _credit(self, plan: Plan, trees: Sequence[Tree], batch: FlatBatch) -> Advantages:
        advantages = plan.credit(batch)
        kl = plan.loss.kl
        if kl is None or kl.into != "reward":
            return advantages
        return plan.credit(with_kl_term(batch, trees, advantages, self.learner, kl.coef))

    def _train(self, plan: Plan, trees: Sequence[Tree], advantages: Advantages) -> Trained:
        return train_on(
            self.learner,
            self.optimiser,
            training_rows(trees, advantages),
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
        return lr

    def _version(self) -> int:
        holder = self.policy if hasattr(self.policy, "weights_version") else getattr(self.policy, "engine", None)
        return int(getattr(holder, "weights_version", 0))

    def _checks(
        self, trees: Sequence[Tree], advantages: Advantages, trained: Trained, version: int
    ) -> tuple[checks.Check, ...]:
        engine = getattr(self.policy, "engine", None)
        found = [
            checks.only_own_tokens(trained.rows),
            checks.sampler_gap(trained.before_T, trained.sampler_T),
            checks.groups_teach(advantages),
            checks.groups_have_siblings(advantages),
            checks.few_truncated(trees),
            checks.all_scored(advantages),
        ]
        if engine is not None:
            found.append(checks.ids_are_text(trained.rows, engine.tokenizer))
        if trained.rows and trained.grad_norm > 0:
            found.append(checks.weights_arrived(version, self._version(), trained.moved, self._probe(trained)))
        return tuple(found)

    def _probe(self, trained: Trained) -> float | None:
        """Worst gap between what sampler and trainer now think of the first turn of a short row, nats."""
        engine = getattr(self.policy, "engine", None)
        if engine is None or not engine.capabilities.score:
            return None
        row = min(trained.rows, key=len)
        first = row.step_T[row.train_T].min()
        at = np.flatnonzero(row.train_T & (row.step_T == first))
        with torch.no_grad():
            trainer_T = self.learner.likelihood([row]).logp_T[: len(at)].float().cpu().numpy()
        ids_T = row.tokens.ids_T
        sampler_T = engine.score([ids_T[: at[0]]], [ids_T[at]])[0]
        temperature_one = getattr(self.policy, "temperature", 1.0) == 1.0
        return float(np.abs(trainer_T - sampler_T).max()) if temperature_one else None

    # ------------------------------------------------------------ keeping

    def _record_plan(self, plan: Plan, number: int) -> None:
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
        folder = self.folder / f"update-{self.update:05d}"
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
            "weights_version": self._version(),
            "base": self.base,
            "notes": self.learner.notes(),
        }
        return save_checkpoint(folder, state, self.learner.state(), self.optimiser)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of a run with the same base weights."""
        state = checkpoint.state
        self.learner.load_state(checkpoint.weights)
        self.learner.load_notes(state["notes"])
        self.optimiser.state.clear()
        restore_moments(self.optimiser, checkpoint.optimiser)
        self.update, self.drawn = state["update"], state["drawn"]
        self.reports = [report for report in self.reports if report.update <= self.update]
        self.learner.updated()
        holder = self.policy if hasattr(self.policy, "weights_version") else getattr(self.policy, "engine", None)
        if holder is not None:
            holder.weights_version = state["weights_version"]

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


def with_kl_term(
    batch: FlatBatch, trees: Sequence[Tree], advantages: Advantages, learner: Learner, coef: float
) -> FlatBatch:
    """The batch with one more term, weight -coef: the k1 estimate summed over the own tokens of each step, nats."""
    rows = training_rows(trees, advantages)
    kl_S = np.full(len(batch.parent_S), np.nan)
    for row in rows:
        with torch.no_grad():
            logp_T = learner.likelihood([row]).logp_T
        difference_T = (logp_T - learner.reference([[row]])[0]).float().cpu().numpy()
        steps = batch.path(row.number)[row.step_T[row.train_T]]
        kl_S[np.unique(steps)] = 0.0
        np.add.at(kl_S, steps, difference_T)
    status_S = np.where(np.isnan(kl_S), 1, 0).astype(np.int8)
    token_terms_RT = batch.token_terms_RT
    if token_terms_RT is not None:
        token_terms_RT = np.vstack([token_terms_RT, np.full((1, token_terms_RT.shape[1]), np.nan)])
    return replace(
        batch,
        names_R=(*batch.names_R, "kl"),
        weights_R=np.append(batch.weights_R, -coef),
        terms_RS=np.vstack([batch.terms_RS, kl_S]),
        status_RS=np.vstack([batch.status_RS, status_S]),
        token_terms_RT=token_terms_RT,
    )


def weights_digest(learner: Learner) -> str:
    """Twelve hex digits over the trained tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(learner.state().items()):
        digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


__all__ = ["Run", "tasks_digest", "tasks_of_update", "weights_digest"]
