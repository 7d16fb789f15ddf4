"""The simulated search engine: its draws, its writers, and what becomes of a failure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tiny_model import tiny_tokenizer
from workbench.agents.scripted import ScriptedEngine, ScriptedPolicy
from workbench.agents.tabular import TabularPolicy
from workbench.agents.templates import TagTemplate
from workbench.environments import LanguageWriter, RuleWriter, SimulatedSearch
from workbench.environments.document_writers import documents_in, says_gold, written_by
from workbench.errors import SettingError, ToolError
from workbench.protocols import Limits
from workbench.retrieval import Page, SearchIndex
from workbench.sampling.group import GroupSampler
from workbench.sampling.rollout import rollout
from workbench.trajectory import Call, Hit, SubQuestion, Task

TOWNS = ("Arvo", "Bilt", "Corm")
PAGES = [
    *(Page(f"g{n}", town, f"The mayor of {town} is Gold{n}") for n, town in enumerate(TOWNS)),
    *(Page(f"x{n}{i}", town, f"The mayor of {town} is Wrong{i}") for n, town in enumerate(TOWNS) for i in range(3)),
]
TASKS = [
    Task(f"t{n}", f"Who is the mayor of {town}?", (f"Gold{n}",), frozenset({f"g{n}"})) for n, town in enumerate(TOWNS)
]
INDEX = SearchIndex.build(PAGES, progress=False)


def asking(task: Task = TASKS[0]) -> Call:
    return Call("search", {"query": f"mayor {task.question.split()[-1]}"})


class Echo:
    """Writes what it was told, and notes the size of each batch."""

    def __init__(self, wrong: str = "", breaks: Exception | None = None):
        self.wrong, self.breaks, self.batches = wrong, breaks, []

    def __call__(self, asked):
        self.batches.append(len(asked))
        if self.breaks and any(self.wrong in one.query for one in asked):
            raise self.breaks
        return [
            f"nothing on {one.query}"
            if self.wrong and self.wrong in one.query
            else (Hit(one.query, "", f"{one.query}|{one.task.question}|{one.task.golds[0]}|{one.useful}"),)
            for one in asked
        ]


def begun(environment, tasks=TASKS, seed=0):
    return [environment.reset(task, np.random.default_rng([seed, n]))[0] for n, task in enumerate(tasks)]


# ---------------------------------------------------------------- the draw


@pytest.mark.parametrize(("noise", "kind"), [(0.0, "useful"), (1.0, "noisy")])
def test_certain_draws(noise, kind):
    environment = SimulatedSearch(Echo(), noise)
    (outcome,) = environment.step_all(begun(environment, TASKS[:1]), [[asking()] * 3])
    assert [call.result for call in outcome.calls] == [kind] * 3
    assert str(kind == "useful") in outcome.observations[0]


def test_the_share_of_noisy_queries_is_the_probability():
    environment = SimulatedSearch(Echo(), 0.3)
    states = begun(environment, TASKS * 500)
    drawn = [call.result for outcome in environment.step_all(states, [[asking()] * 2] * 1500) for call in outcome.calls]
    # 3,000 draws of 0.3: standard deviation of the share 0.0084
    assert np.mean([one == "noisy" for one in drawn]) == pytest.approx(0.3, abs=0.034)


def test_a_draw_belongs_to_the_rollout_the_turn_and_the_query_whatever_the_neighbours():
    environment = SimulatedSearch(Echo(), 0.5)
    states = begun(environment, TASKS * 8)
    together = environment.step_all(states, [[asking(), asking()] for _ in states])
    alone = [environment.step(state, [asking(), asking()]) for state in reversed(states)][::-1]
    assert [o.observations for o in together] == [o.observations for o in alone]
    drawn = [tuple(call.result for call in outcome.calls) for outcome in together]
    assert len(set(drawn)) == 4  # useful and noisy, in both places
    later = environment.step_all([outcome.state for outcome in together], [[asking(), asking()] for _ in states])
    assert drawn != [tuple(call.result for call in outcome.calls) for outcome in later]
    assert environment.step(states[0], [asking()]).state == environment.step(states[0], [asking()]).state


def test_a_task_may_bring_its_own_noise():
    environment = SimulatedSearch(Echo(), 0.0)
    noisy = replace(TASKS[0], extras={"noise": 1.0})
    assert environment.step(begun(environment, [noisy])[0], [asking()]).calls[0].result == "noisy"
    with pytest.raises(SettingError, match="noise.* of task 't0' is a probability"):
        environment.reset(replace(TASKS[0], extras={"noise": 1.5}), np.random.default_rng(0))
    with pytest.raises(SettingError, match=r"SimulatedSearch\(noise=...\) is a probability"):
        SimulatedSearch(Echo(), -0.1)


@pytest.mark.parametrize(("above", "kind"), [(-1e-9, "useful"), (0.0, "noisy"), (1e-9, "noisy")])
def test_a_draw_above_the_probability_is_useful(above, kind):
    (state,) = begun(SimulatedSearch(Echo()), TASKS[:1])
    drawn = np.random.default_rng([state.seed, 0, 0]).random()
    assert SimulatedSearch(Echo(), drawn + above).step(state, [asking()]).calls[0].result == kind


def test_query_question_and_golds_stay_together_when_some_rollouts_have_ended():
    writer = Echo()
    environment = SimulatedSearch(writer, 0.0)
    states = begun(environment)
    outcomes = environment.step_all([states[2], states[0]], [[asking(TASKS[2])], [asking(TASKS[0])] * 2])
    told = [text.split("|") for outcome in outcomes for text in outcome.observations]
    assert [(question, gold) for _, question, gold, _ in told] == [
        (TASKS[n].question, TASKS[n].golds[0]) for n in (2, 0, 0)
    ]
    assert writer.batches == [3]


# ---------------------------------------------------------------- failures are data


def test_a_writer_that_finds_no_words_fails_that_call_alone():
    environment = SimulatedSearch(Echo(wrong="Bilt"), 0.0)
    outcome = environment.step(begun(environment)[0], [asking(TASKS[1]), asking()])
    assert [call.error for call in outcome.calls] == ["nothing on mayor Bilt?", None]
    assert outcome.observations[0] == "Error: nothing on mayor Bilt?\n"
    assert [call.result for call in outcome.calls] == ["useful"] * 2


@pytest.mark.parametrize(
    ("error", "failed"), [(KeyError("x"), [True, False]), (ToolError("the model is down"), [True, True])]
)
def test_a_writer_that_breaks_fails_its_calls(error, failed):
    environment = SimulatedSearch(Echo("Bilt", error), 0.0)
    outcome = environment.step(begun(environment)[0], [asking(TASKS[1]), asking()])
    assert [call.error is not None for call in outcome.calls] == failed
    assert all(call.valid for call in outcome.calls)


def test_a_call_that_cannot_be_made_has_no_draw():
    environment = SimulatedSearch(Echo(), 0.0)
    outcome = environment.step(begun(environment)[0], [Call("serach", {"query": "x"}), Call("search", {"q": "x"})])
    assert [(call.valid, call.result) for call in outcome.calls] == [(False, None)] * 2
    assert "Did you mean 'search'" in outcome.observations[0]


# ---------------------------------------------------------------- the rule


def documents(noise: float, task: Task = TASKS[0], draws: int = 1, **settings):
    environment = SimulatedSearch(RuleWriter(INDEX, **settings), noise)
    state = begun(environment, [task])[0]
    outcome = environment.step(state, [asking(task)] * draws)
    assert all(call.error is None for call in outcome.calls), outcome.calls
    return [[hit.id for hit in call.hits] for call in outcome.calls], outcome


def test_useful_documents_are_the_gold_page_and_its_neighbours():
    drawn, outcome = documents(0.0, draws=40, k=3, pool=3)
    assert all(len(set(ids)) == 3 and "g0" in ids and all(id[1] == "0" for id in ids) for ids in drawn)
    assert {ids.index("g0") for ids in drawn} == {0, 1, 2}  # its place says nothing
    assert [hit.rank for hit in outcome.calls[0].hits] == [0, 1, 2]
    assert "The mayor of Arvo is Gold0\n" in outcome.observations[0]
    assert outcome.observations[0].startswith("Doc 1(Title: Arvo) ")


def test_noisy_documents_are_neighbours_without_the_answer():
    told = Page("told", "A tale", "Arvo, mayor Arvo: gold0!")
    index = SearchIndex.build([*PAGES, told], progress=False)
    assert "told" in [hit.id for hit in index.search(["mayor Arvo"], 5)[0]]
    environment = SimulatedSearch(RuleWriter(index), 1.0)
    ids = [hit.id for hit in environment.step(begun(environment)[0], [asking()]).calls[0].hits]
    assert len(ids) == 5 and not {"told", "g0"} & set(ids) and {"x00", "x01", "x02"} < set(ids)


def test_of_a_larger_pool_a_few_are_drawn():
    drawn, _ = documents(1.0, draws=60, k=1, pool=3)
    assert {ids[0] for ids in drawn} == {"x00", "x01", "x02"} and {len(ids) for ids in drawn} == {1}
    assert {tuple(sorted(ids)) for ids in documents(1.0, draws=20, k=3, pool=3)[0]} == {("x00", "x01", "x02")}


def test_a_gold_page_that_the_query_does_not_find_is_there_all_the_same():
    far = replace(TASKS[0], question="Who is the mayor of Corm?")
    assert all("g0" in ids for ids in documents(0.0, far)[0])


def test_an_answer_stands_in_a_hit_as_whole_words():
    task = Task("t", "?", ("The Ed Wood",), sub_questions=(SubQuestion("?", ("U.S.A.",)), SubQuestion("?", ("the",))))
    said = [says_gold(Hit("h", "Ed", text), task) for text in ("wood!", "woods", "in the USA", "usable", "the")]
    assert said == [True, False, True, False, False]


def test_a_task_without_gold_pages_fails_its_call():
    environment = SimulatedSearch(RuleWriter(INDEX), 0.0)
    (call,) = environment.step(begun(environment, [replace(TASKS[0], gold_pages=frozenset())])[0], [asking()]).calls
    assert call.error.startswith("MissingGold: task 't0' has no gold_pages")


@pytest.mark.parametrize("settings", [{"k": 0}, {"k": 6}, {"pool": 60}])
def test_a_rule_that_cannot_be_is_refused(settings):
    with pytest.raises(SettingError, match="1 <= k <= pool <= searched"):
        RuleWriter(INDEX, **settings)


# ---------------------------------------------------------------- the language model


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Doc 1: a b\nDoc 2: c\nDoc 3: d", [("", "a b"), ("", "c")]),
        (' a\n\nDoc 2(Title: "T") c', [("", "a"), ("T", "c")]),
        ("Doc 2: late", [("", "late")]),
        ("Doc 1:\nDoc 2: c\n", [("", "c")]),
        ("Doc 3: cut", []),
        (" \n", []),
    ],
)
def test_documents_are_read_and_cut_before_the_one_that_is_too_many(text, found):
    assert documents_in(text, 2) == found


def test_the_prompt_holds_question_golds_query_and_what_is_wanted():
    prompts = []

    def write(told, seeds):
        prompts.extend(told)
        return [f"text {seed}" for seed in seeds]

    odd = replace(TASKS[0], golds=("Gold0", "{query}"))
    environment = SimulatedSearch(LanguageWriter(write, k=2), 0.5)
    states = begun(environment, [odd] * 8)
    outcomes = environment.step_all(states, [[asking()] for _ in states])
    for prompt, outcome in zip(prompts, outcomes, strict=True):
        assert f"Write 2 {outcome.calls[0].result} documents" in prompt
        assert "Answer: Gold0 or {query}\nQuery: mayor Arvo?" in prompt and odd.question in prompt
    assert {outcome.calls[0].result for outcome in outcomes} == {"useful", "noisy"}
    assert len({outcome.calls[0].hits[0].text for outcome in outcomes}) == 8  # each its own seed
    assert outcomes[0].observations[0] == f"Doc 1: {outcomes[0].calls[0].hits[0].text}\n"


def test_an_engine_writes_and_a_text_without_documents_is_a_failed_call():
    def script(text, rng):
        return "Doc 3: nothing of use" if "mayor Bilt" in text else " It is Gold0.\nDoc 2: Or not.\nDoc 3: Cut."

    write = written_by(ScriptedEngine(script, tiny_tokenizer()))
    environment = SimulatedSearch(LanguageWriter(write, k=2), 0.0)
    good, bad = environment.step(begun(environment)[0], [asking(), asking(TASKS[1])]).calls
    assert [hit.text for hit in good.hits] == ["It is Gold0.", "Or not."] and good.error is None
    assert bad.error.startswith("the simulated engine wrote no document: 'Doc 3") and bad.hits == ()
    with pytest.raises(SettingError, match="k must be at least 1"):
        LanguageWriter(write, k=0)


# ---------------------------------------------------------------- whole rollouts


def test_rollouts_are_the_same_whatever_is_in_flight():
    environment = SimulatedSearch(RuleWriter(INDEX, k=2), 0.5, Limits(turns=2))
    actions = {"search": lambda p: asking(p.task), "stop": lambda p: "Gold0"}
    policy = TabularPolicy(actions, lambda prefix: len(prefix.steps))

    def drawn(batch):
        trees = rollout(policy, TASKS, environment, sampler=GroupSampler(4, batch), seed=3, progress=False)
        return [[(c.result, [h.id for h in c.hits]) for s in t.steps for c in s.calls] for tree in trees for t in tree]

    assert drawn(4) == drawn(100)


def test_an_agent_of_words_sees_the_documents_and_not_the_draw():
    environment = SimulatedSearch(RuleWriter(INDEX, k=1), 0.0, Limits(turns=1))
    said = ["<search>mayor Arvo</search>", "<answer>Gold0</answer>"]
    policy = ScriptedPolicy(lambda prefix, rng: said[len(prefix.steps)], tiny_tokenizer(), TagTemplate())
    step = rollout(policy, TASKS[:1], environment, group_size=1, progress=False)[0].trajectories[0].steps[0]
    assert "Doc 1(Title: Arvo) The mayor of Arvo is Gold0\n" in step.observation and "useful" not in step.observation
    assert step.calls[0].result == "useful"
