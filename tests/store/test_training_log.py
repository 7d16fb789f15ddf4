"""A real training, logged: what the trainer held is what the lab gives back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.trees import facts
from tests.training.worlds import TASKS, Quiet, guesser
from workbench.rewards import Reward, score
from workbench.sampling.rollout import rollout
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.store import open_store
from workbench.training.train import train
from workbench.trajectory import Trajectory


@part
class SaidYes(Reward):
    """Pays `pay` for the answer yes, and a fine of a tenth a turn."""

    pay: float = 1.0

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.trajectory(self.pay * (trajectory.answer == "yes"), f"the answer is {trajectory.answer!r}")


@part
class Short(Reward):
    """Pays every turn a minus."""

    level = Level.STEP

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.steps([-0.125] * len(trajectory.steps))


def test_rollouts_come_back_as_they_were_drawn_and_score_the_same(lab: Path):
    with open_store(lab) as store:
        trees = rollout(guesser(), TASKS, Quiet(), group_size=3, recorder=store, progress=False)
        (run,) = store.runs()
        back = store.trees(run)
        assert facts(sorted(back, key=lambda tree: tree.task.id)) == facts(trees)
        reward = SaidYes() + Short()
        for mine, theirs in zip(
            score(trees, reward), score([store.tree(tree.id) for tree in trees], reward), strict=True
        ):
            assert all(a.same_as(b) for a, b in zip(mine, theirs, strict=True))
        assert store.sql("select status from runs").status.tolist() == ["finished"]


def test_a_training_leaves_trees_scores_plans_and_reports_of_every_update(lab: Path):
    reward = SaidYes(2.0) + 0.5 * Short()
    with open_store(lab) as store:
        run = train(guesser(), TASKS, Quiet(), reward, updates=3, recorder=store)
        reports = list(run)
        trees = store.trees(run.name)
        scores = store.scores(run.name, trees)
        counted = store.sql("select update, count(*) as n from trajectories group by update order by update")
        assert counted.to_numpy().tolist() == [[report.update, report.rollouts] for report in reports]
        for mine, theirs in zip(score(trees, reward), scores, strict=True):
            assert all(a.same_as(b) for a, b in zip(mine, theirs, strict=True))
        means = store.sql("select update, avg(value) as mean from returns group by update order by update")
        assert means["mean"].tolist() == pytest.approx([report.mean_return for report in reports])
        assert store.reports(run.name).grad_norm.tolist() == [report.grad_norm for report in reports]
        (version,) = store.sql("select reward from rewards").reward
        assert store.reward(version) == reward
        assert len(store.sql("from plans")) == 1
        assert store.sql("select status from runs").status.tolist() == ["finished"]
