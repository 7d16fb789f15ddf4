"""Labs of other schemas: what opening them says, what migrating does, and that it can be interrupted and undone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.builders import a_trajectory, a_tree
from tests.store.trees import facts
from workbench.cli import main
from workbench.errors import StoreError
from workbench.scores import Part, Scores
from workbench.store import lake, migrating, open_store
from workbench.store.migrating import migrate
from workbench.store.rows import tree_rows
from workbench.store.schema import VERSION
from workbench.store.scoring import score_rows
from workbench.trajectory import Tree

pytestmark = pytest.mark.embedded("starts from a SQLite catalog")

SCHEMA_ONE = Path(__file__).with_name("schema_one.sql")
TREES = [
    a_tree(*(a_trajectory(["p1"], answer=f"{n}", id=f"{n}.{g}", tokens=4) for g in range(2)), id=f"tree-{n}")
    for n in range(40)
]


def summed() -> Scores:
    """A sum of two; in schema 1 the names of the parts were the names of their scores."""
    exact = replace(Scores.trajectory(1.0, "as asked"), name="ExactMatch")
    gain = replace(Scores.steps([0.5, 0.25]), name="Gain")
    return replace(Scores.trajectory(1.25), parts=(Part("ExactMatch", 1.0, exact), Part("Gain", 0.5, gain, "step")))


SCORES = [[summed(), replace(Scores.trajectory(0.0), name="ExactMatch")] for _ in TREES]


def without_own_names(rows: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Scorings as schema 1 kept them: five elements a part."""
    told = [json.loads(text) for text in rows["scorings"].column("shapes").to_pylist()]
    for one in told:
        one["shapes"] = [[part[:5] for part in shape] for shape in one["shapes"]]
    at = rows["scorings"].column_names.index("shapes")
    return {**rows, "scorings": rows["scorings"].set_column(at, "shapes", pa.array(map(json.dumps, told)))}


def statements(text: str) -> Iterator[str]:
    for one in text.split(";\n"):
        if one.strip():
            yield one


