"""TRL's GRPOTrainer with our rewards, rollouts and step credit. Written for TRL 1.16.

Three parts that go together or alone::

    paid = RewardFunction(reward, tasks)                        # a reward function: one total a completion
    GRPOTrainer(reward_funcs=paid, train_dataset=dataset(tasks, policy), tools=[...], ...)

    drawn = RolloutFunction(policy, environment, tasks)         # our turn loop and template draw the rollouts
    GRPOTrainer(model=policy.engine.model, rollout_func=drawn, reward_funcs=paid, ...)

    step_credit_trainer(GroupAdvantage(returns="to_go"), paid, rollout_func=drawn, ...)   # an advantage a step

With rollouts of our own a reward sees the very trajectories, with their hits; with TRL's own tool loop it sees what
`workbench.formats.trl` reads from the messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.loop import begin, run_to_end
from workbench.batch import Advantages, FlatBatch, flat_batch
from workbench.errors import CapabilityError, MissingPackage, SettingError, ShapeError
from workbench.formats.trl import trajectory_of
from workbench.protocols import Credit, Environment, Reward
from workbench.rewards import EndRule
from workbench.rewards.score import score
from workbench.trajectory import Task, Trajectory, Tree


@dataclass(frozen=True, eq=False)
class Paid:
    """The completions of a batch as trees, and what credit works on. `row_N`: TRL's row of each trajectory."""

    trees: tuple[Tree, ...]
    batch: FlatBatch
    row_N: np.ndarray  # int64


class RewardFunction:
    """A reward of ours as TRL calls one: totals, None where nothing was scored or the end rule takes a rollout out.

    Rewards that compare siblings get all completions of a task that are in the call; where several processes share a
    group of TRL's they would see parts of it.

    Args:
        tasks: those of the dataset, found by its column "task_id".
        name: as TRL logs it.
    """

    def __init__(
        self,
        reward: Reward,
        tasks: Sequence[Task],
        *,
        end_rule: Callable[[FlatBatch], FlatBatch] | None = None,
        name: str = "workbench",
    ) -> None:
        self.reward, self.tasks, self.end_rule = reward, {task.id: task for task in tasks}, end_rule or EndRule()
        self.__name__ = name
        self._newest: Paid | None = None

    @property
    def newest(self) -> Paid:
        """The completions of the newest call."""
        if self._newest is None:
            raise SettingError("this reward function has not been called yet")
        return self._newest

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        task_id: Sequence[str] = (),
        trajectory: Sequence[Trajectory] = (),
        **others: Any,
    ) -> list[float | None]:
        """`trajectory`: as a `RolloutFunction` hands them over; else they are read from the completions.

        Raises:
            SettingError: the dataset has no column "task_id", or it names a task that is not here.
        """
        drawn = list(trajectory) or self._read(prompts, completions, task_id)
        paid = self._newest = self._paid(drawn)
        batch, totals = paid.batch, np.full(len(drawn), np.nan)
        totals[paid.row_N] = np.where(batch.gradient_N, batch.returns_N, np.nan)
        return [None if np.isnan(total) else float(total) for total in totals]

    def _read(self, prompts: Sequence[Any], completions: Sequence[Any], ids: Sequence[str]) -> list[Trajectory]:
        if len(ids) != len(completions) or (unknown := set(ids) - self.tasks.keys()):
            raise SettingError(
                'the dataset needs a column "task_id" with ids of the tasks given to RewardFunction; '
                + (f"it names {sorted(unknown)[:3]}" if len(ids) == len(completions) else "it has none")
                + ". `dataset(tasks, policy)` makes one"
            )
        rows = zip(prompts, completions, ids, strict=True)
        return [
            replace(trajectory_of(prompt, completion, f"{id}.{n}"), task=self.tasks[id])
            for n, (prompt, completion, id) in enumerate(rows)
        ]

    def _paid(self, drawn: Sequence[Trajectory]) -> Paid:
        rows: dict[str, list[int]] = {}
        for row, one in enumerate(drawn):
            rows.setdefault(one.task.id, []).append(row)
        trees = tuple(Tree(id, drawn[of[0]].task, tuple(drawn[row] for row in of)) for id, of in rows.items())
        batch = self.end_rule(flat_batch(trees, score(trees, self.reward)))
        return Paid(trees, batch, np.array([row for of in rows.values() for row in of], np.int64))


