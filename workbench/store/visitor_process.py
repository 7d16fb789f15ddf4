"""A process that answers questions of visitors, one at a time, within limits of memory and time.

DuckDB's own memory limit leaves out what it computes row by row (`range(1000000000)` as a list took 8 GB under a limit
of 0.5), so the kernel's limits hold beside it. The process gets no environment, can write no large file, and is
killed by its parent where it takes too long (`visitors.py`). Questions and answers travel as bytes, each after its
length: text to here; JSON, then Arrow, from here.
"""

from __future__ import annotations

import json
import os
import re
import resource
import struct
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa

from workbench.errors import StoreError, UnknownName
from workbench.store import lake
from workbench.store.allowed import check
from workbench.store.places import place_of
from workbench.store.team import why_away

MARGIN = 2**30
"""Bytes of address space beyond DuckDB's own limit: at that limit a question was seen to need 0.4 GB more."""

GRACE_S = 5
"""Seconds of processor time after which the kernel ends a question, should no parent be left to do it."""

LARGEST_FILE = 2**20
"""Bytes. A reader of the catalog writes a few kB: SQLite's shared index of what is being written (-shm)."""

FEW = 256
"""Rows that are taken from the answer at a time."""


def serve(lab: str, limits: dict[str, float]) -> None:
    """Answer what comes in on standard input until it ends.

    Args:
        limits: rows, bytes, seconds and memory (bytes), see visitors.Limits.
    """
    told, heard = _channels()
    parser = duckdb.connect(config={"threads": 1, "enable_external_access": "false"})
    memory = int(limits["memory"])
    connection = connect(Path(lab), memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, LARGEST_FILE)
    at_start = _address_space()
    _limit(resource.RLIMIT_AS, at_start + memory + MARGIN)
    write(told, b"{}")  # ready
    while question := read(heard):
        processor = resource.getrusage(resource.RUSAGE_SELF)
        used_s = processor.ru_utime + processor.ru_stime
        _limit(resource.RLIMIT_CPU, int(used_s + limits["seconds"]) + GRACE_S, hard=False)
        refusal = _refusal(parser, question.decode())
        header, table = (refusal, b"") if refusal else _answer(connection, question.decode(), limits)
        over = header.get("error") == "memory" or _address_space() > at_start + memory
        write(told, json.dumps({**header, "over": over}).encode())
        write(told, table)
        if over:  # what is left of the memory might not do for the next question
            return
        if not refusal:
            connection.close()
            connection = connect(Path(lab), memory)  # the next question finds nothing of this one


def connect(lab: Path, memory: int) -> lake.Connection:
    """A connection that reads the lab and can reach nothing else."""
    connection = lake.connect(lab, read_only=True, threads=1)
    for setting in (
        "temp_directory = ''",  # else its folder may be read and written
        f"allowed_directories = [{lake.quoted(place_of(lab).data)}]",
        f"memory_limit = '{memory}B'",
        "allow_community_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"set {setting}")
    return connection


def _refusal(parser: lake.Connection, sql: str) -> dict[str, Any]:
    """What to say to a question that may not be asked; nothing where it may."""
    try:
        check(parser, sql)
    except (UnknownName, StoreError) as error:
        return {"error": type(error).__name__, "says": str(error)}
    except MemoryError:
        return {"error": "memory"}
    return {}


def _answer(connection: lake.Connection, sql: str, limits: dict[str, float]) -> tuple[dict[str, Any], bytes]:
    try:
        table, cut = _first(connection.execute(sql).to_arrow_reader(FEW), int(limits["rows"]), int(limits["bytes"]))
        return {"cut": cut}, _shipped(table)
    except StoreError as error:
        return {"error": "StoreError", "says": str(error)}, b""
    except (duckdb.OutOfMemoryException, MemoryError):
        return {"error": "memory"}, b""
    except (duckdb.Error, pa.ArrowException, UnicodeError) as error:
        if why_away(error):
            return {"error": "StoreError", "says": "the lab cannot be reached now; ask again in a while"}, b""
        return {"error": "StoreError", "says": _without_paths(str(error))}, b""


def _first(reader: pa.RecordBatchReader, most_rows: int, most_bytes: int) -> tuple[pa.Table, str]:
    """The first rows of an answer, and what cut it off: "rows", "bytes" or nothing."""
    kept: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        if rows + len(batch) > most_rows:
            kept.append(batch.slice(0, most_rows - rows))
            return pa.Table.from_batches(kept, reader.schema), "rows"
        if size + batch.nbytes > most_bytes:
            kept.append(batch.slice(0, _fitting(batch, most_bytes - size)))
            table = pa.Table.from_batches(kept, reader.schema)
            if not len(table):
                raise StoreError(
                    f"the first row alone has more than {most_bytes / 2**20:g} MB; ask for less of it: left(text, 1000)"
                )
            return table, "bytes"
        kept.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
    return pa.Table.from_batches(kept, reader.schema), ""


def _fitting(batch: pa.RecordBatch, room: int) -> int:
    """How many of the first rows take at most `room` bytes."""
    low, high = 0, len(batch)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if batch.slice(0, middle).nbytes <= room else (low, middle - 1)
    return low


def _shipped(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())  # slices leave behind what they do not show
    return sink.getvalue().to_pybytes()


def _without_paths(says: str) -> str:
    """DuckDB's error without the folders of this machine."""
    return re.sub(r"(/[^\s'\"/]+)+/", "", says)


# ---------------------------------------------------------------- the process


def _limit(what: int, most: int, *, hard: bool = True) -> None:
    _, ceiling = resource.getrlimit(what)
    resource.setrlimit(what, (most, most if hard else ceiling))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _channels() -> tuple[IO[bytes], IO[bytes]]:
    """Where to answer and where questions come from. What else is printed goes to standard error."""
    told, heard = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    return told, heard


def write(pipe: IO[bytes], message: bytes) -> None:
    """Send a message."""
    pipe.write(struct.pack("<Q", len(message)) + message)
    pipe.flush()


def read(pipe: IO[bytes], most: int = 2**30) -> bytes:
    """The next message; b"" where none comes any more."""
    head = pipe.read(8)
    size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if size > most:
        return b""
    message = pipe.read(size)
    return message if len(message) == size else b""
