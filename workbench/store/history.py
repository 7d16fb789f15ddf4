"""A lab as it was: its snapshots, and asking one of them.

Every commit is a snapshot that DuckLake keeps. Nothing here filters rows by their times: an old snapshot is attached as
a lab of its own, with the views of its time, so that whatever can be asked of a lab can be asked of its past. Tidying
merges files and keeps every snapshot exact; the store never expires one.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from workbench.errors import SettingError, StoreError, UnknownName
from workbench.store import lake
from workbench.store.asking import Asking
from workbench.store.reading import Reader

SNAPSHOTS = """
    select snapshot_id as snapshot, make_timestamp(epoch_us(snapshot_time)) as recorded, changes
    from ducklake_snapshots('lake') where snapshot_id >= (
        select min(begin_snapshot) from __ducklake_metadata_lake.ducklake_view  -- before that it was no lab yet
    )
    order by snapshot_id
"""
TIMES = f"select snapshot, recorded from ({SNAPSHOTS}) order by snapshot"
TABLE_NAMES = "select table_id::varchar, any_value(table_name) from __ducklake_metadata_lake.ducklake_table group by 1"

MEANINGS = {"tables_inserted_into": "added to", "inlined_insert": "added to", "flushed_inlined": "tidied"}
MEANINGS |= {"merge_adjacent": "tidied", "tables_altered": "settings of"}
"""DuckLake's word for a change, and ours; any other is shown as it is."""


class Past(Asking):
    """A lab as it was at a snapshot: to ask, not to write. `Store.at` makes one."""

    def __init__(self, path: Path, snapshot: int, recorded: datetime.datetime, *, deadline_s: float) -> None:
        connection = lake.connect(path, read_only=True, snapshot=snapshot)
        super().__init__(path, Reader(connection, deadline_s=deadline_s, before=lambda: None))
        self.snapshot = snapshot
        self.recorded = recorded  # when it was committed, UTC

    def __repr__(self) -> str:
        return f"<lab {str(self.path)!r} as it was at snapshot {self.snapshot}, {self.recorded:%Y-%m-%d %H:%M:%S} UTC>"


def snapshots(reader: Reader) -> pd.DataFrame:
    """Every commit: snapshot int, recorded (UTC), what it did."""
    found = reader.columns(SNAPSHOTS)
    names = dict(reader.rows(TABLE_NAMES))
    told = [_told(changes, names) for changes in found["changes"]]
    return pd.DataFrame({"snapshot": found["snapshot"], "recorded": found["recorded"], "what": told})


def _told(changes: Iterable[tuple[str, list[str]]], names: Mapping[str, str]) -> str:
    """ "added to edits, labels"."""
    made: dict[str, list[str]] = {}
    for kind, tables in changes:
        made.setdefault(MEANINGS.get(kind, kind.replace("_", " ")), []).extend(
            names.get(table, table.removeprefix("main.").strip('"')) for table in tables
        )
    return "; ".join(f"{what} {', '.join(sorted(tables))}" for what, tables in made.items())


def find(reader: Reader, when: int | str | datetime.datetime) -> tuple[int, datetime.datetime]:
    """Number and time of the newest snapshot at `when`.

    Raises:
        SettingError: `when` is neither a number nor a time, or lies in the future.
        StoreError: the lab was made later.
        UnknownName: no such snapshot.
    """
    held = reader.rows(TIMES)
    if isinstance(when, int) and not isinstance(when, bool):
        for snapshot, recorded in held:
            if snapshot == when:
                return snapshot, recorded
        raise UnknownName(f"no snapshot {when}; this lab has {held[0][0]} to {held[-1][0]} (see snapshots())")
    moment = utc(when)
    if moment > datetime.datetime.now(datetime.UTC).replace(tzinfo=None):
        raise SettingError(f"{when} lies in the future; times without a zone are UTC")
    earlier = [one for one in held if one[1] <= moment]
    if not earlier:
        raise StoreError(
            f"the lab was made at {held[0][1]:%Y-%m-%d %H:%M:%S} UTC, after {moment:%Y-%m-%d %H:%M:%S} UTC"
        )
    return earlier[-1]


def utc(when: object) -> datetime.datetime:
    """A time as the store keeps it: UTC, without a zone. Texts are ISO 8601; what has no zone is UTC.

    Raises:
        SettingError: it is no time.
    """
    if isinstance(when, str):
        with contextlib.suppress(ValueError):
            when = datetime.datetime.fromisoformat(when)
    if not isinstance(when, datetime.datetime):
        raise SettingError(f"expected a time, a text such as '2026-03-01 12:00', or a snapshot's number, got {when!r}")
    return when.astimezone(datetime.UTC).replace(tzinfo=None) if when.tzinfo else when
