from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.tiny_model import tiny_engine, tiny_tokenizer
from workbench.agents.language_policy import LanguagePolicy, cut_hits, fair_shares
from workbench.agents.scripted import ScriptedEngine
from workbench.agents.templates import SEARCH_R1_INVALID, TagTemplate
from workbench.environments import SearchTool, ToolEnvironment
from workbench.protocols import Limits, Outcome
from workbench.retrieval import Page, SearchIndex
from workbench.sampling.group import GroupSampler
from workbench.sampling.rollout import rollout
from workbench.trajectory import Call, End, Hit, Origin, Task

TASK = Task("t1", "Where?", golds=("Oslo",))
SHORT = TagTemplate(instruction="{question}\n")


@dataclass
class Pages:
    """An environment whose every search finds one page; a query "break" breaks it."""

    limits: Limits = field(default_factory=Limits)
    tools: tuple = ()

    def reset(self, task, rng):
        return 0, ""

    def step(self, state, calls):
        if calls[0].query == "break":
            raise RuntimeError("the index is gone")
        hit = Hit("p1", "Page", f"about {calls[0].query}", 1.0, 0, calls[0].query)
        found = tuple(type(call)(call.tool, call.arguments, hits=(hit,)) for call in calls)
        return Outcome(state + 1, found, ("Doc 1(Title: Page) about it\n",))


def play(turns, limits=None, **policy):
    """One rollout in which the agent says `turns`, one after another."""

    def script(text, rng):
        said = sum(text.count(mark) for mark in ("</information>", SEARCH_R1_INVALID))
        return turns[min(said, len(turns) - 1)]

    engine = ScriptedEngine(script, tiny_tokenizer())
    environment = Pages(limits or Limits())
    trees = rollout(LanguagePolicy(engine, SHORT, **policy), [TASK], environment, group_size=1, progress=False)
    return trees[0].trajectories[0]


def test_search_then_answer():
    played = play(["<think>a</think><search>x</search>", "<answer> Oslo </answer>"])
    assert (played.end, played.answer, len(played.steps)) == (End.ANSWERED, "Oslo", 2)
    assert played.steps[0].observation == "\n\n<information>Doc 1(Title: Page) about it\n</information>\n\n"
    assert played.steps[0].hits[0].id == "p1" and played.steps[1].calls == ()


def test_a_turn_without_action_gets_the_notice_and_the_loop_goes_on():
    played = play(["hm", "<answer>Oslo</answer>"])
    assert [step.valid for step in played.steps] == [False, True]
    assert played.steps[0].observation == SEARCH_R1_INVALID and played.end is End.ANSWERED


def test_after_the_last_turn_comes_one_more_with_tools_off():
    # two turns with tools, then one in which the third search is not run
    played = play(["<search>x</search>"], Limits(turns=2))
    assert (len(played.steps), played.end) == (3, End.TRUNCATED)
    assert [len(step.hits) for step in played.steps] == [1, 1, 0] and played.steps[2].observation == ""
    last = played.steps[2].calls[0]
    assert not last.valid and "tools are off" in last.error and played.steps[1].calls[0].valid
    without = play(["<search>x</search>"], Limits(turns=2, final_turn=False))
    assert (len(without.steps), without.end) == (2, End.TRUNCATED)


def test_an_answer_in_the_last_turn_counts():
    played = play(["<search>x</search>", "<search>y</search>", "<answer>Oslo</answer>"], Limits(turns=2))
    assert (played.end, played.answer) == (End.ANSWERED, "Oslo")


def test_an_environment_that_breaks_fails_its_own_rollout_only():
    broken = play(["<search>break</search>"])
    assert broken.end is End.FAILED and "the index is gone" in broken.end_reason and len(broken.steps) == 1
    assert broken.steps[0].calls[0].error == "RuntimeError: the index is gone"


def test_a_long_observation_is_cut_in_its_body():
    played = play(["<search>x</search>", "<answer>Oslo</answer>"], Limits(observation_tokens=40))
    seen = played.steps[0].observation
    assert seen.startswith("\n\n<information>Doc") and seen.endswith("</information>\n\n") and "about it" not in seen
    assert (played.steps[0].tokens.origins_T == Origin.ENVIRONMENT).sum() == 40


def test_a_hit_says_how_much_of_it_was_shown():
    calls = (Call("search", {}, hits=(Hit("a", "A", "abc"), Hit("b", "B", "defgh"), Hit("c", "C", "xyz"))),)
    text = "Doc abc, Doc defgh, Doc xyz"
    shown = [[hit.shown for hit in call.hits] for n in (27, 15, 6, 0) for call in cut_hits(calls, text, n)]
    assert shown == [[None, None, None], [None, 2, 0], [2, 0, 0], [0, 0, 0]]
    played = play(["<search>x</search>", "<answer>Oslo</answer>"], Limits(observation_tokens=45))
    assert played.steps[0].hits[0].shown is None  # what this tool shows is not the page's text


BOTH = "<search>oslo ## bergen ## </search>"
HEADS = ("Results for oslo:\nDoc 1(Title: A) ", "Results for bergen:\nDoc 1(Title: B) ")  # 34 and 36 characters


def ask_both(limit=None, **template):
    """The first step of an agent that asks for two cities at once; a token is a character."""
    index = SearchIndex.build([Page("a", "A", "oslo " * 20), Page("b", "B", "bergen " * 2)], progress=False)
    said = [BOTH, "<answer>Oslo</answer>"]
    engine = ScriptedEngine(lambda text, rng: said["</information>" in text], tiny_tokenizer())
    policy = LanguagePolicy(engine, TagTemplate(instruction="{question}\n", separator="##", **template))
    environment = ToolEnvironment([SearchTool(index)], Limits(observation_tokens=limit))
    return rollout(policy, [TASK], environment, group_size=1, progress=False)[0].trajectories[0].steps[0]


