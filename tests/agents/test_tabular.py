from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.worlds import TASKS, Quiet, guesser
from workbench.agents.tabular import TabularPolicy
from workbench.errors import SettingError
from workbench.protocols import Prefix
from workbench.sampling.rollout import rollout
from workbench.trajectory import Context, End

EMPTY = Prefix("t", TASKS[0], (), "", Context(""))


def test_a_step_is_one_pseudo_token_with_its_logprob():
    policy = guesser()
    trajectory = rollout(policy, TASKS[:1], Quiet(), group_size=1, progress=False)[0].trajectories[0]
    for step in trajectory.steps:
        assert len(step.tokens) == 1 and step.tokens.logprobs_T[0] == pytest.approx(np.log(1 / 3))
        assert list(policy.actions)[step.tokens.ids_T[0]] == step.text
    assert trajectory.end is End.TRUNCATED or trajectory.answer in ("yes", "no")


def test_actions_come_as_often_as_their_probability():
    # logits log 1, log 2, log 5: of 4,000 first steps 500, 1000 and 2500, within 5 standard deviations
    policy = guesser()
    policy.features = lambda prefix: 0
    policy.row_of[0] = 0
    with torch.no_grad():
        policy.table[0] = torch.tensor([1.0, 2.0, 5.0]).log()
    turns = policy.act([EMPTY] * 4000, range(4000))
    counts = np.bincount([turn.tokens.ids_T[0] for turn in turns])
    assert (np.abs(counts - [500, 1000, 2500]) < 5 * np.sqrt([438, 750, 938])).all()
    assert policy.probabilities(EMPTY)["no"] == pytest.approx(5 / 8)


def test_greedy_takes_the_most_likely_action():
    policy = guesser()
    with torch.no_grad():
        policy.table[0, 2] = 1.0
    assert {turn.text for turn in policy.at(0.0).act([EMPTY] * 9, range(9))} == {"no"}


def test_a_linear_policy_takes_a_vector():
    policy = TabularPolicy(guesser().actions, lambda p: np.array([1.0, len(p.steps)]), width=2)
    with torch.no_grad():
        policy.table[0, 1] = 9.0
    assert policy.probabilities(EMPTY)["yes"] > 0.99


def test_a_full_table_says_so():
    policy = TabularPolicy(guesser().actions, lambda p: p.key, rows=1)
    policy.probabilities(EMPTY)
    with pytest.raises(SettingError, match="more than 1 different features"):
        policy.probabilities(Prefix("other", TASKS[0], (), "", Context("")))


def test_training_sees_the_same_prefixes_as_sampling():
    seen: list[tuple[int, str]] = []
    policy = TabularPolicy(guesser().actions, lambda p: seen.append((len(p.steps), p.observation)) or 0)

    class Told(Quiet):
        def reset(self, task, rng):
            return None, "a first look"

    trajectory = rollout(policy, TASKS[:1], Told(), group_size=1, seed=3, progress=False)[0].trajectories[0]
    sampled, seen[:] = list(seen), []
    policy.trajectory_logits(trajectory)
    assert seen == sampled and seen[0] == (0, "a first look")
