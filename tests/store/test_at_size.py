"""The ten questions of tests/bench/bench_size.py, on a log of a few thousand steps: every contender says the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.bench.big_lab import GROUP, GROUPS, Size, edit_some, updates
from tests.bench.size_files import JSONL, LAB, PLAIN, copied, made
from tests.bench.size_pandas import Frames, in_pandas
from tests.bench.size_questions import QUESTIONS, Asked, difference, jsonl, ours, parameters, plain_parquet, told_by
from workbench.store import Store, open_store

pytestmark = pytest.mark.embedded("copies its files")

SIZE = Size(4 * GROUP * GROUPS, runs=2, page_words=8, thought_words=12)  # two updates a run, 3,800 steps


@dataclass(frozen=True)
class Log:
    """One log in three forms, and what is asked about it."""

    folder: Path
    store: Store
    told: dict[str, Any]
    ours: Asked
    pandas: Asked


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    folder = tmp_path_factory.mktemp("size")
    made(folder, SIZE)
    with open_store(folder / LAB) as store:
        [row] = store.sql("select run, update, task, tree, trajectory from trajectories offset 100 limit 1").to_dict(
            "records"
        )
        told = parameters(row["run"], row["tree"], row["trajectory"])
        plainly = in_pandas(Frames(folder / JSONL, told))
        yield Log(folder, store, told, ours(store, told, row["task"], row["update"]), plainly)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_store_says_what_a_plain_computation_says(log: Log, question: str):
    answer = told_by(log.ours[question]())
    assert answer, "a question that nothing answers compares nothing"
    assert difference(answer, told_by(log.pandas[question]())) == ""


@pytest.mark.parametrize("other", ["parquet", "jsonl"])
def test_duckdb_over_plain_files_says_the_same(log: Log, other: str):
    asked = plain_parquet(log.folder / PLAIN, log.told) if other == "parquet" else jsonl(log.folder / JSONL, log.told)
    for question in QUESTIONS:
        assert difference(told_by(log.ours[question]()), told_by(asked[question]())) == "", question


def test_the_log_holds_what_the_questions_are_about(log: Log):
    counts = log.store.sql(
        """
        select (select count(*) from steps)                         as steps,
               (select count(*) from steps where ids is null)       as without_ids,
               (select count(distinct run) from trees)              as runs,
               (select count(distinct part) from scores)            as parts,
               (select count(*) from scores where value is null)    as missing,
               (select count(*) from rewards)                       as versions,
               (select count(*) from labels)                        as labels
        """
    ).iloc[0]
    assert 3_000 < counts["steps"] < 5_000
    assert (counts["runs"], counts["parts"], counts["versions"], counts["without_ids"]) == (2, 8, 2, 0)
    assert counts["missing"] > 0 and counts["labels"] > 0


def test_an_update_depends_on_its_number_alone():
    first, again = (next(iter(updates(SIZE))) for _ in range(2))
    assert first.trees == again.trees
    assert all(a.same_as(b) for a, b in zip(first.scores[1][0], again.scores[1][0], strict=True))


def test_edits_are_in_force_and_change_the_answer_by_what_they_changed(log: Log, tmp_path: Path):
    copied(log.folder / LAB, tmp_path / "lab")
    with open_store(tmp_path / "lab") as store:
        before = store.sql("select part, sum(value) as value from scores group by part order by part")
        assert edit_some(store, 200) == 200
        edited = store.sql("select part, sum(new - old) as value from edits group by part").set_index("part").value
        after = store.sql("select part, sum(value) as value from scores group by part order by part")
    expected = before.set_index("part").value.add(edited, fill_value=0.0)
    pd.testing.assert_series_equal(after.set_index("part").value, expected, check_names=False)
