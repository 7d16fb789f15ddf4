"""Another reward over what a lab holds: a new version, in batches, that an interruption does not lose."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

import workbench as wb
from tests.builders import a_task, a_trajectory, a_tree
from workbench import rescoring
from workbench.cli import main
from workbench.errors import MissingGold, SettingError, StoreError, UnknownRun
from workbench.rewards import Reward
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.store import Store, open_store
from workbench.trajectory import Group, Trajectory, Tree


@part
class Stops(Reward):
    """Pays the answer Paris; stops at the first question of task `at`, as a person or a failure would."""

    at: str = ""
    stopping: ClassVar[bool] = False

    def score(self, trajectory: Trajectory) -> Scores:
        if type(self).stopping and trajectory.task.id == self.at:
            raise KeyboardInterrupt
        return Scores.trajectory(float(trajectory.answer == "Paris"))


@part
class Watches(Reward):
    """Pays nothing; notes how many trees the lab's tables hold scores of when it comes to a trajectory."""

    other: ClassVar[Store]
    seen: ClassVar[list[int]] = []

    def score(self, trajectory: Trajectory) -> Scores:
        self.seen.append(int(self.other.sql("select count(*) as n from scorings").n[0]))
        return Scores.trajectory(0.0)


@part
class Siblings(Reward):
    """Pays the number of trajectories that a trajectory is compared with."""

    level = Level.GROUP

    def score_group(self, group: Group) -> list[Scores]:
        return [Scores.trajectory(float(len(group)), level=Level.GROUP) for _ in group]


@part
class Judge(Reward):
    """Fails on Lyon, and says nothing of what has no answer."""

    def score(self, trajectory: Trajectory) -> Scores:
        if trajectory.answer is None:
            return Scores.unscored(1, level=Level.TRAJECTORY)
        return Scores.missing("no reply") if trajectory.answer == "Lyon" else Scores.trajectory(1.0)


