"""FlatBatch: scored trees as flat arrays, the one thing that credit works on.

Axes: `S` all steps of all trajectories (a step that several trajectories share stands once), `N` trajectories,
`R` reward terms, `T` own tokens. Raw terms and weights stay apart, so that a new weight costs one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from workbench.errors import ScoreError, ShapeError
from workbench.scores import Level, Part, Scores, Status, combined_status
from workbench.trajectory import End, Trajectory, Tree


@dataclass(frozen=True, eq=False, kw_only=True)
class FlatBatch:
    """Arrays for credit. NaN in a term is unscored, `status_RS` says which kind; NaN in a value is unknown.

    A trajectory is the path from `leaf_N[n]` over `parent_S` to a root (-1). `group_N` numbers the groups that are
    compared (task, role, prefix).
    """

    names_R: tuple[str, ...]
    weights_R: np.ndarray  # float64
    terms_RS: np.ndarray  # float64, reward units before weighting
    status_RS: np.ndarray  # int8
    parent_S: np.ndarray  # int64, -1 at a first step
    tokens_S: np.ndarray  # int64, own tokens of the step (1 for a table policy, 0 for text)
    leaf_N: np.ndarray  # int64
    group_N: np.ndarray  # int64
    end_N: np.ndarray  # object, End
    in_baseline_N: np.ndarray  # bool: joins the group's mean and spread
    in_gradient_N: np.ndarray  # bool: is trained on
    discount_S: np.ndarray  # float64: weight of everything after the step, seen from the step
    values_S: np.ndarray  # float64, V before the step, NaN unknown
    values_T: np.ndarray | None = None  # float64, V before each own token, NaN unknown
    token_terms_RT: np.ndarray | None = None  # float64, token-level raw terms, NaN unscored

    def __post_init__(self) -> None:
        steps, trajectories, terms = len(self.parent_S), len(self.leaf_N), len(self.weights_R)
        wanted = {
            "terms_RS": (terms, steps),
            "status_RS": (terms, steps),
            "tokens_S": (steps,),
            "discount_S": (steps,),
            "values_S": (steps,),
            "group_N": (trajectories,),
            "end_N": (trajectories,),
            "in_baseline_N": (trajectories,),
            "in_gradient_N": (trajectories,),
        }
        own = int(self.tokens_S.sum())
        wanted |= {"values_T": (own,)} if self.values_T is not None else {}
        wanted |= {"token_terms_RT": (terms, own)} if self.token_terms_RT is not None else {}
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ShapeError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")

    @cached_property
    def owner_T(self) -> np.ndarray:
        """int64 [T]: step of each own token."""
        return np.repeat(np.arange(len(self.tokens_S)), self.tokens_S)

    @cached_property
    def first_token_S(self) -> np.ndarray:
        """int64 [S]: where the step's own tokens begin among all of them [T]."""
        return np.cumsum(self.tokens_S) - self.tokens_S

    @cached_property
    def depth_S(self) -> np.ndarray:
        """int64 [S]: steps before this one."""
        depth_S = np.zeros(len(self.parent_S), dtype=np.int64)
        above_S = self.parent_S.copy()
        while (live_S := above_S >= 0).any():
            depth_S[live_S] += 1
            above_S[live_S] = self.parent_S[above_S[live_S]]
        return depth_S

    @cached_property
    def steps_by_depth(self) -> list[np.ndarray]:
        """Indices of the steps at depth 0, 1, 2 ..."""
        if not len(self.depth_S):
            return []
        order_S = np.argsort(self.depth_S, kind="stable")
        return np.split(order_S, np.cumsum(np.bincount(self.depth_S))[:-1])

    def from_root(self, amounts_S: np.ndarray) -> np.ndarray:
        """Running sum [S] of `amounts_S` from the first step of the path up to and with each step."""
        total_S = amounts_S.copy()
        for steps in self.steps_by_depth[1:]:
            total_S[steps] += total_S[self.parent_S[steps]]
        return total_S

    @cached_property
    def status_S(self) -> np.ndarray:
        """int8 [S]: status of the step's sum."""
        return combined_status(self.status_RS)

    @cached_property
    def token_rewards_T(self) -> np.ndarray:
        """float64 [T]: weighted sum of the token-level terms; 0 where not scored."""
        if self.token_terms_RT is None:
            return np.zeros(len(self.owner_T))
        return self.weights_R @ np.nan_to_num(self.token_terms_RT)

    @cached_property
    def rewards_S(self) -> np.ndarray:
        """float64 [S]: weighted sum of the terms, token-level terms included; NaN where not scored or missing."""
        sums_S = self.weights_R @ np.nan_to_num(self.terms_RS)
        scored_S = self.status_S == Status.SCORED
        if self.token_terms_RT is not None:
            sums_S = sums_S + np.bincount(self.owner_T, self.token_rewards_T, minlength=len(sums_S))
            touched_T = ~np.isnan(self.token_terms_RT).all(axis=0)
            touched_S = np.bincount(self.owner_T, touched_T, minlength=len(sums_S)) > 0
            scored_S = (scored_S | touched_S) & (self.status_S != Status.MISSING)
        return np.where(scored_S, sums_S, np.nan)

    @cached_property
    def returns_N(self) -> np.ndarray:
        """float64 [N]: undiscounted sum along the path; NaN where a term is missing or nothing was scored."""
        paid_S = self.from_root(np.nan_to_num(self.rewards_S))
        scored_S = self.from_root((~np.isnan(self.rewards_S)).astype(np.int64))
        missing_S = self.from_root((self.status_S == Status.MISSING).astype(np.int64))
        usable_N = (scored_S[self.leaf_N] > 0) & (missing_S[self.leaf_N] == 0)
        return np.where(usable_N, paid_S[self.leaf_N], np.nan)

    @property
    def baseline_N(self) -> np.ndarray:
        """bool [N]: scored and allowed to join a baseline."""
        return self.in_baseline_N & ~np.isnan(self.returns_N)

    @property
    def gradient_N(self) -> np.ndarray:
        """bool [N]: scored and allowed to be trained on."""
        return self.in_gradient_N & ~np.isnan(self.returns_N)

    def spread(self, amounts_N: np.ndarray) -> np.ndarray:
        """A number per trajectory as a number per step [S]: a shared step gets the mean over its gradient rows.

        Steps that no gradient row passes through get 0.
        """
        sums_S = np.zeros(len(self.parent_S))
        count_S = np.zeros(len(self.parent_S))
        rows_N = self.gradient_N
        np.add.at(sums_S, self.leaf_N[rows_N], amounts_N[rows_N])
        np.add.at(count_S, self.leaf_N[rows_N], 1.0)
        for steps in reversed(self.steps_by_depth[1:]):
            np.add.at(sums_S, self.parent_S[steps], sums_S[steps])
            np.add.at(count_S, self.parent_S[steps], count_S[steps])
        return np.divide(sums_S, count_S, out=np.zeros_like(sums_S), where=count_S > 0)

    def path(self, n: int) -> np.ndarray:
        """Flat indices of the steps of trajectory `n`, first step first."""
        steps = []
        s = int(self.leaf_N[n])
        while s >= 0:
            steps.append(s)
            s = int(self.parent_S[s])
        return np.array(steps[::-1], dtype=np.int64)

    def reweighted(self, **weights: float) -> FlatBatch:
        """The same batch with some weights changed, by term name."""
        weights_R = [weights.get(name, weight) for name, weight in zip(self.names_R, self.weights_R, strict=True)]
        return replace(self, weights_R=np.array(weights_R, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Advantages:
    """What credit gives: an advantage per step [S] of `batch`, optionally one per own token [T].

    `siblings`: rollouts were compared with those of their group; `equal_groups` then counts the groups whose returns
    were all equal: they teach nothing. `targets_T` is what a critic should have said before each own token [reward
    units]; NaN where it learns nothing.
    """

    batch: FlatBatch
    values_S: np.ndarray
    values_T: np.ndarray | None = None
    equal_groups: int = 0
    siblings: bool = True
    targets_T: np.ndarray | None = None

    def by_trajectory(self) -> list[np.ndarray]:
        """One array [S] a trajectory, in the order of the trees."""
        return [self.values_S[self.batch.path(n)] for n in range(len(self.batch.leaf_N))]


def flat_batch(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]]) -> FlatBatch:
    """Lay scored trees out flat.

    Args:
        trees: P trees.
        scores: for each tree, one Scores a trajectory; its `parts` become the terms (a score without parts is one
            term of weight 1, under its name). All must have the same parts. A trajectory-level part lands on the last
            step; where several trajectories share a step, the step's value is the mean over those that scored it.

    Returns:
        A FlatBatch with discount 1 and unknown values. Failed and pruned trajectories are out of baseline and
        gradient; `workbench.rewards.EndRule` says otherwise.

    Raises:
        ScoreError: scores do not match the trees, or their parts differ.
    """
    _check_counts(trees, scores)
    rows = [
        (t, s) for tree, tree_scores in zip(trees, scores, strict=True) for t, s in zip(tree, tree_scores, strict=True)
    ]
    index, parents, tokens, leaves = _lay_out(trees)
    all_parts = [score.parts or (Part(score.name, 1.0, score),) for _, score in rows]
    names, weights = _terms(all_parts)
    terms = _Terms(len(names), len(parents))
    token_counts = np.array(tokens, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(token_counts)[:-1]]) if len(tokens) else np.zeros(0, np.int64)
    token_level = any(part.scores.level is Level.TOKEN for part in (all_parts[0] if all_parts else ()))
    token_terms_RT = np.full((len(names), int(token_counts.sum())), np.nan) if token_level else None
    paths = iter(index)
    for (trajectory, _), parts in zip(rows, all_parts, strict=True):
        path = next(paths)
        for r, part in enumerate(parts):
            if part.scores.level is Level.TOKEN:
                _land_tokens(part.scores, trajectory, path, starts, token_counts, token_terms_RT, r, terms)
            else:
                terms.add(r, _at(part.scores, trajectory, path), part.scores)
    ends = np.array([t.end for t, _ in rows], dtype=object)
    counted_N = np.array([t.end not in (End.FAILED, End.PRUNED) for t, _ in rows], dtype=bool)
    terms_RS, status_RS = terms.done()
    return FlatBatch(
        names_R=names,
        weights_R=weights,
        terms_RS=terms_RS,
        status_RS=status_RS,
        parent_S=np.array(parents, dtype=np.int64),
        tokens_S=token_counts,
        leaf_N=np.array(leaves, dtype=np.int64),
        group_N=_group_numbers(trees),
        end_N=ends,
        in_baseline_N=counted_N,
        in_gradient_N=counted_N.copy(),
        discount_S=np.ones(len(parents)),
        values_S=np.full(len(parents), np.nan),
        token_terms_RT=token_terms_RT,
    )


