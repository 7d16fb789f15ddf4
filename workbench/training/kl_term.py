"""KL as a term of the reward: paid for every token that leaves the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from workbench.batch import Advantages, FlatBatch
from workbench.training.learners import Learner
from workbench.training.rows import training_rows
from workbench.trajectory import Tree


def with_kl_term(
    batch: FlatBatch, trees: Sequence[Tree], advantages: Advantages, learner: Learner, coef: float
) -> FlatBatch:
    """The batch with one more term, weight -coef: the k1 estimate summed over the own tokens of each step, nats."""
    rows = training_rows(trees, advantages)
    kl_S = np.full(len(batch.parent_S), np.nan)
    for row in rows:
        with torch.no_grad():
            logp_T = learner.likelihood([row]).logp_T
        difference_T = (logp_T - learner.reference([[row]])[0]).float().cpu().numpy()
        steps = batch.path(row.number)[row.step_T[row.train_T]]
        kl_S[np.unique(steps)] = 0.0
        np.add.at(kl_S, steps, difference_T)
    status_S = np.where(np.isnan(kl_S), 1, 0).astype(np.int8)
    token_terms_RT = batch.token_terms_RT
    if token_terms_RT is not None:
        token_terms_RT = np.vstack([token_terms_RT, np.full((1, token_terms_RT.shape[1]), np.nan)])
    return replace(
        batch,
        names_R=(*batch.names_R, "kl"),
        weights_R=np.append(batch.weights_R, -coef),
        terms_RS=np.vstack([batch.terms_RS, kl_S]),
        status_RS=np.vstack([batch.status_RS, status_S]),
        token_terms_RT=token_terms_RT,
    )
