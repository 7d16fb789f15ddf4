"""The journal: rows on disk from the moment they are recorded, until the lake holds them.

A lab's folder `journal/` holds one file or more for every open writer. A record is a checksum, a length and the rows
(a JSON header, then an Arrow IPC stream for each table); it is acknowledged once `fsync` has returned. A file belongs
to whoever holds it locked: the writer that made it, and after its death the first process that comes to adopt it. What
is folded into the lake is told in the lake's table `journals`, in the same transaction; only then is a file deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from workbench.errors import StoreError
from workbench.store.locks import LockedFile
from workbench.store.rows import Rows, time_id

SEALED_BYTES = 64 * 2**20
"""A file of this size takes no more records: a new one is begun, and the old one goes once it is folded."""

_HEAD = struct.Struct("<4sIQ")  # mark; checksum of the length and the payload; length of the payload in bytes
_MARK = b"row1"
_LENGTH = struct.Struct("<Q")
_HEADER = struct.Struct("<Q")  # length of the JSON header in bytes, a multiple of 8: Arrow wants its numbers aligned


@dataclass
class Found:
    """What stands in a journal."""

    items: list[tuple[Rows, int]] = field(default_factory=list)  # each with the position where its record ends
    corrupt: int = 0  # bytes of records that cannot be read
    unfinished: int = 0  # bytes of a last record that was not written to its end: it was never acknowledged


class Journal:
    """One file of records, held locked."""

    def __init__(self, path: Path, file: LockedFile, *, adopted: bool) -> None:
        self.path = path
        self.name = path.stem
        self.folded = 0  # bytes that the lake holds, at least
        self.certain = not adopted  # False: only the lake can say whether it holds more
        self.end = os.fstat(file.descriptor).st_size  # bytes acknowledged
        self.adopted = adopted  # from a writer that ended
        self.sealed = adopted  # takes no more records
        self._file = file

    @classmethod
    def new(cls, folder: Path) -> Journal:
        """A file of its own in `folder`."""
        folder.mkdir(exist_ok=True)
        while True:
            path = folder / f"{time_id()}.journal"
            file = LockedFile.take(path, make=True)
            if file is not None:  # else another process saw it before it was locked and took it for a dead one's
                _sync_folder(folder)
                return cls(path, file, adopted=False)

    @property
    def is_folded(self) -> bool:
        """Whether the lake surely holds all of it."""
        return self.certain and self.folded >= self.end

    def append(self, record: bytes, *, sync: bool = True) -> None:
        """Add a record; with `sync` it has reached the disk on return. On failure the file is as it was.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        try:
            left = memoryview(record)
            while left:
                left = left[os.write(self._file.descriptor, left) :]
            if sync:
                self.sync()
        except BaseException:
            try:
                os.ftruncate(self._file.descriptor, self.end)
            except OSError:
                self.sealed = True  # nothing may follow half a record
            raise
        self.end += len(record)

    def sync(self) -> None:
        """Return when everything appended has reached the disk."""
        os.fsync(self._file.descriptor)

    def read(self, start: int, stop: int) -> Found:
        """What stands between two positions."""
        found = read_records(_bytes_of(self._file.descriptor, start, stop))
        found.items = [(rows, start + end) for rows, end in found.items]
        return found

    def keep_copy(self) -> Path:
        """Copy the file beside itself, for a person: it will be deleted though something in it was not folded."""
        return Path(shutil.copyfile(self.path, self.path.with_suffix(".damaged")))

    def close(self) -> None:
        """Let go of the file, and delete it if the lake holds all of it."""
        if self.is_folded:
            self.path.unlink(missing_ok=True)
        self._file.close()