class _Terms:
    """Adds scores up per term and step; a step scored by several trajectories gets their mean."""

    def __init__(self, terms: int, steps: int) -> None:
        self.sums_RS = np.zeros((terms, steps))
        self.count_RS = np.zeros((terms, steps))
        self.missing_RS = np.zeros((terms, steps), dtype=bool)

    def add(self, r: int, at: np.ndarray, scores: Scores) -> None:
        scored = scores.status_S == Status.SCORED
        self.sums_RS[r, at[scored]] += scores.values_S[scored]
        self.count_RS[r, at[scored]] += 1
        self.missing_RS[r, at[scores.status_S == Status.MISSING]] = True

    def done(self) -> tuple[np.ndarray, np.ndarray]:
        scored_RS = (self.count_RS > 0) & ~self.missing_RS
        mean_RS = np.divide(self.sums_RS, self.count_RS, out=np.full_like(self.sums_RS, np.nan), where=scored_RS)
        unscored_RS = np.where(self.missing_RS, Status.MISSING, Status.NOT_APPLICABLE)
        return mean_RS, np.where(scored_RS, Status.SCORED, unscored_RS).astype(np.int8)


def _check_counts(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]]) -> None:
    if len(trees) != len(scores):
        raise ScoreError(f"{len(trees)} trees came with scores for {len(scores)}; give one list of Scores a tree")
    for tree, tree_scores in zip(trees, scores, strict=True):
        if len(tree) != len(tree_scores):
            raise ScoreError(f"tree {tree.id!r} has {len(tree)} trajectories and {len(tree_scores)} scores")


