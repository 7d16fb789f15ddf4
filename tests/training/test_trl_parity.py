"""The same model, rollouts and rewards in TRL's GRPOTrainer: the same loss and the same gradient."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.batch import flat_batch
from workbench.credit import GroupAdvantage
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.training.learners import learner_for
from workbench.training.losses import KL
from workbench.training.method import DAPO, GRPO, GSPO, DrGRPO, Method
from workbench.training.rows import training_rows
from workbench.training.update import train_on
from workbench.trajectory import Trajectory, Tree

trl = pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of TRL and what it stands on
GROUP, LENGTH = 4, 40  # rollouts a group; tokens that dr_grpo divides by
REWARD = 50 * Letter()  # so that the gradient is large beside what is compared


def ours(policy: Any, trees: Sequence[Tree], method: Method, moved: float = 0.0) -> tuple[float, torch.Tensor]:
    """Loss and flat gradient of one update, the weights `moved` since the reference was kept."""
    policy = copy.deepcopy(policy)
    learner = learner_for(policy, keep_reference=method.loss.kl is not None)
    move(policy.engine.model, moved)
    advantages = method.credit(flat_batch(trees, score(trees, REWARD)))
    sgd = torch.optim.SGD(learner.parameters(), lr=0.0)
    rows = training_rows(trees, advantages)
    done = train_on(learner, sgd, rows, method.loss, epochs=1, max_grad_norm=1e9, micro_batch_tokens=300)
    return done.loss, torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


def theirs(
    policy: Any, trees: Sequence[Tree], folder: Path, moved: float = 0.0, **settings: Any
) -> tuple[float, torch.Tensor]:
    """The same of a GRPOTrainer that is handed our rollouts."""
    from datasets import Dataset

    policy.engine.model.save_pretrained(folder / "model")  # it reads its reference from where the model lies
    trainer = trl.GRPOTrainer(
        model=type(policy.engine.model).from_pretrained(folder / "model"),
        processing_class=policy.engine.tokenizer,
        train_dataset=Dataset.from_dict({"prompt": [tree.task.id for tree in trees]}),
        rollout_func=lambda prompts, trainer: handed_over(prompts, trees),
        reward_funcs=lambda paid, **_: paid,
        args=trl.GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=GROUP * len(trees),
            num_generations=GROUP,
            max_completion_length=LENGTH,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            report_to="none",
            temperature=1.0,
            **settings,
        ),
    )
    trainer.current_gradient_accumulation_steps = 1
    move(trainer.model, moved)
    trainer.model.train()
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return float(loss), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def handed_over(prompts: Sequence[str], trees: Sequence[Tree]) -> dict[str, list]:
    """Our rollouts for these prompts, as a rollout_func gives them: each prompt comes once a rollout."""
    left = {tree.task.id: list(tree) for tree in trees}
    drawn: list[Trajectory] = [left[prompt].pop(0) for prompt in prompts]
    found: dict[str, list] = {"prompt_ids": [], "completion_ids": [], "logprobs": [], "env_mask": [], "paid": []}
    for trajectory in drawn:
        (segment,) = trajectory.segments()
        start = int((segment.step_T >= 0).argmax())
        own_T = segment.tokens.own_T[start:]
        found["prompt_ids"].append(segment.tokens.ids_T[:start].tolist())
        found["completion_ids"].append(segment.tokens.ids_T[start:].tolist())
        found["logprobs"].append([0.0] * len(own_T))
        found["env_mask"].append(own_T.astype(int).tolist())
    scores = {t.id: s for tree in trees for t, s in zip(tree, score([tree], REWARD)[0], strict=True)}
    found["paid"] = [float(scores[trajectory.id].values_S[0]) for trajectory in drawn]
    return found


@torch.no_grad()
def move(model: Any, by: float) -> None:
    """The same noise on the weights of every copy of a model."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter += by * torch.randn(parameter.shape, generator=generator)


def as_set_there(method: Method, scale: str, **loss: Any) -> Method:
    """The method with TRL's 1e-4 beside the std, and without the correction that TRL makes for vLLM alone."""
    credit = GroupAdvantage(scale=scale, eps=1e-4)
    return replace(method, credit=credit, loss=replace(method.loss, importance_cap=None, **loss))


@pytest.fixture(scope="module")
def drawn():
    policy = speaker()
    return policy, rollout(policy, TASKS[:4], Quiet(), group_size=GROUP, progress=False)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (as_set_there(GRPO(kl=0.0), "std"), {"loss_type": "grpo", "beta": 0.0}),
        (as_set_there(DAPO(), "std"), {"loss_type": "dapo", "beta": 0.0, "epsilon_high": 0.28}),
        (
            as_set_there(DrGRPO(), "none", length=LENGTH),
            {"loss_type": "dr_grpo", "beta": 0.0, "scale_rewards": "none"},
        ),
        (
            as_set_there(GSPO(), "std"),
            {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else "",
)
def test_loss_and_gradient_are_those_of_trl(drawn, tmp_path, method, settings):
    policy, trees = drawn
    loss, gradient = ours(policy, trees, method)
    their_loss, their_gradient = theirs(policy, trees, tmp_path, **settings)
    assert gradient.abs().max() > 1e-3
    assert loss == pytest.approx(their_loss, abs=1e-5)
    torch.testing.assert_close(gradient, their_gradient, atol=1e-5, rtol=1e-5)


def test_a_kl_from_a_reference_that_differs_is_the_same_as_in_trl(drawn, tmp_path):
    policy, trees = drawn
    method = as_set_there(GRPO(), "std", kl=KL(0.5, "k3"))
    loss, gradient = ours(policy, trees, method, moved=0.005)
    their_loss, their_gradient = theirs(
        policy, trees, tmp_path, moved=0.005, loss_type="grpo", beta=0.5, use_bias_correction_kl=False
    )
    without, _ = ours(policy, trees, as_set_there(GRPO(kl=0.0), "std"), moved=0.005)
    assert abs(loss - without) > 1e-3
    assert loss == pytest.approx(their_loss, abs=1e-5)
    torch.testing.assert_close(gradient, their_gradient, atol=1e-5, rtol=1e-5)
