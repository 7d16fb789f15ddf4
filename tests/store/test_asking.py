"""What SQL sees: the scores in force, searches, shared steps, and what is refused."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from workbench.errors import ScoreError, StoreError, UnknownName
from workbench.scores import Level, Part, Scores, Status
from workbench.spec import dumps, part
from workbench.store import Store, open_store
from workbench.store.views import RELATIONS
from workbench.trajectory import Call, End, Step, SubQuestion, Trajectory, Tree


@pytest.fixture(scope="module")
def store(new_lab: Callable[[], Path]) -> Iterator[Store]:
    with open_store(new_lab()) as store:
        yield store


def named(scores: Scores) -> Scores:
    """Scores as the reward ExactMatch gives them."""
    return replace(scores, name="ExactMatch")


@part
class SumOfTwo:
    """Stands for a sum; `gain` is the weight of its second term."""

    gain: float = 0.5


def summed(exact: float, gains: list[float], weight: float = 0.5) -> Scores:
    """ExactMatch + weight * Gain; a NaN gain is not applicable."""
    gain = Scores.steps(gains, ["found p1"] * len(gains))
    parts = (Part("ExactMatch", 1.0, Scores.trajectory(exact, "as asked")), Part("Gain", weight, gain, "step"))
    values_S = weight * np.nan_to_num(gain.values_S)
    values_S[-1] += exact
    return Scores(values_S, np.full(len(gains), Status.SCORED), parts=parts)


def scored_run(store: Store, *trees: Tree, scores: list[list[Scores]], update: int = 0, reward: str = "{}") -> str:
    run = store.start_run({})
    store.record_trees(trees, run=run, update=update)
    store.record_scores(trees, scores, run=run, update=update, reward=reward)
    return run


def two_steps(id: str = "t", **settings: object) -> Trajectory:
    return a_trajectory(["p1"], answer="Paris", id=id, **settings)


def in_force(store: Store, run: str) -> list[list[object]]:
    query = "select part, step, value, status, edited from scores where run = $run order by part, step nulls last"
    return store.sql(query, run=run).replace({math.nan: None}).astype(object).to_numpy().tolist()


# ---------------------------------------------------------------- scores in force


def test_scores_are_one_row_a_part_and_step(store: Store):
    run = scored_run(store, a_tree(two_steps()), scores=[[summed(1.0, [0.25, math.nan])]])
    rows = store.sql("select * from scores where run = $run order by part", run=run)
    # the answer step has no gain: no row; the sum itself is in scores_log only
    assert rows.part.tolist() == ["ExactMatch", "Gain"]
    assert rows.value.tolist() == [1.0, 0.25]
    assert rows.weight.tolist() == [1.0, 0.5]
    assert rows.level.tolist() == ["trajectory", "step"]
    assert rows.place.tolist() == ["end", "step"]
    assert rows.why.tolist() == ["as asked", "found p1"]
    assert rows.step.isna().tolist() == [True, False]
    assert store.sql("select value from returns where run = $run", run=run).value.tolist() == [1.125]


def test_a_reward_without_parts_goes_by_its_name(store: Store):
    run = scored_run(store, a_tree(two_steps()), scores=[[named(Scores.trajectory(1.0))]])
    assert in_force(store, run) == [["ExactMatch", None, 1.0, "scored", False]]


def test_missing_is_a_row_without_value_and_not_applicable_is_none(store: Store):
    scores = Scores.unscored(2)
    scores.miss(0, "the judge timed out")
    scores.skip(1, "no search here")
    run = scored_run(store, a_tree(two_steps()), scores=[[scores]])
    assert in_force(store, run) == [["reward", 0, None, "missing", False]]
    assert store.sql("select value, missing from returns where run = $run", run=run).isna().value[0]
    log = store.sql("select status, why from scores_log where run = $run order by step", run=run)
    assert log.status.tolist() == ["missing", "not applicable"]


def test_token_scores_stand_in_sql_as_sums_by_step(store: Store):
    tree = a_tree(two_steps(tokens=2))  # four own tokens in two steps
    values_T = np.array([0.25, 0.5, math.nan, 1.0])
    scores = Scores(values_T, np.array([0, 0, 1, 0]), level=Level.TOKEN)
    run = scored_run(store, tree, scores=[[scores]])
    assert in_force(store, run) == [["reward", 0, 0.75, "scored", False], ["reward", 1, 1.0, "scored", False]]


def test_ctrl_c_in_a_long_question_is_ctrl_c_and_the_next_one_is_answered(store: Store):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in range(8):  # DuckDB's other threads are not always at work: left to themselves they hang one in three
            timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                store.sql("select sum(a.range * b.range) from range(10000000) a, range(100000) b")
            assert store.sql("select 1 as one").one[0] == 1
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def test_a_new_scoring_takes_force_and_the_old_one_stays(store: Store):
    trees = [a_tree(two_steps(), id="a"), a_tree(two_steps(), id="b")]
    run = scored_run(store, *trees, scores=[[summed(1.0, [0.5, 0.0])]] * 2, update=4, reward=dumps(SumOfTwo(0.5)))
    # only tree b is scored again, by another reward and without saying at which update
    store.record_scores(trees[1:], [[summed(0.0, [0.25, 0.0], 2.0)]], run=run, reward=dumps(SumOfTwo(2.0)))
    returns = store.sql("select update, tree, value from returns where run = $run order by tree", run=run)
    # a: 1 + 0.5 * 0.5; b: 0 + 2 * 0.25; both at the update that the trees were drawn for
    assert returns.to_numpy().tolist() == [[4, "a", 1.25], [4, "b", 0.5]]
    assert store.sql("select count(*) as n from scores_log where run = $run and term", run=run).n[0] == 9
    versions = store.sql("select distinct reward from scores_log where run = $run and tree = 'b'", run=run).reward
    spec_of = {version: store.reward(version) for version in versions}
    first = next(version for version, reward in spec_of.items() if reward == SumOfTwo(0.5))
    assert store.scores(run, trees[1:])[0][0].same_as(summed(0.0, [0.25, 0.0], 2.0))
    assert store.scores(run, trees[1:], version=first)[0][0].same_as(summed(1.0, [0.5, 0.0]))


def test_an_edit_is_laid_over_the_score_and_undone_by_another(store: Store):
    tree = a_tree(two_steps())
    run = scored_run(store, tree, scores=[[summed(1.0, [0.25, math.nan])]])
    store.edit(run, "tree", "t", "Gain", 0.75, "the page was known before", step=0, who="ann")
    assert in_force(store, run)[1] == ["Gain", 0, 0.75, "scored", True]
    assert store.sql("select value from returns where run = $run", run=run).value[0] == 1.375
    store.edit(run, "tree", "t", "ExactMatch", 0.0, "it is Lyon", who="ann")
    store.edit(run, "tree", "t", "Gain", 0.25, "undo", step=0, who="bob")
    assert [row[2] for row in in_force(store, run)] == [0.0, 0.25]
    log = store.sql("select who, part, old, new, why from edits where run = $run order by edit", run=run)
    assert log.to_numpy().tolist() == [
        ["ann", "Gain", 0.25, 0.75, "the page was known before"],
        ["ann", "ExactMatch", 1.0, 0.0, "it is Lyon"],
        ["bob", "Gain", 0.75, 0.25, "undo"],
    ]
    assert store.scores(run, [tree])[0][0].same_as(summed(1.0, [0.25, math.nan]))  # as the reward gave them


def test_an_edit_gives_a_missing_score_a_value(store: Store):
    run = scored_run(store, a_tree(two_steps()), scores=[[Scores.missing("the judge timed out")]])
    store.edit(run, "tree", "t", "reward", 1.0, "I read it")
    assert in_force(store, run) == [["reward", None, 1.0, "scored", True]]


def test_an_edit_holds_for_the_version_that_it_corrects(store: Store):
    tree = a_tree(two_steps())
    run = scored_run(store, tree, scores=[[Scores.trajectory(1.0)]], reward=dumps(SumOfTwo(1.0)))
    store.edit(run, "tree", "t", "reward", 0.5, "half right")
    store.record_scores([tree], [[Scores.trajectory(0.0)]], run=run, reward=dumps(SumOfTwo(3.0)))
    assert in_force(store, run) == [["reward", None, 0.0, "scored", False]]


def test_an_edit_of_nothing_lists_what_is_scored(store: Store):
    run = scored_run(store, a_tree(two_steps()), scores=[[summed(1.0, [0.25, math.nan])]])
    with pytest.raises(ScoreError, match=r"no scores of part 'Gain' at step 1.*Scored are: ExactMatch, Gain at step 0"):
        store.edit(run, "tree", "t", "Gain", 1.0, "why", step=1)
    with pytest.raises(ScoreError, match="an edit needs a number .*got nan"):
        store.edit(run, "tree", "t", "Gain", math.nan, "why", step=0)


def test_labels_are_rows_with_author_and_reason(store: Store):
    run = scored_run(store, a_tree(two_steps()), scores=[[Scores.trajectory(1.0)]])
    store.label(run, "tree", "t", "helpful", 1, "it found the page", step=0, who="ann")
    store.label(run, "tree", "t", "correct", -1, who="bob")
    rows = store.sql("select who, step, name, value, why from labels where run = $run order by label", run=run)
    assert rows.replace({math.nan: None}).to_numpy().tolist() == [
        ["ann", 0.0, "helpful", 1.0, "it found the page"],
        ["bob", None, "correct", -1.0, ""],
    ]


# ---------------------------------------------------------------- questions by name


@pytest.fixture(scope="module")
def searched(store: Store) -> str:
    """Update 0: one hop, two trajectories. Update 1: two hops, one trajectory that asks the same thing twice."""
    run = store.start_run({})
    one, two = a_task("one"), a_task("two", sub_questions=[SubQuestion("a"), SubQuestion("b")])
    right = a_trajectory(["p1", "x"], answer="Paris", id="right", task=one)
    cut = a_trajectory(None, id="cut", task=one)
    twice = a_trajectory(["p1"], ["p1", "p2"], ["x"], answer="Rome", id="twice", task=two, queries=["a", "a", "b"])
    first, second = a_tree(right, cut, id="first"), a_tree(twice, id="second")
    store.record_trees([first], run=run, update=0)
    store.record_trees([second], run=run, update=1)
    missing = Scores.missing("the judge timed out")
    store.record_scores([first], [[named(Scores.trajectory(1.0)), named(Scores.trajectory(0.5))]], run=run)
    store.record_scores([second], [[named(missing)]], run=run)
    return run


def test_searches_know_their_hits_and_the_gold_among_them(store: Store, searched: str):
    columns = "trajectory, step, query, hits, gold_hits, new_gold, hit_ids"
    rows = store.sql(f"select {columns} from searches where run = $run order by trajectory, step", run=searched)
    # gold pages are p1 and p2; p1 is new only once in a trajectory
    assert rows.to_numpy().tolist() == [
        ["right", 0, "capital of France", 2, 1, 1, '["p1", "x"]'],
        ["twice", 0, "a", 1, 1, 1, '["p1"]'],
        ["twice", 1, "a", 2, 2, 1, '["p1", "p2"]'],
        ["twice", 2, "b", 1, 0, 0, '["x"]'],
    ]


def test_searches_by_update_by_hand(store: Store, searched: str):
    # update 0: 1 search over 2 trajectories, 1 gold page; update 1: 3 searches, one of them repeated, 2 gold pages
    assert store.searches_by_update(searched).to_numpy().tolist() == [
        [0, 1, 2, 0.5, 0.0, 0.5],
        [1, 2, 1, 3.0, 1.0, 2.0],
    ]


def test_means_by_update_and_by_hops_by_hand(store: Store, searched: str):
    by_update = store.mean_return_by_update(searched)
    assert by_update.columns.tolist() == ["update", "part", "mean_return", "scored", "missing"]
    assert by_update.iloc[0].tolist() == [0, "ExactMatch", 0.75, 2, 0]
    assert math.isnan(by_update.mean_return[1]) and by_update.missing[1] == 1
    by_hops = store.mean_by_hops(searched)
    assert by_hops[["update", "hops", "scored", "missing"]].to_numpy().tolist() == [[0, 1, 2, 0], [1, 2, 0, 1]]


def test_ends_by_update_by_hand(store: Store, searched: str):
    frame = store.ends_by_update(searched)
    assert frame[["trajectories", "answered", "truncated"]].to_numpy().tolist() == [[2, 1, 1], [1, 1, 0]]


def test_groups_by_spread_by_hand(store: Store, searched: str):
    # returns 1 and 0.5: mean 0.75, population deviation 0.25; the other group has no return at all
    rows = store.groups_by_spread(searched)
    assert rows.group_id.tolist() == ["first", "second"]
    assert (rows.mean_return[0], rows.spread[0]) == (0.75, 0.25)
    assert len(store.groups_by_spread(searched, limit=1)) == 1


def test_a_group_with_an_infinite_return_has_no_spread_and_hides_no_other(store: Store):
    run = store.start_run({})
    trees = [a_tree(*(a_trajectory(None, id=name) for name in "ab"), id=id) for id in ("endless", "plain")]
    store.record_trees(trees, run=run)
    paid = [[math.inf, 0.0], [1.0, 0.0]]
    store.record_scores(trees, [[named(Scores.trajectory(value)) for value in row] for row in paid], run=run)
    rows = store.groups_by_spread(run)
    assert rows.group_id.tolist() == ["plain", "endless"]
    assert rows.spread[0] == 0.5 and math.isnan(rows.spread[1])
    tasks = store.browsing.tasks(run).rows
    assert [(row["trajectories"], row["spread"]) for row in tasks] == [(4, None)]


def test_siblings_from_a_fork_are_a_group_of_their_own(store: Store):
    whole = [a_trajectory(None, None, id=name) for name in "ab"]
    forked = [
        Trajectory(f"c{n}", whole[0].task, (whole[0].steps[0], whole[n].steps[1]), End.ANSWERED, fork=1) for n in (0, 1)
    ]
    run = store.start_run({})
    store.record_trees([a_tree(*whole, *forked)], run=run)
    rows = store.sql("select trajectory, group_id from trajectories where run = $run order by number", run=run)
    assert rows.group_id.tolist() == ["tree", "tree", "tree#1", "tree#1"]


def test_calls_can_be_asked_even_where_they_hold_what_json_lacks(store: Store):
    call = Call("search", {"query": "a\0b", "k": math.inf}, error="\ud800", cost=math.nan)
    run = store.start_run({})
    trajectory = Trajectory("t", a_task(), (Step("s", "x", (call,)),), End.FAILED)
    store.record_trees([a_tree(trajectory)], run=run)
    query = "select calls->>'$[0].tool' as tool, json_valid(calls) as valid from steps where run = $run"
    assert store.sql(query, run=run).to_numpy().tolist() == [["search", True]]


# ---------------------------------------------------------------- SQL that a person types


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_every_table_has_the_columns_that_are_documented(store: Store, relation):
    found = store.sql(f"describe {relation.name}")
    documented = [(column.name, column.type) for column in relation.columns]
    assert list(zip(found.column_name, found.column_type, strict=True)) == documented
    told = store.tables(relation.name)
    assert all(column.name in told and column.meaning in told for column in relation.columns)
    assert told in store.tables()


def test_show_lists_what_is_documented(store: Store):
    assert sorted(store.sql("show tables").name) == sorted(relation.name for relation in RELATIONS)


@pytest.mark.parametrize(
    "query",
    [
        "select 1 as x",
        "with a as (select 1 as x) select * from a",
        "from runs",
        "describe scores",
        "summarize runs",
        "explain select 1",
        "select $x as x",
        "-- a comment\nselect 1 as x;",
    ],
)
def test_questions_are_answered(store: Store, query: str):
    assert store.sql(query, **({"x": 1} if "$x" in query else {})) is not None


@pytest.mark.parametrize(
    "query",
    [
        "insert into runs values (1)",
        "delete from scores_log",
        "update edits set new = 0",
        "drop table trees",
        "create table mine (i int)",
        "alter table trees add column i int",
        "copy (select 1) to 'out.csv'",
        "attach 'other.db'",
        "set threads = 1",
        "call lake.set_option('parquet_compression', 'gzip')",
        "checkpoint",
    ],
)
def test_a_change_is_refused_with_what_to_do_instead(store: Store, query: str):
    with pytest.raises(StoreError, match=r"sql\(\) only reads, and this is [A-Z_]+: .*record_scores\(\) adds"):
        store.sql(query)


def test_a_change_dressed_as_a_question_is_refused_by_the_connection(store: Store):
    with pytest.raises(StoreError, match="read-only"):
        store.sql("from ducklake_expire_snapshots('lake', older_than => now())")


def test_two_statements_and_none_are_refused(store: Store):
    for query in ("select 1; select 2", ""):
        with pytest.raises(StoreError, match="one statement at a time"):
            store.sql(query)


def test_an_unknown_table_is_named_with_the_nearest_and_all_there_are(store: Store):
    with pytest.raises(UnknownName, match=r"no table 'score' in the lab.*known: .*scores.*Did you mean 'scores'\?"):
        store.sql("select * from score")


def test_a_variable_is_not_a_table(store: Store):
    query = "select * from query"  # a name inside the store's own code
    with pytest.raises(UnknownName, match="no table 'query'"):
        store.sql(query)


@pytest.mark.parametrize("query", ["selec 1", "select nothing from runs", "select $x", "select 1/'a'"])
def test_what_duckdb_refuses_is_told_in_its_words(store: Store, query: str):
    with pytest.raises(StoreError, match="Error"):
        store.sql(query)


@pytest.mark.embedded("about what lies in the folder")
def test_no_lab_is_made_among_other_files(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "data").mkdir()
    with pytest.raises(StoreError, match=r"is no lab, and holds other things \(thesis.tex\); give a folder of its own"):
        open_store(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "thesis.tex"]
    hidden = tmp_path / "own"
    hidden.mkdir()
    (hidden / ".gitignore").write_text("*")
    open_store(hidden).close()
