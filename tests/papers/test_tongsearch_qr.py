"""TongSearch-QR as composed, and its proof. Its reward's worked examples stand in tests/rewards/test_query_gain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_trajectory
from tests.rewards.vectors import Given, at
from workbench.environments import CatalogueWorld, ToolEnvironment
from workbench.papers import load
from workbench.papers.tongsearch_qr import BM25, PAPER, engine_rewards, searched, tongsearch, words_added
from workbench.papers.tongsearch_qr_world import expander, knowing_expander
from workbench.protocols import Limits
from workbench.retrieval import SearchIndex
from workbench.sampling.rollout import rollout
from workbench.spec import dumps, loads
from workbench.trajectory import End, Task

ENCODER = Given({"q": at(0.0), "d": at(1.0), "near": at(0.5), "far": at(-0.5), "nearer": at(0.1)})
TASK = Task("t", "q", extras={"gold_texts": ("d",)})


def test_a_rewriter_is_paid_for_its_answer_and_fails_without_one():
    wrote = replace(a_trajectory(answer="near"), task=TASK)
    assert tongsearch(ENCODER)(wrote).value == pytest.approx(5.0)  # 10 * (.5 - 0)
    cut = replace(a_trajectory(None, end=End.TRUNCATED), task=TASK)
    assert tongsearch(ENCODER)(cut).value == -1.0


def test_a_search_agent_is_paid_the_mean_of_its_queries_held_between_a_third_and_one():
    # gains 5, -5 and 1 are held at 3, -1 and 1: (1 - 1/3 + 1/3) / 3
    asked = a_trajectory((), (), (), queries=("near", "far", "nearer"))
    assert searched(ENCODER)(replace(asked, task=TASK)).value == pytest.approx(1 / 3)


def test_the_policy_draws_words_until_there_are_enough_and_never_one_twice():
    catalogue = CatalogueWorld(subjects=5, questions=1).build()
    for policy in (expander(40, 6), knowing_expander(catalogue.tasks, 6)):
        environment = ToolEnvironment((), Limits(turns=6, final_turn=False))
        trees = rollout(policy, catalogue.tasks, environment, group_size=8, progress=False)
        for trajectory in (one for tree in trees for one in tree):
            words = (trajectory.answer or "").removeprefix(trajectory.task.question).split()
            assert len(words) == len(set(words)) <= 6 and set(words) <= set(trajectory.task.extras["candidates"])
    assert words_added(rollout_of(expander(40, 6), catalogue.tasks)) == 6.0
    known = rollout_of(knowing_expander(catalogue.tasks, 6), catalogue.tasks)
    right = [word in one.task.extras["names"] for one in known for word in (one.answer or "").split()[3:]]
    assert np.mean(right) > 0.6  # ten right words of weight e^3 against thirty of weight 1, taken without return


def rollout_of(policy, tasks):
    environment = ToolEnvironment((), Limits(turns=6, final_turn=False))
    return [one for tree in rollout(policy, tasks, environment, group_size=8, progress=False) for one in tree]


def test_the_variants_that_ask_an_engine_pay_a_better_query_more():
    catalogue = CatalogueWorld(subjects=5).build()
    index = SearchIndex.build(catalogue.pages, k1=BM25["k1"], b=BM25["b"], progress=False)
    task = catalogue.tasks[0]
    better = " ".join([task.question, *task.extras["names"]])
    for reward in engine_rewards(index).values():
        bare, reasoned = (
            reward(replace(a_trajectory(answer=query), task=task)).value for query in (task.question, better)
        )
        assert bare == 0.0 < reasoned


def test_every_reward_of_the_paper_can_be_stored():
    assert load("tongsearch_qr") is PAPER
    for reward in PAPER.rewards.values():
        assert loads(dumps(reward)) == reward


@pytest.mark.slow
def test_the_proof_holds():
    proof = PAPER.proof(0)
    assert [check.says for check in proof.checks if not check.holds] == []
    assert proof.verdict == PAPER.verdict
