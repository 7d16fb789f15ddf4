"""Our rewards and step credit behind verl's signatures; against the package itself where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workbench.adapters.verl import estimator, place_steps, register_credit, score_function
from workbench.credit import GroupAdvantage
from workbench.errors import SettingError, ShapeError
from workbench.rewards import EndCase, EndRule, ExactMatch, WellFormed
from workbench.training.losses import PolicyLoss, clipped_policy_loss
from workbench.trajectory import Task

TEXT = "<search> Peru </search>\n\n<information>Doc 1(Title: Peru) Lima</information>\n\n<answer> {} </answer>"
CAPITAL = Task("q1", "What is the capital of Peru?", golds=("Lima",))
TO_GO = GroupAdvantage(returns="to_go")

MASK = torch.tensor([[1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0]])
"""Two turns, two, one, two."""
INDEX = np.array(["b", "b", "a", "a"], dtype=object)
REWARDS = place_steps([[2.0, 1.0], [0.0, 0.0], [1.0], [0.0, 3.0]], MASK)


def test_a_solution_is_paid_what_the_reward_says():
    compute_score = score_function(ExactMatch() + 0.5 * WellFormed(), [CAPITAL])
    told = compute_score("demo", TEXT.format("Lima"), None, {"task_id": "q1"})
    assert told["score"] == told["ExactMatch"] + 0.5 * told["WellFormed"]
    assert told["ExactMatch"] == 1.0
    assert compute_score("demo", TEXT.format("Cuzco"), None, extra_info={"task_id": "q1"})["ExactMatch"] == 0.0


def test_the_ground_truth_stands_in_for_a_task():
    compute_score = score_function(ExactMatch())
    assert compute_score("demo", TEXT.format("Lima"), {"target": ["Lima"]})["score"] == 1.0
    assert compute_score(data_source="demo", solution_str=TEXT.format("x"), ground_truth="Lima")["score"] == 0.0
    with pytest.raises(SettingError, match="'q9'"):
        score_function(ExactMatch(), [CAPITAL])("demo", "x", "Lima", {"task_id": "q9"})


def test_a_rollout_that_is_taken_out_is_nan_and_never_zero():
    rule = EndRule(truncated=EndCase(in_gradient=False))
    assert math.isnan(
        score_function(ExactMatch(), [CAPITAL], end_rule=rule)("demo", "?", "", {"task_id": "q1"})["score"]
    )
    assert score_function(ExactMatch(), [CAPITAL])("demo", "?", "", {"task_id": "q1"})["score"] == 0.0


def test_step_rewards_are_placed_at_the_ends_of_turns():
    assert REWARDS.tolist()[0] == [0, 2, 0, 0, 1, 0]
    assert REWARDS.tolist()[3] == [0, 0, 3, 0, 0, 0]
    with pytest.raises(ShapeError, match="rollout 0 has 1 steps and 2 turns"):
        place_steps([[1.0]], MASK[:1])


def test_each_token_has_the_advantage_of_its_turn():
    # returns to go: b [3, 1] and [0, 0], step by step less their means [1.5, 0.5];
    # a [1] and [3, 3]: the first steps' mean is 2, the second step is alone with its index
    expected = torch.tensor(
        [[1.5, 1.5, 0, 0, 0.5, 0], [-1.5, 0, 0, -0.5, -0.5, -0.5], [-1, -1, -1, 0, 0, 0], [1, 0, 0, 0, 0, 0]]
    )
    advantages, _ = estimator(TO_GO)(REWARDS, MASK, config=None, index=INDEX)
    torch.testing.assert_close(advantages, expected)


def test_what_an_agent_is_shown_pays_the_turn_before_it():
    shown = torch.zeros(4, 6)
    shown[0, 3] = 4.0  # on an observation, after the first turn
    advantages, _ = estimator(TO_GO)(shown, MASK, index=INDEX)
    torch.testing.assert_close(advantages[0], torch.tensor([2.0, 2.0, 0, 0, 0, 0]))


def test_an_unscored_rollout_joins_neither_baseline_nor_gradient():
    rewards = REWARDS.clone()
    rewards[1, 0] = math.nan
    advantages, _ = estimator(GroupAdvantage())(rewards, MASK, index=INDEX)
    assert advantages[:2].tolist() == [[0.0] * 6] * 2  # a group of one teaches nothing
    assert advantages[2:].abs().max() > 0


def test_a_row_without_own_tokens_is_refused():
    with pytest.raises(ShapeError, match="row 0"):
        estimator(TO_GO)(REWARDS[:1], MASK[:1] * 0)


# ---------------------------------------------------------------- against the installed package


@pytest.fixture(scope="module")
def core():
    reason = "verl is not installed: it wants an older transformers, so give it an environment of its own"
    return pytest.importorskip("verl.trainer.ppo.core_algos", reason=reason, exc_type=ImportError)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of verl and what it stands on
def test_verl_finds_the_credit_by_name_and_trains_with_our_gradient(core):
    registered = register_credit(TO_GO, "workbench_to_go")
    assert core.get_adv_estimator_fn("workbench_to_go") is registered
    advantages, returns = core.get_adv_estimator_fn("workbench_to_go")(
        token_level_rewards=REWARDS, response_mask=MASK, config=None, index=INDEX
    )
    assert returns.shape == advantages.shape == MASK.shape
    logp = -torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    theirs, ours = (logp.clone().requires_grad_() for _ in range(2))
    ratio = (theirs - logp).exp()
    core.agg_loss(-ratio * advantages, MASK, "seq-mean-token-sum-norm", loss_scale_factor=40).backward()

    own = MASK.bool()
    rows = torch.arange(4)[:, None].expand(4, 6)[own]
    settings = PolicyLoss(length=40, importance_cap=None, clipped=False)
    weights = torch.from_numpy(settings.weights(rows.numpy())).float()
    terms = clipped_policy_loss(
        settings,
        logp_T=ours[own],
        before_T=logp[own],
        sampler_T=logp[own],
        advantages_T=advantages[own],
        weights_T=weights,
    )
    terms.loss.backward()
    assert ours.grad.abs().max() > 1e-3
    torch.testing.assert_close(theirs.grad, ours.grad, atol=1e-7, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_plain_credit_is_verl_s_own_grpo(core):
    totals = REWARDS.sum(1)
    last = torch.zeros(4, 6)
    last[torch.arange(4), MASK.cumsum(1).argmax(1)] = totals
    theirs, _ = core.compute_grpo_outcome_advantage(last, MASK, INDEX, norm_adv_by_std_in_grpo=True)
    ours, _ = estimator(GroupAdvantage(scale="std"))(last, MASK, index=INDEX)
    torch.testing.assert_close(ours, theirs.float() * MASK, atol=1e-5, rtol=1e-5)