def test_each_of_several_queries_is_a_call_that_keeps_its_own_hits():
    step = ask_both()
    assert [(call.query, [(hit.id, hit.query) for hit in call.hits]) for call in step.calls] == [
        ("oslo", [("a", "oslo")]),
        ("bergen", [("b", "bergen")]),
    ]
    told = f"{HEADS[0]}{'oslo ' * 20}\n{HEADS[1]}{'bergen ' * 2}\n"
    assert step.observation == f"\n\n<information>{told}</information>\n\n"
    assert [hit.shown for hit in step.hits] == [None, None] and step.queries == ("oslo", "bergen")


def test_several_queries_share_the_room_evenly():
    # the frame takes 15 + 16 characters of 131; of the 100 left each has 50: the first its heading of 34 and 16 of its
    # page's 100, the second its heading of 36 and all 14 of its page (its line break is lost)
    step = ask_both(131)
    told = f"{HEADS[0]}{('oslo ' * 20)[:16]}{HEADS[1]}{'bergen ' * 2}"
    assert step.observation == f"\n\n<information>{told}</information>\n\n"
    assert [hit.shown for hit in step.hits] == [16, None]
    assert len(step.observation) == 131 == int((~step.tokens.own_T).sum())


def test_the_published_cut_loses_the_last_query():
    step = ask_both(131, cut="end")
    assert "bergen" not in step.observation and [hit.shown for hit in step.hits] == [66, 0]
    assert len(step.observation) == 131


@pytest.mark.parametrize(
    ("lengths", "room", "shares"),
    [([5, 5], 20, [5, 5]), ([9, 9, 9], 10, [3, 3, 4]), ([1, 9, 9], 11, [1, 5, 5]), ([4], 0, [0]), ([], 5, [])],
)
def test_shares_by_hand(lengths, room, shares):
    assert fair_shares(lengths, room) == shares


def test_text_is_what_the_ids_say_and_spans_point_at_their_tokens():
    played = play(["<think> né </think><search>Zürich x</search>", "<answer>Oslo</answer>"])
    tokenizer = tiny_tokenizer()
    for step in played.steps:
        own = step.tokens.ids_T[step.tokens.own_T]
        assert tokenizer.decode(own) == step.text
        for span in step.spans:
            assert tokenizer.decode(step.tokens.ids_T[span.start : span.stop]).strip() == span.text
    assert [span.text for span in played.steps[0].spans] == ["né", "Zürich x"]


def test_a_trajectory_is_one_segment_of_sampled_and_foreign_tokens():
    played = play(["<search>x</search>", "<answer>Oslo</answer>"])
    (segment,) = played.segments()
    tokenizer = tiny_tokenizer()
    text = "Where?\n<search>x</search>" + played.steps[0].observation + "<answer>Oslo</answer>"
    assert tokenizer.decode(segment.tokens.ids_T) == text
    own = segment.tokens.own_T
    assert tokenizer.decode(segment.tokens.ids_T[own]) == "<search>x</search><answer>Oslo</answer>"
    assert np.isnan(segment.tokens.logprobs_T[~own]).all() and not np.isnan(segment.tokens.logprobs_T[own]).any()
    assert set(segment.step_T[own]) == {0, 1} and (segment.step_T[: len("Where?\n")] == -1).all()


def test_a_turn_cut_off_by_its_token_limit_goes_on_after_the_notice():
    played = play(["<think>" + "very " * 50 + "</think><answer>Oslo</answer>", "<answer>Oslo</answer>"], turn_tokens=20)
    assert not played.steps[0].valid and len(played.steps[0].tokens.ids_T[played.steps[0].tokens.own_T]) == 20


def test_same_seed_same_rollouts_whatever_the_batch():
    engine = tiny_engine()
    tasks = [Task(f"t{n}", "Where is it" + "?" * n) for n in range(3)]
    policy = LanguagePolicy(engine, SHORT, turn_tokens=12)

    def draw(batch, seed=5):
        sampler = GroupSampler(2, batch)
        engine.weights_changed()
        trees = rollout(policy, tasks, Pages(Limits(turns=2)), sampler=sampler, seed=seed, progress=False)
        by_task = {tree.task.id: tree for tree in trees}
        return [[step.text for step in t.steps] for task in tasks for t in by_task[task.id]]

    assert draw(2) == draw(100) and draw(100, seed=6) != draw(100)


def test_ctrl_c_keeps_the_finished_trees(capsys):
    calls = []

    def script(text, rng):
        calls.append(text)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return "<answer>Oslo</answer>"

    policy = LanguagePolicy(ScriptedEngine(script, tiny_tokenizer()), SHORT)
    tasks = [Task(f"t{n}", "Where?") for n in range(3)]
    trees = rollout(policy, tasks, Pages(), sampler=GroupSampler(1, 1), progress=False)
    assert len(trees) == 2 and "2 of 3" in capsys.readouterr().out


def test_a_group_holds_its_rollouts_in_the_order_they_began():
    def script(text, rng):
        return "<answer>Oslo</answer>" if rng.random() < 0.5 else "<search>x</search>"

    policy = LanguagePolicy(ScriptedEngine(script, tiny_tokenizer()), SHORT)
    tree = rollout(policy, [TASK], Pages(), group_size=6, progress=False)[0]
    assert len({t.id for t in tree}) == 6 and len(tree.groups()) == 1
    again = rollout(policy, [TASK], Pages(), group_size=6, progress=False)[0]
    assert [t.id for t in again] == [t.id for t in tree]
    assert pytest.approx(np.mean([len(t.steps) for t in tree])) == np.mean([len(t.steps) for t in again])
