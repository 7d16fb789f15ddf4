"""What a team's lab needs, started on this machine for tests: PostgreSQL of its own, and an S3 stand-in.

``python -m tests.store.servers FOLDER`` makes a team's lab over both in FOLDER and serves it until a line comes in.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.store import join_team

KEYS = {"AWS_ACCESS_KEY_ID": "key-of-tests", "AWS_SECRET_ACCESS_KEY": "sesame-of-s3", "AWS_REGION": "us-east-1"}
PASSWORD = "sesame-of-postgres"
BUCKET = "lab"


class Unavailable(Exception):
    """Why there is no server."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str) -> str:
    """Where a program of PostgreSQL is; Debian keeps most of them off the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        raise Unavailable(f"PostgreSQL is not installed ({name} is missing; on Debian: apt install postgresql)")
    return found


class Postgres:
    """A cluster in a folder of its own. PostgreSQL refuses to run as root: then it runs as another user.

    Args:
        fsync: whether it waits for the disk, as it does in earnest.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self.fsync = "on" if fsync else "off"
        self.folder = Path(tempfile.mkdtemp(prefix="workbench-pg-"))
        self.port = free_port()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user, group = _somebody()
            self._as = {"user": user, "group": group, "extra_groups": []}
            os.chown(self.folder, user, group)
        try:
            (self.folder / "password").write_text(PASSWORD)
            self._call(program("initdb"), "-D", self.data, "-U", "lab", "-A", "scram-sha-256", "--locale=C", "-EUTF8")
            self.start()
            self.sql("create database lab", database="postgres")
        except Unavailable:
            self.remove()
            raise

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    @property
    def address(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=lab dbname=lab"

    def start(self) -> None:
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        settings |= {"fsync": self.fsync, "max_connections": 200}
        told = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._call(program("pg_ctl"), "-D", self.data, "-l", str(self.folder / "log"), "-w", "-o", told, "start")

    def stop(self) -> None:
        self._call(program("pg_ctl"), "-D", self.data, "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        with contextlib.suppress(Unavailable):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "lab") -> str:
        """What psql prints, without headers."""
        return self.client("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement, database=database)

    def client(self, name: str, *arguments: str, database: str = "lab") -> str:
        """What one of PostgreSQL's clients prints: psql, pg_dump, pg_restore."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "lab", "-d", database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(
            [program(name), *where, *arguments], env=environment, text=True, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _call(self, *command: str) -> None:
        extra = ["--pwfile", str(self.folder / "password"), "--no-sync"] if command[0].endswith("initdb") else []
        with tempfile.TemporaryFile() as told:  # not a pipe: the server would keep it open
            done = subprocess.run(
                [*command, *extra], stdout=told, stderr=told, stdin=subprocess.DEVNULL, cwd="/", timeout=60, **self._as
            )
            told.seek(0)
            if done.returncode:
                raise Unavailable(f"PostgreSQL cannot be started: {told.read().decode(errors='replace')[-400:]}")


def _somebody() -> tuple[int, int]:
    """User and group that PostgreSQL may run as."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)[2:4]
    raise Unavailable("PostgreSQL does not run as root, and there is no user postgres or nobody")


class S3:
    """moto's S3, in a thread. It keeps its buckets while it is stopped."""

    def __init__(self) -> None:
        try:
            import boto3
            import moto.moto_server.threaded_moto_server  # noqa: F401
        except ImportError as error:
            raise Unavailable(f"the S3 stand-in is not installed: {error}; pip install -e '.[test]'") from error
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.port = free_port()
        self.start()
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=self.endpoint, **keys)
        self.client.create_bucket(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def names(self, prefix: str = "") -> list[str]:
        """Names of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [held["Key"] for page in pages for held in page.get("Contents", ())]


@dataclass
class Servers:
    """Both, and settings of labs over them."""

    postgres: Postgres
    s3: S3
    _labs: int = 0

    def settings(self, schema: str = "workbench") -> dict[str, str]:
        """Arguments of `join_team`."""
        data = f"s3://{BUCKET}/{schema}/"
        return {"catalog": self.postgres.address, "data": data, "schema": schema, "endpoint": self.s3.endpoint}

    def new_schema(self) -> str:
        self._labs += 1
        return f"lab{self._labs}"


@contextlib.contextmanager
def keys_in_environment() -> Iterator[None]:
    """PostgreSQL's password and S3's keys, where this process and those it starts find them."""
    before = {name: os.environ.get(name) for name in (*KEYS, "PGPASSWORD")}
    os.environ.update(KEYS, PGPASSWORD=PASSWORD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def started(*, fsync: bool = False) -> Iterator[Servers]:
    """Both servers for a block.

    Raises:
        Unavailable: one cannot be had.
    """
    with keys_in_environment(), contextlib.ExitStack() as stack:
        postgres = Postgres(fsync=fsync)
        stack.callback(postgres.remove)
        s3 = S3()
        stack.callback(s3.stop)
        yield Servers(postgres, s3)


def main(folder: str) -> None:
    with started() as servers:
        join_team(folder, **servers.settings())
        print("ready", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
