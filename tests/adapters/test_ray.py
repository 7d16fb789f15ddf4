"""Rollouts and scores from Ray's workers are those of this process, also when a worker dies."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.worlds import TASKS, Quiet, guesser, right, speaker
from workbench.adapters.ray import OnRay, score_on_ray
from workbench.errors import MissingGold, SettingError
from workbench.rewards import CoverageGain, ExactMatch
from workbench.rewards.score import score
from workbench.sampling.group import GroupSampler
from workbench.sampling.rollout import rollout
from workbench.sampling.streams import Streams
from workbench.spec import from_spec, to_spec
from workbench.training.method import DrGRPO
from workbench.training.train import train
from workbench.trajectory import Tree

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray and what it stands on
ALONE = GroupSampler(4, batch=4)  # one task a batch, here as there: even the last bits are the same


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """Two workers on this machine, which can import what is tested."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'reward-workbench[ray]'")
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    yield ray
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes it has ended
        ray.shutdown()
        gc.collect()


def told(trees: Sequence[Tree]) -> list[tuple[Any, ...]]:
    """All that was drawn: ids, texts, and tokens with their logprobs, byte for byte; not how long it took."""
    return [
        (tree.id, tree.task, t.id, t.end, t.answer, step.id, step.text, step.observation, step.policy, step.tokens)
        for tree in trees
        for t in tree
        for step in t.steps
    ]


@dataclass
class Deadly(Quiet):
    """Kills the worker that draws task `victim`, the first time."""

    victim: str = "t2"
    killed: str = ""  # a file that says it has happened
    here: int = field(default_factory=os.getpid)

    def reset(self, task, rng):
        if task.id == self.victim and not Path(self.killed).exists():
            assert os.getpid() != self.here
            Path(self.killed).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reset(task, rng)


@pytest.mark.parametrize("policy", [guesser(), speaker()], ids=["table", "language model"])
def test_two_workers_draw_what_is_drawn_here(workers, policy):
    here = rollout(policy, TASKS, Quiet(), sampler=ALONE, seed=7, progress=False)
    for tasks_per_job in (1, 2):
        there = rollout(
            policy, TASKS, Quiet(), sampler=OnRay(ALONE, tasks_per_job=tasks_per_job), seed=7, progress=False
        )
        assert told(there) == told(here)
    assert told(rollout(policy, TASKS, Quiet(), sampler=ALONE, seed=8, progress=False)) != told(here)


def test_a_worker_that_is_killed_loses_nothing(workers, tmp_path):
    here = rollout(guesser(), TASKS, Quiet(), sampler=ALONE, seed=7, progress=False)
    deadly = Deadly(killed=str(tmp_path / "killed"))
    there = rollout(guesser(), TASKS, deadly, sampler=OnRay(ALONE, tasks_per_job=2), seed=7, progress=False)
    assert (tmp_path / "killed").exists()
    assert told(there) == told(here)


def test_a_training_on_ray_sends_the_new_weights_and_goes_as_it_goes_here(workers):
    def weights(sampler: Any) -> np.ndarray:
        policy = guesser()
        method = replace(DrGRPO(), sampler=sampler)
        train(policy, TASKS, Quiet(), right, method=method, updates=3, tasks_per_update=4, seed=1).finish(show=False)
        return policy.table.detach().numpy()[: len(policy.row_of)]

    here, there = weights(ALONE), weights(OnRay(ALONE, tasks_per_job=2))
    assert np.abs(here).max() > 1e-4
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_scores_from_workers_are_those_from_here(workers):
    trees = rollout(guesser(), TASKS, Quiet(), sampler=ALONE, seed=7, progress=False)
    reward = ExactMatch() + 0.5 * ExactMatch()
    pairs = zip(score_on_ray(trees, reward, trees_per_job=2), score(trees, reward), strict=True)
    assert all(one.same_as(other) for there, here in pairs for one, other in zip(there, here, strict=True))


def test_an_error_of_a_reward_is_raised_here_as_it_is(workers):
    trees = rollout(guesser(), TASKS[:2], Quiet(), sampler=ALONE, seed=7, progress=False)
    with pytest.raises(MissingGold):
        score_on_ray(trees, CoverageGain())


def test_a_sampler_on_ray_goes_into_the_store_and_comes_back():
    sampler = OnRay(GroupSampler(8), tasks_per_job=2, gpus=0.5)
    assert from_spec(to_spec(sampler)) == sampler


def test_a_sampler_that_wants_other_streams_is_refused():
    streams = Streams([np.random.default_rng(0)])
    with pytest.raises(SettingError, match="wants 3 for 1 tasks"):
        streams.spawn(3)
