"""Rollouts and scoring on Ray: the same results as here, on many workers. Extra ``[ray]``.

    ray.init()
    trees = wb.rollout(policy, tasks, environment, sampler=OnRay(GroupSampler(8)))
    run = wb.train(..., method=replace(wb.DrGRPO(), sampler=OnRay(GroupSampler(8))))
    scores = score_on_ray(trees, reward)

Every task keeps the random stream that it has here, so where it runs changes nothing (but the last bits of a
floating-point sum, where a worker's batch is another one). A worker that dies loses nothing: Ray gives its tasks to
another, which draws them again from the same streams. An error that is raised, by a reward say, is raised here.

A language model travels as the files of `LanguagePolicy.save`, packed once an update, adapters merged; every other
policy, the environment and the reward as Ray sends Python objects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.agents.language_policy import LanguagePolicy
from workbench.errors import MissingPackage, SettingError
from workbench.protocols import Environment, Policy, Reward
from workbench.rewards.score import score
from workbench.sampling.group import GroupSampler
from workbench.sampling.streams import Streams
from workbench.scores import Scores
from workbench.spec import part
from workbench.trajectory import Task, Tree

LIVES = 4
"""Workers that may die of the same tasks before the error is raised."""


@part
class OnRay:
    """A sampler that lets another one work on Ray's workers; trees come in the order of the tasks.

    `sampler` must give each task a stream of its own (``rng.spawn(len(tasks))``), as `GroupSampler` does.
    """

    sampler: Any = GroupSampler()
    _: KW_ONLY
    tasks_per_job: int = 4  # drawn together by one worker, as one batch a turn
    cpus: float = 1.0  # reserved for a job; Ray lets it compute with as many threads
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.tasks_per_job < 1:
            raise SettingError(f"tasks_per_job must be at least 1, got {self.tasks_per_job}")

    def sample(
        self,
        policy: Policy,
        environment: Environment,
        tasks: Sequence[Task],
        scorer: Reward | None,
        rng: np.random.Generator,
    ) -> Iterator[Tree]:
        """Yield a tree a task, each as soon as it and those before it are drawn.

        Raises:
            MissingPackage: Ray is not installed.
        """
        ray = _ray()
        seeds = [_seed(stream) for stream in rng.spawn(len(tasks))]
        world = [ray.put((packed(policy), environment, self.sampler, scorer))]  # in a list it is named, not carried
        job = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=LIVES - 1)(_draw)
        rows = list(zip(tasks, seeds, strict=True))
        jobs = [job.remote(world, rows[i : i + self.tasks_per_job]) for i in range(0, len(rows), self.tasks_per_job)]
        try:
            while jobs:
                yield from ray.get(jobs[0])
                jobs.pop(0)
        finally:
            for left in jobs:
                ray.cancel(left)


def score_on_ray(
    trees: Sequence[Tree], reward: Reward, *, trees_per_job: int = 16, cpus: float = 1.0
) -> list[list[Scores]]:
    """What `workbench.score` gives, computed on Ray's workers.

    Args:
        trees_per_job: scored by one worker after another.
        cpus: reserved for a job.

    Raises:
        MissingPackage: Ray is not installed.
        ScoreError, MissingGold: as `workbench.score`.
    """
    ray = _ray()
    job = ray.remote(num_cpus=cpus, max_retries=LIVES - 1)(score)
    paid = ray.put(reward)
    parts = [trees[i : i + trees_per_job] for i in range(0, len(trees), trees_per_job)]
    return [scores for some in ray.get([job.remote(part, paid) for part in parts]) for scores in some]


def packed(policy: Policy) -> Any:
    """What is sent of a policy: the files of a language model of this process, any other policy as it is."""
    if not (isinstance(policy, LanguagePolicy) and policy.engine.capabilities.trainable):
        return policy
    with tempfile.TemporaryDirectory() as scratch:
        folder = policy.save(Path(scratch) / "policy", merged=True)
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return Files(files, getattr(policy.engine, "compute", None))


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingPackage("Ray is not installed: pip install 'reward-workbench[ray]'") from error
    return ray


# ---------------------------------------------------------------- in the worker


@dataclass(frozen=True)
class Files:
    """A saved policy on its way."""

    files: Mapping[str, bytes]
    compute: Any  # torch.dtype or None, of its engine

    def unpacked(self) -> LanguagePolicy:
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in self.files.items():
                (Path(scratch) / name).write_bytes(content)
            policy = LanguagePolicy.load(scratch)
        policy.engine.compute = self.compute  # type: ignore[attr-defined]
        return policy


_here: dict[str, tuple[Any, ...]] = {}
"""What this worker holds of the newest `sample`: policy, environment, sampler, scorer."""


def _draw(world: Sequence[Any], rows: Sequence[tuple[Task, Mapping[str, Any]]]) -> list[Tree]:
    """The trees of some tasks, in their order."""
    policy, environment, sampler, scorer = _unpacked(world[0])
    streams = [np.random.default_rng(np.random.SeedSequence(**seed)) for _, seed in rows]
    tasks = [task for task, _ in rows]
    trees = sampler.sample(policy, environment, tasks, scorer, Streams(streams))
    place = {task.id: n for n, task in enumerate(tasks)}
    return sorted(trees, key=lambda tree: place[tree.task.id])


def _unpacked(reference: Any) -> tuple[Any, ...]:
    """What was sent, fetched and unpacked once a worker."""
    import ray

    if reference.hex() not in _here:
        policy, *rest = ray.get(reference)
        _here.clear()  # before the next one is made: two models may not fit
        _here[reference.hex()] = (policy.unpacked() if isinstance(policy, Files) else policy, *rest)
    return _here[reference.hex()]


def _seed(stream: np.random.Generator) -> dict[str, Any]:
    """What makes the stream again."""
    sequence: Any = stream.bit_generator.seed_seq
    return {"entropy": sequence.entropy, "spawn_key": sequence.spawn_key}
