"""Agents that judge every search, or assess themselves: the grammar, and what is hidden from what comes next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.tiny_model import tiny_engine, tiny_tokenizer
from workbench.agents.contexts import HideRejected
from workbench.agents.judging import (
    AFTER_NO,
    MISSING,
    NOT_DUE,
    UNKNOWN,
    AssessTemplate,
    ClosedBookTemplate,
    JudgeTemplate,
)
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.templates import Parsed, TagTemplate
from workbench.errors import SettingError
from workbench.protocols import Limits, Outcome, Prefix
from workbench.rewards import reward_of
from workbench.sampling.rollout import rollout
from workbench.spec import dumps, loads, part
from workbench.training.method import GRPO
from workbench.training.rows import training_rows
from workbench.training.train import train
from workbench.trajectory import Call, Context, End, Hit, Origin, Task

TASK = Task("t1", "Where?", golds=("Oslo",))
TAGS = JudgeTemplate(instruction="{question}\n", invalid_notice=" Again! ")
SEARCH, OTHER, ANSWER = "<search> a </search>", "<search> b </search>", "<answer> Oslo </answer>"
YES, NO = TAGS.write_judgement(True), TAGS.write_judgement(False)


@dataclass
class Numbered:
    """Every search finds a page with a number of its own."""

    limits: Limits = field(default_factory=lambda: Limits(turns=8, observation_tokens=None))
    tools: tuple = ()

    def reset(self, task, rng):
        return 1, ""

    def step(self, state, calls):
        found = tuple(replace(call, hits=(Hit(f"p{state}", "", f"page {state}"),)) for call in calls)
        return Outcome(state + 1, found, (f"page {state}",))


def play(*turns, template=TAGS, contexts=None, limits=None):
    """One rollout in which the agent says these, one after another."""
    policy = ScriptedPolicy(
        lambda prefix, rng: turns[min(len(prefix.steps), len(turns) - 1)], tiny_tokenizer(), template, contexts=contexts
    )
    environment = Numbered(limits) if limits else Numbered()
    [tree] = rollout(policy, [TASK], environment, group_size=1, progress=False)
    return tree.trajectories[0]


# ---------------------------------------------------------------- the grammar


def test_a_search_is_judged_in_a_turn_of_its_own_and_the_rollout_goes_on():
    played = play(SEARCH, NO, OTHER, YES, ANSWER)
    assert (played.end, played.answer, len(played.steps)) == (End.ANSWERED, "Oslo", 5)
    assert [step.span("judge") for step in played.steps] == [None, "No", None, "Yes", None]
    assert all(step.valid for step in played.steps) and played.steps[1].observation == ""
    assert TAGS.violations(played) == []


@pytest.mark.parametrize(
    ("turns", "rule"),
    [
        ((SEARCH, OTHER), MISSING),
        ((SEARCH, ANSWER), MISSING),
        ((SEARCH, NO, ANSWER), AFTER_NO),
        ((SEARCH, "<judge> perhaps </judge>"), UNKNOWN),
    ],
)
def test_a_broken_rule_ends_the_rollout_without_an_answer(turns, rule):
    played = play(*turns)
    assert (played.end, played.end_reason, played.answer) == (End.TRUNCATED, rule, None)
    assert TAGS.violations(played) == [f"turn {len(turns) - 1}: {rule}"]
    assert not played.steps[-1].valid
    assert not any(call.valid for call in played.steps[-1].calls)  # a search that broke a rule was not made


def test_a_broken_rule_can_be_an_invalid_turn_instead():
    lenient = replace(TAGS, violation="notice")
    played = play(SEARCH, ANSWER, YES, ANSWER, template=lenient)
    assert (played.end, played.answer) == (End.ANSWERED, "Oslo")
    assert played.steps[1].observation == " Again! " and not played.steps[1].valid
    assert lenient.violations(played) == [f"turn 1: {MISSING}"]


def test_a_judgement_with_nothing_to_judge_is_an_invalid_turn():
    played = play(YES, SEARCH, YES, NO, ANSWER)
    assert played.end is End.ANSWERED
    assert TAGS.violations(played) == [f"turn 0: {NOT_DUE}", f"turn 3: {NOT_DUE}"]
    assert [step.valid for step in played.steps] == [False, True, True, False, True]


def test_after_yes_the_agent_may_search_on_or_answer():
    assert play(SEARCH, YES, OTHER, YES, ANSWER).answer == "Oslo"
    assert play(ANSWER).answer == "Oslo"


def test_a_judgement_takes_a_turn():
    played = play(SEARCH, YES, OTHER, YES, limits=Limits(turns=2, observation_tokens=None))
    assert (played.end, len(played.steps)) == (End.TRUNCATED, 3)


def test_settings_of_the_templates_go_to_text_and_back():
    for one in (replace(TAGS, judge="verdict", no=("no", "useless")), AssessTemplate(), ClosedBookTemplate()):
        assert loads(dumps(one)) == one
    with pytest.raises(SettingError, match="end"):
        JudgeTemplate(violation="ignore")


# ---------------------------------------------------------------- roles


def test_an_assessment_ends_the_rollout_without_an_answer():
    said = AssessTemplate().write("Oslo, I think.", answer="yes")
    played = play(said, template=AssessTemplate())
    assert (played.end, played.answer, played.steps[0].span("assessment")) == (End.ANSWERED, None, "yes")
    assert [span.name for span in played.steps[0].spans] == ["think", "assessment"]


def test_a_turn_that_assesses_both_ways_keeps_both_and_one_without_is_invalid():
    both = AssessTemplate().parse("<assessment>yes</assessment> <assessment>no</assessment>")
    assert [name for name, _, _ in both.spans] == ["assessment", "assessment"]
    assert AssessTemplate().parse("<think>well</think>").valid is False
    assert AssessTemplate().prompt(TASK, (), "", None).endswith("Question: Where?\n")


def test_a_search_from_memory_is_refused_and_kept():
    played = play(SEARCH, ANSWER, template=ClosedBookTemplate())
    assert played.answer == "Oslo"
    [call] = played.steps[0].calls
    assert not call.valid and not call.hits


# ---------------------------------------------------------------- what is hidden


def test_a_rejected_result_is_left_out_of_all_that_comes_after():
    played = play(SEARCH, NO, OTHER, YES, ANSWER, contexts=HideRejected())
    first, second = played.steps[0].context, played.steps[2].context
    assert [step.context is not None for step in played.steps] == [True, False, True, False, False]
    assert second.text == first.text + SEARCH + NO
    decoded = tiny_tokenizer().decode(second.tokens.ids_T)
    assert decoded == second.text and "page 1" not in decoded
    assert played.steps[0].observation and played.steps[0].hits  # the record keeps what was hidden


def test_an_accepted_result_stays_and_soft_masking_hides_nothing():
    assert [s.context is not None for s in play(SEARCH, YES, ANSWER, contexts=HideRejected()).steps] == [True, 0, 0]
    assert [s.context is not None for s in play(SEARCH, NO, OTHER, YES, ANSWER).steps] == [True, 0, 0, 0, 0]


def test_several_rejected_results_are_all_hidden():
    played = play(SEARCH, NO, OTHER, NO, SEARCH, YES, ANSWER, contexts=HideRejected())
    assert played.steps[4].context.text == "Where?\n" + SEARCH + NO + OTHER + NO
    assert len(played.segments()) == 3


def test_what_stands_between_the_result_and_its_rejection_stays():
    lenient = replace(TAGS, violation="notice")
    played = play(SEARCH, ANSWER, NO, OTHER, YES, ANSWER, template=lenient, contexts=HideRejected())
    assert played.steps[3].context.text == "Where?\n" + SEARCH + ANSWER + " Again! " + NO


def test_a_rejection_that_does_not_count_hides_nothing():
    played = play(SEARCH, YES, NO, OTHER, YES, ANSWER, contexts=HideRejected())
    assert not played.steps[2].valid
    assert [step.context is not None for step in played.steps] == [True, *[False] * 5]


def test_a_result_is_taken_out_once():
    searched, rejected = play(SEARCH, NO, OTHER, YES, ANSWER, contexts=HideRejected()).steps[:2]
    context = Context(f"Where?\n{SEARCH}{searched.observation}{NO}")
    hidden = HideRejected()(Prefix("t", TASK, (searched, rejected), "", context))
    again = replace(rejected, context=hidden)
    assert hidden.text == f"Where?\n{SEARCH}{NO}"
    assert HideRejected()(Prefix("t", TASK, (searched, rejected, again), "", Context(hidden.text + NO))) is None


@part
class Alternating(TagTemplate):
    """Makes an agent of a model that cannot write: a search, a judgement by the length of its turn, and so on, until
    the tools are off."""

    searches: int = 3

    def parse(self, text: str) -> Parsed:
        return Parsed(valid=False)

    def ruled(self, parsed: Parsed, text: str, steps) -> Parsed:
        if len(steps) == 2 * self.searches:
            return Parsed(spans=(("answer", 0, len(text)),), answered=True)
        if len(steps) % 2 == 0:
            return Parsed(calls=(Call("search", {"query": text}),))
        return Parsed(spans=(("judge", 0, len(text)),))


@dataclass(frozen=True)
class HideLong(HideRejected):
    """Takes a judgement of an even number of characters for a no."""

    def _rejects(self, step) -> bool:
        return step.span("judge") is not None and len(step.text) % 2 == 0


def hiding(seed: int = 0) -> LanguagePolicy:
    return LanguagePolicy(tiny_engine(seed), Alternating(instruction="{question}\n"), 1.0, 12, contexts=HideLong())


def test_a_language_model_samples_from_the_context_without_the_result():
    policy = hiding()
    trees = rollout(policy, [TASK] * 2, Numbered(Limits(turns=6)), group_size=4, progress=False)
    hidden = 0
    for trajectory in (one for tree in trees for one in tree):
        for s, step in enumerate(trajectory.steps):
            rejected = s % 2 == 0 and s > 0 and len(trajectory.steps[s - 1].text) % 2 == 0
            assert (step.context is not None) == (rejected or s == 0)
            if rejected:
                hidden += 1
                result = f"page {s // 2}"
                later = [step.context.text, *(one.context.text for one in trajectory.steps[s:] if one.context)]
                assert not any(result in text for text in later)
        for segment in trajectory.segments():  # the sampler's logprobs are those of these very ids
            own_T = segment.tokens.origins_T == Origin.SAMPLED
            first = int(np.argmax(own_T))
            again_T = policy.engine.score([segment.tokens.ids_T[:first]], [segment.tokens.ids_T[first:]])[0]
            known_T = segment.tokens.logprobs_T[first:]
            np.testing.assert_allclose(known_T[own_T[first:]], again_T[own_T[first:]], atol=1e-4)
    assert hidden > 3


def test_every_sampled_token_is_trained_on_once_and_from_what_it_was_sampled():
    policy = hiding()
    run = train(
        policy,
        [TASK],
        Numbered(Limits(turns=6)),
        reward_of(lambda t: len(t.steps[0].text) % 2, name="even"),
        method=GRPO(8, kl=0.0),
        updates=1,
        tasks_per_update=2,
    )
    report = next(iter(run))
    checks = {check.name: check for check in report.checks}
    assert checks["sampler gap"].value < 1e-5, "the ratio is 1 before the first update"
    assert all(checks[name].ok for name in ("trained ids", "own tokens", "sampler gap", "weights arrived"))
    rows = training_rows(run.latest.trees, run.latest.advantages)
    assert len(rows) > 16, "some trajectories are several segments"
    trained = np.concatenate([row.flat_T[row.train_T] for row in rows])
    assert len(trained) == len(set(trained.tolist())) == int(run.latest.advantages.batch.tokens_S.sum())
