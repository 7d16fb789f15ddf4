from __future__ import annotations

import numpy as np
import pytest

from tests.tiny_model import tiny_engine, tiny_tokenizer
from tests.training.worlds import TASKS, Quiet, guesser
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.templates import TagTemplate
from workbench.errors import SettingError
from workbench.sampling.rollout import rollout
from workbench.training.learners import learner_for
from workbench.training.plan import Optimiser
from workbench.training.sft import _batches, sft, sft_rows

SHORT = TagTemplate(instruction="{question}\n")


@pytest.fixture(scope="module")
def traces():
    def decide(prefix, rng):
        return SHORT.write("look", query="it") if not prefix.steps else SHORT.write("yes", answer="yes")

    policy = ScriptedPolicy(decide, tiny_tokenizer(), SHORT)
    trees = rollout(policy, TASKS, Quiet(), group_size=1, progress=False)
    return [tree.trajectories[0] for tree in trees]


def test_a_policy_learns_to_write_what_it_is_shown(traces):
    policy = LanguagePolicy(tiny_engine(heat=0.05), SHORT, turn_tokens=60)
    losses = sft(policy, traces, updates=80, tokens_per_update=600, optimiser=Optimiser(1e-2), progress=False)
    assert losses[0] > 4 and losses[-1] < 0.2
    said = rollout(policy.at(0.0), TASKS[:1], Quiet(), group_size=1, progress=False)[0].trajectories[0]
    assert (said.answer, [step.queries for step in said.steps]) == ("yes", [("it",), ()])


def test_only_the_turns_are_learned(traces):
    (row,) = sft_rows(traces[0])
    text = tiny_tokenizer().decode(row.tokens.ids_T[row.train_T])
    assert text == SHORT.write("look", query="it") + SHORT.write("yes", answer="yes")


def test_the_loss_is_the_mean_negative_logprob_of_own_tokens(traces):
    policy = LanguagePolicy(tiny_engine(), SHORT)
    rows = [row for trace in traces for row in sft_rows(trace)]
    expected = -float(learner_for(policy).likelihood(rows).logp_T.detach().mean())
    losses = sft(policy, traces, updates=1, tokens_per_update=10**6, micro_batch_tokens=200, progress=False)
    assert losses[0] == pytest.approx(expected, rel=1e-5)


def test_every_row_comes_once_a_pass(traces):
    rows = [row for trace in traces for row in sft_rows(trace)] * 7
    numbered = {id(row): n for n, row in enumerate(rows[:5])}
    drawn, batches = [], _batches(rows, 3 * len(rows[0]), seed=1)
    while len(drawn) < len(rows):
        drawn += [numbered[id(row)] for row in next(batches)]
    assert np.bincount(drawn).tolist() == [7] * 5


def test_nothing_to_learn_from_says_so():
    with pytest.raises(SettingError, match="no trajectory holds a token of its own"):
        sft(LanguagePolicy(tiny_engine(), SHORT), [], updates=1)


def test_a_table_learns_from_trajectories_that_begin_with_its_token():
    policy = guesser()
    (tree,) = rollout(policy, TASKS[:1], Quiet(), group_size=16, progress=False)
    shown = [one for one in tree if one.answer == "yes" and len(one.steps) == 1]
    losses = sft(policy, shown, updates=30, optimiser=Optimiser(0.3), progress=False)
    assert losses[0] > 1.0 > 0.1 > losses[-1]
