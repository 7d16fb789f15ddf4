"""Plan: everything that may change between two updates, swapped whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from workbench.errors import SettingError
from workbench.rewards import EndRule
from workbench.spec import from_spec, part, to_spec
from workbench.training.critic import Critic
from workbench.training.losses import PolicyLoss
from workbench.training.method import Method
from workbench.trajectory import Task


@part
class Optimiser:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with warm-up and a clipped gradient norm."""

    lr: float = 3e-4
    _: KW_ONLY
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    warmup: int = 0  # updates over which lr rises linearly


@dataclass(frozen=True)
class Plan:
    """What a run does from the next update on. `replace` gives a changed copy; assign it to `run.plan`.

    Tasks are drawn in a shuffled order, each once before any comes again.
    """

    tasks: tuple[Task, ...]
    reward: Any
    sampler: Any
    credit: Any
    loss: PolicyLoss
    epochs: int = 1
    critic: Critic | None = None
    optimiser: Optimiser = field(default_factory=Optimiser)
    end_rule: Any = field(default_factory=EndRule)
    tasks_per_update: int = 8
    micro_batch_tokens: int = 4096  # of one forward and backward pass, padding among them; speed and memory only

    def __post_init__(self) -> None:
        if not self.tasks:
            raise SettingError("a plan needs at least one task")
        if self.tasks_per_update < 1 or self.epochs < 1:
            raise SettingError(
                f"tasks_per_update and epochs must be at least 1, got {self.tasks_per_update} and {self.epochs}"
            )

    @classmethod
    def of(cls, method: Method, tasks: Sequence[Task], reward: Any, **settings: Any) -> Plan:
        """The plan of a method."""
        taken = {"sampler": method.sampler, "credit": method.credit, "loss": method.loss}
        taken |= {"epochs": method.epochs, "critic": method.critic}
        return cls(tuple(tasks), reward, **taken, **settings)

    def replace(self, **changes: Any) -> Plan:
        """A copy with these fields changed."""
        known = [f.name for f in dataclasses.fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise SettingError(f"a plan has no {unknown}; it has {known}")
        return dataclasses.replace(self, **changes)

    def spec(self) -> dict[str, Any]:
        """Plain JSON data; the tasks stand as a digest, a reward that is a plain function as its name."""
        held = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "tasks"}
        return {"tasks": tasks_digest(self.tasks), **{name: to_spec(value, loose=True) for name, value in held.items()}}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tasks: Sequence[Task], reward: Any = None) -> Plan:
        """The plan again, with `reward` in place of its own where one is given.

        Raises:
            SettingError: these are not the tasks it was made with, or its reward was a plain function.
        """
        if tasks_digest(tasks) != spec["tasks"]:
            raise SettingError(f"the plan was made with other tasks ({spec['tasks']}, got {tasks_digest(tasks)})")
        held = {name: value for name, value in spec.items() if name not in ("tasks", "reward")}
        paid = from_spec(spec["reward"]) if reward is None else reward
        return cls(tuple(tasks), paid, **{name: from_spec(value) for name, value in held.items()})


def tasks_digest(tasks: Sequence[Task]) -> str:
    """Number of tasks and twelve hex digits over ids, questions and golds."""
    rows = [[task.id, task.question, list(task.golds)] for task in tasks]
    return f"{len(tasks)}-{hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]}"