def dataset(tasks: Sequence[Task], policy: LanguagePolicy | None = None) -> Any:
    """A `datasets.Dataset` of prompts and task ids: questions as user messages, or, with a policy, in its words."""
    from datasets import Dataset

    def prompt(task: Task) -> Any:
        return [{"role": "user", "content": task.question}] if policy is None else prompt_of(task, policy)

    return Dataset.from_list([{"prompt": prompt(task), "task_id": task.id} for task in tasks])


class RolloutFunction:
    """Our policy's template and an environment of ours draw what TRL trains on, from the weights that it trains.

    Every rollout is one row: what the agent wrote is trained on, what it was shown is masked (`env_mask`).

    Args:
        policy: over a TransformersEngine whose model is the trainer's.
        tasks: those of the dataset, found by their prompt.
        seed: the rollouts of an update draw from ``[seed, update]``.
        batch: rollouts in flight.
    """

    def __init__(
        self,
        policy: LanguagePolicy,
        environment: Environment,
        tasks: Sequence[Task],
        *,
        seed: int = 0,
        batch: int = 128,
    ) -> None:
        self.policy, self.environment, self.seed, self.batch = policy, environment, seed, batch
        self.tasks = {prompt_of(task, policy): task for task in tasks}
        if len(self.tasks) < len(tasks):
            raise SettingError(
                f"{len(tasks) - len(self.tasks)} of {len(tasks)} tasks read like another one; TRL could not tell them "
                "apart"
            )

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list]:
        """One rollout a prompt, in order."""
        engine: Any = self.policy.engine
        engine.model = trainer.accelerator.unwrap_model(trainer.model)
        training = engine.model.training
        engine.model.eval()
        engine.weights_changed()
        drawn = self._drawn([self._task(prompt) for prompt in prompts], trainer.state.global_step)
        engine.model.train(training)
        rows = [as_row(trajectory) for trajectory in drawn]
        return {name: [row[name] for row in rows] for name in rows[0]} | {"trajectory": drawn}

    def _drawn(self, tasks: Sequence[Task], update: int) -> list[Trajectory]:
        streams = np.random.default_rng([self.seed, update]).spawn(len(tasks))
        rows = list(zip(tasks, streams, strict=True))
        drawn = []
        for first in range(0, len(rows), self.batch):
            live = [begin(self.policy, self.environment, *row) for row in rows[first : first + self.batch]]
            deque(run_to_end(self.policy, self.environment, live), maxlen=0)
            drawn += [one.done() for one in live]
        return drawn

    def _task(self, prompt: Any) -> Task:
        if prompt not in self.tasks:
            raise SettingError(
                f"no task has the prompt {str(prompt)[:80]!r}; make the dataset with dataset(tasks, policy)"
            )
        return self.tasks[prompt]


def prompt_of(task: Task, policy: LanguagePolicy) -> str:
    """What stands for a task in a dataset: its prompt in the policy's words, before any tool or observation."""
    return policy.template.prompt(task, (), "", policy.engine.tokenizer)


def as_row(trajectory: Trajectory) -> dict[str, list]:
    """A trajectory as TRL keeps a completion: prompt ids, completion ids, logprobs (0 where not sampled), env_mask.

    Raises:
        CapabilityError: it is no single append-only sequence (its context was rewritten), which is all TRL knows.
    """
    segments = trajectory.segments()
    if len(segments) != 1:
        raise CapabilityError(
            f"rollout {trajectory.id!r} consists of {len(segments)} sequences, since its context was rewritten; TRL "
            "trains on one a rollout. Train it with workbench.train"
        )
    tokens, start = segments[0].tokens, int((segments[0].step_T < 0).sum())
    return {
        "prompt_ids": tokens.ids_T[:start].tolist(),
        "completion_ids": tokens.ids_T[start:].tolist(),
        "logprobs": np.nan_to_num(tokens.logprobs_T[start:]).tolist(),
        "env_mask": tokens.own_T[start:].astype(int).tolist(),
    }


