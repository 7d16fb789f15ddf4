"""What a machine does with engines and trainer: do they agree, and how fast are they. Everything runs through `train`,
so that what is measured is what a run does.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.transformers_engine import TransformersEngine
from workbench.agents.vllm_engine import VllmEngine
from workbench.protocols import Environment
from workbench.rewards import Reward
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.training.learners import learner_for
from workbench.training.losses import PolicyLoss
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.report import Report
from workbench.training.rows import training_rows
from workbench.training.train import train
from workbench.training.update import Trained, train_on
from workbench.trajectory import Task, Trajectory, Tree

MB = 2**20


@dataclass(frozen=True)
class Case:
    """A model, who samples it, and with which precision each side computes."""

    model: str  # "tiny" or "0.5B"
    engine: str  # "transformers" or "vllm"
    trainer: str = "float32"  # or "bfloat16", or "mixed": float32 weights, products in bfloat16
    sampler: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.model}, {self.engine}, trainer {self.trainer}, sampler {self.sampler}"


@dataclass(frozen=True)
class Load:
    """How much each update does."""

    tasks: int = 12
    group_size: int = 8
    updates: int = 3  # measured, after one that is not


@part
class Lottery(Reward):
    """A reward that says nothing and differs between rollouts, so that every token is trained on."""

    level = Level.TRAJECTORY

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.trajectory(int(trajectory.id, 16) % 1000 / 1000, "drawn by lot")


def cases(models: Sequence[str], engines: Sequence[str]) -> list[Case]:
    """All that there is to measure of these models and engines."""
    mixes = {
        "transformers": [("float32", "float32"), ("mixed", "mixed"), ("bfloat16", "bfloat16")],
        "vllm": [("float32", "float32"), ("float32", "bfloat16"), ("mixed", "bfloat16"), ("bfloat16", "bfloat16")],
    }
    return [Case(model, engine, *mix) for model in models for engine in engines for mix in mixes[engine]]


def measure_case(
    case: Case, policy: LanguagePolicy, tasks: Sequence[Task], environment: Environment, device: str, load: Load
) -> dict[str, Any]:
    """Train some updates and say what they took and whether they were right.

    Args:
        policy: over a TransformersEngine in float32 on the CPU; it is moved and trained.

    Returns:
        Plain data: rates (tokens a second, median over the measured updates; training includes the sync of the
        weights), gaps between trainer and sampler (nats, at temperature 1 and 0.7), seconds of a sync, memory (MB;
        None on a CPU), and the checks that did not hold.
    """
    with watched_memory(device) as memory:
        engine, started_s = _engine(case, policy.engine, device)
        try:
            memory.note("running")
            over = replace(policy, engine=engine)
            reports = _train(over, tasks, environment, load, load.updates + 1)[1:]
            cooler = _train(over.at(0.7), tasks, environment, load, 1)
            found = {**_rates(reports), **_gaps("", reports), **_gaps("_at_0.7", cooler)}
            found["alarms"] = sorted({str(check) for report in (*reports, *cooler) for check in report.alarms})
            if isinstance(engine, VllmEngine):
                found |= {"vllm": engine.about, "start_s": started_s, "sync_s": _seconds(engine.weights_changed)}
                engine.sleep()
                memory.note("asleep")
        finally:
            if isinstance(engine, VllmEngine):
                engine.stop()
        memory.note("stopped")
    return {**found, "memory_mb": memory.found()}


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _engine(case: Case, given: Any, device: str) -> tuple[Any, float]:
    """The engine of a case, running, and the seconds its start took."""
    began = time.perf_counter()
    mixed = case.trainer == "mixed"
    model = given.model.to(device, torch.float32 if mixed else getattr(torch, case.trainer))
    settings: dict[str, Any] = {"name": given.name, "compute": torch.bfloat16 if mixed else None}
    if case.engine == "transformers":
        return TransformersEngine(model, given.tokenizer, **settings), time.perf_counter() - began
    engine = VllmEngine(model, given.tokenizer, dtype=getattr(torch, case.sampler), **settings)
    return engine.start(), time.perf_counter() - began


def _train(
    policy: LanguagePolicy, tasks: Sequence[Task], environment: Environment, load: Load, updates: int
) -> list[Report]:
    run = train(
        policy,
        tasks,
        environment,
        Lottery(),
        method=DrGRPO(load.group_size),
        updates=updates,
        tasks_per_update=load.tasks,
        optimiser=Optimiser(1e-5),
    )
    return run.finish(show=False)


def _rates(reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "rollout_tokens_per_s": statistics.median(r.sampled_tokens / r.rollout_s for r in reports),
        "trained_tokens_per_s": statistics.median(r.trained_tokens / r.train_s for r in reports),
        "updates_per_s": statistics.median(1 / r.seconds for r in reports),
        "sampled_tokens": sum(r.sampled_tokens for r in reports),
        "trained_tokens": sum(r.trained_tokens for r in reports),
        "updates": len(reports),
    }


def _gaps(at: str, reports: Sequence[Report]) -> dict[str, float]:
    """Mean |trainer - sampler| of the tokens drawn, nats; the largest of the updates."""
    gaps = [check.value for report in reports for check in report.checks if check.name == "sampler gap"]
    return {f"sampler_gap{at}": max(gaps)}


# ---------------------------------------------------------------- the same gradient here and there


def gradient_parity(
    make: Callable[[], LanguagePolicy], tasks: Sequence[Task], environment: Environment, device: str, load: Load
) -> dict[str, Any]:
    """Loss and gradient of one update on the CPU and on `device`, from the same rollouts, float32.

    Returns:
        The two losses and gradient norms, and the largest difference of a gradient over the largest gradient.
    """
    trees = rollout(make(), tasks[: load.tasks], environment, group_size=load.group_size, progress=False)
    (here, mine), (there, theirs) = (_gradient(make(), trees, at) for at in ("cpu", device))
    largest = max(float(grad.abs().max()) for grad in mine)
    apart = max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True))
    return {
        "loss": [here.loss, there.loss],
        "grad_norm": [here.grad_norm, there.grad_norm],
        "gradient_off": apart / largest,
        "logprob_off": float(np.abs(here.before_T - there.before_T).max()),
        "tokens": here.tokens,
    }


def _gradient(policy: LanguagePolicy, trees: list[Tree], device: str) -> tuple[Trained, list[torch.Tensor]]:
    from workbench.batch import flat_batch

    policy.engine.model.to(device)  # type: ignore[attr-defined]
    method, learner = DrGRPO(), learner_for(policy)
    rows = training_rows(trees, method.credit(flat_batch(trees, score(trees, Lottery()))))
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.0)
    trained = train_on(
        learner, optimiser, rows, PolicyLoss(), epochs=1, max_grad_norm=float("inf"), micro_batch_tokens=4096
    )
    return trained, [p.grad.float().cpu() for p in learner.parameters() if p.grad is not None]


# ---------------------------------------------------------------- memory


class Memory:
    """What the device's memory held; in all its processes together, so that vLLM's counts."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.over = threading.Event()
        self._peak = 0.0
        self._notes: dict[str, float] = {}

    def used(self) -> float:
        """MB in use on the whole device."""
        free, total = torch.cuda.mem_get_info()
        return (total - free) / MB

    def watch(self) -> None:
        while not self.over.wait(0.05):
            self._peak = max(self._peak, self.used())

    def note(self, when: str) -> None:
        """Keep what is in use now, as `when`."""
        if self.device == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            self._notes[when] = self.used()

    def found(self) -> dict[str, float] | None:
        """MB by moment, the peak of the device and of this process's tensors; None on a CPU."""
        if self.device != "cuda":
            return None
        return {**self._notes, "peak": self._peak, "peak_trainer": torch.cuda.max_memory_allocated() / MB}


@contextmanager
def watched_memory(device: str) -> Iterator[Memory]:
    """Watch the device's memory meanwhile."""
    memory = Memory(device)
    memory.note("before")
    watcher = threading.Thread(target=memory.watch, daemon=True)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        watcher.start()
    try:
        yield memory
    finally:
        memory.over.set()
        if watcher.is_alive():
            watcher.join()
