"""Our rewards, rollouts and step credit in TRL's trainer: the same gradient as here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.adapters.trl import Paid, RewardFunction, RolloutFunction, as_row, dataset, token_advantages
from workbench.batch import flat_batch
from workbench.credit import GroupAdvantage
from workbench.errors import CapabilityError, SettingError, ShapeError
from workbench.rewards import EndRule, ExactMatch, reward_of
from workbench.rewards.reward import Reward
from workbench.rewards.score import score
from workbench.scores import Level, Scores
from workbench.training.learners import learner_for
from workbench.training.losses import PolicyLoss
from workbench.training.rows import training_rows
from workbench.training.update import train_on
from workbench.trajectory import Context, End, Step, Task, Tokens, Trajectory, Tree

GROUP, LENGTH = 4, 40
TO_GO = GroupAdvantage(returns="to_go")
PER_STEP = reward_of(lambda t: np.array([10.0 * step.text.count("e") for step in t.steps]), level=Level.STEP)
CAPITAL = Task("q1", "What is the capital of Peru?", golds=("Lima",))


class Judged(Reward):
    """0 for Lima; for everything else its judge fails."""

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.trajectory(0.0) if trajectory.answer == "Lima" else Scores.missing("no reply")


def said(answer: str) -> list[dict[str, Any]]:
    """A completion of TRL's own tool loop."""
    call = {"type": "function", "function": {"name": "search", "arguments": {"query": "Peru capital"}}}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "search", "content": "Doc 1(Title: Peru) Its capital is Lima.\n"},
        {"role": "assistant", "content": f"<answer> {answer} </answer>"},
    ]


def test_completions_of_trl_are_paid_what_the_reward_says():
    paid = RewardFunction(ExactMatch(), [CAPITAL])
    prompts = [[{"role": "user", "content": CAPITAL.question}]] * 3
    assert paid(prompts, [said("Lima"), said("Cuzco"), said("lima.")], task_id=["q1"] * 3) == [1.0, 0.0, 1.0]
    assert [len(t.steps) for t in paid.newest.trees[0]] == [2, 2, 2]
    text = "<search> Peru </search>\n<information>Doc 1(Title: Peru) Lima</information>\n<answer> Lima </answer>"
    assert paid(["Question: x?\n"], [text], task_id=["q1"]) == [1.0]


def test_what_nothing_scored_is_none_and_never_zero():
    prompts = [[{"role": "user", "content": CAPITAL.question}]] * 2
    paid = RewardFunction(Judged(), [CAPITAL])(prompts, [said("Lima"), said("Cuzco")], task_id=["q1"] * 2)
    assert paid == [0.0, None]


def test_rewards_that_compare_siblings_see_the_whole_group_in_whatever_order_rows_come():
    other = replace(CAPITAL, id="q2", golds=("Quito",))
    best = RewardFunction(ExactMatch(), [CAPITAL, other])
    prompts = [[{"role": "user", "content": CAPITAL.question}]] * 4
    answers = [said("Lima"), said("Quito"), said("Quito"), said("Lima")]
    assert best(prompts, answers, task_id=["q1", "q2", "q1", "q2"]) == [1.0, 1.0, 0.0, 0.0]
    assert [len(tree) for tree in best.newest.trees] == [2, 2]


def test_a_dataset_without_task_ids_is_answered_with_what_to_do():
    with pytest.raises(SettingError, match=r"dataset\(tasks, policy\)"):
        RewardFunction(ExactMatch(), [CAPITAL])(["x"], ["y"])
    with pytest.raises(SettingError, match="it names \\['q9'\\]"):
        RewardFunction(ExactMatch(), [CAPITAL])(["x"], ["y"], task_id=["q9"])


def two_steps(id: str = "a") -> Trajectory:
    """Prompt 3 tokens; a turn of 2 and an observation of 2; a turn of 1."""
    first = Tokens.join([Tokens.sampled([5, 6], [-0.1, -0.2]), Tokens.foreign([7, 8])])
    steps = (
        Step(f"{id}.0", "ab", tokens=first, context=Context("pro", Tokens.foreign([1, 2, 3]))),
        Step(f"{id}.1", "c", tokens=Tokens.sampled([9], [-0.3])),
    )
    return Trajectory(id, CAPITAL, steps, End.ANSWERED)


def test_a_row_holds_the_sampled_ids_and_masks_what_was_shown():
    row = as_row(two_steps())
    assert row["prompt_ids"] == [1, 2, 3]
    assert row["completion_ids"] == [5, 6, 7, 8, 9]
    assert row["env_mask"] == [1, 1, 0, 0, 1]
    np.testing.assert_allclose(row["logprobs"], [-0.1, -0.2, 0, 0, -0.3], rtol=1e-6)


