"""Held-out tasks: looked at every few updates of a run, so that one sees what is learned and not what is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.errors import SettingError
from workbench.protocols import Environment, Recorder
from workbench.rewards import ExactMatch
from workbench.rewards.score import score
from workbench.sampling.evaluate import Evaluation, evaluation_of
from workbench.sampling.rollout import rollout
from workbench.spec import code_version, dumps
from workbench.trajectory import Task

if TYPE_CHECKING:
    from workbench.training.run import Run


@dataclass(frozen=True)
class HeldOut:
    """Tasks that a run is not trained on, and how it is measured on them."""

    tasks: Sequence[Task]
    every: int = 10  # updates
    _: KW_ONLY
    temperature: float = 0.0  # 0: greedy
    samples: int = 1  # rollouts a task
    reward: Any = None  # default: exact match
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.tasks or self.every < 1 or self.samples < 1:
            raise SettingError(
                f"held-out tasks need at least one task, update and sample; got {len(self.tasks)}, {self.every} and "
                f"{self.samples}"
            )

    def check_apart(self, tasks: Sequence[Task]) -> None:
        """Raises SettingError where a task is trained on too."""
        shared = sorted({task.id for task in self.tasks} & {task.id for task in tasks})
        if shared:
            raise SettingError(f"{len(shared)} held-out tasks are trained on too, the first is {shared[0]!r}")

    def measure(
        self, policy: Any, environment: Environment, recorder: Recorder | None, *, run: str, update: int
    ) -> Evaluation:
        """The policy on these tasks now. Recorded under `run`, which is open; nothing of the training is touched."""
        at = policy.at(self.temperature)
        seed = 1_000_003 * self.seed + update  # ids of trees come from it, and must differ within a run
        trees = rollout(at, self.tasks, environment, group_size=self.samples, seed=seed, progress=False)
        paid = ExactMatch() if self.reward is None else self.reward
        scores = score(trees, paid)
        if recorder is not None:
            trees = [replace(tree, run=run) for tree in trees]
            told, version = dumps(paid, loose=True), code_version(paid)
            recorder.record_trees(trees, run=run, update=update)
            recorder.record_scores(trees, scores, run=run, update=update, reward=told, version=version)
        return evaluation_of(trees, scores)


class Looks:
    """The looks of one run at its held-out tasks, recorded as a run of their own."""

    def __init__(self, held_out: HeldOut, recorder: Recorder | None) -> None:
        self.held_out, self.recorder = held_out, recorder
        self._run = ""

    def told(self, run: Run, update: int) -> dict[str, Any]:
        """Fields of the report of `update`: mean and interval, where they are due."""
        if update % self.held_out.every and update != run.updates:
            return {}
        if self.recorder is not None and not self._run:
            self._run = self._opened(self.recorder, {"kind": "evaluate", "policy": run.policy.name, "of": run.name})
        found = self.held_out.measure(run.policy, run.environment, self.recorder, run=self._run, update=update)
        low, high = found.interval()
        return {"held_out": found.mean, "held_out_low": low, "held_out_high": high}

    def end(self) -> None:
        """The run has come to an end, for now."""
        if self.recorder is not None and self._run:
            self.recorder.end_run(self._run, "finished")

    def _opened(self, recorder: Recorder, settings: dict[str, Any]) -> str:
        try:
            return recorder.start_run(settings, name=f"{settings['of']}.held-out")
        except SettingError:  # somebody else's run is called that
            return recorder.start_run(settings)