# ---------------------------------------------------------------- step credit


def step_credit_trainer(credit: Credit, paid: RewardFunction, **settings: Any) -> Any:
    """A GRPOTrainer in which every step has the advantage that `credit` gives it.

    TRL's own advantages (scale_rewards) are replaced. A rollout that nothing scored has advantage 0; other than in
    `workbench.train` it still counts in TRL's divisors.

    Args:
        settings: of GRPOTrainer.

    Raises:
        MissingPackage: TRL is not installed.
    """
    try:
        from trl import GRPOTrainer
    except ImportError as error:
        raise MissingPackage("TRL is not installed: pip install trl") from error

    class StepCreditTrainer(StepCredit, GRPOTrainer):
        pass

    return StepCreditTrainer(credit=credit, reward_funcs=paid, **settings)


class StepCredit:
    """What a subclass of GRPOTrainer needs to take step credit: ``class Mine(StepCredit, GRPOTrainer)``."""

    def __init__(self, *args: Any, credit: Credit, reward_funcs: RewardFunction, **settings: Any) -> None:
        self.credit, self.paid = credit, reward_funcs
        super().__init__(*args, reward_funcs=reward_funcs, **settings)  # type: ignore[call-arg]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        mask_BT = output["completion_mask"] * output.get("tool_mask", 1)
        advantages_BT = token_advantages(self.paid.newest, self.credit, mask_BT.cpu().numpy().astype(bool))
        output["advantages"] = output["advantages"].new_tensor(advantages_BT)
        return output


def token_advantages(paid: Paid, credit: Credit, own_BT: np.ndarray) -> np.ndarray:
    """float32 [B, T]: the credit of each own token, 0 elsewhere and in rows that are not trained on.

    Args:
        own_BT: bool, what the policy wrote of each completion. A row without any (TRL masked it) stays 0.

    Raises:
        ShapeError: a row does not hold the tokens, or the turns, of its trajectory.
    """
    advantages = credit(paid.batch)
    advantages_BT = np.zeros(own_BT.shape, np.float32)
    trajectories = [trajectory for tree in paid.trees for trajectory in tree]
    for n, row in enumerate(paid.row_N):
        if paid.batch.gradient_N[n] and own_BT[row].any():
            advantages_BT[row, own_BT[row]] = _own(advantages, n, own_BT[row], trajectories[n].id)
    return advantages_BT


def _own(advantages: Advantages, n: int, own_T: np.ndarray, name: str) -> np.ndarray:
    """The credit of the own tokens of one row, by the tokens of its steps, or by its turns where it has no ids."""
    batch, path = advantages.batch, advantages.batch.path(n)
    tokens_S = batch.tokens_S[path]
    if not tokens_S.any():
        starts_T = own_T & ~np.concatenate([[False], own_T[:-1]])
        tokens_S = np.bincount(starts_T.cumsum()[own_T] - 1)
    if len(tokens_S) != len(path) or tokens_S.sum() != own_T.sum():
        raise ShapeError(
            f"completion {name!r} has {len(path)} steps and its row {len(tokens_S)} turns with {own_T.sum()} tokens; "
            "step credit needs rollouts of ours (rollout_func=RolloutFunction(...)) or a turn of TRL's for every step"
        )
    if advantages.values_T is None or not batch.tokens_S[path].any():
        return np.repeat(advantages.values_S[path], tokens_S)
    first_S = batch.first_token_S[path]
    return np.concatenate([advantages.values_T[a : a + count] for a, count in zip(first_S, tokens_S, strict=True)])