class Journals:
    """The files that this process holds, oldest first. One thread appends at a time, another folds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: list[Journal] = []
        self._current: Journal | None = None  # the one that takes records; it is in _held too

    def append(self, record: bytes, *, sync: bool) -> tuple[Journal, int]:
        """Where the record ends: journal and position.

        Raises:
            StoreError: the disk is full or cannot be written; nothing of the record is kept.
        """
        try:
            journal = self._taking()
            journal.append(record, sync=sync)
        except OSError as error:
            raise _unwritten(self.folder, error) from error
        return journal, journal.end

    def _taking(self) -> Journal:
        """The file that takes the next record."""
        current = self._current
        if current is not None and not current.sealed and current.end >= SEALED_BYTES:
            current.sync()
            current.sealed = True
        if current is None or current.sealed:
            current = self._current = Journal.new(self.folder)
            self._held.append(current)
        return current

    def sync(self) -> None:
        """Return when everything appended has reached the disk.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            if self._current is not None and not self._current.sealed:
                self._current.sync()
        except OSError as error:
            raise _unwritten(self.folder, error) from error

    def adopt(self) -> bool:
        """Take over what dead writers left. True where there was something."""
        found = []
        for path in sorted(self.folder.glob("*.journal")) if self.folder.is_dir() else ():
            if all(journal.path != path for journal in self._held):
                with contextlib.suppress(OSError):  # a folder that cannot be written is left to those who can
                    file = LockedFile.take(path, make=False)
                    if file is not None:
                        found.append(Journal(path, file, adopted=True))
        self._held[:0] = found  # they are older
        return bool(found)

    def waiting(self) -> list[tuple[Journal, int]]:
        """The files that hold more than the lake, oldest first, each with its end."""
        return [(journal, journal.end) for journal in list(self._held) if not journal.is_folded]

    def drop_folded(self) -> None:
        """Delete the files that the lake holds all of and that take no more records."""
        for journal in [held for held in list(self._held) if held.sealed and held.is_folded]:
            journal.close()
            self._held.remove(journal)

    def close(self) -> None:
        """Let go of every file. What the lake does not hold stays, for the next process that opens the lab."""
        for journal in self._held:
            journal.close()
        self._held, self._current = [], None


def _unwritten(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"nothing was recorded: the journal of lab {str(folder.parent)!r} could not be written: {error}. Make room or "
        "mend the folder, and record it again; what was recorded before is safe"
    )


# ---------------------------------------------------------------- records


def packed(rows: Rows) -> bytes:
    """A record."""
    streams = {name: _stream(table) for name, table in rows.tables.items()}
    header = json.dumps(
        {
            "run": rows.run,
            "update": rows.update,
            "digests": rows.digests,
            "scored": sorted(rows.scored),
            "tables": {name: stream.size for name, stream in streams.items()},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    payload = b"".join([_HEADER.pack(len(header)), header, *streams.values()])
    return _HEAD.pack(_MARK, _checksum(payload), len(payload)) + payload


def unpacked(payload: memoryview) -> Rows:
    """The rows of a record's payload."""
    (size,) = _HEADER.unpack_from(payload)
    at = _HEADER.size + size
    header = json.loads(bytes(payload[_HEADER.size : at]))
    tables = {}
    for name, length in header.pop("tables").items():
        tables[name] = pa.ipc.open_stream(pa.py_buffer(payload[at : at + length])).read_all()
        at += length
    return Rows(tables=tables, **{**header, "scored": frozenset(header["scored"])})


def read_records(data: bytes) -> Found:
    """Every whole record. One that is corrupt is passed over; an unfinished one ends the file."""
    found, view, at = Found(), memoryview(data), 0
    while at < len(view):
        start = at + _HEAD.size
        mark, checksum, length = _HEAD.unpack_from(view, at) if start <= len(view) else (_MARK, 0, len(view))
        if start + length > len(view):
            found.unfinished = len(view) - at
            break
        payload, at = view[start : start + length], start + length
        try:
            if mark != _MARK or _checksum(payload) != checksum:
                raise ValueError("another checksum")
            found.items.append((unpacked(payload), at))
        except (ValueError, LookupError, TypeError, struct.error, pa.ArrowException):
            found.corrupt += _HEAD.size + length
    return found


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _checksum(payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))


def _bytes_of(descriptor: int, start: int, stop: int) -> bytes:
    pieces = []
    while start < stop and (piece := os.pread(descriptor, stop - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def _sync_folder(folder: Path) -> None:
    """Return when the folder's own entries have reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
