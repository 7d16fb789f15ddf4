"""KL as a term of the reward: paid for every token that leaves the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from workbench.batch import FlatBatch
from workbench.scores import Status
from workbench.training.learners import Learner
from workbench.training.rows import Row, flat_tokens

KL_TERM = "kl"
"""Its name among the terms."""


@torch.no_grad()
def with_kl_term(batch: FlatBatch, batches: Sequence[Sequence[Row]], learner: Learner, coef: float) -> FlatBatch:
    """The batch with one more term, weight -coef: the k1 estimate of every own token that is trained on, nats."""
    kl_T = np.full(len(batch.owner_T), np.nan)
    for rows, reference_T in zip(batches, learner.reference(batches), strict=True):
        difference_T = learner.likelihood(rows).logp_T - reference_T
        kl_T[flat_tokens(rows)] = difference_T.float().cpu().numpy()
    steps, held = len(batch.parent_S), batch.token_terms_RT
    if held is None:
        held = np.full((len(batch.names_R), len(kl_T)), np.nan)
    return replace(
        batch,
        names_R=(*batch.names_R, KL_TERM),
        weights_R=np.append(batch.weights_R, -coef),
        terms_RS=np.vstack([batch.terms_RS, np.full((1, steps), np.nan)]),
        status_RS=np.vstack([batch.status_RS, np.full((1, steps), Status.NOT_APPLICABLE, np.int8)]),
        token_terms_RT=np.vstack([held, kl_T]),
    )
