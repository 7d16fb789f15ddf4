"""Labs that a team shares: catalog in PostgreSQL, rows in S3 or a shared folder, several machines at once.

A machine is a folder here. `pytest --team tests/store` runs the tests of all labs on such ones; the last test of this
file runs some of them so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.store.servers import BUCKET, Servers
from tests.store.test_migrating import holds_everything, make_first
from tests.store.test_processes import ROOT, check_killed, finished, holds_once, started, writer
from tests.store.trees import facts
from tests.store.writing import tree_number
from workbench.cli import main
from workbench.errors import MissingPackage, SettingError, StoreBusy, StoreError, UnknownName, WorkbenchError
from workbench.scores import Scores
from workbench.store import extensions, join_team, lake, mending, open_store, upkeep
from workbench.store.filling import fill
from workbench.store.folding import Folder
from workbench.store.journal import packed, unpacked
from workbench.store.migrating import migrate
from workbench.store.rows import Rows, arrow, now, time_id
from workbench.store.team import NAME, Team
from workbench.store.visitor_process import connect

Machines = Callable[[], Path]


@pytest.fixture
def settings(servers: Servers) -> dict[str, str]:
    """Arguments of `join_team` for a lab that is not there yet."""
    return servers.settings(servers.new_schema())


@pytest.fixture(scope="module")
def template(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Team:
    return join_team(tmp_path_factory.mktemp("template") / "lab", **servers.settings("template")).place


@pytest.fixture
def machine(servers: Servers, template: Team, tmp_path: Path) -> Machines:
    """Makes folders of one empty lab, one a machine."""
    schema = servers.new_schema()
    template.copy_catalog(schema)
    numbers = iter("abcdef")

    def make() -> Path:
        place = replace(template, lab=tmp_path / next(numbers), schema=schema)
        place.write()
        return place.lab

    return make


@pytest.fixture
def lab(machine: Machines) -> Path:
    return machine()


def recorded(lab: Path, *numbers: int, run: str = "one") -> None:
    with open_store(lab) as store:
        if run not in store.runs():
            store.start_run({}, name=run)
        for n in numbers:
            store.record_trees([tree_number(n)], run=run, update=n)
            store.record_scores([tree_number(n)], [[Scores.trajectory(float(n))] * 4], run=run)
            store.flush()


# ---------------------------------------------------------------- making and joining


def test_the_same_command_makes_a_lab_and_joins_it(settings: dict[str, str], tmp_path: Path, capsys: Any):
    options = [text for name, value in settings.items() for text in (f"--{name}", value)]
    for name, done in (("mine", "made"), ("yours", "joined"), ("mine", "joined")):
        assert main(["team", str(tmp_path / name), *options]) == 0
        assert capsys.readouterr().out.startswith(f"{done} the lab in host 127.0.0.1, port ")
    with open_store(tmp_path / "mine") as mine, open_store(tmp_path / "yours") as yours:
        assert [mine.start_run({}), yours.start_run({}), mine.start_run({})] == ["r1", "r2", "r3"]
        mine.record_trees([tree_number(1)], run="r2", update=1)
        mine.flush()
        assert facts(yours.trees("r2")) == facts([tree_number(1)])
    assert main(["sql", "--lab", str(tmp_path / "yours"), "select count(*) as trees from trees"]) == 0
    assert "1" in capsys.readouterr().out
    held = json.loads((tmp_path / "mine" / NAME).read_text())
    assert held == settings
    assert "sesame" not in (tmp_path / "mine" / NAME).read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"catalog": "host=db dbname=lab password=hunter2"}, "Leave it out and give it in the environment .PGPASSWORD"),
        ({"catalog": "postgresql://ann:hunter2@db/lab"}, "Leave it out and give it in the environment .PGPASSWORD"),
        ({"catalog": "mysql://db/lab"}, "a catalog is in PostgreSQL"),
        ({"schema": 'x"; drop schema y'}, "a lab's schema is a plain word"),
        ({"data": "rows"}, "rows lie in s3://BUCKET/PREFIX/ or in a folder with its whole path"),
        ({"endpoint": "minio:9000"}, r"an endpoint is http\(s\)://HOST:PORT"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, change: dict[str, str], says: str):
    given = {"catalog": "host=db dbname=lab", "data": "s3://lab/rows/"} | change
    with pytest.raises(SettingError, match=says) as refused:
        join_team(tmp_path / "lab", **given)
    assert "hunter2" not in str(refused.value)
    assert not (tmp_path / "lab").exists()


def test_an_address_may_be_a_url(tmp_path: Path):
    given = Team(tmp_path, "postgresql://ann@db.example:5433/lab?sslmode=require", "s3://lab/rows")
    assert given.catalog == "host=db.example port=5433 user=ann dbname=lab sslmode=require"
    assert given.data == "s3://lab/rows/"


def test_what_cannot_be_reached_is_named_and_no_secret_with_it(
    servers: Servers, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(**change: str) -> str:
        with pytest.raises(StoreError) as error:
            join_team(tmp_path / "lab", **{**settings, **change})
        assert not (tmp_path / "lab").exists()
        assert "sesame" not in str(error.value)
        return str(error.value)

    address = servers.postgres.address
    assert "(host 127.0.0.1, port 1," in refused(catalog=address.replace(f"port={servers.postgres.port}", "port=1"))
    assert 'database "nolab" does not exist' in refused(catalog=address.replace("dbname=lab", "dbname=nolab"))
    assert "NoSuchBucket" in refused(data="s3://nobucket/rows/") or "404" in refused(data="s3://nobucket/rows/")
    assert "Could not connect to server" in refused(endpoint="http://127.0.0.1:1")
    assert "there is no folder '/nowhere/rows/' on this machine" in refused(data="/nowhere/rows", endpoint="")
    monkeypatch.setenv("PGPASSWORD", "sesame-but-wrong")
    assert "password authentication failed" in refused()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_SECRET_ACCESS_KEY are not in the environment" in refused()


def test_a_key_may_hold_any_character(lab: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", 'it\'s a \\ "sesame"; --')
    recorded(lab, 1)
    holds_once(lab, "one", [1])


def test_a_lab_with_rows_elsewhere_is_not_joined_and_rows_without_a_catalog_are_not_taken_over(
    servers: Servers, lab: Path, tmp_path: Path
):
    recorded(lab, 1)
    place = Team.read(lab)
    given = {"catalog": place.catalog, "endpoint": place.endpoint}
    with pytest.raises(StoreError, match=f"its rows lie in s3://{BUCKET}/template/, and {NAME} says s3://lab/other/"):
        join_team(tmp_path / "second", data="s3://lab/other/", schema=place.schema, **given)
    with pytest.raises(StoreError, match="holds . files of rows, and the database no lab to which they belong|holds"):
        join_team(tmp_path / "third", data=place.data, schema="another", **given)
    with pytest.raises(StoreError, match="Could not connect to server"):  # rows are tried, not only the catalog
        join_team(tmp_path / "fourth", place.catalog, place.data, schema=place.schema, endpoint="http://127.0.0.1:1")
    with pytest.raises(StoreError, match="says otherwise"):
        join_team(lab, data=place.data, schema="another", **given)


def test_a_database_without_the_lab_is_never_taken_for_an_empty_one(servers: Servers, lab: Path):
    recorded(lab, 1)
    servers.postgres.sql(f"alter schema {Team.read(lab).schema} rename to away")
    with pytest.raises(StoreError, match="holds no lab in its schema .*restore it from its backup"):
        open_store(lab)
    servers.postgres.sql(f"alter schema away rename to {Team.read(lab).schema}")
    holds_once(lab, "one", [1])


def test_a_folder_with_a_lab_of_its_own_stays_that(settings: dict[str, str], tmp_path: Path):
    open_store(tmp_path / "lab").close()
    with pytest.raises(StoreError, match="holds a lab of its own. Choose another folder"):
        join_team(tmp_path / "lab", **settings)


def test_a_settings_file_that_is_not_understood_says_what_belongs_in_it(tmp_path: Path):
    for text in ("{", '{"catalog": "host=db"}', '{"catalog": "dbname=lab", "data": "s3://a/b", "password": "x"}'):
        (tmp_path / NAME).write_text(text)
        with pytest.raises(StoreError, match="is not understood.*catalog, data, schema, endpoint, region, url_style"):
            open_store(tmp_path)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extensions.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"run: pip install 'reward-workbench\[postgres\]'"):
        extensions.extension_file("postgres")


def test_rows_may_lie_in_a_shared_folder(servers: Servers, tmp_path: Path):
    (tmp_path / "shared").mkdir()
    given = {"catalog": servers.postgres.address, "schema": servers.new_schema()}
    for name in ("a", "b"):
        join_team(tmp_path / name, data=str(tmp_path / "shared"), **given)
    recorded(tmp_path / "a", 1)
    recorded(tmp_path / "b", 2)
    holds_once(tmp_path / "a", "one", [1, 2])
    assert list((tmp_path / "shared").rglob("step_rows/*.parquet"))
    assert not list(tmp_path.glob("[ab]/**/*.parquet"))


# ---------------------------------------------------------------- several machines


def test_two_machines_write_at_once_and_nothing_is_lost_or_doubled(machine: Machines):
    first, second = machine(), machine()
    with open_store(first) as store:
        store.start_run({}, name="one")
        writing = [writer(lab, "one", n, 6) for lab, n in ((first, 0), (second, 100), (second, 200))]
        seen = []
        while any(process.poll() is None for process in writing):
            seen.append(store.sql("select count(*) as n from trees").n[0])
            time.sleep(0.05)
        assert seen == sorted(seen)
    assert all(len(finished(process)) == 6 for process in writing)
    holds_once(second, "one", [n + k for n in (0, 100, 200) for k in range(6)])


@pytest.mark.slow
def test_writers_killed_at_any_moment_leave_all_that_they_acknowledged_and_nothing_twice(machine: Machines):
    first, second = machine(), machine()
    with open_store(first) as store:
        store.start_run({}, name="killed")
    lines = finished(started("-m", "tests.store.killing", first, "killed", 20, 7))
    check_killed(first, "killed", lines)
    assert finished(writer(second, "killed", 1, 1)) == ["tree-1"]  # no lock was left behind


def test_edits_and_labels_of_one_machine_show_on_the_other_and_the_past_stays(machine: Machines):
    first, second = machine(), machine()
    recorded(first, 1)
    with open_store(first) as mine, open_store(second) as yours:
        before = yours.snapshots().snapshot.max()
        mine.edit("one", "tree-1", "1.0", "reward", 0.5, "half of it", who="ann")
        mine.label("one", "tree-1", "1.0", "correct", 1.0, 'back\\slash, "quotes", \0 and \ud800', who="bob")
        mine.flush()
        assert yours.history("one").who.tolist()[1:] == ["ann", "bob"]
        assert yours.history("one").why.tolist()[1:] == ["half of it", 'back\\slash, "quotes", \0 and \ud800']
        query = "select value from scores where trajectory = '1.0'"
        assert yours.sql(query).value.tolist() == [0.5]
        with yours.at(int(before)) as past:
            assert past.sql(query).value.tolist() == [1.0]
            assert len(past.sql("from labels")) == 0


def test_tidying_keeps_every_row_every_older_version_and_the_files_that_someone_reads(servers: Servers, lab: Path):
    recorded(lab, *range(5))
    with open_store(lab) as store:
        before = int(store.snapshots().snapshot.max())
        files = set(servers.s3.names())
        store.tidy()
        assert facts(store.trees("one")) == facts([tree_number(n) for n in range(5)])
        assert len(store.sql("from ducklake_list_files('lake', 'step_rows')")) == 1
        assert files <= set(servers.s3.names())
        with store.at(before - 1) as past:
            assert len(past.trees("one")) in (4, 5)
        assert mending.check(lab).whole


# ---------------------------------------------------------------- the lock


def writing(lab: Path) -> contextlib.closing[lake.Connection]:
    return contextlib.closing(lake.connect(lab, read_only=False))


def test_the_lock_names_its_holder_and_goes_with_it(machine: Machines):
    first, second = machine(), machine()
    code = f"""
