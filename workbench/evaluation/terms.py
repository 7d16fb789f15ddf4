"""What each term of a reward does: how much it pays, what it tells apart, what it goes along with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.batch import FlatBatch
from workbench.errors import ShapeError, UnknownName
from workbench.scores import Status

if TYPE_CHECKING:
    import pandas as pd


def term_report(batch: FlatBatch, *, outcome: str | np.ndarray | None = None) -> pd.DataFrame:
    """One row a term, and a last one called "total", over the rollouts that join a baseline.

    A term's amount for a rollout is its raw sum along the path; where it scored nothing there it is not counted.

    Args:
        outcome: the term that says whether a rollout succeeded, or a number a rollout [N] that says so, NaN where
            nobody knows; default the first term.

    Returns:
        weight; scored and missing (rollouts); mean (raw, reward units); spread (std within a group, ddof 0, mean over
        the groups of two or more); zero_spread (share of those groups in which the term tells nobody apart);
        outcome_correlation and length_correlation (Pearson, with own tokens, or steps where there are none; NaN where
        either does not vary); share (of the mean absolute weighted amount, adds up to 1 over the terms);
        variance_share (of the variance of the total within groups of two or more, or over all where there are none:
        cov(weight * term, total) / var(total); adds up to 1, below 0 for a term that works against the others, NaN
        where the total does not vary). What did not apply adds 0 to a total.

    Raises:
        UnknownName: no term of the name `outcome`.
        ShapeError: `outcome` is not one number a rollout.
    """
    import pandas as pd

    amounts_RN = _amounts(batch)
    rows_N = batch.baseline_N
    success_N = _success(batch, amounts_RN, outcome)
    length_N = _lengths(batch)
    missing_RN = _missing(batch)
    weighted = zip(batch.weights_R, amounts_RN, strict=True)
    paid_R = np.array([_mean(np.abs(w * amounts_N[rows_N])) for w, amounts_N in weighted])
    shares_R = np.nan_to_num(paid_R) / (np.nansum(paid_R) or np.nan)
    moved_R = _variance_shares(batch, amounts_RN)
    table = {}
    columns = [*zip(batch.names_R, batch.weights_R, amounts_RN, missing_RN, shares_R, moved_R, strict=True)]
    for name, weight, amounts_N, missing_N, share, moved in [*columns, _total(batch, float(np.sum(moved_R)))]:
        known_N = np.where(rows_N, amounts_N, np.nan)
        spread, zero_spread = _within_groups(known_N, batch.group_N)
        table[name] = {
            "weight": weight,
            "scored": int((~np.isnan(known_N)).sum()),
            "missing": int(missing_N.sum()),
            "mean": _mean(known_N),
            "spread": spread,
            "zero_spread": zero_spread,
            "outcome_correlation": _correlation(known_N, success_N),
            "length_correlation": _correlation(known_N, length_N),
            "share": share,
            "variance_share": moved,
        }
    return pd.DataFrame(table).T.rename_axis("term")


def term_notes(report: pd.DataFrame) -> list[str]:
    """What stands out in a term report, a sentence each: what tells nobody apart, pays for length, misses the point."""
    said = []
    for name, row in report.iterrows():
        if row["zero_spread"] >= MOSTLY:
            said.append(f"{name} tells nobody apart in {row['zero_spread']:.0%} of the groups.")
        longer = row["length_correlation"] * np.sign(row["weight"])  # a fine may well rise with length
        if longer >= STRONG:
            said.append(f"{name} pays for length (correlation {longer:+.2f}).")
        if row["variance_share"] < AGAINST:
            said.append(f"{name} works against the other terms ({row['variance_share']:.0%} of the variance).")
    total = report.loc["total", "outcome_correlation"]
    if total < WEAK:
        said.append(f"The total hardly goes with right answers (correlation {total:+.2f}).")
    return said


MOSTLY, STRONG, AGAINST, WEAK = 0.8, 0.5, -0.05, 0.2
"""When a note is worth making: share of groups, correlation with length, share of variance, correlation with right."""


def _success(batch: FlatBatch, amounts_RN: np.ndarray, outcome: str | np.ndarray | None) -> np.ndarray:
    """float64 [N]: what says whether each rollout succeeded."""
    if isinstance(outcome, str):
        if outcome not in batch.names_R:
            raise UnknownName.among("term", outcome, batch.names_R, where="this batch")
        return np.asarray(amounts_RN[batch.names_R.index(outcome)])
    if outcome is None:
        return np.asarray(amounts_RN[0]) if len(amounts_RN) else np.zeros(len(batch.leaf_N))
    given_N = np.asarray(outcome, dtype=np.float64)
    if given_N.shape != batch.leaf_N.shape:
        raise ShapeError(f"outcome has shape {given_N.shape}; the batch holds {len(batch.leaf_N)} rollouts")
    return given_N


def _total(batch: FlatBatch, moved: float) -> tuple[str, float, np.ndarray, np.ndarray, float, float]:
    missing_S = batch.from_root((batch.status_S == Status.MISSING).astype(np.int64))
    return "total", 1.0, batch.returns_N, missing_S[batch.leaf_N] > 0, 1.0, moved


def _amounts(batch: FlatBatch) -> np.ndarray:
    """float64 [R, N]: raw sum of each term along each path, NaN where it scored nothing there or is missing."""
    sums_RS, scored_RS = np.nan_to_num(batch.terms_RS), batch.status_RS == Status.SCORED
    if batch.token_terms_RT is not None:
        steps, owner_T = sums_RS.shape[1], batch.owner_T
        tokens_RS = [np.bincount(owner_T, np.nan_to_num(row_T), minlength=steps) for row_T in batch.token_terms_RT]
        known_RS = [np.bincount(owner_T, ~np.isnan(row_T), minlength=steps) for row_T in batch.token_terms_RT]
        sums_RS, scored_RS = sums_RS + np.array(tokens_RS), scored_RS | (np.array(known_RS) > 0)
    amounts_RN = np.array([batch.from_root(sums_S)[batch.leaf_N] for sums_S in sums_RS])
    count_RN = np.array([batch.from_root(scored_S.astype(np.int64))[batch.leaf_N] for scored_S in scored_RS])
    usable_RN = (count_RN > 0) & ~_missing(batch) if len(amounts_RN) else count_RN
    return np.where(usable_RN, amounts_RN, np.nan) if len(amounts_RN) else amounts_RN


def _variance_shares(batch: FlatBatch, amounts_RN: np.ndarray) -> np.ndarray:
    """float64 [R]: share of each term in the variance of the total, centred on each group of two or more."""
    rows_N = batch.baseline_N
    sizes_N = np.bincount(batch.group_N[rows_N], minlength=batch.group_N.max(initial=0) + 1)[batch.group_N]
    grouped_N = rows_N & (sizes_N > 1)
    rows_N, group_N = (grouped_N, batch.group_N) if grouped_N.any() else (rows_N, np.zeros_like(batch.group_N))
    _, group_N = np.unique(group_N[rows_N], return_inverse=True)
    if not len(amounts_RN):
        return np.zeros(0)
    paid_RN = np.nan_to_num(batch.weights_R[:, None] * amounts_RN)[:, rows_N]
    means_RG = np.array([np.bincount(group_N, paid_N) for paid_N in paid_RN]) / np.bincount(group_N)
    centred_RN = paid_RN - means_RG[:, group_N]
    total_N = centred_RN.sum(axis=0)
    variance = total_N @ total_N
    return centred_RN @ total_N / variance if variance > 1e-18 else np.full(len(centred_RN), np.nan)


def _missing(batch: FlatBatch) -> np.ndarray:
    """bool [R, N]: the term is missing somewhere on the path."""
    missing_RS = (batch.status_RS == Status.MISSING).astype(np.int64)
    return np.array([batch.from_root(missing_S)[batch.leaf_N] > 0 for missing_S in missing_RS])


def _lengths(batch: FlatBatch) -> np.ndarray:
    """float64 [N]: own tokens of each path; its steps where there are no tokens."""
    amounts_S = batch.tokens_S if batch.tokens_S.any() else np.ones_like(batch.tokens_S)
    return batch.from_root(amounts_S)[batch.leaf_N].astype(np.float64)


def _within_groups(amounts_N: np.ndarray, group_N: np.ndarray) -> tuple[float, float]:
    """Mean std within the groups of two or more known amounts, and the share of those with none."""
    known_N = ~np.isnan(amounts_N)
    by_group = np.argsort(group_N[known_N], kind="stable")
    edges = np.flatnonzero(np.diff(group_N[known_N][by_group])) + 1
    groups = [values for values in np.split(amounts_N[known_N][by_group], edges) if len(values) > 1]
    if not groups:
        return np.nan, np.nan
    equal = [float(np.ptp(values) == 0) for values in groups]
    spread = [0.0 if same else float(values.std()) for same, values in zip(equal, groups, strict=True)]
    return float(np.mean(spread)), float(np.mean(equal))


def _correlation(one_N: np.ndarray, other_N: np.ndarray) -> float:
    known_N = ~np.isnan(one_N) & ~np.isnan(other_N)
    one, other = one_N[known_N], other_N[known_N]
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
