"""Does training learn, and from the reward alone? Three seeds of the demo's run beside two controls.

    python tests/bench/learning.py [--seeds 3] [--updates 40] [--tasks 400] [--only real] [--method PPO]

* real: exact match
* shuffled: exact match handed out to the wrong rollouts of the same update, so it is paid as often but tells nothing
* format: paid for a well-formed answer, right or wrong

A method other than the demo's own is given its groups of eight, so that all see the same rollouts an update.

Prints gains of exact match on held-out tasks, greedy and sampled, with 95 % intervals over tasks x seeds.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.embedded import demo
from workbench.evaluation import bootstrap_interval
from workbench.main_job import measure, train_demo
from workbench.rewards import ExactMatch, Reward
from workbench.sampling.evaluate import Evaluation
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.training.method import METHODS
from workbench.trajectory import End, Group, Trajectory


@part
class ShuffledExactMatch(Reward):
    """Exact match, permuted within the group by a permutation that the group's ids alone decide."""

    level = Level.GROUP
    range = (0.0, 1.0)

    def score_group(self, group: Group) -> list[Scores]:
        values = [one.value for one in ExactMatch()(group)]
        order = np.random.default_rng(zlib.crc32(group.trajectories[0].id.encode())).permutation(len(values))
        return [Scores.trajectory(values[i], "another rollout's exact match", level=Level.GROUP) for i in order]


@part
class Answered(Reward):
    """1 for a rollout that gives an answer in the right form, whatever it says."""

    range = (0.0, 1.0)

    def score(self, trajectory: Trajectory) -> Scores:
        formed = trajectory.end is End.ANSWERED and all(step.valid for step in trajectory.steps)
        return Scores.trajectory(float(formed), "every turn well formed, and an answer" if formed else "malformed")


REWARDS = {"real": ExactMatch(), "shuffled": ShuffledExactMatch(), "format": Answered()}


@dataclass(frozen=True)
class Gains:
    """Gain of exact match of one condition, on P tasks by K seeds."""

    all_PK: np.ndarray
    deep_PK: np.ndarray  # the tasks of two and three hops

    @classmethod
    def of(cls, before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Gains:
        gains_PK = np.stack([a.values_PG[:, 0] - b.values_PG[:, 0] for b, a in zip(before, after, strict=True)], axis=1)
        return cls(gains_PK, gains_PK[before[0].hops_P >= 2])

    def __str__(self) -> str:
        cells = []
        for values_PK in (self.all_PK, self.deep_PK):
            found = bootstrap_interval(values_PK)
            cells.append(f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
        return "".join(f"{cell:>27}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=400, help="held-out tasks")
    parser.add_argument("--only", choices=sorted(REWARDS), help="one condition")
    parser.add_argument("--method", choices=list(METHODS), help="default: the demo's own")
    asked = parser.parse_args()
    settings = {"method": METHODS[asked.method](group_size=8)} if asked.method else {}
    heads = f"{'before':>8}{'after':>8}{'gain, all hops':>27}{'gain, 2-3 hops':>27}"
    print(f"{'reward':<10}{'decoding':<10}{'seeds':<7}{heads}", flush=True)
    for name in [asked.only] if asked.only else list(REWARDS):
        started = time.perf_counter()
        before, after = [], []
        for seed in range(asked.seeds):
            world = demo()
            before.append(measure(world, "before", seed=seed, tasks=asked.tasks, progress=False))
            train_demo(world, REWARDS[name], updates=asked.updates, seed=seed, **settings).finish(show=False)
            after.append(measure(world, "after", seed=seed, tasks=asked.tasks, progress=False))
            for kind in ("greedy", "sampled"):
                print(line(name, kind, before, after), flush=True)
        print(f"{'':<10}{asked.seeds} seeds in {time.perf_counter() - started:.0f} s\n", flush=True)


def line(name: str, kind: str, before: Sequence[dict], after: Sequence[dict]) -> str:
    """The seeds so far, together."""
    b, a = [one[kind] for one in before], [one[kind] for one in after]
    means = f"{np.mean([x.mean for x in b]):>8.3f}{np.mean([x.mean for x in a]):>8.3f}"
    return f"{name:<10}{kind:<10}{len(b):<7}{means}{Gains.of(b, a)}"


if __name__ == "__main__":
    main()
