"""Training checks: what must hold in every update, looked at in every update.

Most mistakes of multi-turn training raise no error. Each check is a number with a limit and a sentence; a run stores
and shows them, and one that does not hold lights up in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.batch import Advantages
from workbench.scores import Status
from workbench.training.rows import Row
from workbench.trajectory import End, Origin, Tree


@dataclass(frozen=True)
class Check:
    """One check of one update: `value` against its limit, and what it means."""

    name: str
    ok: bool
    value: float
    says: str

    def __str__(self) -> str:
        return f"{'ok ' if self.ok else 'LOOK'} {self.name}: {self.says}"


def ids_are_text(rows: Sequence[Row], tokenizer: Any, most: int = 4) -> Check:
    """The ids trained on decode to the text that was acted on (a token sequence that was made again would not)."""
    wrong = looked = 0
    for row in rows[:most]:
        for s in np.unique(row.step_T[row.train_T]):
            step = row.trajectory.steps[s]
            ids = row.tokens.ids_T[row.train_T & (row.step_T == s)].tolist()
            text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            looked += 1
            wrong += text.removesuffix(tokenizer.eos_token or "\0") != step.text.removesuffix(
                tokenizer.eos_token or "\0"
            )
    return Check("trained ids", wrong == 0, wrong, f"{wrong} of {looked} turns do not decode to the text acted on")


def only_own_tokens(rows: Sequence[Row]) -> Check:
    """No token of the environment, of another model or forced by the program carries loss."""
    foreign = sum(int((row.train_T & (row.tokens.origins_T != Origin.SAMPLED)).sum()) for row in rows)
    unknown = sum(int(np.isnan(row.tokens.logprobs_T[row.train_T]).sum()) for row in rows)
    leaked = sum(int(((row.weights_T != 0) & ~row.train_T).sum()) for row in rows)
    bad = foreign + unknown + leaked
    return Check("own tokens", bad == 0, bad, f"{foreign} foreign, {unknown} without logprob, {leaked} leaked weights")


def sampler_gap(before: np.ndarray, sampler: np.ndarray, limit: float = 0.02) -> Check:
    """Trainer and sampler agree on the tokens drawn: mean |difference| of logprobs, nats."""
    gap = float(np.abs(before - sampler).mean()) if len(before) else 0.0
    worst = float(np.abs(before - sampler).max()) if len(before) else 0.0
    return Check(
        "sampler gap", gap <= limit, gap, f"mean {gap:.1e}, worst {worst:.1e} nats between trainer and sampler"
    )


def groups_teach(advantages: Advantages, limit: float = 0.9) -> Check:
    """Groups of equal return have advantage 0 everywhere."""
    groups = len(np.unique(advantages.batch.group_N))
    share = advantages.equal_groups / max(groups, 1)
    return Check("equal groups", share <= limit, share, f"{advantages.equal_groups} of {groups} groups teach nothing")


def groups_have_siblings(advantages: Advantages) -> Check:
    """A group of one has nothing to be compared with."""
    batch = advantages.batch
    alone = int((np.bincount(batch.group_N[batch.baseline_N]) == 1).sum()) if batch.baseline_N.any() else 0
    return Check("lone rollouts", alone == 0, alone, f"{alone} groups have a single scored rollout")


def few_truncated(trees: Sequence[Tree], limit: float = 0.5) -> Check:
    """Most rollouts come to an end of their own."""
    ends = [trajectory.end for tree in trees for trajectory in tree]
    share = ends.count(End.TRUNCATED) / max(len(ends), 1)
    failed = ends.count(End.FAILED)
    return Check("truncated", share <= limit, share, f"{share:.0%} of rollouts cut off by a limit, {failed} failed")


def all_scored(advantages: Advantages) -> Check:
    """Nothing that should have a score is missing one."""
    batch = advantages.batch
    missing = int((batch.status_S == Status.MISSING).sum())
    silent = int((np.isnan(batch.returns_N) & batch.in_gradient_N).sum())
    return Check(
        "missing scores", silent == 0, silent, f"{silent} rollouts unscored, {missing} steps with a failed term"
    )


def weights_arrived(version_before: int, version_after: int, moved: float, gap: float | None, limit: float) -> Check:
    """The update changed the weights and the sampler uses them: it thinks of a turn what the trainer now thinks."""
    ok = version_after > version_before and moved > 0 and (gap is None or gap < limit)
    told = "" if gap is None else f", sampler off by {gap:.1e} nats"
    return Check(
        "weights arrived", ok, moved, f"moved by {moved:.1e}, version {version_before} to {version_after}{told}"
    )
