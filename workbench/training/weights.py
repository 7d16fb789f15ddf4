"""What a run trains: the policy's weights, a critic's where there is one, and the optimiser that moves both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.batch import Advantages, FlatBatch
from workbench.training.checkpoint import Checkpoint, restore_moments, save_checkpoint
from workbench.training.critic import Fitted, Values
from workbench.training.kl_term import with_kl_term
from workbench.training.learners import Learner, learner_for
from workbench.training.plan import Plan
from workbench.training.rows import micro_batches, training_rows
from workbench.training.update import Trained, train_on
from workbench.trajectory import Tree

CRITIC = "critic."
"""Before the names of the critic's tensors in a checkpoint."""


class Weights:
    """The policy's learner and the critic's values under one optimiser; each steps while the other has no gradient."""

    def __init__(self, policy: Any, plan: Plan) -> None:
        self.learner: Learner = learner_for(policy, keep_reference=plan.loss.kl is not None)
        self.values = None if plan.critic is None else Values(plan.critic, self.learner)
        groups = [{"params": self.learner.parameters()}]
        if self.values is not None:
            groups.append({"params": self.values.parameters()})
        self.optimiser = torch.optim.AdamW(groups, lr=plan.optimiser.lr)

    def looked_at(self, plan: Plan, trees: Sequence[Tree], batch: FlatBatch) -> FlatBatch:
        """The batch with what the weights say of it: the KL from the reference as a term, the critic's values."""
        kl = plan.loss.kl
        in_reward = kl is not None and kl.into == "reward"
        if not in_reward and self.values is None:
            return batch
        rows = training_rows(trees, Advantages(batch, np.zeros(len(batch.parent_S))))
        batches = micro_batches(rows, plan.micro_batch_tokens, self.learner.tokens)
        if kl is not None and in_reward:
            batch = with_kl_term(batch, batches, self.learner, kl.coef)
        return batch if self.values is None else self.values.valued(batch, batches)

    def learn(self, plan: Plan, trees: Sequence[Tree], advantages: Advantages) -> tuple[Fitted, Trained]:
        """One update: the critic first, before the policy under it moves."""
        rows = training_rows(trees, advantages)
        fitted = Fitted(float("nan"), float("nan"))
        if self.values is not None and plan.critic is not None:
            fitted = self.values.fit(plan.critic, self.optimiser, rows, advantages, plan.micro_batch_tokens)
        trained = train_on(
            self.learner,
            self.optimiser,
            rows,
            plan.loss,
            epochs=plan.epochs,
            max_grad_norm=plan.optimiser.max_grad_norm,
            micro_batch_tokens=plan.micro_batch_tokens,
        )
        return fitted, trained

    def set_optimiser(self, plan: Plan, number: int) -> float:
        """Take over the plan's settings for update `number`; returns the learning rate of the policy."""
        settings = plan.optimiser
        lr = settings.lr * min(1.0, number / max(settings.warmup, 1))
        for group in self.optimiser.param_groups:
            group.update(lr=lr, betas=tuple(settings.betas), weight_decay=settings.weight_decay)
        if plan.critic is not None:
            self.optimiser.param_groups[-1].update(lr=plan.critic.lr, weight_decay=0.0)
        return lr

    # ------------------------------------------------------------ keeping

    def save(self, folder: Path, state: dict[str, Any]) -> Path:
        """Write a checkpoint: `state` and all that is needed to go on from these weights."""
        critic = {} if self.values is None else self.values.state()
        tensors = self.learner.state() | {f"{CRITIC}{name}": tensor for name, tensor in critic.items()}
        return save_checkpoint(folder, {**state, "notes": self.learner.notes()}, tensors, self.optimiser)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to those of a checkpoint, and tell the sampler."""
        critic = {name: tensor for name, tensor in checkpoint.weights.items() if name.startswith(CRITIC)}
        self.learner.load_state({name: w for name, w in checkpoint.weights.items() if name not in critic})
        if self.values is not None:
            self.values.load_state({name.removeprefix(CRITIC): tensor for name, tensor in critic.items()})
        self.learner.load_notes(checkpoint.state["notes"])
        self.optimiser.state.clear()
        restore_moments(self.optimiser, checkpoint.optimiser)
        self.learner.updated()

    def digest(self) -> str:
        """Twelve hex digits over the policy's trained tensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.learner.state().items()):
            digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
        return digest.hexdigest()[:12]
