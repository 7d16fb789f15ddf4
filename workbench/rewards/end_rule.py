"""`EndRule`: what each kind of end is paid, and whether it counts in baseline and gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workbench.batch import FlatBatch
from workbench.errors import ScoreError
from workbench.scores import Status
from workbench.spec import part
from workbench.trajectory import End


@part
class EndCase:
    """What happens to trajectories of one end."""

    pay: float | None = None  # reward units, instead of all that its own steps earned; None: keep what they earned
    in_baseline: bool = True
    in_gradient: bool = True


OUT = EndCase(in_baseline=False, in_gradient=False)


@part
class EndRule:
    """Sets pay and masks of a batch by how its trajectories ended.

    A trajectory that is paid a value gets it on its last step, as a term called ``EndRule`` of weight 1; what its own
    steps earned no longer applies, missing scores included. Steps that it shares with siblings keep what they earned.

    Examples: an unfinished rollout earns 0, ``EndRule(truncated=EndCase(pay=0.0))`` (CaRR, arXiv:2601.06021);
    over-long ones keep their place in the baseline and are not trained on,
    ``EndRule(truncated=EndCase(in_gradient=False))`` (DAPO, REDSearcher).
    """

    answered: EndCase = EndCase()
    truncated: EndCase = EndCase()
    failed: EndCase = OUT
    pruned: EndCase = OUT

    def __call__(self, batch: FlatBatch) -> FlatBatch:
        """The batch under this rule.

        Raises:
            ScoreError: a trajectory that is paid a value ends on a step that another one goes through.
        """
        cases_N = [getattr(self, End(end).value) for end in batch.end_N]
        pay_N = np.array([np.nan if case.pay is None else case.pay for case in cases_N], dtype=np.float64)
        ruled = replace(
            batch,
            in_baseline_N=np.array([case.in_baseline for case in cases_N], dtype=bool),
            in_gradient_N=np.array([case.in_gradient for case in cases_N], dtype=bool),
        )
        return ruled if np.isnan(pay_N).all() else _paid(ruled, pay_N)


def _paid(batch: FlatBatch, pay_N: np.ndarray) -> FlatBatch:
    private_S = _rows_through(batch) == 1
    paid_N = ~np.isnan(pay_N)
    if not private_S[batch.leaf_N[paid_N]].all():
        raise ScoreError("a trajectory that EndRule pays ends on a step that others go through; use pay=None there")
    replaced_S = np.zeros(len(batch.parent_S), dtype=bool)
    replaced_S[batch.leaf_N[paid_N]] = True
    for steps in reversed(batch.steps_by_depth[1:]):
        replaced_S[batch.parent_S[steps]] |= replaced_S[steps]
    replaced_S &= private_S
    term_S = np.full(len(batch.parent_S), np.nan)
    term_S[batch.leaf_N[paid_N]] = pay_N[paid_N]
    earned_RS = np.where(replaced_S, np.nan, batch.terms_RS)
    kept_RS = np.where(replaced_S, Status.NOT_APPLICABLE, batch.status_RS)
    added_S = np.where(np.isnan(term_S), Status.NOT_APPLICABLE, Status.SCORED)
    tokens_RT = batch.token_terms_RT
    if tokens_RT is not None:
        tokens_RT = np.where(replaced_S[batch.owner_T], np.nan, tokens_RT)
        tokens_RT = np.concatenate([tokens_RT, np.full((1, tokens_RT.shape[1]), np.nan)])
    return replace(
        batch,
        names_R=(*batch.names_R, "EndRule"),
        weights_R=np.append(batch.weights_R, 1.0),
        terms_RS=np.concatenate([earned_RS, term_S[None]]),
        status_RS=np.concatenate([kept_RS, added_S[None]]).astype(np.int8),
        token_terms_RT=tokens_RT,
    )


def _rows_through(batch: FlatBatch) -> np.ndarray:
    """int64 [S]: how many trajectories pass through each step, trained on or not."""
    count_S = np.bincount(batch.leaf_N, minlength=len(batch.parent_S))
    for steps in reversed(batch.steps_by_depth[1:]):
        np.add.at(count_S, batch.parent_S[steps], count_S[steps])
    return count_S
