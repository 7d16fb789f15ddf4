"""What goes into the store comes out unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_step, a_task, a_trajectory, a_tree
from tests.store.trees import LONE, NASTY, facts, plain, scores_of, texts, trees
from workbench.errors import ScoreError, SettingError, ShapeError
from workbench.plain import dumps, escape, loads, pack, unescape, unpack
from workbench.scores import Level, Part, Scores, Status
from workbench.spec import part
from workbench.store import Store, open_store
from workbench.trajectory import Call, Context, End, Hit, Origin, Span, Step, Task, Tokens, Trajectory, Tree

slow_example = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
quick_example = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def store(new_lab: Callable[[], Path]) -> Iterator[Store]:
    with open_store(new_lab()) as store:
        yield store


def kept(store: Store, *given: Tree) -> list[Tree]:
    run = store.start_run({})
    store.record_trees(given, run=run)
    return store.trees(run)


# ---------------------------------------------------------------- values as text


@quick_example
@given(texts)
def test_any_text_comes_back_and_is_valid_unicode_in_between(text: str):
    stored = escape(text)
    stored.encode()  # would raise
    assert unescape(stored) == text


@quick_example
@given(plain)
def test_any_plain_data_comes_back_and_is_valid_json_in_between(value: Any):
    stored = dumps(pack(value))
    stored.encode()
    assert "NaN" not in stored or "NaN" in repr(value)
    assert facts(unpack(loads(stored))) == facts(value)


def test_numpy_numbers_come_back_as_plain_ones():
    assert unpack(loads(dumps(pack({"score": np.float32(0.5), "n": np.int64(3), "on": np.True_})))) == {
        "score": 0.5,
        "n": 3,
        "on": True,
    }


@part
class Limit:
    """A setting that a task may carry."""

    searches: int = 3


def test_a_part_in_extras_comes_back_as_the_part():
    assert unpack(loads(dumps(pack({"limit": Limit(5)})))) == {"limit": Limit(5)}


def test_what_could_not_come_back_is_refused_with_its_place():
    with pytest.raises(SettingError, match=r"extras of task 'q'\['grid'\] holds a ndarray.*Allowed are"):
        pack({"grid": np.zeros(3)}, "extras of task 'q'")


# ---------------------------------------------------------------- trees


@slow_example
@given(st.lists(trees(), min_size=1, max_size=3, unique_by=lambda tree: tree.id))
def test_any_trees_come_back_bit_for_bit(store: Store, given_trees: list[Tree]):
    assert facts(kept(store, *given_trees)) == facts(given_trees)


def test_ids_logprobs_and_origins_come_back_bit_for_bit(store: Store):
    # a NaN with its own payload, -0.0, infinity, the smallest denormal: float32 by their bits
    logprobs = np.array([0x7FC00001, 0x80000000, 0xFF800000, 0x00000001], dtype=np.uint32).view(np.float32)
    tokens = Tokens(np.array([0, -1, 2**31 - 1, 7]), logprobs, np.array(list(Origin)))
    step = Step("s", "text", tokens=tokens, context=Context("prompt", Tokens.foreign([])))
    tree = Tree("bits", a_task(), (Trajectory("t", a_task(), (step,), End.ANSWERED),))
    (back,) = kept(store, tree)
    found = back.trajectories[0].steps[0]
    assert found.tokens == tokens
    assert found.tokens.logprobs_T.tobytes() == logprobs.tobytes()
    assert found.context.tokens is not None and len(found.context.tokens) == 0


def full_of(text: str) -> Tree:
    """A tree that holds `text` wherever a text may stand."""
    hit = Hit(text, text, text, math.nan, 0, text, None)
    call = Call(text, {text: [text, {text: None}], "query": text}, (hit,), result=text, error=text, valid=False)
    step = Step(text, text, (call,), (Span(text, text),), text, None, Context(text), text, text)
    task = Task(text, text, (text,), frozenset({text}), kind=text, extras={text: (text, math.inf, {1: text})})
    return Tree(text, task, (Trajectory(text, task, (step,), End.FAILED, text, text, extras={text: text}),))


def test_a_nasty_text_comes_back_wherever_it_stands(store: Store):
    trees = [full_of(text) for text in (*NASTY, *LONE)]
    assert facts(kept(store, *trees)) == facts(trees)
    assert facts([store.tree(tree.id, run=store.runs()[-1]) for tree in trees]) == facts(trees)


def test_the_four_ends_stay_apart(store: Store):
    tree = a_tree(*(a_trajectory(None, id=str(end), end=end) for end in End))
    (back,) = kept(store, tree)
    assert [trajectory.end for trajectory in back] == list(End)
    assert all(type(trajectory.end) is End for trajectory in back)


def test_text_only_steps_and_empty_trajectories_come_back(store: Store):
    tree = a_tree(a_trajectory(["p1"], answer="Paris"), Trajectory("empty", a_task(), (), End.FAILED, "no engine"))
    (back,) = kept(store, tree)
    assert facts(back) == facts(tree)
    assert back.trajectories[0].steps[0].tokens is None


def test_a_shared_prefix_is_stored_once_and_shared_again(store: Store):
    prefix = [a_step("root", ["p1"], tokens=3)]
    forks = [a_trajectory(["x"], answer=name, id=name, tokens=2, shared=prefix) for name in ("a", "b", "c")]
    run = store.start_run({})
    store.record_trees([a_tree(*forks)], run=run)
    (back,) = store.trees(run)
    assert facts(back) == facts(a_tree(*forks))
    assert len({id(trajectory.steps[0]) for trajectory in back}) == 1
    counted = store.sql(
        "select count(*) as n, count(*) filter (where not shared) as once from steps where run = $run", run=run
    )
    # 3 trajectories of 3 steps (root, search, answer); root is counted once
    assert (counted.n[0], counted.once[0]) == (9, 7)


def test_trajectories_of_different_tasks_and_roles_keep_theirs(store: Store):
    asker, solver = a_task("ask", golds=()), a_task("solve", extra=(1, 2))
    members = (
        Trajectory("a", asker, (a_step("a.0"),), End.ANSWERED, role="asker"),
        Trajectory("b", solver, (a_step("b.0"),), End.ANSWERED, role="solver"),
    )
    assert facts(kept(store, Tree("two roles", asker, members))) == facts([Tree("two roles", asker, members)])


def test_two_different_steps_of_one_id_are_refused(store: Store):
    tree = a_tree(a_trajectory(["p1"], id="a"), a_trajectory(["p2"], id="a2", shared=[a_step("a.0", ["x"])]))
    run = store.start_run({})
    with pytest.raises(ShapeError, match=r"two different steps of tree 'tree' have the id 'a\.0'"):
        store.record_trees([tree], run=run)


def test_two_trajectories_of_one_id_are_refused(store: Store):
    with pytest.raises(ShapeError, match="two trajectories called 't'"):
        kept(store, a_tree(a_trajectory(None), a_trajectory(["p1"])))


# ---------------------------------------------------------------- scores


def rescored(store: Store, tree: Tree, scores: list[Scores]) -> list[Scores]:
    run = store.start_run({})
    store.record_trees([tree], run=run)
    store.record_scores([tree], [scores], run=run)
    return store.scores(run, store.trees(run))[0]


@slow_example
@given(st.data())
def test_any_scores_come_back_as_they_were_given(store: Store, data: st.DataObject):
    tree = data.draw(trees())
    scores = [data.draw(scores_of(trajectory)) for trajectory in tree]
    back = rescored(store, tree, scores)
    assert [facts(one) for one in back] == [facts(one) for one in scores]


def test_a_sum_over_levels_comes_back_with_its_parts(store: Store):
    tree = a_tree(a_trajectory(["p1"], ["x"], answer="Paris", tokens=2))
    exact = Scores.trajectory(1.0, "Paris is a gold")
    gain = Scores.steps([0.5, -0.0, math.nan], ["found p1", "", "no search"])
    judge = Scores.missing("the judge did not answer")
    drift = Scores(np.array([0.1, math.nan, math.nan, 0.2, 0.3, 0.4]), np.array([0, 1, 2, 0, 0, 0]), level=Level.TOKEN)
    parts = (
        Part("Exact", 1.0, exact),
        Part("Gain", 0.5, gain, "step"),
        Part("Judge", -2.0, judge),
        Part("KL", 0.1, drift),
    )
    total = Scores(np.full(3, math.nan), np.full(3, Status.MISSING), parts=parts)
    assert rescored(store, tree, [total])[0].same_as(total)


def test_a_part_that_scored_nothing_is_still_a_part(store: Store):
    tree = a_tree(a_trajectory(None, answer="Paris"))
    nothing = Part("Redundancy", -0.2, Scores.unscored(1))
    total = Scores(np.array([1.0]), np.array([0]), parts=(Part("Exact", 1.0, Scores.trajectory(1.0)), nothing))
    assert rescored(store, tree, [total])[0].same_as(total)


@pytest.mark.parametrize("wrong", [Scores.steps([1.0]), Scores.unscored(7, level=Level.TOKEN)])
def test_scores_of_the_wrong_length_are_refused(store: Store, wrong: Scores):
    tree = a_tree(a_trajectory(["p1"], answer="Paris", tokens=1))  # two steps, two own tokens
    with pytest.raises(ScoreError, match="2 (steps|own tokens)|gives 1 step scores"):
        rescored(store, tree, [wrong])


def test_scores_that_do_not_match_the_trees_are_refused(store: Store):
    tree = a_tree(a_trajectory(None))
    with pytest.raises(ScoreError, match="has 1 trajectories and 0 scores"):
        rescored(store, tree, [])


def test_a_lab_that_was_moved_opens_and_reads(tmp_path: Path):
    tree = a_tree(a_trajectory(["p1"], answer="Paris", tokens=2))
    with open_store(tmp_path / "it's a lab, señor") as before:
        run = before.start_run({})
        before.record_trees([tree], run=run)
    (tmp_path / "it's a lab, señor").rename(tmp_path / "moved")
    with open_store(tmp_path / "moved") as after:
        assert facts(after.trees(run)) == facts([tree])
