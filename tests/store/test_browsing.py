"""Pages of a lab: what they hold, how they are sorted and filtered, and that they say what the views say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from workbench.errors import SettingError, UnknownName
from workbench.scores import Level, Part, Scores, Status
from workbench.store import Store, open_store
from workbench.store.browsing import Query
from workbench.trajectory import Trajectory, Tree


@pytest.fixture
def store(lab: Path) -> Iterator[Store]:
    with open_store(lab) as opened:
        yield opened


def paid(exact: float | None, gains: list[float], judged: float | None = None, *, judge: bool = False) -> Scores:
    """ExactMatch + 0.5 * Gain, and with `judge` + 2 * Judge; None: missing; a NaN gain is not applicable."""
    parts = [Part("ExactMatch", 1.0, single(exact)), Part("Gain", 0.5, Scores.steps(gains))]
    if judge:
        parts.append(Part("Judge", 2.0, single(judged)))
    return Scores(np.zeros(len(gains)), np.full(len(gains), Status.SCORED), parts=tuple(parts))


def single(value: float | None) -> Scores:
    return Scores.missing("the judge timed out") if value is None else Scores.trajectory(value)


def member(id: str, answer: str | None = "Paris") -> Trajectory:
    """Two steps: a search, then the answer (or a thought)."""
    return a_trajectory(["p1"], None, answer=answer, id=id, tokens=3)


def three(store: Store, *, run: str = "one") -> str:
    """One tree of three trajectories, a: 1 + 0.5 * 0.25, b: 0 + 0.5 * (0.5 + 0.25), c: missing."""
    tree = a_tree(member("a"), member("b", "London"), member("c", None))
    store.start_run({"kind": "train"}, name=run)
    store.record_trees([tree], run=run, update=3)
    scores = [paid(1.0, [0.25, math.nan]), paid(0.0, [0.5, 0.25]), paid(None, [math.nan, math.nan])]
    store.record_scores([tree], [scores], run=run)
    return run


def names(store: Store, query: Query) -> list[str]:
    return [row["trajectory"] for row in store.browsing.trajectories("one", query).rows]


# ---------------------------------------------------------------- trajectories


def test_a_row_says_what_the_trajectory_was_and_what_it_was_paid(store: Store):
    page = store.browsing.trajectories(three(store))
    assert page.total == 3
    first, second, third = page.rows
    shown = (
        "update",
        "task",
        "tree",
        "trajectory",
        "question",
        "golds",
        "answer",
        "ended",
        "hops",
        "steps",
        "searches",
    )
    place = (3, "task", "tree", "a", "Capital of France?", '["Paris"]')
    assert tuple(first[name] for name in shown) == (*place, "Paris", "answered", 1, 2, 1)
    assert first["own_tokens"] == 6
    # 1 + 0.5 * 0.25, and 0 + 0.5 * (0.5 + 0.25)
    assert (first["return"].value, second["return"].value) == (1.125, 0.375)
    assert {name: part.value for name, part in second["parts"].items()} == {"ExactMatch": 0.0, "Gain": 0.75}
    assert third["answer"] is None and third["ended"] == "truncated"


def test_missing_not_applicable_and_zero_are_three_things(store: Store):
    _, second, third = store.browsing.trajectories(three(store)).rows
    assert second["parts"]["ExactMatch"].value == 0.0
    assert second["parts"]["ExactMatch"].status is Status.SCORED
    assert third["parts"]["ExactMatch"].value is None
    assert third["parts"]["ExactMatch"].status is Status.MISSING
    assert "Gain" not in third["parts"]
    assert third["return"].value is None and third["return"].status is Status.MISSING


def test_a_run_without_scores_shows_its_trajectories_unscored(store: Store):
    store.start_run({}, name="bare")
    store.record_trees([a_tree(member("a"))], run="bare")
    [row] = store.browsing.trajectories("bare", Query(sort="return")).rows
    assert row["return"].status is Status.NOT_APPLICABLE and row["parts"] == {}


@pytest.mark.parametrize(
    ("sort", "descending", "expected"),
    [
        ("", False, ["a", "b", "c"]),
        ("part:Gain", True, ["b", "a", "c"]),  # 0.75, 0.25, nothing to say: last
        ("part:Gain", False, ["a", "b", "c"]),  # last that way round too
        ("part:ExactMatch", False, ["b", "a", "c"]),
        ("return", True, ["a", "b", "c"]),
        ("answer", False, ["b", "a", "c"]),
    ],
)
def test_unscored_rows_come_last_whichever_way_a_column_is_sorted(
    store: Store, sort: str, descending: bool, expected: list[str]
):
    three(store)
    assert names(store, Query(sort=sort, descending=descending)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(text="LONDON"), ["b"]),  # in the answer, any case
        (Query(text="capital of"), ["a", "b", "c"]),  # in the question
        (Query(text="100%_"), []),  # not a pattern
        (Query(equal={"ended": "answered"}), ["a", "b"]),
        (Query(ranges={"part:Gain": (0.25, 0.5)}), ["a"]),  # both ends included
        (Query(ranges={"return": (None, 1.0)}), ["b"]),
        (Query(ranges={"part:Gain": (0.0, None), "part:ExactMatch": (None, 0.0)}), ["b"]),
        (Query(ranges={"update": (4, None)}), []),
        (Query(ranges={"update": (None, None)}), ["a", "b", "c"]),
    ],
)
def test_filters_by_hand(store: Store, query: Query, expected: list[str]):
    three(store)
    page = store.browsing.trajectories("one", query)
    assert [row["trajectory"] for row in page.rows] == expected
    assert page.total == len(expected)


def test_pages_follow_each_other_and_know_how_many_rows_there_are(store: Store):
    three(store)
    pages = [store.browsing.trajectories("one", Query(offset=n, limit=2, sort="part:Gain")) for n in (0, 2, 4)]
    assert [[row["trajectory"] for row in page.rows] for page in pages] == [["a", "b"], ["c"], []]
    assert [page.total for page in pages] == [3, 3, 3]  # behind the last one too


def test_another_run_with_the_same_ids_stays_out(store: Store):
    three(store)
    three(store, run="two")
    store.edit("two", "tree", "a", "ExactMatch", 7.0, "why not")
    first = store.browsing.trajectories("one").rows[0]
    assert (first["return"].value, first["return"].edited) == (1.125, False)


def test_an_edit_is_in_force_and_marked(store: Store):
    three(store)
    store.edit("one", "tree", "b", "Gain", 2.5, "worth more", step=0)
    first, second, _ = store.browsing.trajectories("one", Query(sort="part:Gain", descending=True)).rows
    assert (first["trajectory"], first["parts"]["Gain"].value, first["parts"]["Gain"].edited) == ("b", 2.75, True)
    assert (first["return"].value, first["return"].edited) == (1.375, True)
    assert not first["parts"]["ExactMatch"].edited and not second["return"].edited


def test_the_newest_scoring_is_shown_with_its_own_parts(store: Store):
    three(store)
    tree = store.tree("tree", "one")
    store.record_scores([tree], [[paid(0.0, [0.0, 0.0], 0.5, judge=True)] * 3], run="one", reward='{"other": 1}')
    rows = store.browsing.trajectories("one", Query(ranges={"part:Judge": (0.5, 0.5)})).rows
    assert [row["return"].value for row in rows] == [1.0, 1.0, 1.0]
    assert store.browsing.parts("one") == ["ExactMatch", "Gain", "Judge"]


def test_parts_of_a_version_that_is_no_longer_in_force_have_no_column(store: Store):
    three(store)
    tree = store.tree("tree", "one")
    store.record_scores([tree], [[single(0.5)] * 3], run="one", reward='{"other": 1}')
    [name] = store.browsing.parts("one")
    assert name not in ("ExactMatch", "Gain", "Judge")


def test_what_another_process_wrote_shows_in_the_next_page(store: Store):
    three(store)
    first = Query(sort="return", descending=True)
    assert [row["return"].value for row in store.browsing.trajectories("one", first).rows] == [1.125, 0.375, None]
    with open_store(store.path) as other:
        other.edit("one", "tree", "b", "ExactMatch", 2.0, "right after all")
    assert [row["return"].value for row in store.browsing.trajectories("one", first).rows] == [2.375, 1.125, None]
    with open_store(store.path) as other:
        other.edit("one", "tree", "b", "ExactMatch", 0.0, "undo: right after all")
        three(other, run="two")
    assert [row["return"].value for row in store.browsing.trajectories("one", first).rows] == [1.125, 0.375, None]
    assert [row["return"] for row in store.browsing.runs().rows] == [0.75, 0.75]
    with open_store(store.path) as other:
        tree = other.tree("tree", "one")
        other.record_scores(
            [tree], [[paid(n / 2, [math.nan, math.nan]) for n in range(3)]], run="one", reward='{"n": 2}'
        )
    assert [row["return"].value for row in store.browsing.trajectories("one", first).rows] == [1.0, 0.5, 0.0]
    assert [row["return"] for row in store.browsing.runs(Query(sort="run")).rows] == [0.5, 0.75]


def test_many_may_browse_while_scores_come_in(store: Store):
    three(store)
    tree = store.tree("tree", "one")

    def look(number: int) -> list[float]:
        rows = store.browsing.trajectories("one", Query(sort="return")).rows
        if number % 3 == 0:
            store.record_scores([tree], [[paid(float(number), [math.nan, math.nan])] * 3], run="one")
        values = {row["return"].value for row in rows}
        assert len(values) == 1 or values == {1.125, 0.375, None}  # of one scoring, never of two
        return sorted(value for value in values if value is not None)

    with ThreadPoolExecutor(4) as people:
        list(people.map(look, range(24)))
    assert look(25) == [21.0]


def test_names_of_parts_are_data(store: Store):
    nasty = "a\"; drop table runs; -- ' $0 \0"
    tree = a_tree(member("a"))
    store.start_run({}, name="r")
    store.record_trees([tree], run="r")
    whole = Scores(np.zeros(1), np.zeros(1, np.int8), level=Level.TRAJECTORY, parts=(Part(nasty, 1.0, single(0.5)),))
    store.record_scores([tree], [[whole]], run="r")
    assert store.browsing.parts("r") == [nasty]
    [row] = store.browsing.trajectories("r", Query(sort=f"part:{nasty}", ranges={f"part:{nasty}": (0.5, 0.5)})).rows
    assert row["parts"][nasty].value == 0.5


def test_what_cannot_be_asked_says_what_can(store: Store):
    three(store)
    with pytest.raises(UnknownName, match="no column 'retrun' in this listing.*Did you mean 'return'"):
        store.browsing.trajectories("one", Query(sort="retrun"))
    with pytest.raises(UnknownName, match="no column 'number desc; --'"):
        store.browsing.trajectories("one", Query(equal={"number desc; --": "1"}))
    with pytest.raises(SettingError, match="1 to 500 rows, got offset 0 and limit 501"):
        Query(limit=501)


# ---------------------------------------------------------------- against the views


def random_lab(store: Store, rng: np.random.Generator) -> list[Tree]:
    """Twelve trees at three updates, five of them scored twice; values are multiples of 1/8, so that sums are exact."""
    trees = [a_tree(*(member(f"{n}.{g}") for g in range(3)), id=f"tree-{n}") for n in range(12)]
    store.start_run({}, name="r")
    for update in range(3):
        store.record_trees(trees[update::3], run="r", update=update)
    for again, some in enumerate((trees, trees[:5])):
        scores = [[random_scores(rng, again) for _ in tree] for tree in some]
        store.record_scores(some, scores, run="r", reward=f'{{"n": {again}}}')
    return trees


def random_scores(rng: np.random.Generator, again: int) -> Scores:
    def value() -> float | None:
        return None if rng.random() < 0.15 else float(rng.integers(-8, 9) / 8)

    gains = np.where(rng.random(2) < 0.4, np.nan, rng.integers(-8, 9, 2) / 8)
    return paid(value(), gains.tolist(), value(), judge=bool(again) or rng.random() < 0.5)


def edited_at_random(store: Store, trees: list[Tree], rng: np.random.Generator) -> None:
    """Edits of scores, missing ones too, and edits of edits."""
    scores = store.sql("select tree, trajectory, part, coalesce(step, -1) from scores where run = 'r' order by all")
    for tree, trajectory, part, step in scores.iloc[rng.integers(0, len(scores), 12)].itertuples(index=False):
        at = None if step < 0 else int(step)
        store.edit("r", tree, trajectory, part, float(rng.integers(-8, 9)), "because", step=at)


@pytest.mark.parametrize("edits", [False, True], ids=["untouched", "edited"])
@pytest.mark.parametrize("sort", ["part:Gain", "part:Judge", "return", "steps"])
def test_pages_say_what_the_views_say(store: Store, edits: bool, sort: str):
    rng = np.random.default_rng(7)
    trees = random_lab(store, rng)
    if edits:
        edited_at_random(store, trees, rng)
    rows = store.browsing.trajectories("r", Query(sort=sort, limit=100)).rows
    at = {(row["tree"], row["trajectory"]): row for row in rows}
    assert len(at) == len(rows) == 36
    returns = store.sql("select tree, trajectory, value from returns where run = 'r'")
    assert {tuple(key): none_if_nan(value) for *key, value in returns.itertuples(index=False)} == {
        key: row["return"].value for key, row in at.items() if row["parts"]
    }
    parts = store.sql(
        "select tree, trajectory, part, case when count(*) = count(value) then sum(value) end, bool_or(edited) "
        "from scores where run = 'r' group by all"
    )
    assert {tuple(key): (none_if_nan(value), edited) for *key, value, edited in parts.itertuples(index=False)} == {
        (*key, name): (part.value, part.edited) for key, row in at.items() for name, part in row["parts"].items()
    }
    assert any(part.edited for row in rows for part in row["parts"].values()) == edits


@pytest.mark.parametrize("edits", [False, True], ids=["untouched", "edited"])
def test_a_range_keeps_the_rows_whose_sum_lies_in_it(store: Store, edits: bool):
    rng = np.random.default_rng(8)
    trees = random_lab(store, rng)
    if edits:
        edited_at_random(store, trees, rng)
    every = store.browsing.trajectories("r", Query(limit=100)).rows
    for name in ("part:Gain", "part:ExactMatch", "return"):
        query = Query(sort=name, ranges={name: (-0.25, 0.5)}, limit=100)
        values = [row["return"].value if name == "return" else value_of(row, name) for row in every]
        expected = sorted(value for value in values if value is not None and -0.25 <= value <= 0.5)
        found = store.browsing.trajectories("r", query)
        assert [row["return"].value if name == "return" else value_of(row, name) for row in found.rows] == expected
        narrow = store.browsing.trajectories("r", replace(query, limit=2, offset=1))
        assert narrow.total == len(expected) and narrow.rows == found.rows[1:3]


def value_of(row: dict, name: str) -> float | None:
    part = row["parts"].get(name.removeprefix("part:"))
    return None if part is None else part.value


def none_if_nan(value: float) -> float | None:
    return None if value is None or math.isnan(value) else value


# ---------------------------------------------------------------- runs and tasks


def test_runs_newest_first_with_what_they_hold(store: Store):
    three(store)
    store.end_run("one", "finished")
    store.start_run({"kind": "rollout"}, name="empty")
    newest, oldest = store.browsing.runs().rows
    assert (newest["run"], newest["kind"], newest["status"]) == ("empty", "rollout", "running")
    assert (newest["updates"], newest["trajectories"], newest["return"]) == (None, 0, None)
    assert (oldest["run"], oldest["kind"], oldest["status"]) == ("one", "train", "finished")
    # of three returns 1.125 and 0.375 are known
    assert (oldest["updates"], oldest["trajectories"], oldest["return"], oldest["unscored"]) == (3, 3, 0.75, 1)
    assert oldest["finished"] >= oldest["started"]
    assert [row["run"] for row in store.browsing.runs(Query(sort="return")).rows] == ["one", "empty"]


def test_tasks_of_a_run_with_mean_and_spread_of_their_returns(store: Store):
    three(store)
    other = Trajectory("d", replace(a_task("other"), question="Longest river?"), member("d").steps, member("d").end)
    store.record_trees([a_tree(other, id="tree-2")], run="one", update=4)
    page = store.browsing.tasks("one", Query(sort="return"))
    first, second = page.rows
    assert page.total == 2
    # mean of 1.125 and 0.375, each 0.375 away from it
    assert (first["task"], first["trajectories"], first["return"], first["spread"]) == ("task", 3, 0.75, 0.375)
    assert first["unscored"] == 1
    assert (second["question"], second["return"], second["unscored"]) == ("Longest river?", None, 1)
    assert [row["task"] for row in store.browsing.tasks("one", Query(text="longest")).rows] == ["other"]


def test_updates_are_those_with_trees(store: Store):
    three(store)
    store.record_trees([a_tree(member("z"), id="later")], run="one", update=1)
    assert store.browsing.updates("one") == [1, 3]


def test_an_empty_lab_has_empty_pages(store: Store):
    assert store.browsing.runs().rows == []
    assert store.browsing.trajectories("none").total == 0
    assert store.browsing.parts("none") == []
