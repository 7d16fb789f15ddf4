"""SQL typed by people who are not trusted: what it may ask, what is refused and what ended. Nothing else is touched."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.builders import a_trajectory, a_tree
from workbench.errors import StoreBusy, StoreError, UnknownName, WorkbenchError
from workbench.scores import Scores
from workbench.store import Store, open_store
from workbench.store.allowed import check
from workbench.store.visitor_process import connect, write
from workbench.store.visitors import Answer, Limits, Visitors, _Child

pytestmark = pytest.mark.embedded("attacks its files")

CANARY = "canary-5f0c1d"

SMALL = Limits(rows=50, bytes=2**20, seconds=60, memory=64 * 2**20, at_once=2)
HASTY = replace(SMALL, seconds=1.5)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lab in it, and files that nobody may see: beside the lab and inside it."""
    home = tmp_path_factory.mktemp("visited")
    with open_store(home / "lab") as store:
        store.start_run({"command": "workbench rollout"}, name="one")
        trees = [a_tree(a_trajectory(["p1"], answer="Paris", id=f"t{n}"), id=f"tree-{n}") for n in range(100)]
        store.record_trees(trees, run="one", update=1)
        store.record_scores(trees, [[Scores.trajectory(n / 4)] for n in range(100)], run="one")
        store.tidy()
    for place in (home, home / "lab", home / "lab" / "data"):
        (place / "secret.csv").write_text(f"name\n{CANARY}\n")
    duckdb.connect(home / "secret.duckdb").execute(f"create table t as select '{CANARY}' as name").close()
    os.environ["WORKBENCH_CANARY"] = CANARY
    return home


