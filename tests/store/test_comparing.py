"""What moved between two reward versions, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from workbench.errors import SettingError, StoreError, UnknownName, UnknownRun
from workbench.scores import Level, Part, Scores
from workbench.spec import dumps, part
from workbench.store import Store, open_store
from workbench.store.comparing import Version, differences
from workbench.trajectory import Tree

NAN = math.nan


@part
class Mix:
    """Stands for a reward; `gain` is the weight of its second part."""

    gain: float = 0.5
    name: str = "mix"


@pytest.fixture(scope="module")
def store(new_lab: Callable[[], Path]) -> Iterator[Store]:
    with open_store(new_lab()) as store:
        yield store


def group(id: str, size: int = 3) -> Tree:
    """Trajectories t0, t1 ... of two steps."""
    members = [a_trajectory(["p1"], answer="Paris", id=f"t{n}", task=a_task(id)) for n in range(size)]
    return a_tree(*members, id=id)


def summed(answer: float, gains: Sequence[float], weight: float) -> Scores:
    """Answer + weight * Gain; NaN gains are not applicable, an infinite answer stands for a judge that failed."""
    gain = Scores.steps(gains, [f"gain {value}" for value in gains])
    right = Scores.missing("the judge timed out") if math.isinf(answer) else Scores.trajectory(answer, f"is {answer}")
    missing = math.isinf(answer)
    whole = Scores.missing("") if missing else Scores.trajectory(answer + weight * float(np.nansum(gain.values_S)))
    return replace(whole, parts=(Part("Answer", 1.0, right), Part("Gain", weight, gain, "step")))


def score(store: Store, run: str, tree: Tree, reward: Mix, rows: Sequence[tuple[float, Sequence[float]]]) -> None:
    scores = [summed(answer, gains, reward.gain) for answer, gains in rows]
    store.record_scores([tree], [scores], run=run, reward=dumps(reward), version="c")


def version(store: Store, reward: Mix) -> str:
    return store.sql("select reward from rewards where spec = $spec", spec=dumps(reward)).reward[0]


def records(frame: object) -> list[dict]:
    return frame.replace({math.nan: None}).to_dict("records")  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def run(store: Store) -> str:
    """Two versions of a reward over two groups."""
    run = store.start_run({}, name="two versions")
    one, two = group("one"), group("two", 2)
    store.record_trees([one, two], run=run, update=3)
    before, after = Mix(0.5, "by hand"), Mix(2.0, "by hand")
    score(store, run, one, before, [(1.0, [0.0, NAN]), (0.0, [1.0, NAN]), (math.inf, [0.5, 0.5])])
    score(store, run, two, before, [(1.0, [0.0, 0.0]), (1.0, [0.0, 0.0])])
    score(store, run, one, after, [(1.0, [0.25, NAN]), (0.0, [1.0, 0.25]), (0.5, [0.5, NAN])])
    score(store, run, two, after, [(1.0, [0.0, 0.0]), (math.inf, [0.0, 0.0])])
    return run


def test_parts_and_totals_are_counted_place_by_place(store: Store, run: str):
    found = store.compare(version(store, Mix(0.5, "by hand")), version(store, Mix(2.0, "by hand")), run)
    answer, gain, total = records(found.parts)
    # Answer, five trajectories. Before: 1, 0, missing, 1, 1 (mean 3/4); after: 1, 0, 1/2, 1, missing (mean 5/8)
    assert answer == {
        **{"part": "Answer", "weight_before": 1.0, "weight_after": 1.0, "scored_before": 4, "scored_after": 4},
        **{"mean_before": 0.75, "mean_after": 0.625, "up": 0, "down": 0, "same": 3},
        **{"newly_scored": 1, "newly_missing": 1, "no_longer_scored": 0},
    }
    # Gain, by step. Before: 0 -, 1 -, .5 .5, 0 0, 0 0 (8 scored, mean 2/8);
    # after: .25 -, 1 .25, .5 -, 0 0, 0 0 (8 scored, mean 2/8)
    assert gain == {
        **{"part": "Gain", "weight_before": 0.5, "weight_after": 2.0, "scored_before": 8, "scored_after": 8},
        **{"mean_before": 0.25, "mean_after": 0.25, "up": 1, "down": 0, "same": 6},
        **{"newly_scored": 1, "newly_missing": 0, "no_longer_scored": 1},
    }
    # totals. Before: 1, .5, missing, 1, 1; after: 1.5, 2.5, 1.5, 1, missing
    assert total == {
        **{"part": "total", "weight_before": None, "weight_after": None, "scored_before": 4, "scored_after": 4},
        **{"mean_before": 0.875, "mean_after": 1.625, "up": 2, "down": 0, "same": 1},
        **{"newly_scored": 1, "newly_missing": 1, "no_longer_scored": 0},
    }
    assert (found.trees, found.only_before, found.only_after) == (2, 0, 0)


def test_the_biggest_movers_come_with_both_reasons(store: Store, run: str):
    found = store.compare(version(store, Mix(0.5, "by hand")), version(store, Mix(2.0, "by hand")), run)
    columns = ["part", "tree", "trajectory", "step", "before", "after", "change", "was", "becomes"]
    rows = found.moved[columns].astype(object)
    assert rows.where(rows.notna(), None).to_numpy().tolist() == [
        ["total", "one", "t1", None, 0.5, 2.5, 2.0, "scored", "scored"],
        ["total", "one", "t0", None, 1.0, 1.5, 0.5, "scored", "scored"],
        ["total", "one", "t2", None, None, 1.5, None, "missing", "scored"],
        ["total", "two", "t1", None, 1.0, None, None, "scored", "missing"],
        ["Answer", "one", "t2", None, None, 0.5, None, "missing", "scored"],
        ["Answer", "two", "t1", None, 1.0, None, None, "scored", "missing"],
        ["Gain", "one", "t0", 0, 0.0, 0.25, 0.25, "scored", "scored"],
        ["Gain", "one", "t1", 1, None, 0.25, None, "none", "scored"],
        ["Gain", "one", "t2", 1, 0.5, None, None, "scored", "none"],
    ]
    whys = found.moved[found.moved.part != "total"][["why_before", "why_after"]].to_numpy().tolist()
    assert whys[0] == ["the judge timed out", "is 0.5"] and whys[2:] == [
        ["gain 0.0", "gain 0.25"],
        ["gain nan", "gain 0.25"],  # why it was not applicable
        ["gain 0.5", "gain nan"],
    ]
    assert set(found.moved.run) == {run} and set(found.moved["update"]) == {3}
    few = store.compare(version(store, Mix(0.5, "by hand")), version(store, Mix(2.0, "by hand")), run, limit=1)
    assert few.moved[["part", "trajectory"]].to_numpy().tolist() == [["total", "t1"], ["Answer", "t2"], ["Gain", "t0"]]


def test_the_order_within_groups_is_compared(store: Store, run: str):
    found = store.compare(version(store, Mix(0.5, "by hand")), version(store, Mix(2.0, "by hand")), run)
    one, two = records(found.groups)
    # group one, of the two that both versions scored: 1 and 0.5 become 1.5 and 2.5: both advantages change sign
    assert (one["group_id"], one["trajectories"], one["best_before"], one["best_after"]) == ("one", 2, "t0", "t1")
    assert (one["best_changed"], one["flipped"]) == (True, 2)
    assert (one["spread_before"], one["spread_after"]) == (0.25, 0.5)
    assert (one["equal_before"], one["equal_after"], one["update"]) == (False, False, 3)
    assert (two["trajectories"], two["best_changed"], two["flipped"], two["equal_before"]) == (1, False, 0, True)
    assert (found.best_changed, found.flipped) == (1, 2)


def test_it_says_what_differs_in_settings(store: Store, run: str):
    found = store.compare(version(store, Mix(0.5, "by hand")), version(store, Mix(2.0, "by hand")), run)
    assert found.settings == ("gain: 0.5 -> 2.0",)
    text = repr(found)
    assert f"reward {found.before} -> {found.after} on 2 trees that both scored\n  gain: 0.5 -> 2.0\n" in text
    assert "another best trajectory in 1 of 2 groups; 2 advantages changed sign, in 1 groups" in text
    assert "biggest movers" in text


def two_versions(store: Store, before: Mapping[str, list[float]], after: Mapping[str, list[float]], name: str) -> str:
    """A run whose groups were paid `before`, then `after`, under rewards that carry the name of the run."""
    run = store.start_run({}, name=name)
    for values, gain in ((before, 1.0), (after, 2.0)):
        for id, amounts in values.items():
            tree = group(id, len(amounts))
            store.record_trees([tree], run=run)
            scores = [Scores.trajectory(amount) for amount in amounts]
            store.record_scores([tree], [scores], run=run, reward=dumps(Mix(gain, name)), version="c")
    return run


def test_equal_returns_have_no_sign_and_ties_keep_their_best(store: Store):
    # a: .1 three times minus its mean is not exactly 0; nobody's advantage changes sign where there was none.
    # b: the winners tied; that one of them is now ahead is no other best. c: the order is reversed.
    before = {"a": [0.1, 0.1, 0.1], "b": [1.0, 1.0, 0.0], "c": [1.0, 0.0]}
    after = {"a": [0.3, 0.1, 0.2], "b": [0.5, 1.0, 0.0], "c": [0.0, 1.0]}
    rows = records(store.compare(run=two_versions(store, before, after, "ties")).groups)
    assert [row["best_changed"] for row in rows] == [False, False, True]
    # b: means 2/3 and 1/2, so t0 goes from above to exactly at the mean: that is no change of sign
    assert [row["flipped"] for row in rows] == [0, 0, 2]
    assert [row["equal_before"] for row in rows] == [True, False, False]


def test_another_order_of_adding_up_is_no_movement(store: Store):
    one, other = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    assert one != other
    before, after = {"a": [one, math.inf], "b": [one, other]}, {"a": [other, math.inf], "b": [other, one]}
    found = store.compare(run=two_versions(store, before, after, "rounding"))
    assert found.parts[["up", "down", "same"]].to_numpy().tolist() == [[0, 0, 4], [0, 0, 4]]
    assert (found.best_changed, found.flipped) == (0, 0) and found.groups.equal_before.tolist()[1]
    assert found.moved.empty and "biggest movers" not in repr(found)


def test_trees_that_one_version_alone_scored_are_counted_apart(store: Store):
    run = two_versions(store, {"a": [1.0], "b": [1.0]}, {"b": [0.0], "c": [0.0], "d": [0.0]}, "apart")
    found = store.compare(run=run)
    assert (found.trees, found.only_before, found.only_after) == (1, 1, 2)
    assert "on 1 trees that both scored (1 before and 2 after only)" in repr(found)
    assert found.parts.scored_before.tolist() == [1, 1]


def test_a_part_that_is_new_or_gone_says_so(store: Store):
    run = store.start_run({})
    tree = group("a", 1)
    store.record_trees([tree], run=run)
    for name in ("Old", "New"):
        scores = replace(Scores.trajectory(1.0), name=name)
        store.record_scores([tree], [[scores]], run=run, reward=dumps(Mix(1.0, name)))
    rows = {row["part"]: row for row in records(store.compare(run=run).parts)}
    assert (rows["Old"]["no_longer_scored"], rows["New"]["newly_scored"], rows["total"]["same"]) == (1, 1, 1)
    assert rows["Old"]["mean_after"] is None and rows["New"]["weight_before"] is None


def test_edits_belong_to_a_version_and_stay_out(store: Store):
    run = two_versions(store, {"a": [1.0]}, {"a": [1.0]}, "edited")
    store.edit(run, "a", "t0", "reward", 5.0, "a correction")
    assert store.compare(run=run).moved.empty


def test_scoring_again_by_the_same_version_compares_its_newest_scoring(store: Store):
    run = two_versions(store, {"a": [1.0]}, {"a": [2.0]}, "again")
    scores = [[Scores.trajectory(3.0)]]
    store.record_scores([group("a", 1)], scores, run=run, reward=dumps(Mix(1.0, "again")), version="c")
    found = store.compare(run=run)  # the version used first is the newest now
    assert found.parts[["mean_before", "mean_after"]].to_numpy().tolist() == [[2.0, 3.0]] * 2
    back = store.compare("newest", "previous", run)
    assert back.parts[["mean_before", "mean_after"]].to_numpy().tolist() == [[3.0, 2.0]] * 2


def test_versions_go_by_their_beginning_and_by_when_they_were_used(store: Store):
    run = two_versions(store, {"a": [1.0]}, {"a": [2.0]}, "names")
    old, new = version(store, Mix(1.0, "names")), version(store, Mix(2.0, "names"))
    assert store.versions(run).version.tolist() == [new, old]
    assert store.versions([run]).trees.tolist() == [1, 1]
    for names in (("previous", "newest"), (old, new), (old[:5], "newest")):
        found = store.compare(*names, run=run)
        assert (str(found.before), str(found.after)) == (old, new)
    with pytest.raises(UnknownName, match=f"no reward version '{old[:-1]}x'.*Did you mean '{old}'"):
        store.compare(f"{old[:-1]}x", run=run)
    with pytest.raises(SettingError, match=f"'newest' and '{new}' are the same version"):
        store.compare("newest", new, run=run)
    with pytest.raises(UnknownName, match="'' begins several|no reward version ''"):
        store.compare("", run=run)
    with pytest.raises(UnknownRun, match="Did you mean 'names'"):
        store.compare(run="nanes")
    with pytest.raises(SettingError, match="limit is at least 1"):
        store.compare(run=run, limit=0)
    with pytest.raises(SettingError, match="no run is named"):
        store.compare(run=[])


def test_what_cannot_be_compared_says_what_to_do(lab: Path):
    with open_store(lab) as store:
        with pytest.raises(StoreError, match="there is no previous version: 0 scored something here"):
            store.compare()
        run = store.start_run({})
        trees = [group("a", 1), group("b", 1)]
        store.record_trees(trees, run=run)
        store.record_scores(trees[:1], [[Scores.trajectory(1.0)]], run=run, reward=dumps(Mix(1.0)))
        with pytest.raises(StoreError, match=r"there is no previous version: 1 scored.*wb\.rescore"):
            store.compare()
        store.record_scores(trees[1:], [[Scores.trajectory(1.0)]], run=run, reward=dumps(Mix(2.0)))
        with pytest.raises(StoreError, match=r"no tree was scored by both \w+ and \w+; score again by one"):
            store.compare()


def test_other_code_under_the_same_settings_is_told(store: Store):
    run, tree = store.start_run({}), group("a", 1)
    store.record_trees([tree], run=run)
    for code in ("f00", "ba7"):
        store.record_scores([tree], [[Scores.trajectory(1.0)]], run=run, reward=dumps(Mix(9.0)), version=code)
    assert store.compare(run=run).settings == ("code: f00 -> ba7",)
    old, new = Version("v1", "f00", '{"part": "Judge"}'), Version("v2", "ba7", '{"part": "Verifier"}')
    assert list(differences(old, new)) == ["part: Judge -> Verifier"]  # other classes have other code


def test_text_of_a_model_is_shown_as_text_and_comes_back_as_it_was(store: Store):
    run = store.start_run({}, name="<b>bold</b>")
    tree = group("<script>\0", 1)
    store.record_trees([tree], run=run)
    for amount in (1.0, 2.0):
        scores = [[Scores.trajectory(amount, "<img src=x>\ud800")]]
        store.record_scores([tree], scores, run=run, reward=dumps(Mix(amount, f"<i>{amount}")))
    found = store.compare(run=run)
    assert found.moved.tree.tolist() == ["<script>\0"] * 2 and found.moved.why_after.tolist()[1] == "<img src=x>\ud800"
    shown = found._repr_html_()
    assert "&lt;script&gt;" in shown and "&lt;img src=x&gt;" in shown
    assert "&lt;i&gt;1.0 -&gt; &lt;i&gt;2.0" in shown
    assert not any(raw in shown for raw in ("<script", "<img", "<i>", "<b>"))
    assert (shown + repr(found)).encode()  # what is sent to a browser or terminal is UTF-8


def test_a_missing_status_is_never_a_zero(store: Store):
    run, tree = store.start_run({}), group("a", 1)
    store.record_trees([tree], run=run)
    unscored = Scores.unscored(1, level=Level.TRAJECTORY)
    for n, scores in enumerate((Scores.missing("no reply"), unscored)):
        store.record_scores([tree], [[scores]], run=run, reward=dumps(Mix(float(n), "zero")))
    found = store.compare(run=run)  # missing, then nothing to score: two kinds, no number in either
    assert records(found.parts)[-1]["mean_before"] is None and records(found.parts)[-1]["mean_after"] is None
    assert found.moved[["was", "becomes"]].to_numpy().tolist() == [["missing", "none"]] * 2
    assert found.groups.empty
