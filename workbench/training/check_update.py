"""All training checks of one update, and the probe that asks whether the sampler uses the new weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from workbench.batch import Advantages
from workbench.protocols import Policy
from workbench.training import checks
from workbench.training.learners import Learner
from workbench.training.update import Trained
from workbench.trajectory import Tree


def check_update(
    policy: Policy, learner: Learner, trees: Sequence[Tree], advantages: Advantages, trained: Trained, version: int
) -> tuple[checks.Check, ...]:
    """The checks that apply to this policy. `version`: of the weights before the update."""
    engine = getattr(policy, "engine", None)
    found = [
        checks.only_own_tokens(trained.rows),
        checks.sampler_gap(trained.before_T, trained.sampler_T),
        checks.few_truncated(trees),
        checks.all_scored(advantages),
    ]
    if advantages.siblings:
        found += [checks.groups_teach(advantages), checks.groups_have_siblings(advantages)]
    if engine is not None:
        found.append(checks.ids_are_text(trained.rows, engine.tokenizer))
    if trained.rows and trained.grad_norm > 0:
        gap = _probe(policy, learner, trained)
        found.append(checks.weights_arrived(version, weights_version(policy), trained.moved, gap))
    return tuple(found)


def weights_holder(policy: Policy) -> Any:
    """What counts the versions of the weights: the policy or its engine; None where neither does."""
    return policy if hasattr(policy, "weights_version") else getattr(policy, "engine", None)


def weights_version(policy: Policy) -> int:
    """How often the weights that the policy samples with were changed."""
    return int(getattr(weights_holder(policy), "weights_version", 0))


def _probe(policy: Policy, learner: Learner, trained: Trained) -> float | None:
    """Worst gap between what sampler and trainer now think of the first turn of a short row, nats."""
    engine = getattr(policy, "engine", None)
    if engine is None or not engine.capabilities.score:
        return None
    row = min(trained.rows, key=len)
    first = row.step_T[row.train_T].min()
    at = np.flatnonzero(row.train_T & (row.step_T == first))
    with torch.no_grad():
        trainer_T = learner.likelihood([row]).logp_T[: len(at)].float().cpu().numpy()
    ids_T = row.tokens.ids_T
    sampler_T = engine.score([ids_T[: at[0]]], [ids_T[at]])[0]
    temperature_one = getattr(policy, "temperature", 1.0) == 1.0
    return float(np.abs(trainer_T - sampler_T).max()) if temperature_one else None
