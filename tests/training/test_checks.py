"""Every training check, lit by the fault that it is there for."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from tests.tiny_model import tiny_engine
from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.transformers_engine import TransformersEngine
from workbench.batch import Advantages, flat_batch
from workbench.protocols import Limits
from workbench.rewards import reward_of
from workbench.sampling.rollout import rollout
from workbench.scores import Level, Scores
from workbench.training import checks
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.rows import Row, training_rows, weighted
from workbench.training.train import train


def lit(policy: LanguagePolicy | None = None, reward: Any = None, **settings: Any) -> dict[str, str]:
    """The checks that a first update lights, with what they say."""
    made = {"method": DrGRPO(4), "tasks_per_update": 2, "optimiser": Optimiser(1e-3), **settings}
    environment = made.pop("environment", Quiet())
    run = train(policy or speaker(), TASKS, environment, reward or Letter(), updates=1, **made)
    [report] = run.finish(show=False)
    return {check.name: check.says for check in report.alarms}


SOUND = {"truncated"}  # a random model seldom answers


def rows_of(policy: LanguagePolicy) -> list[Row]:
    trees = rollout(policy, TASKS[:2], Quiet(), group_size=2, progress=False)
    batch = flat_batch(trees, [[Scores.trajectory(1.0)] * len(tree) for tree in trees])
    rows = training_rows(trees, Advantages(batch, np.ones(len(batch.parent_S))))
    return weighted(rows, np.ones(sum(int(row.train_T.sum()) for row in rows)))


def test_nothing_lights_where_nothing_is_wrong():
    assert set(lit()) == SOUND


def test_ids_that_do_not_say_what_was_acted_on():
    policy = speaker()
    rows = rows_of(policy)
    assert checks.ids_are_text(rows, policy.engine.tokenizer).ok
    ids_T = rows[0].tokens.ids_T.copy()
    ids_T[np.flatnonzero(rows[0].train_T)[0]] += 1
    rows[0] = replace(rows[0], tokens=replace(rows[0].tokens, ids_T=ids_T))
    found = checks.ids_are_text(rows, policy.engine.tokenizer)
    assert not found.ok and found.value == 1


def test_a_token_of_the_environment_in_the_loss():
    row = rows_of(speaker())[0]
    assert checks.only_own_tokens([row]).ok
    everything = replace(row, train_T=np.ones(len(row), bool))
    found = checks.only_own_tokens([everything])
    assert not found.ok and "foreign" in found.says and found.value >= (~row.train_T).sum()


def test_a_token_without_logprob_and_a_weight_outside_the_loss():
    row = rows_of(speaker())[0]
    logprobs_T = row.tokens.logprobs_T.copy()
    logprobs_T[np.flatnonzero(row.train_T)[0]] = np.nan
    unknown = replace(row, tokens=replace(row.tokens, logprobs_T=logprobs_T))
    assert "1 without logprob" in checks.only_own_tokens([unknown]).says
    leaked = replace(row, weights_T=np.ones(len(row), np.float32))
    assert not checks.only_own_tokens([leaked]).ok


class Warmer(TransformersEngine):
    """Samples at another temperature than it is told."""

    def generate(self, prompts, *, temperature, **settings):
        return super().generate(prompts, temperature=2 * temperature, **settings)


def test_a_sampler_that_draws_from_another_distribution():
    engine = tiny_engine()
    found = lit(LanguagePolicy(Warmer(engine.model, engine.tokenizer), speaker().template, turn_tokens=12))
    assert set(found) == SOUND | {"sampler gap"}


class Stale(TransformersEngine):
    """Goes on sampling with the weights it began with."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        self.old = TransformersEngine(copy.deepcopy(model), tokenizer)

    def generate(self, prompts, **settings):
        return self.old.generate(prompts, **settings)

    def score(self, prompts, continuations):
        return self.old.score(prompts, continuations)


def test_weights_that_never_reach_the_sampler():
    engine = tiny_engine()
    policy = LanguagePolicy(Stale(engine.model, engine.tokenizer), speaker().template, turn_tokens=12)
    found = lit(policy, optimiser=Optimiser(1e-2))
    assert set(found) == SOUND | {"weights arrived"} and "sampler off by" in found["weights arrived"]


class Deaf(TransformersEngine):
    """Is not told, or does not listen, when the weights change: what it read under the old ones stays."""

    def weights_changed(self) -> None:
        pass


def test_a_sampler_that_is_not_told_of_new_weights():
    engine = tiny_engine()
    policy = LanguagePolicy(Deaf(engine.model, engine.tokenizer), speaker().template, turn_tokens=12)
    assert "weights arrived" in lit(policy)


def test_an_update_that_changes_no_weight():
    assert "moved by 0.0e+00" in lit(optimiser=Optimiser(0.0))["weights arrived"]


def test_groups_in_which_all_are_paid_the_same():
    found = lit(reward=reward_of(lambda trajectory: 1.0, level=Level.TRAJECTORY))
    assert found["equal groups"].startswith("2 of 2")


def test_rollouts_with_nobody_to_be_compared_with():
    assert lit(method=DrGRPO(1))["lone rollouts"].startswith("2 groups")


def test_rollouts_that_a_limit_cuts_off():
    found = lit(environment=Quiet(Limits(turns=1, final_turn=False)))
    assert "100%" in found["truncated"]


def test_a_judge_that_fails():
    calls = iter(range(100))

    def sometimes(trajectory):
        return Scores.missing("no reply") if next(calls) % 2 else Scores.trajectory(len(trajectory.steps[0].text))

    found = lit(reward=reward_of(sometimes, level=Level.TRAJECTORY))
    assert found["missing scores"].startswith("4 rollouts unscored")