def tree(id: str, answers: tuple[str | None, ...] = ("Paris", "Lyon")) -> Tree:
    task = a_task(id)
    return a_tree(*[a_trajectory(["p1"], answer=a, id=f"t{n}", task=task) for n, a in enumerate(answers)], id=id)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with two runs: r1 with trees of two updates, r2 with one."""
    folder = tmp_path_factory.mktemp("rescoring") / "lab"
    with open_store(folder) as store:
        r1, r2 = store.start_run({}), store.start_run({})
        store.record_trees([tree("a"), tree("b")], run=r1)
        store.record_trees([tree("c")], run=r1, update=1)
        store.record_trees([tree("a")], run=r2)
    return folder


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> Iterator[Store]:
    with open_store(shutil.copytree(recorded, tmp_path / "lab")) as store:
        yield store


def returns(store: Store, run: str) -> dict[str, list[float]]:
    found = store.sql("select tree, value from returns where run = $run order by tree, trajectory", run=run)
    return {name: rows.value.tolist() for name, rows in found.groupby("tree")}


def test_a_new_version_takes_force_and_earlier_ones_stay(store: Store):
    first = wb.rescore(store, wb.ExactMatch(), "r1", progress=False)
    assert (first.runs, first.trees, first.kept, first.trajectories) == (("r1",), 3, 0, 6)
    assert returns(store, "r1") == {"a": [1, 0], "b": [1, 0], "c": [1, 0]}
    second = wb.rescore(store, 2.0 * wb.ExactMatch(), "r1", progress=False)
    assert returns(store, "r1") == {"a": [2, 0], "b": [2, 0], "c": [2, 0]}
    trees = store.trees("r1")
    assert store.scores("r1", trees, first.version)[0][0].value == 1.0
    assert store.reward(second.version) == 2.0 * wb.ExactMatch()
    # scores stand at the update of their tree
    rows = store.sql("select distinct tree, update from scores where run = 'r1' order by tree")
    assert rows.to_numpy().tolist() == [["a", 0], ["b", 0], ["c", 1]]
    found = store.compare(first.version, second.version)
    assert found.parts.up.iloc[-1] == 3 and found.trees == 3


def test_what_is_in_force_is_not_scored_again_until_another_version_was(store: Store):
    wb.rescore(store, wb.ExactMatch(), "r1", progress=False)
    again = wb.rescore(store, wb.ExactMatch(), "r1", progress=False)
    assert (again.trees, again.kept, again.trajectories) == (0, 3, 0)
    wb.rescore(store, Siblings(), "r1", progress=False)
    back = wb.rescore(store, wb.ExactMatch(), "r1", progress=False)  # puts it back in force
    assert (back.trees, back.kept, back.version) == (3, 0, again.version)
    assert returns(store, "r1")["a"] == [1, 0]


def test_runs_and_updates_can_be_chosen(store: Store):
    assert wb.rescore(store, Siblings(), progress=False).runs == ("r1", "r2")
    assert wb.rescore(store, wb.ExactMatch(), ["r2", "r1"], update=0, progress=False).trees == 3
    assert set(store.sql("select tree from scores where part = 'ExactMatch'").tree) == {"a", "b"}
    with pytest.raises(UnknownRun, match="no run 'r3'"):
        wb.rescore(store, wb.ExactMatch(), ["r1", "r3"], progress=False)
    assert len(store.versions()) == 2  # an unknown run is told before anything is scored
    with pytest.raises(StoreError, match="r1 holds no trees of update 7; there is nothing to score"):
        wb.rescore(store, wb.ExactMatch(), "r1", update=7)


def test_a_reward_that_compares_siblings_gets_whole_groups(store: Store):
    wb.rescore(store, Siblings(), "r1", progress=False)
    assert returns(store, "r1") == {"a": [2, 2], "b": [2, 2], "c": [2, 2]}


def test_missing_and_not_applicable_are_counted(store: Store):
    run = store.start_run({})
    store.record_trees([tree("a", ("Paris", "Lyon", None))], run=run)
    done = wb.rescore(store, Judge(), run, progress=False)
    assert (done.trajectories, done.missing, done.not_applicable) == (3, 1, 1)


def test_an_interruption_loses_nothing_and_the_same_call_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rescoring, "AT_ONCE", 4)  # two trees
    monkeypatch.setattr(Stops, "stopping", True)
    with pytest.raises(KeyboardInterrupt):
        wb.rescore(store, Stops("c"), "r1", progress=False)
    assert store.sql("select tree from scorings order by tree").tree.tolist() == ["a", "b"]
    monkeypatch.setattr(Stops, "stopping", False)
    done = wb.rescore(store, Stops("c"), "r1", progress=False)
    assert (done.trees, done.kept) == (1, 2)
    counts = store.sql("select tree, count(*) as n from scorings group by tree order by tree")
    assert counts.to_numpy().tolist() == [["a", 1], ["b", 1], ["c", 1]]


def test_a_batch_is_on_disk_before_the_next_is_scored(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rescoring, "AT_ONCE", 4)
    with open_store(store.path) as other:
        monkeypatch.setattr(Watches, "other", other, raising=False)
        wb.rescore(store, Watches(), "r1", progress=False)
    assert Watches.seen == [0, 0, 0, 0, 2, 2]  # two trees, then the third


def test_batches_hold_whole_trees_and_no_more_than_asked(store: Store):
    found = store.batches("r1", trajectories=3)
    assert [[one.id for one in trees] for trees in found] == [["a", "b"], ["c"]]  # two of four: whole trees
    assert found.update_of == {"a": 0, "b": 0, "c": 1}
    assert [len(trees) for trees in store.batches("r1", trajectories=1)] == [1, 1, 1]
    assert [len(trees) for trees in store.batches("r1", 0)] == [2]
    some = store.batches("r1", only={"b", "c"})
    assert (some.left, some.held) == (2, 1)
    assert [one.id for trees in some for one in trees] == ["b", "c"]
    assert [one.run for trees in store.batches("r2") for one in trees] == ["r2"]


def test_what_cannot_be_scored_or_kept_is_told(store: Store):
    with pytest.raises(SettingError, match="cannot be stored as a setting"):
        wb.rescore(store, wb.reward_of(lambda trajectory: 1.0), "r1")
    bare = a_tree(a_trajectory(["p1"], answer="Paris", task=a_task("bare", gold_pages=())), id="bare")
    run = store.start_run({})
    store.record_trees([bare], run=run)
    with pytest.raises(MissingGold):
        wb.rescore(store, wb.CoverageGain(), run, progress=False)
    with open_store(store.path.parent / "empty") as empty, pytest.raises(StoreError, match="the lab holds no trees"):
        wb.rescore(empty, wb.ExactMatch())


def test_the_command_scores_in_batches_and_goes_on(store: Store, capsys: pytest.CaptureFixture[str]):
    command = ["score", "r1", "ExactMatch() + 0.5 * CoverageGain()", "--lab", str(store.path)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "on 3 trees of run r1\n" in said and "What moved" not in said
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line}
    # each tree: Paris and Lyon, so 1 and 0; both found one of two gold pages, once: 0.5
    assert rows["ExactMatch"] == ["ExactMatch", "1", "0.500", "0.500", "to", "0.500", "6", "0", "0"]
    assert rows["CoverageGain"][1:3] == ["0.5", "0.500"] and rows["total"][2] == "0.750"
    assert main(command) == 0
    assert "on 3 trees of run r1, 3 of them scored by it before" in capsys.readouterr().out
    assert main(["score", "r1", "TokenF1()", "--lab", str(store.path)]) == 0
    assert "compare(run='r1')" in capsys.readouterr().out
