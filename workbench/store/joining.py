"""Making a team's lab, or joining it from another machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from workbench.errors import StoreError
from workbench.store.catalog import NAME as EMBEDDED
from workbench.store.extensions import Connection, instance, quoted
from workbench.store.opening import make
from workbench.store.team import NAME, Team

NOTE = "workbench-lab.csv"
"""A file beside the rows: proof that they can be written and read, and a word for whoever finds them."""


@dataclass(frozen=True)
class Joined:
    """What was done."""

    place: Team
    made: bool  # False: the lab was there


def join_team(
    path: str | Path,
    catalog: str,
    data: str,
    *,
    schema: str = "workbench",
    endpoint: str = "",
    region: str = "",
    url_style: str = "",
    lock_timeout_s: float = 60.0,
) -> Joined:
    """Make `path` a folder of a team's lab, and the lab where it is not there yet. Then `open_store(path)` opens it.

    Passwords and keys come from the environment, then and later: PGPASSWORD or ~/.pgpass, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.

    Args:
        path: a folder of this machine alone. What is recorded here waits in its journal/ until it is in the tables.
        catalog: the PostgreSQL database, as libpq has it: "host=db dbname=lab user=ann", or its URL. No password.
        data: "s3://bucket/prefix/", or a folder that every machine sees under this path. It must be there.
        schema: the lab's schema in the database, for several labs in one.
        endpoint: address of an S3 that is not Amazon's: "https://minio:9000".
        region: of the bucket; "": as AWS_REGION or AWS_DEFAULT_REGION say.
        url_style: "path" or "vhost"; "": path with an endpoint, else vhost.
        lock_timeout_s: how long to wait for others who make it, seconds.

    Raises:
        SettingError: a setting is not allowed, such as a password in `catalog`.
        StoreError: the database or the rows' place cannot be reached or do not fit together, or the folder is another
            lab's. Then no folder was made.
        MissingPackage: an extension package is missing.
    """
    lab = Path(path).expanduser().absolute()
    place = Team(lab, catalog, data, schema, endpoint, region, url_style)
    fresh = _is_fresh(place)
    place.write()
    try:
        with place.locked(lock_timeout_s):
            made = _find_or_make(place)
            make(lab)
    except (StoreError, duckdb.Error) as error:
        if fresh:
            (lab / NAME).unlink()
            with contextlib.suppress(OSError):
                lab.rmdir()
        raise StoreError(f"no team's lab in {str(lab)!r}: {place.told(error)}") from error
    return Joined(place, made)


def _is_fresh(place: Team) -> bool:
    """Whether the folder is no lab's yet.

    Raises:
        StoreError: it is another's.
    """
    if (place.lab / EMBEDDED).exists():
        raise StoreError(
            f"{str(place.lab)!r} holds a lab of its own. Choose another folder for the team's lab; "
            "`workbench fill` then takes the rows of this one into it"
        )
    if not (place.lab / NAME).exists():
        return True
    held = Team.read(place.lab)
    if held != place:
        raise StoreError(
            f"{str(place.lab / NAME)!r} says otherwise: {held.catalog}, schema {held.schema}, rows in {held.data}. "
            "Choose another folder, or change that file by hand"
        )
    return False


def _find_or_make(place: Team) -> bool:
    """Whether the lake had to be made. Checks that rows can be written and read."""
    if not place.in_s3 and not Path(place.data).is_dir():
        raise StoreError(f"there is no folder {place.data!r} on this machine; make it, or mount the shared one there")
    with contextlib.closing(instance(place.extensions)) as connection:
        *before, attach = place.statements(read_only=True)
        for statement in before:
            connection.execute(statement)
        try:
            connection.execute(attach)
            made = False
        except duckdb.Error as error:
            if "creating a new DuckLake is explicitly disabled" not in str(error):
                raise
            _check_empty(place, connection)
            made = True
        _leave_note(place, connection)
        if made:
            connection.execute(place.statements(read_only=False, make=True)[-1])
    return made


def _check_empty(place: Team, connection: Connection) -> None:
    """A lab whose catalog is gone shall not be made anew over its rows."""
    found = connection.execute(f"select count(*) from glob({quoted(place.data + '**/*.parquet')})").fetchall()
    if found[0][0]:
        raise StoreError(
            f"{place.data} holds {found[0][0]:,} files of rows, and the database no lab to which they belong. Restore "
            "the database from its backup, or give the new lab a place of its own"
        )


def _leave_note(place: Team, connection: Connection) -> None:
    note = "The files beside this one are the rows of a lab of the workbench. Its catalog is in PostgreSQL."
    target = quoted(place.data + NOTE)
    connection.execute(f"copy (select {quoted(note)} as note) to {target} (format csv)")
    connection.execute(f"from read_csv({target})").fetchall()