def test_a_rewritten_context_is_refused():
    one = two_steps()
    cut = replace(one, steps=(one.steps[0], replace(one.steps[1], context=Context("x", Tokens.foreign([1])))))
    with pytest.raises(CapabilityError, match="2 sequences"):
        as_row(cut)


def paid_by_step(trajectories: list[Trajectory], reward: Any) -> Paid:
    trees = (Tree("t", CAPITAL, tuple(trajectories)),)
    return Paid(trees, EndRule()(flat_batch(trees, score(trees, reward))), np.arange(len(trajectories)))


def test_each_token_has_the_advantage_of_its_step():
    # returns to go: a [3, 1], b [0, 0]; less the mean of the two: +-[1.5, 0.5]
    values = {"a": [2.0, 1.0], "b": [0.0, 0.0]}
    paid = paid_by_step([two_steps("a"), two_steps("b")], reward_of(lambda t: np.array(values[t.id]), level=Level.STEP))
    own_BT = np.array([[1, 1, 0, 0, 1, 0]] * 2, bool)  # the last column is padding
    expected = [[1.5, 1.5, 0, 0, 0.5, 0], [-1.5, -1.5, 0, 0, -0.5, 0]]
    np.testing.assert_allclose(token_advantages(paid, TO_GO, own_BT), expected)
    np.testing.assert_allclose(token_advantages(replace(paid, row_N=np.array([1, 0])), TO_GO, own_BT), expected[::-1])


def test_turns_of_trl_stand_for_steps_that_carry_no_ids():
    paid = RewardFunction(reward_of(lambda t: np.array([1.0, float(t.answer == "Lima")]), level=Level.STEP), [CAPITAL])
    paid([[{"role": "user", "content": "?"}]] * 2, [said("Lima"), said("Cuzco")], task_id=["q1"] * 2)
    own_BT = np.array([[1, 0, 1, 1], [1, 1, 0, 1]], bool)
    # returns to go [2, 1] and [1, 0]
    np.testing.assert_allclose(
        token_advantages(paid.newest, TO_GO, own_BT), [[0.5, 0, 0.5, 0.5], [-0.5, -0.5, 0, -0.5]]
    )
    with pytest.raises(ShapeError, match="2 steps and its row 1 turns"):
        token_advantages(paid.newest, TO_GO, np.array([[1, 1, 1, 1], [1, 1, 0, 1]], bool))


def test_two_tasks_that_read_the_same_are_refused():
    with pytest.raises(SettingError, match="1 of 2 tasks"):
        RolloutFunction(speaker(), Quiet(), [CAPITAL, replace(CAPITAL, id="q2")])


# ---------------------------------------------------------------- against the installed package


def gradient(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of TRL and what it stands on
@pytest.mark.parametrize("reward", [50 * Letter(), PER_STEP], ids=["total", "steps"])
def test_rollouts_of_ours_with_step_credit_in_trl_give_our_gradient(tmp_path: Path, reward: Any):
    trl = pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
    from workbench.adapters.trl import step_credit_trainer

    policy, tasks = speaker(), TASKS[:3]
    paid = RewardFunction(reward, tasks)
    trainer = step_credit_trainer(
        TO_GO,
        paid,
        model=policy.engine.model,
        processing_class=policy.engine.tokenizer,
        train_dataset=dataset(tasks, policy),
        rollout_func=RolloutFunction(policy, Quiet(), tasks, seed=3),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=GROUP * len(tasks),
            num_generations=GROUP,
            max_completion_length=LENGTH,
            loss_type="dr_grpo",
            beta=0.0,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            report_to="none",
        ),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    theirs = gradient(trainer.model)
    trainer.model.zero_grad()

    trees = paid.newest.trees
    assert sorted(len(tree) for tree in trees) == [GROUP] * 3
    learner = learner_for(policy)
    rows = training_rows(trees, TO_GO(paid.newest.batch))
    settings = PolicyLoss(length=LENGTH, importance_cap=None)
    sgd = torch.optim.SGD(learner.parameters(), lr=0.0)
    done = train_on(learner, sgd, rows, settings, epochs=1, max_grad_norm=1e9, micro_batch_tokens=300)
    assert theirs.abs().max() > 1e-3
    assert done.loss == pytest.approx(float(loss), abs=1e-5)
    torch.testing.assert_close(gradient(learner.model), theirs, atol=1e-5, rtol=1e-5)
