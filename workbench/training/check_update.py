"""All training checks of one update, and the probe that asks whether the sampler uses the new weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        gap, limit = _probe(policy, learner, trained)
        found.append(checks.weights_arrived(version, weights_version(policy), trained.moved, gap, limit))
    return tuple(found)


def weights_holder(policy: Policy) -> Any:
    """What counts the versions of the weights: the policy or its engine; None where neither does."""
    return policy if hasattr(policy, "weights_version") else getattr(policy, "engine", None)


def weights_version(policy: Policy) -> int:
    """How often the weights that the policy samples with were changed."""
    return int(getattr(weights_holder(policy), "weights_version", 0))


def _probe(policy: Policy, learner: Learner, trained: Trained) -> tuple[float | None, float]:
    """Mean gap between what sampler and trainer now think of a short row's own tokens, nats at temperature 1, and the
    gap that is too much."""
    engine = getattr(policy, "engine", None)
    if engine is None or not engine.capabilities.score:
        return None, np.inf
    row = trained.rows[int(np.argmin([len(row) for row in trained.rows]))]  # its tokens come first in `before_T`
    with torch.no_grad(), _at_temperature_one(learner):
        trainer_T = learner.likelihood([row]).logp_T.float().cpu().numpy()
    first, ids_T = int(np.argmax(row.train_T)), row.tokens.ids_T
    sampler_T = engine.score([ids_T[:first]], [ids_T[first:]])[0][row.train_T[first:]]
    old = float(np.abs(trained.before_T[: len(trainer_T)] - sampler_T).mean())
    known = getattr(policy, "temperature", 1.0) == 1.0  # else what the trainer thought before is of another temperature
    return float(np.abs(trainer_T - sampler_T).mean()), _too_much(trained, old if known else np.inf)


def _too_much(trained: Trained, old: float) -> float:
    """A gap, nats, that the numbers of two engines do not explain: twice that of the worst rollout (as long as the
    check of their mean holds), and a little more; or one larger than `old`, the gap to what the trainer thought before.
    """
    gap_T = np.abs(trained.before_T - trained.sampler_T)
    ends = np.cumsum([row.train_T.sum() for row in sorted(trained.rows, key=len)])  # the order of `before_T`
    usual = min(2 * max(float(gap_R.mean()) for gap_R in np.split(gap_T, ends[:-1])), 0.02)
    return min(max(1e-4, usual), max(2e-5, usual, old))


@contextmanager
def _at_temperature_one(learner: Any) -> Iterator[None]:
    """Engines score at temperature 1, whatever the policy samples at."""
    before, learner.temperature = learner.temperature, 1.0
    try:
        yield
    finally:
        learner.temperature = before
