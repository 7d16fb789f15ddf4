"""A lab that a team shares: the catalog in PostgreSQL, the rows in S3 or a shared folder, opened by many machines.

Each machine has a folder that names both (`team.json`) and holds what was recorded there and is not in the tables yet
(`journal/`). Passwords and keys are not in it: PostgreSQL's come from PGPASSWORD or ~/.pgpass, those of S3 from
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.

Writers take turns with an advisory lock of PostgreSQL. It keeps them from getting in each other's way; that nothing is
written twice or between does not hang on it, since a connection may be lost at any moment while the server still works
on what came before. Every commit is the next snapshot or none (`ducklake_max_retry_count` 0: DuckLake does not try
again by itself), so what a transaction has read is still true when it is committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import duckdb

from workbench.errors import SettingError, StoreBusy, StoreError
from workbench.store.extensions import Connection, instance, quoted

NAME = "team.json"

LEASE_S = 600
"""The server ends a session that holds the lock and has said nothing for so long: a machine may vanish."""

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

_SECRET = re.compile(r"\b(ssl)?password\s*=", re.IGNORECASE)

_AWAY = re.compile(
    r"connection to server .* failed: .*|could not translate host name .*|server closed the connection.*|terminating "
    r"connection.*|the database system is .*|Could not connect to server .*|Could not establish connection .*",
)


@dataclass(frozen=True)
class Team:
    """Where such a lab keeps what. See `places.Place`.

    Args:
        lab: the folder on this machine.
        catalog: how to reach the database, as libpq has it: "host=db dbname=lab user=ann". No password.
        data: "s3://bucket/prefix/", or a folder that every machine sees under this path.
        schema: the lab's schema in the database, which may hold several labs.
        endpoint: address of an S3 that is not Amazon's: "https://minio:9000".
        region: of the bucket; "": as AWS_REGION or AWS_DEFAULT_REGION say.
        url_style: "path" or "vhost"; "": path with an endpoint, else vhost.
    """

    lab: Path
    catalog: str
    data: str
    schema: str = "workbench"
    endpoint: str = ""
    region: str = ""
    url_style: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalog", _keywords(self.catalog))
        object.__setattr__(self, "data", self.data.rstrip("/") + "/")
        if _SECRET.search(self.catalog):
            raise SettingError(
                "the catalog's address holds a password, which would lie in a file for everyone to read. Leave it out "
                "and give it in the environment (PGPASSWORD) or in ~/.pgpass (host:port:database:user:password)"
            )
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,59}", self.schema) or self.schema.startswith("pg_"):
            raise SettingError(
                f"a lab's schema is a plain word of small letters, digits and _, at most 60, got {self.schema!r}"
            )
        if not (re.fullmatch(r"s3://[^/]+/.*", self.data) or Path(self.data).is_absolute()):
            raise SettingError(f"rows lie in s3://BUCKET/PREFIX/ or in a folder with its whole path, got {self.data!r}")
        if self.endpoint and not re.fullmatch(r"https?://[^/@]+/?", self.endpoint):
            raise SettingError(f"an endpoint is http(s)://HOST:PORT, got {self.endpoint!r}")
        if self.url_style not in ("", "path", "vhost"):
            raise SettingError(f"url_style is path or vhost, got {self.url_style!r}")

    @classmethod
    def read(cls, lab: Path) -> Team:
        """As the folder's team.json has it.

        Raises:
            StoreError: it is not understood.
        """
        try:
            told = json.loads((lab / NAME).read_text(encoding="utf-8"))
            return cls(lab, **told)
        except (OSError, ValueError, TypeError) as error:
            known = ", ".join(field.name for field in fields(cls) if field.name != "lab")
            raise StoreError(
                f"{str(lab / NAME)!r} is not understood: {error}. It is a JSON object of texts: {known}; "
                "`workbench team` writes one"
            ) from error

    def write(self) -> None:
        """Leave team.json in the folder."""
        told = {name: value for name, value in asdict(self).items() if name != "lab" and value}
        self.lab.mkdir(parents=True, exist_ok=True)
        partial = self.lab / f".{NAME}.partial"
        partial.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.lab / NAME)

    # ------------------------------------------------------------ as a Place

    @property
    def extensions(self) -> tuple[str, ...]:
        return ("ducklake", "postgres", "httpfs") if self.in_s3 else ("ducklake", "postgres")

    @property
    def in_s3(self) -> bool:
        return self.data.startswith("s3://")

    @property
    def is_made(self) -> bool:
        return True  # only the server knows

    def statements(
        self, *, read_only: bool, snapshot: int | None = None, name: str = "lake", make: bool = False
    ) -> list[str]:
        """What attaches the lab; with `make` it is made where there is none, and else never by chance."""
        mode = ", READ_ONLY" if read_only else "" if make else ", CREATE_IF_NOT_EXISTS false"
        mode += f", SNAPSHOT_VERSION {snapshot}" if snapshot is not None else ""
        schema = quoted(self.schema)
        attach = (
            f"attach {quoted(f'ducklake:postgres:{self.address}')} as {name} (DATA_PATH {quoted(self.data)}, "
            f"METADATA_SCHEMA {schema}, META_SCHEMA {schema}{mode})"
        )
        return [*self._secret(name), "set ducklake_max_retry_count = 0", attach]

    def told(self, error: Exception) -> str:
        """What matters of an error: DuckDB's repeats whole statements."""
        says = str(error)
        if away := why_away(error):
            says = f"the database ({self.where}) or the rows cannot be reached: {away}"
        elif "does not match existing data path" in says:
            held = re.search(r'existing data path in the catalog "(.*?)"', says)
            says = f"its rows lie in {held[1] if held else 'another place'}, and {NAME} says {self.data}"
        elif "creating a new DuckLake is explicitly disabled" in says:
            says = (
                f"the database ({self.where}) holds no lab in its schema {self.schema!r}. `workbench team` makes one; "
                "where there was one, restore it from its backup first"
            )
        return says

    @property
    def environment(self) -> dict[str, str]:
        """PostgreSQL's, the keys, and HOME for ~/.pgpass."""
        wanted = (*_KEYS, "AWS_REGION", "AWS_DEFAULT_REGION", "HOME")
        return {name: value for name, value in os.environ.items() if name in wanted or name.startswith("PG")}

    @property
    def advice(self) -> str:
        return (
            "Check that the database and the rows' place are up and reached from here, PGPASSWORD or ~/.pgpass, and "
            f"the AWS_ keys; {str(self.lab / NAME)!r} says where they are. `workbench team --help` tells how to make "
            "or join a lab. What was recorded on this machine waits in its journal/"
        )

    def check_may_be_made(self) -> None:
        """Nothing: a lake is made by `joining.join_team` alone, and here only its tables, where that was cut short."""

    @contextlib.contextmanager
    def locked(self, deadline_s: float) -> Iterator[None]:
        """The server drops the lock when the session that holds it ends, as it does with its process."""
        session = self._session()
        try:
            session.execute("begin")
            _ask(session, f"select set_config('lock_timeout', '{max(1, round(1000 * deadline_s))}', true)")
            _ask(session, f"select set_config('idle_in_transaction_session_timeout', '{LEASE_S * 1000}', true)")
            _ask(session, f"select pg_advisory_xact_lock({self._lock_number})::text")
        except duckdb.Error as error:
            _let_go(session)
            if "lock timeout" in str(error):
                raise StoreBusy(self._who_holds(deadline_s)) from error
            raise StoreError(f"the write lock of lab {str(self.lab)!r} cannot be had: {self.told(error)}") from error
        try:
            yield
        finally:
            _let_go(session)

    @property
    def keeps_merged_files(self) -> bool:
        query = f"select 1 from pg_namespace where starts_with(nspname, '{self._backups}')"
        with contextlib.closing(self._session()) as session:
            return bool(_ask(session, query))

    def back_up(self, name: str) -> Path:
        """The catalog is copied into a schema of its own, over the same rows."""
        digits = re.sub(r"\D+", "_", name).strip("_")
        copied = replace(self, lab=self.lab / "backups" / name, schema=self._backups + digits)
        self.copy_catalog(copied.schema)
        copied.write()
        if (self.lab / "journal").is_dir():
            shutil.copytree(self.lab / "journal", copied.lab / "journal")
        return copied.lab

    def copy_catalog(self, schema: str) -> None:
        """Copy the lab's catalog into a new schema of its database: a lab of its own over the same rows, as of now.

        To be called with the lock held.

        Raises:
            StoreError: it cannot be written; nothing was changed.
        """
        copied = f"""
            do $$ declare name text; begin
                create schema {schema};
                for name in select tablename from pg_tables where schemaname = '{self.schema}' loop
                    execute format('create table {schema}.%I (like {self.schema}.%I including all)', name, name);
                    execute format('insert into {schema}.%I select * from {self.schema}.%I', name, name);
                end loop;
            end $$
        """
        with contextlib.closing(instance(("postgres",), threads=1)) as connection:
            try:
                connection.execute(f"attach {quoted(self.address)} as pg (type postgres)")
                connection.execute(f"call postgres_execute('pg', {quoted(copied)})")
            except duckdb.Error as error:
                raise StoreError(f"the catalog of lab {str(self.lab)!r} was not copied: {self.told(error)}") from error

    # ------------------------------------------------------------ inside

    @property
    def address(self) -> str:
        """The catalog, with who is asking and some patience."""
        extra = {"connect_timeout": "10", "application_name": f"workbench {socket.gethostname()} {os.getpid()}"}
        given = [f"{key}={_value(value)}" for key, value in extra.items() if f"{key}=" not in self.catalog]
        return " ".join([self.catalog, *given])

    @property
    def where(self) -> str:
        """Host, port and database, as far as they are told."""
        told = re.findall(r"\b(host|port|dbname|service)=('(?:[^'\\]|\\.)*'|\S+)", self.catalog)
        return ", ".join(f"{name} {value}" for name, value in told) or "as the environment says"

    @property
    def _backups(self) -> str:
        """How the schemas of backups begin."""
        return f"{self.schema[:30]}_backup_"

    @property
    def _lock_number(self) -> int:
        digest = hashlib.blake2b(f"workbench {self.schema}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)

    def _secret(self, name: str) -> list[str]:
        """What lets DuckDB into the bucket, and no other."""
        if not self.in_s3:
            return []
        key_id, secret, token = (os.environ.get(variable, "") for variable in _KEYS)
        if not (key_id and secret):
            raise StoreError(
                f"the rows of lab {str(self.lab)!r} lie in {self.data}, and AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY are not in the environment; set both"
            )
        told = {"key_id": key_id, "secret": secret, "session_token": token, "scope": self.data}
        told["region"] = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
        if self.endpoint:
            told["endpoint"] = self.endpoint.split("://")[1].rstrip("/")
        told["url_style"] = self.url_style or ("path" if self.endpoint else "vhost")
        settings = ", ".join(f"{key} {quoted(value)}" for key, value in told.items() if value)
        ssl = "false" if self.endpoint.startswith("http://") else "true"
        return [f"create secret {name} (type s3, {settings}, use_ssl {ssl})"]

    def _session(self) -> Connection:
        """A session that can hold the lock."""
        with _guard:
            key = (os.getpid(), self.address)
            if key not in _sessions:
                made = instance(("postgres",), threads=1)
                try:
                    made.execute(f"attach {quoted(self.address)} as pg (type postgres, READ_ONLY)")
                except duckdb.Error as error:
                    made.close()
                    raise StoreError(f"lab {str(self.lab)!r} cannot be written: {self.told(error)}") from error
                _sessions[key] = made
            return _sessions[key].cursor()

    def _who_holds(self, deadline_s: float) -> str:
        who = "another process holds it"
        number = self._lock_number % 2**64
        with contextlib.suppress(duckdb.Error, StoreError):
            session = self._session()
            found = _ask(
                session,
                "select a.application_name, coalesce(host(a.client_addr), 'the server itself'), "
                "to_char(a.xact_start at time zone 'utc', 'HH24:MI:SS') from pg_locks l join pg_stat_activity a "
                "using (pid) where l.locktype = 'advisory' and l.granted and l.objsubid = 1 "
                f"and l.classid::bigint = {number >> 32} and l.objid::bigint = {number & 0xFFFFFFFF}",
            )
            session.close()
            if found:
                name, host, since = found[0]
                machine, process = (name.split() + ["?", "?"])[1:3]
                who = f"process {process} on {machine} ({host}) has held it since {since} UTC"
        return (
            f"the write lock of lab {str(self.lab)!r} was not had within {deadline_s:g} s: {who}. Wait, or end that "
            "process if it hangs (the lock goes with it)"
        )


_guard = threading.Lock()
_sessions: dict[tuple[int, str], Connection] = {}
"""One DuckDB a process and database holds locks: loading the extension takes 0.2 s. A forked process makes its own."""


def why_away(error: Exception) -> str:
    """What is not reached, where that is the trouble; else ""."""
    found = _AWAY.search(str(error).split("\nLINE ")[0])
    return " ".join(found[0].split()) if found else ""


def _ask(session: Connection, query: str) -> list[tuple]:
    return session.execute(f"from postgres_query('pg', {quoted(query)})").fetchall()


def _let_go(session: Connection) -> None:
    with contextlib.suppress(duckdb.Error):  # the server may be away, and the lock with it
        session.execute("rollback")
    session.close()


def _keywords(address: str) -> str:
    """An address as libpq's keywords; a URL is taken apart."""
    if "://" not in address.split("=")[0]:
        return address.strip()
    url = urllib.parse.urlsplit(address)
    if url.scheme not in ("postgres", "postgresql"):
        raise SettingError(f"a catalog is in PostgreSQL: 'host=db dbname=lab user=ann', got an address {url.scheme}://")
    told = {"host": url.hostname, "port": str(url.port or ""), "user": url.username, "password": url.password and "x"}
    told |= {"dbname": url.path.lstrip("/")} | dict(urllib.parse.parse_qsl(url.query))
    return " ".join(f"{key}={_value(urllib.parse.unquote(value))}" for key, value in told.items() if value)


def _value(text: str) -> str:
    """A value as libpq reads it."""
    if re.fullmatch(r"[\w./:@+-]+", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