@pytest.fixture(scope="module")
def made_by_the_first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of schema 1 with forty trees, as the first workbench wrote it."""
    lab = tmp_path_factory.mktemp("first") / "lab"
    lab.mkdir()
    (lab / "write.lock").touch()
    make_first(lab)
    return lab


def make_first(lab: Path) -> None:
    """Fill an empty lake as the first workbench did."""
    with contextlib.closing(lake.connect(lab, read_only=False)) as connection:
        for statement in statements(SCHEMA_ONE.read_text()):
            connection.execute(statement)
        connection.execute("insert into lab values (1, now()::timestamp)")
        connection.execute("insert into run_events values ('one', 'start', null, '{}', now()::timestamp)")
        tables = tree_rows(TREES, run="one", update=3).tables
        scored = score_rows(TREES, SCORES, run="one", update=3, settings="{}", code="")
        for name, table in (tables | without_own_names(scored.tables)).items():
            connection.register("incoming", table)
            connection.execute(f"insert into {name} by name select * from incoming")
            connection.unregister("incoming")


@pytest.fixture
def old(made_by_the_first: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_by_the_first, tmp_path / "lab")


def rows_on_disk(lab: Path) -> dict[str, str]:
    """The bytes of every file of rows, hashed."""
    files = sorted((lab / "data").rglob("*.parquet"))
    return {str(file.relative_to(lab)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def holds_everything(lab: Path) -> None:
    with open_store(lab) as store:
        found: list[Tree] = store.trees("one")
        assert [facts(tree) for tree in found] == [facts(tree) for tree in TREES]
        for tree_scores, given in zip(store.scores("one", found), SCORES, strict=True):
            assert all(score.same_as(wanted) for score, wanted in zip(tree_scores, given, strict=True))
            names = [part.scores.name for part in tree_scores[0].parts], tree_scores[1].name
            assert names == (["ExactMatch", "Gain"], "ExactMatch")
        mean = store.sql("select avg(value) as mean from returns where trajectory like '%.0'")
        assert mean["mean"][0] == 1.375  # 1 + 0.5 * (0.5 + 0.25)
        assert store.sql("select max(version) as version from lab")["version"][0] == VERSION


# ---------------------------------------------------------------- what opening says


def test_an_older_lab_is_not_opened_and_the_error_says_what_to_run(old: Path):
    with pytest.raises(StoreError, match=rf"has schema 1, .* Run: workbench migrate {old}"):
        open_store(old)


def test_a_newer_lab_asks_for_a_newer_workbench(lab: Path):
    with contextlib.closing(lake.connect(lab, read_only=False)) as connection:
        connection.execute(f"insert into lab values ({VERSION + 7}, now()::timestamp)")
    for attempt in (open_store, migrate):
        with pytest.raises(StoreError, match=f"has schema {VERSION + 7}, of a newer workbench.*pip install --upgrade"):
            attempt(lab)


def test_there_is_a_step_for_every_version():
    assert sorted(migrating.STEPS) == list(range(1, VERSION))


# ---------------------------------------------------------------- migrating


def test_an_older_lab_is_migrated_and_its_rows_stay_as_they_were(old: Path, capsys: pytest.CaptureFixture[str]):
    before = rows_on_disk(old)
    assert before and main(["migrate", str(old)]) == 0
    assert f"schema 1 -> {VERSION}; as it was before: {old}/backups/schema-1-" in capsys.readouterr().out
    assert rows_on_disk(old) == before
    holds_everything(old)
    assert main(["migrate", str(old)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_what_is_recorded_after_it_stands_beside_what_was(old: Path):
    migrate(old)
    with open_store(old) as store:
        run = store.start_run({})
        store.record_trees(TREES[:2], run=run)
        store.record_scores(TREES[:2], SCORES[:2], run=run)
        store.edit("one", "tree-0", "0.0", "Gain", 0.75, "seen", step=0)
        assert store.scores(run, TREES[:2])[0][0].same_as(summed())
        assert store.sql("select count(*) as n from edits")["n"][0] == 1
    assert [path.suffix for path in (old / "backups").iterdir()] == [""]


def test_the_backup_is_the_lab_as_it_was(old: Path, tmp_path: Path):
    before = rows_on_disk(old)
    backup = migrate(old).backup
    assert backup is not None and rows_on_disk(backup) == before
    with open_store(old) as store:  # what happens later in the lab does not reach it
        store.tidy()
    back = backup.rename(tmp_path / "back")
    shutil.rmtree(old)
    back.rename(old)
    with pytest.raises(StoreError, match="has schema 1"):
        open_store(old)
    migrate(old)
    holds_everything(old)


def test_an_interrupted_migration_leaves_the_old_lab_and_can_be_run_again(old: Path, monkeypatch: pytest.MonkeyPatch):
    whole = migrating.STEPS[1]

    def half(connection: lake.Connection) -> None:
        whole(connection)
        raise OSError("no space left on device")

    monkeypatch.setitem(migrating.STEPS, 1, half)
    with pytest.raises(StoreError, match="No row is lost; run the command again .* The lab as it was: .*backups"):
        migrate(old)
    with pytest.raises(StoreError, match="has schema 1"):
        open_store(old)
    monkeypatch.setitem(migrating.STEPS, 1, whole)
    migrate(old)
    holds_everything(old)
    with open_store(old) as store:
        assert store.sql("select version from lab order by version")["version"].tolist() == [1, 2, 3]


KILLED = """
import os, sys
from workbench.store import migrating
whole = migrating.STEPS[1]
def half(connection):
    whole(connection)
    os._exit(9)
migrating.STEPS[1] = half
migrating.migrate(sys.argv[1])
"""


def test_a_killed_migration_can_be_run_again(old: Path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(old)], capture_output=True)
    assert killed.returncode == 9, killed.stderr
    migrate(old)
    holds_everything(old)


FULL = """
import resource, sys
from workbench.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""
"""A command on a disk on which no file can grow beyond so many bytes: as a full disk refuses it."""


def test_on_a_full_disk_nothing_is_changed(old: Path):
    before = rows_on_disk(old)
    done = subprocess.run(
        [sys.executable, "-c", FULL, "65536", "migrate", str(old)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "could not be backed up, and was left as it is" in done.stderr and "Traceback" not in done.stderr
    assert rows_on_disk(old) == before and not list((old / "backups").iterdir())
    migrate(old)
    holds_everything(old)


def test_only_a_lab_is_migrated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "notes.txt").write_text("not a lab")
    assert main(["migrate", str(tmp_path)]) == 2
    assert "no lab in" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