import time
from pathlib import Path
from workbench.store import lake
with lake.locked(Path({str(first)!r}), deadline_s=5.0):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = started("-c", code)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    named = rf"process {holder.pid} on .* has held it since"
    with pytest.raises(StoreBusy, match=named), lake.locked(second, deadline_s=0.2):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with lake.locked(second, deadline_s=30.0):
        pass


def test_a_commit_that_read_what_is_no_longer_true_is_not_made(lab: Path):
    """The lock's connection may drop while a commit is under way, and another process be let in."""
    with writing(lab) as one, writing(lab) as other:
        with pytest.raises(duckdb.Error, match="Exceeded the maximum retry count"), lake.transaction(one):
            assert one.execute("select count(*) from runs").fetchall() == [(0,)]
            one.execute("insert into run_events values ('r1', 'start', null, '{}', now()::timestamp)")
            other.execute("insert into run_events values ('r1', 'start', null, '{}', now()::timestamp)")
        assert one.execute("select count(*) from runs").fetchall() == [(1,)]


def test_a_writer_whose_lock_was_ended_by_the_server_still_writes_once(servers: Servers, lab: Path):
    recorded(lab, 1)
    with open_store(lab) as store:
        store.record_trees([tree_number(2)], run="one", update=2)
        for _ in range(3):
            ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'workb%'"
            servers.postgres.sql(ended)
            with contextlib.suppress(StoreError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                store.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            store.flush()
        assert [tree.id for tree in store.trees("one")] == ["tree-1", "tree-2"]


def test_records_that_a_killed_process_committed_after_all_are_not_folded_again(lab: Path):
    """The server may go on with a commit whose process was killed, after the next one asked how far it had come."""
    row = (time_id(), "ann", "r1", "t", "t.0", None, "correct", 1.0, "", now())
    rows = Rows("r1", {"labels": arrow("labels", [row])})
    rows = unpacked(memoryview(packed(rows))[16:])
    with writing(lab) as one, writing(lab) as other:
        assert Folder(one).fold([(rows, 100)], "j", 100) == []
        assert Folder(other).fold([(rows, 100), (rows, 200)], "j", 200, doubtful=True) == []
        assert one.execute("select count(*) from labels").fetchall() == [(2,)]
        assert Folder(one).position("j") == 200


# ---------------------------------------------------------------- servers that are away


@pytest.mark.parametrize("away", ["postgres", "s3"])
def test_while_a_server_is_away_rows_wait_and_come_in_when_it_is_back(servers: Servers, lab: Path, away: str):
    server: Any = getattr(servers, away)
    recorded(lab, 1)
    with open_store(lab, lock_timeout_s=2.0) as store:
        assert len(store.trees("one")) == 1
        server.stop()
        try:
            store.record_trees([tree_number(2)], run="one", update=2)
            with pytest.raises(StoreError, match="(?s)rows could not be written.*What was recorded is safe in") as told:
                store.flush()
            store.record_trees([tree_number(3)], run="one", update=3)  # still acknowledged, and nothing is said again
            if away == "postgres":
                with pytest.raises(StoreError, match="cannot be reached.* port .* failed"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    store.runs()
                with pytest.raises(StoreError, match=r"\(host 127.0.0.1, port .*cannot be reached.*Check that"):
                    open_store(lab)
        finally:
            server.start()
        assert "sesame" not in str(told.value)
        store.flush()
        assert [tree.id for tree in store.trees("one")] == ["tree-1", "tree-2", "tree-3"]
    assert not list((lab / "journal").glob("*.journal"))


# ---------------------------------------------------------------- visitors


def test_visitors_are_answered_and_reach_nothing_but_the_lab(servers: Servers, lab: Path):
    recorded(lab, 1, 2)
    servers.s3.client.put_object(Bucket=BUCKET, Key="secret.csv", Body=b"a\ncanary\n")
    with open_store(lab) as store:

        def asked(sql: str) -> list[dict]:
            return store.visitors.ask(sql).answer().table.to_pylist()

        assert asked("select count(*) as n from steps") == [{"n": 16}]
        assert asked("select part, avg(value) as mean from scores group by part") == [{"part": "reward", "mean": 1.5}]
        address = servers.postgres.address
        for sql in (
            "from postgres_query('__ducklake_metadata_lake', 'select 1')",
            f"from postgres_scan('{address}', 'public', 'x')",
            f"from postgres_scan_pushdown('{address}', 'public', 'x')",
            "select postgres_execute('__ducklake_metadata_lake', 'drop schema public')",
            "call postgres_execute('__ducklake_metadata_lake', 'drop schema public')",
            f"attach '{address}' as w (type postgres)",
            "from __ducklake_metadata_lake.ducklake_metadata",
            f"from __ducklake_metadata_lake.{Team.read(lab).schema}.ducklake_metadata",
            f"from 's3://{BUCKET}/secret.csv'",
            f"from read_text('s3://{BUCKET}/template/../secret.csv')",
            f"from glob('s3://{BUCKET}/**')",
            f"from '{servers.s3.endpoint}/{BUCKET}/secret.csv'",
            "from duckdb_secrets()",
            "from duckdb_databases()",
            "select http_get('http://127.0.0.1/')",
            "select getenv('PGPASSWORD')",
            "from pg_clear_cache()",
        ):
            with pytest.raises((UnknownName, StoreError)) as refused:
                asked(sql)
            assert "canary" not in str(refused.value) and "sesame" not in str(refused.value)


def test_the_visitors_connection_alone_reaches_no_other_bucket_no_file_and_writes_nothing(servers: Servers, lab: Path):
    recorded(lab, 1)
    servers.s3.client.create_bucket(Bucket="other")
    servers.s3.client.put_object(Bucket="other", Key="secret.csv", Body=b"a\ncanary\n")
    with contextlib.closing(connect(lab, 256 * 2**20)) as hard:
        for sql in (
            "from read_csv('s3://other/secret.csv')",
            f"from read_csv('{servers.s3.endpoint}/other/secret.csv')",
            "from glob('s3://other/*')",
            "from read_text('/etc/passwd')",
            "copy (select 1) to 's3://other/out.csv'",
            f"attach '{servers.postgres.address}' as w (type postgres)",
            "call postgres_execute('__ducklake_metadata_lake', 'create table hacked (a int)')",
            "insert into lake.lab values (9, now())",
            "set enable_external_access = true",
            "install httpfs",
        ):
            with pytest.raises((duckdb.Error, WorkbenchError)):
                hard.execute(sql).fetchall()
        assert hard.execute("select count(*) from runs").fetchall() == [(1,)]


# ---------------------------------------------------------------- moving, migrating, backing up


@pytest.mark.slow
def test_a_lab_of_one_machine_becomes_a_teams_and_back(lab: Path, tmp_path: Path, capsys: Any):
    alone, back = tmp_path / "alone", tmp_path / "back"
    recorded(alone, 1, 2)
    with open_store(alone) as store:
        store.edit("one", "tree-1", "1.0", "reward", 0.5, "half of it", who="ann")
        then = store.history("one")
    assert main(["fill", str(lab), "--from", str(alone)]) == 0
    assert "holds everything of" in capsys.readouterr().out
    assert fill(back, lab)["trees"] == 2
    for filled in (lab, back):
        with open_store(filled) as store:
            assert facts(store.trees("one")) == facts([tree_number(1), tree_number(2)])
            assert store.history("one").equals(then)
            assert store.start_run({}) == "r1"
    with pytest.raises(SettingError, match="holds runs already"):
        fill(lab, alone)


@pytest.mark.slow
def test_an_older_lab_is_migrated_with_a_backup_that_keeps_its_rows(
    servers: Servers, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lab = tmp_path / "lab"
    place = join_team(lab, **settings).place
    servers.postgres.sql(f"drop schema {place.schema} cascade")
    with contextlib.closing(extensions.instance(place.extensions)) as connection:
        for statement in place.statements(read_only=False, make=True):
            connection.execute(statement)
    make_first(lab)
    with pytest.raises(StoreError, match=f"Run: workbench migrate {lab}"):
        open_store(lab)
    done = migrate(lab)
    assert (done.before, done.backup is not None) == (1, True)
    holds_everything(lab)
    with contextlib.closing(lake.connect(done.backup, read_only=True)) as connection:
        assert connection.execute("select max(version), count(*) from lab").fetchall() == [(1, 1)]
        assert connection.execute("select count(*) from step_rows").fetchall() == [(160,)]
    monkeypatch.setattr(upkeep, "KEPT_HOURS", -1)  # merged files go at once
    recorded(lab, 1, run="two")
    files = set(servers.s3.names(place.schema))
    with open_store(lab) as store:
        store.tidy()
        assert files < set(servers.s3.names(place.schema))
        servers.postgres.sql(f"drop schema {Team.read(done.backup).schema} cascade")
        store.tidy()
        assert not files <= set(servers.s3.names(place.schema))
        assert len(store.trees("one")) == 40


def test_a_backup_is_restored_into_another_database_and_bucket(servers: Servers, lab: Path, tmp_path: Path):
    recorded(lab, 1, 2)
    place = Team.read(lab)
    dump = tmp_path / "lab.dump"
    servers.postgres.client("pg_dump", "-Fc", "-n", place.schema, "-f", str(dump))  # the catalog first
    recorded(lab, 3)  # someone goes on
    servers.s3.client.create_bucket(Bucket="copies")
    for name in servers.s3.names("template/"):  # then the rows
        servers.s3.client.copy_object(Bucket="copies", Key=name, CopySource={"Bucket": BUCKET, "Key": name})
    servers.postgres.sql("create database restored")
    servers.postgres.client("pg_restore", "--exit-on-error", str(dump), database="restored")
    moved = f"update {place.schema}.ducklake_metadata set value = 's3://copies/template/' where key = 'data_path'"
    servers.postgres.sql(moved, database="restored")
    restored = tmp_path / "restored"
    given = {"catalog": place.catalog.replace("dbname=lab", "dbname=restored"), "endpoint": place.endpoint}
    assert not join_team(restored, data="s3://copies/template/", schema=place.schema, **given).made
    holds_once(restored, "one", [1, 2])
    recorded(restored, 4)
    holds_once(restored, "one", [1, 2, 4])
    assert mending.check(restored).whole
    holds_once(lab, "one", [1, 2, 3])


def test_check_names_files_of_rows_that_are_missing(servers: Servers, lab: Path, tmp_path: Path, capsys: Any):
    recorded(lab, 1)
    before = set(servers.s3.names())
    recorded(lab, 2)
    assert mending.check(lab).rows["step_rows"] == 16
    for name in set(servers.s3.names()) - before:
        if "step_rows" in name:
            servers.s3.client.delete_object(Bucket=BUCKET, Key=name)
    assert main(["check", str(lab)]) == 1
    assert "step_rows: 8 rows: s3://lab/template/main/step_rows/ducklake-" in capsys.readouterr().out
    with pytest.raises(StoreError, match="is a team's lab: its catalog is mended by restoring PostgreSQL's backup"):
        mending.recover(lab, tmp_path / "saved")


# ---------------------------------------------------------------- the tests of every lab

SOME = ("test_recording.py", "test_in_force.py", "test_history.py")


@pytest.mark.slow
def test_the_tests_of_a_lab_in_one_folder_pass_on_a_teams(servers: Servers):
    command = [sys.executable, "-m", "pytest", "--team", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    files = [f"tests/store/{name}" for name in SOME]
    done = subprocess.run([*command, *files], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
