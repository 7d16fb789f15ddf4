"""Groups that were all paid the same teach nothing: their questions are drawn again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from workbench.batch import flat_batch
from workbench.credit.group import equal_groups
from workbench.errors import SettingError
from workbench.protocols import Environment, Policy, Reward
from workbench.rewards.score import score
from workbench.sampling.group import GroupSampler
from workbench.sampling.streams import Streams
from workbench.spec import part
from workbench.trajectory import Task, Tree


@part
class RefillEqualGroups:
    """Draws a task again where all its rollouts were paid the same, up to `attempts` times in all.

    DAPO's dynamic sampling (Yu et al. 2025, arXiv:2503.14476, eq. 11), with two differences. The question stays, where
    DAPO takes another: an update sees the tasks that its plan names, and a run that is continued sees the same. And
    what was equal is yielded as well, a tree of its own: it is recorded and counted in the reports, its advantages are
    0, and its tokens stay in the denominator of a loss that has one.

    A group that nothing scored is not equal, and not drawn again. What is drawn is scored here, and once more where it
    is trained on.
    """

    sampler: Any = GroupSampler()  # one that spawns a stream a task, as GroupSampler does
    _: KW_ONLY
    attempts: int = 3
    reward: Reward | None = None  # what is to differ; None: what the run is paid by. DAPO asks for the accuracy alone

    def __post_init__(self) -> None:
        if self.attempts < 2:
            raise SettingError(f"attempts counts the first draw too, so it is at least 2, got {self.attempts}")

    def sample(
        self,
        policy: Policy,
        environment: Environment,
        tasks: Sequence[Task],
        scorer: Reward | None,
        rng: np.random.Generator,
    ) -> Iterator[Tree]:
        """Yield the trees of all tasks, then those of the tasks that were drawn again, and so on.

        Raises:
            SettingError: neither `reward` nor `scorer` is given.
            ScoreError, MissingGold: as `workbench.score`.
        """
        paid = self.reward or scorer
        if paid is None:
            raise SettingError("RefillEqualGroups must know what is paid; give it reward=, or rollout(..., scorer=)")
        rows = [(task, stream.spawn(self.attempts)) for task, stream in zip(tasks, rng.spawn(len(tasks)), strict=True)]
        for attempt in range(self.attempts):
            streams: Any = Streams([drawn_from[attempt] for _, drawn_from in rows])
            equal = Counter[str]()  # by task: how many of its trees
            for tree in self.sampler.sample(policy, environment, [task for task, _ in rows], scorer, streams):
                yield tree
                batch = flat_batch([tree], score([tree], paid))
                equal[tree.task.id] += equal_groups(batch) == len(tree.groups())
            rows = [row for row in rows if _take(equal, row[0].id)]
            if not rows:
                return


def _take(left: Counter[str], key: str) -> bool:
    left[key] -= 1
    return left[key] >= 0
