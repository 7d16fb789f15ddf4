"""verl with our rewards and step credit. Written for verl 0.9 (verl/trainer/ppo/core_algos.py and reward.py).

verl reads a reward function from a file by its name (``reward.custom_reward_function.path`` and ``.name``)::

    compute_score = score_function(reward, tasks)                   # this file's last line

and looks an advantage estimator up by its name (``algorithm.adv_estimator=workbench``), which a module listed in
``VERL_USE_EXTERNAL_MODULES`` registers::

    register_credit(GroupAdvantage(returns="to_go"))

What verl hands over is text, and token rewards: `score_function` reads the steps from the tags of the text, and the
estimator takes each turn of own tokens (`response_mask`) for a step. verl pays a rollout on its last token;
`place_steps` puts the rewards of single steps where the estimator finds them, for a reward manager of your own
(``assemble_rm_scores``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from workbench.batch import FlatBatch, flat_batch
from workbench.errors import MissingPackage, SettingError, ShapeError
from workbench.formats.tagged_rollouts import golds_in
from workbench.formats.tags import end_of, steps_of
from workbench.protocols import Credit, Reward
from workbench.rewards import EndRule
from workbench.rewards.score import score
from workbench.scores import Status
from workbench.trajectory import End, Task, Trajectory, Tree

NAME = "workbench"


class Estimator(Protocol):
    """An advantage estimator as verl calls one (`compute_advantage`); [B, T] tensors over response tokens."""

    def __call__(
        self, token_level_rewards: Any, response_mask: Any, config: Any = None, index: Any = None, **others: Any
    ) -> tuple[Any, Any]:
        """Advantages and returns."""
        ...


# ---------------------------------------------------------------- rewards


def score_function(
    reward: Reward, tasks: Sequence[Task] = (), *, end_rule: Callable[[FlatBatch], FlatBatch] | None = None
) -> Callable[..., dict[str, float]]:
    """A `compute_score` that pays what `reward` says of one rollout, as "score", with the totals of its parts beside.

    The task is found by ``extra_info["task_id"]`` among `tasks`; without one it is made from ``extra_info["question"]``
    and the ground truth. verl knows no unscored rollout: one that nothing scored, or that the end rule takes out, is
    paid NaN, which `register_credit`'s estimator leaves out and verl's own would spread over the group, to be seen.
    Rewards that compare siblings cannot be used: verl scores each rollout alone.
    """
    known, rule = {task.id: task for task in tasks}, end_rule or EndRule()

    def compute_score(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
    ) -> dict[str, float]:
        trajectory = _read(solution_str, _task(known, ground_truth, extra_info or {}))
        tree = Tree("verl", trajectory.task, (trajectory,))
        paid = score([tree], reward)
        batch = rule(flat_batch([tree], paid))
        total = batch.returns_N[0] if batch.gradient_N[0] else np.nan
        return {"score": float(total)} | {part.name: part.scores.total for part in paid[0][0].parts}

    return compute_score


def _task(known: Mapping[str, Task], truth: Any, extra: Mapping[str, Any]) -> Task:
    name = str(extra.get("task_id", ""))
    if name and known:
        if name not in known:
            raise SettingError(f"extra_info names task {name!r}, which is none of the {len(known)} tasks given")
        return known[name]
    return Task(name or "verl", str(extra.get("question", "")), golds_in(truth))


def _read(text: str, task: Task) -> Trajectory:
    steps = steps_of(text, "verl", task.question)
    return Trajectory("verl", task, steps, *end_of(steps))


def place_steps(rewards: Sequence[Sequence[float]], response_mask: Any) -> Any:
    """[B, T] token rewards: each step's on the last token of its turn.

    Args:
        rewards: of the steps of each rollout; NaN stays NaN.
        response_mask: [B, T] tensor, 1 where the policy wrote the token.

    Raises:
        ShapeError: a rollout has another number of turns than steps.
    """
    placed = response_mask.new_zeros(response_mask.shape).float()
    for row, (rewards_S, turn_T) in enumerate(zip(rewards, _turns(response_mask), strict=True)):
        if len(rewards_S) != turn_T.max(initial=-1) + 1:
            raise ShapeError(
                f"rollout {row} has {len(rewards_S)} steps and {turn_T.max(initial=-1) + 1} turns of tokens"
            )
        for s, value in enumerate(rewards_S):
            placed[row, int(np.flatnonzero(turn_T == s)[-1])] = value
    return placed


# ---------------------------------------------------------------- credit


def register_credit(credit: Credit, name: str = NAME) -> Estimator:
    """Make a credit an advantage estimator of verl's, by this name.

    Raises:
        MissingPackage: verl is not installed, or not whole.
    """
    try:
        from verl.trainer.ppo.core_algos import register_adv_est
    except ImportError as error:
        raise MissingPackage(f"verl cannot be imported ({error}): pip install verl") from error
    return register_adv_est(name)(estimator(credit))


def estimator(credit: Credit) -> Estimator:
    """The credit as a function of verl's tensors.

    Each stretch of own tokens is a step, paid what stands on it and on what it was shown. Rollouts of one `index`
    (verl's uid) are compared. Returns are the advantages, as in verl's GRPO. A rollout with a NaN reward is out of
    baseline and gradient; other than in `workbench.train` verl still counts its tokens in the divisor.
    """

    def estimate(
        token_level_rewards: Any, response_mask: Any, config: Any = None, index: Any = None, **others: Any
    ) -> tuple[Any, Any]:
        batch, at_T = _flat(token_level_rewards.detach().cpu().double().numpy(), response_mask, index)
        advantages = credit(batch)
        values_T = advantages.values_S[batch.owner_T] if advantages.values_T is None else advantages.values_T
        spread = np.zeros(tuple(response_mask.shape))
        spread.reshape(-1)[at_T] = values_T
        found = token_level_rewards.new_tensor(spread)
        return found, found.clone()

    return estimate


def _turns(response_mask: Any) -> list[np.ndarray]:
    """For each row int64 [T]: number of the turn of each own token, -1 elsewhere."""
    own_BT = response_mask.detach().cpu().numpy().astype(bool)
    before_BT = np.pad(own_BT[:, :-1], ((0, 0), (1, 0)))
    return list(np.where(own_BT, (own_BT & ~before_BT).cumsum(1) - 1, -1))


def _flat(rewards_BT: np.ndarray, response_mask: Any, index: Any) -> tuple[FlatBatch, np.ndarray]:
    """The rows as steps, and where [T] of the flat [B * T] each own token stands."""
    width = rewards_BT.shape[1]
    paid: list[float] = []  # of each step
    parents: list[int] = []
    tokens: list[int] = []
    leaves: list[int] = []  # of each row
    places: list[np.ndarray] = []
    for row, turn_T in enumerate(_turns(response_mask)):
        count = int(turn_T.max(initial=-1)) + 1
        if not count:
            raise ShapeError(f"row {row} of the batch holds no token of the policy")
        since_T = np.maximum.accumulate(turn_T).clip(min=0)  # what an agent is shown belongs to the turn before
        first = len(paid)
        paid += [float(rewards_BT[row, since_T == s].sum()) for s in range(count)]
        parents += [-1, *range(first, first + count - 1)]
        tokens += np.bincount(turn_T[turn_T >= 0]).tolist()
        leaves.append(first + count - 1)
        places.append(row * width + np.flatnonzero(turn_T >= 0))
    paid_S = np.array(paid)
    rows, steps = len(leaves), len(paid)
    groups = np.arange(rows) if index is None else np.unique(np.asarray(index), return_inverse=True)[1]
    batch = FlatBatch(
        names_R=("reward",),
        weights_R=np.ones(1),
        terms_RS=paid_S[None],
        status_RS=np.where(np.isnan(paid_S), Status.MISSING, Status.SCORED).astype(np.int8)[None],
        parent_S=np.array(parents, np.int64),
        tokens_S=np.array(tokens, np.int64),
        leaf_N=np.array(leaves, np.int64),
        group_N=groups.astype(np.int64),
        end_N=np.full(rows, End.ANSWERED, dtype=object),
        in_baseline_N=np.ones(rows, bool),
        in_gradient_N=np.ones(rows, bool),
        discount_S=np.ones(steps),
        values_S=np.full(steps, np.nan),
    )
    return batch, np.concatenate(places)