def contents(folder: Path) -> dict[str, str]:
    """Every file with a hash of its bytes, without SQLite's own notes on who reads (-shm) and its empty -wal."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite-shm")
    kept = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in kept.items() if content}


@pytest.fixture(scope="module", autouse=True)
def untouched(home: Path) -> Iterator[None]:
    """After all of these tests every byte beside and inside the lab is as it was."""
    before = contents(home)
    yield
    assert contents(home) == before


@pytest.fixture(scope="module")
def visitors(home: Path) -> Iterator[Visitors]:
    made = Visitors(home / "lab", SMALL)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hasty(home: Path) -> Iterator[Visitors]:
    made = Visitors(home / "lab", HASTY)
    yield made
    made.close()


def asked(visitors: Visitors, sql: str) -> Answer:
    """The answer; the canary is in none, and in no error."""
    try:
        answer = visitors.ask(sql).answer()
    except WorkbenchError as error:
        assert CANARY not in str(error)
        assert str(visitors.lab.parent) not in str(error) or str(visitors.lab.parent) in sql
        raise
    assert CANARY not in str(answer.table.to_pydict())
    return answer


def rows(visitors: Visitors, sql: str) -> list[tuple]:
    return [tuple(row.values()) for row in asked(visitors, sql).table.to_pylist()]


# ---------------------------------------------------------------- what is answered

ANSWERED = {
    "an aggregate": ("select part, avg(value)::float as mean from scores group by part", [("reward", 12.375)]),
    "a view over views": ("select count(*) from returns where value > 24", [(3,)]),
    "a qualified name": ("select count(*) from lake.main.runs, main.runs as again", [(1,)]),
    "upper case": ('SELECT Run FROM "RUNS"', [("one",)]),
    "a comment": ("select /* from 'x.csv' */ 1 -- ; drop table runs", [(1,)]),
    "a closing semicolon": ("select 1;", [(1,)]),
    "text that looks like an attack": ("select 'read_csv(''x'')' as said", [("read_csv('x')",)]),
    "a name given by WITH": (
        "with best as (from returns order by value desc limit 1) select value from best",
        [(24.75,)],
    ),
    "a name that hides a table": ("with runs as (select 7 as n) select n from runs", [(7,)]),
    "an inner WITH hides an outer": ("with a as (select 1 as n) from (with a as (select 2 as n) from a)", [(2,)]),
    "recursion": (
        "with recursive a as (select 1 as n union all select n + 1 from a where n < 3) from a",
        [(1,), (2,), (3,)],
    ),
    "a window": ("select n, sum(n) over (order by n) from range(3) t(n)", [(0, 0), (1, 1), (2, 3)]),
    "a lambda": ("select list_transform([1, 2], lambda x: x + 1)", [([2, 3],)]),
    "columns by pattern": ("select columns('^ru') from runs", [("one",)]),
    "a pivot over given values": ("pivot (select 'a' as k, 1 as v) on k in ('a') using sum(v)", [(1,)]),
    "JSON": ("select settings->>'command' from runs", [("workbench rollout",)]),
    "a type of numbers": (
        "select cast('1.25' as decimal(5, 2))::varchar, [1, 2]::int[2]::varchar",
        [("1.25", "[1, 2]")],
    ),
    "a correlated question": ("select (select count(*) from scores s where s.run = r.run) from runs r", [(100,)]),
    "two columns of one name": ("select 1 as a, 2 as a", [(2,)]),
    "a lookalike of a quote": ("with a as (select 1 as ‘n’) select ‘n’ from a", [(1,)]),
    "a regular expression that grows": ("select regexp_matches(repeat('a', 5000) || 'b', '(a*)*c')", [(False,)]),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_a_question_is_answered(visitors: Visitors, name: str):
    sql, expected = ANSWERED[name]
    assert rows(visitors, sql) == expected


# ---------------------------------------------------------------- what is refused

UNKNOWN_TABLE = "no table '"
UNKNOWN_FUNCTION = "is not among those that may be asked here"
NO_TABLE_FUNCTION = "no table function '"
NOT_SELECT = "only a SELECT"
NOT_SQL = "not SQL that DuckDB understands"

REFUSED = {
    # files
    "a file by its name": ("from '{home}/secret.csv'", UNKNOWN_TABLE),
    "a file by its name in double quotes": ('from "{home}/secret.csv"', UNKNOWN_TABLE),
    "a file inside the lab": ("from '{home}/lab/data/secret.csv'", UNKNOWN_TABLE),
    "a file by a way round": ("from '{home}/lab/data/../../secret.csv'", UNKNOWN_TABLE),
    "a file of the lab itself": ("from '{home}/lab/data/main/scores_log/*.parquet'", UNKNOWN_TABLE),
    "a file with a name of the lab's tables": ("from main.'runs.csv'", NOT_SQL),
    "another database": ("from '{home}/secret.duckdb'.t", NOT_SQL),
    "the catalog's file": ("from sqlite_scan('{home}/lab/catalog.sqlite', 'ducklake_table')", NO_TABLE_FUNCTION),
    "a query in SQLite": ("from sqlite_query('{home}/lab/catalog.sqlite', 'select 1')", NO_TABLE_FUNCTION),
    "read_csv": ("from read_csv('{home}/secret.csv')", NO_TABLE_FUNCTION),
    "read_text": ("select content from read_text('{home}/lab/secret.csv')", NO_TABLE_FUNCTION),
    "read_blob": ("from read_blob('{home}/lab/data/secret.csv')", NO_TABLE_FUNCTION),
    "read_parquet": ("from read_parquet('{home}/lab/data/**/*.parquet')", NO_TABLE_FUNCTION),
    "parquet_metadata": ("from parquet_metadata('{home}/lab/data/**/*.parquet')", NO_TABLE_FUNCTION),
    "glob": ("from glob('/**')", NO_TABLE_FUNCTION),
    "over the network": ("from 'https://example.org/x.csv'", UNKNOWN_TABLE),
    "from a bucket": ("from 's3://bucket/x.parquet'", UNKNOWN_TABLE),
    "a Python variable": ("from home", UNKNOWN_TABLE),
    # hidden in places where a tree must be looked into
    "in a WHERE": ("from runs where exists (from glob('/*'))", NO_TABLE_FUNCTION),
    "in an ORDER BY": ("from runs order by (select 1 from glob('/*'))", NO_TABLE_FUNCTION),
    "in a LIMIT": ("from runs limit (select count(*) from glob('/*'))", NO_TABLE_FUNCTION),
    "in a JOIN": ("from runs join tasks on exists (from glob('/*'))", NO_TABLE_FUNCTION),
    "in a lambda": ("select list_transform([1], x -> (select count(*) from glob('/*')))", NO_TABLE_FUNCTION),
    "in columns()": ("select columns(c -> exists (from glob('/*'))) from runs", NO_TABLE_FUNCTION),
    "in REPLACE": ("select * replace ((select file from glob('/*')) as run) from runs", NO_TABLE_FUNCTION),
    "in a window": ("select sum(1) over (order by (select 1 from glob('/*'))) from runs", NO_TABLE_FUNCTION),
    "in a FILTER": ("select count(*) filter (where exists (from glob('/*'))) from runs", NO_TABLE_FUNCTION),
    "in a table function": ("from range((select count(*) from glob('/*')))", NO_TABLE_FUNCTION),
    "in VALUES": ("values ((select count(*) from glob('/*')))", NO_TABLE_FUNCTION),
    "in a pivot": ("pivot (from glob('/*')) on file in ('x') using count(*)", NO_TABLE_FUNCTION),
    "in a QUALIFY": ("from runs qualify row_number() over () < (select count(*) from glob('/*'))", NO_TABLE_FUNCTION),
    "in grouping sets": ("select 1 group by grouping sets (((select count(*) from glob('/*'))))", NO_TABLE_FUNCTION),
    "in DISTINCT ON": ("select distinct on ((select 1 from glob('/*'))) run from runs", NO_TABLE_FUNCTION),
    "in the second half of a union": ("(select 1) union all (select 1 from glob('/*'))", NO_TABLE_FUNCTION),
    # names that mean something else
    "the catalog": ("from __ducklake_metadata_lake.ducklake_data_file", UNKNOWN_TABLE),
    "DuckDB's settings": ("from duckdb_settings()", NO_TABLE_FUNCTION),
    "DuckDB's secrets": ("from duckdb_secrets()", NO_TABLE_FUNCTION),
    "DuckDB's tables": ("from duckdb_tables", UNKNOWN_TABLE),
    "the schema": ("from information_schema.tables", UNKNOWN_TABLE),
    "PostgreSQL's catalog": ("from pg_catalog.pg_settings", UNKNOWN_TABLE),
    "SQLite's catalog": ("from sqlite_master", UNKNOWN_TABLE),
    "a name that WITH gives elsewhere": ("from (with a as (select 1) from a), a", UNKNOWN_TABLE),
    "a name that WITH gives later": ("with a as (from b), b as (select 1) from a", UNKNOWN_TABLE),
    "a name inside its own WITH": ("with a as (from a) from a", UNKNOWN_TABLE),
    "a name in the first half of a recursion": ("with recursive a as (from a union all from a) from a", UNKNOWN_TABLE),
    "WITH RECURSIVE that does not recurse": ("with recursive a as (from a) from a", UNKNOWN_TABLE),
    "WITH that hides a catalog": ("with duckdb_secrets as (select 1) from duckdb_secrets", "a name given by WITH"),
    "WITH that hides a catalog further in": (
        "with x as (with sqlite_master as (select 1) from sqlite_master) from x, sqlite_master",
        "a name given by WITH",
    ),
    "WITH in another alphabet": ("with ſcores as (select 1) from ſcores", "a name given by WITH"),
    "WITH with a file's name": ("with \"x.csv\" as (select 1) from 'x.csv'", "a name given by WITH"),
    "a table of another database": ("from memory.main.runs", UNKNOWN_TABLE),
    "the recurring part": (
        "with recursive a(n) using key (n) as (select 1 union select n from recurring.a) from a",
        UNKNOWN_TABLE,
    ),
    # functions
    "the environment": ("select getenv('WORKBENCH_CANARY')", UNKNOWN_FUNCTION),
    "a variable": ("select getvariable('x')", UNKNOWN_FUNCTION),
    "a setting": ("select current_setting('temp_directory')", UNKNOWN_FUNCTION),
    "a query as text": ("from query('from glob(''/*'')')", NO_TABLE_FUNCTION),
    "a table by its name as text": ("from query_table('duckdb_secrets')", NO_TABLE_FUNCTION),
    "a query as JSON": ("from json_execute_serialized_sql('{{}}')", NO_TABLE_FUNCTION),
    "writing to the log": ("select write_log('x')", UNKNOWN_FUNCTION),
    "the sequence": ("select nextval('s')", UNKNOWN_FUNCTION),
    "sleeping": ("select sleep_ms(60000)", UNKNOWN_FUNCTION),
    "sleeping as PostgreSQL": ("select pg_sleep(60)", UNKNOWN_FUNCTION),
    "a function of a schema": ("select system.pg_catalog.pg_typeof(1)", UNKNOWN_FUNCTION),
    "a function as a method": ("select run.upper() from runs", UNKNOWN_FUNCTION),
    "a plan": ("select json_serialize_plan('from runs')", UNKNOWN_FUNCTION),
    "the running queries": ("select current_query()", UNKNOWN_FUNCTION),
    "a type of a schema": ("select 'a'::other.kind", "a type goes by its own name"),
    # statements
    "INSERT": ("insert into runs values ('x')", NOT_SELECT),
    "DELETE": ("delete from run_events", NOT_SELECT),
    "UPDATE": ("update run_events set run = 'x'", NOT_SELECT),
    "DROP": ("drop table run_events", NOT_SELECT),
    "CREATE": ("create table x as select 1", NOT_SELECT),
    "a macro": ("create macro f(x) as x", NOT_SELECT),
    "a view": ("create view v as from runs", NOT_SELECT),
    "COPY to a file": ("copy (from runs) to '{home}/out.csv'", NOT_SELECT),
    "COPY over a file of the lab": ("copy (select 1) to '{home}/lab/data/main/scores_log/x.parquet'", NOT_SELECT),
    "EXPORT": ("export database '{home}/out'", NOT_SELECT),
    "ATTACH": ("attach '{home}/secret.duckdb' as s", NOT_SELECT),
    "ATTACH to write": ("attach 'ducklake:sqlite:{home}/lab/catalog.sqlite' as w", NOT_SELECT),
    "DETACH": ("detach lake", NOT_SELECT),
    "USE": ("use memory", NOT_SELECT),
    "SET": ("set memory_limit = '100GB'", NOT_SELECT),
    "RESET": ("reset enable_external_access", NOT_SELECT),
    "PRAGMA": ("pragma enable_profiling", NOT_SELECT),
    "INSTALL": ("install httpfs", NOT_SELECT),
    "LOAD": ("load httpfs", NOT_SELECT),
    "CALL": ("call ducklake_expire_snapshots('lake', older_than => now())", NOT_SELECT),
    "CHECKPOINT": ("checkpoint", NOT_SELECT),
    "PREPARE": ("prepare p as from runs", NOT_SELECT),
    "EXECUTE": ("execute p", NOT_SELECT),
    "EXPLAIN ANALYZE": ("explain analyze from runs", NOT_SELECT),
    "a transaction": ("begin", NOT_SELECT),
    "a secret": ("create secret (type s3)", NOT_SELECT),
    "MERGE INTO": ("merge into runs using tasks on true when matched then delete", NOT_SELECT),
    "a pivot that makes a type": ("pivot scores on part using avg(value)", NOT_SELECT),
    "two statements": ("select 1; select 2", "one question at a time"),
    "a statement behind a question": ("from runs; drop table run_events", NOT_SELECT),
    "no statement": ("-- nothing", "one question at a time"),
    "SELECT INTO": ("select 1 into x", NOT_SQL),
    "DESCRIBE": ("describe runs", "DESCRIBE, SHOW and SUMMARIZE"),
    "SUMMARIZE": ("from (summarize from glob('/*'))", "DESCRIBE, SHOW and SUMMARIZE"),
    "SHOW": ("from (show all tables)", "DESCRIBE, SHOW and SUMMARIZE"),
    "an older version": ("from scores_log at (version => 1)", "AT \\(VERSION"),
    "an older version by a function": ("from ducklake_table_changes('lake', 'main', 'runs', 1, 2)", NO_TABLE_FUNCTION),
    "a parameter": ("from runs where run = $run", "a parameter"),
    "a parameter by its number": ("select ?", "a parameter"),
    "not SQL": ("drop it like it's hot", NOT_SQL),
    "a quote of another alphabet": ("select ‘one’ – 1", NOT_SQL),
    "a sum that is too deep": ("select " + "+".join(["1"] * 5000), "expression depth"),
    "too long": ("select 1" + " " * 20_000, "at most 20,000 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_error_says_why(visitors: Visitors, name: str):
    sql, says = REFUSED[name]
    with pytest.raises((StoreError, UnknownName), match=says):
        asked(visitors, sql.replace("{home}", str(visitors.lab.parent)))


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("from score", "Did you mean 'scores'?"),
        ("select averge(value) from scores", "function 'averge' is not .* Did you mean 'avg'|average"),
        ("select valu from scores", 'Candidate bindings: .*"value"'),
        ("select 'x'::int from scores", "Could not convert string 'x'"),
    ],
)
def test_a_slip_is_told_with_what_may_have_been_meant(visitors: Visitors, sql: str, says: str):
    with pytest.raises((StoreError, UnknownName), match=says):
        asked(visitors, sql)


def test_every_reserved_word_of_the_tree_is_refused_unless_it_is_listed():
    # a kind of node that a later DuckDB brings is unknown here: refused, not passed over
    parser = duckdb.connect()
    with pytest.raises(StoreError, match="show ref|DESCRIBE"):
        check(parser, "from (describe runs)")
    with pytest.raises(StoreError, match="default is not among what may be asked"):
        check(parser, "select default")
    parser.close()


# ---------------------------------------------------------------- what is ended

TOO_MUCH = "needs more than the 64 MB of memory|took longer than 1.5 s"

BOMBS = {
    "a list of numbers without end": "select list_sum(range(1000000000))",
    "a list of lists": "select list_transform(range(100000), x -> range(100000))",
    "a text without end": "select length(string_agg(n::varchar, ',')) from range(1000000000) t(n)",
    "texts that are gathered": "select list(repeat('x', 10000) || n) from range(1000000) t(n)",
    "a cross join": "select count(*) from range(1000000000) a, range(1000000000) b where a.range + b.range = -1",
    "recursion without end": "with recursive a as (select 1 as n union all select n + 1 from a) select count(*) from a",
    "a groups' table without end": "select n, count(*) from range(1000000000) t(n) group by n",
    "a huge cell": "select repeat('x', 2000000000)",
    "a cell that doubles": "select " + "repeat(" * 12 + "'xxxxxxxxxx'" + ", 10)" * 12,
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_takes_too_much_is_ended(hasty: Visitors, name: str):
    with pytest.raises(StoreError, match=TOO_MUCH):
        asked(hasty, BOMBS[name])


def test_what_takes_too_long_is_ended_on_time_though_it_needs_no_memory(hasty: Visitors):
    with pytest.raises(StoreError, match="took longer than 1.5 s and was ended"):
        asked(hasty, "select count(*) from range(1000000000000) t(n) where n < 0")


def test_after_a_bomb_the_next_question_is_answered(visitors: Visitors):
    with pytest.raises(StoreError, match=TOO_MUCH):
        asked(visitors, BOMBS["a list of numbers without end"])
    assert rows(visitors, "select 1") == [(1,)]


def test_an_answer_without_end_is_cut_at_the_most_rows(visitors: Visitors):
    answer = asked(visitors, "select range as n from range(1000000000000)")
    assert answer.cut == "rows" and answer.table.column("n").to_pylist() == list(range(50))


def test_an_answer_of_as_many_rows_as_may_be_is_whole(visitors: Visitors):
    assert asked(visitors, "from range(50)").cut == ""


def test_an_answer_of_large_rows_is_cut_at_the_most_bytes(visitors: Visitors):
    answer = asked(visitors, "select repeat('x', 100000) as x from range(40)")
    assert answer.cut == "bytes" and len(answer.table) == 10  # ten are 1,000,000 bytes, 48 kB below a MB
    with pytest.raises(StoreError, match="the first row alone has more than 1 MB"):
        asked(visitors, "select repeat('x', 2000000)")


# ---------------------------------------------------------------- several at once


def in_background(visitors: Visitors, said: list[str]) -> tuple[object, threading.Thread]:
    question = visitors.ask("select count(*) from range(1000000000000) t(n) where n < 0")

    def wait() -> None:
        try:
            question.answer()
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    return question, thread


def test_an_endless_question_holds_up_nobody_and_too_many_are_refused(home: Path):
    visitors = Visitors(home / "lab", Limits(seconds=60, memory=64 * 2**20, at_once=2))
    said: list[str] = []
    first, one = in_background(visitors, said)
    assert rows(visitors, "select 1") == [(1,)] and one.is_alive()
    second, two = in_background(visitors, said)
    with pytest.raises(StoreBusy, match="2 questions are being answered, as many as may be at once"):
        visitors.ask("select 1")
    first.cancel()  # type: ignore[attr-defined]
    one.join(20)
    assert rows(visitors, "select 2") == [(2,)] and two.is_alive()
    visitors.close()
    two.join(20)
    assert said == ["cancelled", "cancelled"]
    with pytest.raises(StoreError, match="closed"):
        visitors.ask("select 1")


def test_a_process_that_died_is_replaced(home: Path):
    visitors = Visitors(home / "lab", SMALL)
    assert rows(visitors, "select 1") == [(1,)]
    os.kill(visitors._idle[0]._process.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert rows(visitors, "select 2") == [(2,)]
    visitors.close()


@pytest.mark.parametrize("header", [b'{"cut": "", "over": false}', b""])
def test_an_answer_that_was_cut_off_on_its_way_is_none(header: bytes):
    sent = io.BytesIO()
    write(sent, header)  # and then the process was ended
    child = _Child.__new__(_Child)
    child._process = types.SimpleNamespace(stdin=io.BytesIO(), stdout=io.BytesIO(sent.getvalue()))
    assert child.asked("select 1") == (None, b"")


def test_the_process_has_no_environment_and_ends_with_its_parent(home: Path):
    assert os.environ["WORKBENCH_CANARY"] == CANARY
    visitors = Visitors(home / "lab", SMALL)
    rows(visitors, "select 1")
    process = visitors._idle[0]._process
    told = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert sorted(line.split(b"=")[0] for line in told.split(b"\0") if line) == [
        b"ARROW_DEFAULT_MEMORY_POOL",
        b"LC_ALL",
    ]
    process.stdin.close()  # as when the parent is gone
    assert process.wait(20) == 0
    visitors.close()


def test_nothing_is_left_of_one_question_for_the_next(visitors: Visitors):
    with pytest.raises(StoreError):
        asked(visitors, "set variable x = 1")
    before = rows(visitors, "select count(*) from runs")
    assert before == rows(visitors, "select count(*) from runs") == [(1,)]


def test_a_visitor_sees_what_was_recorded_just_now(lab: Path):
    with open_store(lab) as store:
        store.visitors.make_ready()
        store.start_run({}, name="fresh")
        assert store.visitors.ask("select run from runs").answer().table.to_pylist() == [{"run": "fresh"}]
    with pytest.raises(StoreError, match="closed"):
        store.visitors.ask("select 1")


# ---------------------------------------------------------------- the connection itself, should the check ever fail


@pytest.fixture(scope="module")
def hard(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(home / "lab", 64 * 2**20)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "from read_text('{home}/secret.csv')",
        "from read_text('{home}/lab/secret.csv')",
        "from '{home}/lab/data/../secret.csv'",
        "from glob('{home}/*')",
        "copy (select 1) to '{home}/out.csv'",
        "attach '{home}/secret.duckdb' as s",
        "set memory_limit = '100GB'",
        "reset enable_external_access",
        "install httpfs",
        "insert into lake.lab values (9, now())",
        "call lake.set_option('parquet_compression', 'snappy')",
        "from home",
    ],
)
def test_the_connection_alone_reaches_no_file_outside_the_rows_and_changes_nothing(
    hard: duckdb.DuckDBPyConnection, home: Path, sql: str
):
    with pytest.raises(duckdb.Error):
        hard.execute(sql.replace("{home}", str(home))).fetchall()
    assert hard.execute("select count(*) from runs").fetchall() == [(1,)]


def test_the_store_that_serves_visitors_can_be_opened_and_closed_without_a_question(lab: Path):
    store: Store = open_store(lab)
    store.close()
    assert not store.visitors._idle