def _terms(all_parts: list[tuple[Part, ...]]) -> tuple[tuple[str, ...], np.ndarray]:
    if not all_parts:
        return (), np.zeros(0)
    kinds = {tuple((part.name, part.weight) for part in parts) for parts in all_parts}
    if len(kinds) > 1:
        raise ScoreError(f"all trajectories must be scored by the same terms, got {sorted(kinds)[:2]}")
    names, weights = zip(*kinds.pop(), strict=True)
    return names, np.array(weights, dtype=np.float64)


def _lay_out(trees: Sequence[Tree]) -> tuple[list[np.ndarray], list[int], list[int], list[int]]:
    """Path of each trajectory as flat step indices; parent and own tokens per flat step; leaf per trajectory."""
    paths: list[np.ndarray] = []
    parents: list[int] = []
    tokens: list[int] = []
    leaves: list[int] = []
    for tree in trees:
        seen: dict[str, int] = {}
        for trajectory in tree:
            if not trajectory.steps:
                raise ScoreError(f"trajectory {trajectory.id!r} has no steps; leave it out of the batch")
            above, path = -1, []
            for step in trajectory.steps:
                if step.id not in seen:
                    seen[step.id] = len(parents)
                    parents.append(above)
                    tokens.append(step.own_tokens)
                above = seen[step.id]
                path.append(above)
            paths.append(np.array(path, dtype=np.int64))
            leaves.append(above)
    return paths, parents, tokens, leaves


def _at(scores: Scores, trajectory: Trajectory, path: np.ndarray) -> np.ndarray:
    if scores.level.single:
        return path[-1:]
    if len(scores) != len(path):
        raise ScoreError(f"trajectory {trajectory.id!r} has {len(path)} steps and {len(scores)} step scores")
    return path


def _land_tokens(
    scores: Scores,
    trajectory: Trajectory,
    path: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    token_terms_RT: np.ndarray | None,
    r: int,
    terms: _Terms,
) -> None:
    at_T = np.concatenate([starts[s] + np.arange(counts[s]) for s in path])
    if len(at_T) != len(scores):
        raise ScoreError(f"trajectory {trajectory.id!r} has {len(at_T)} own tokens and {len(scores)} token scores")
    assert token_terms_RT is not None
    token_terms_RT[r, at_T] = scores.values_S
    owner_T = np.repeat(path, counts[path])
    terms.missing_RS[r, owner_T[scores.status_S == Status.MISSING]] = True


def _group_numbers(trees: Sequence[Tree]) -> np.ndarray:
    """int64 [N]: number of each trajectory's group. Trees of the same task never share a group."""
    numbers: dict[tuple, int] = {}
    keys = [(p, *trajectory.group_key) for p, tree in enumerate(trees) for trajectory in tree]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
