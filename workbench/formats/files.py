"""Rows of files, streamed, each with the place it stood at; a row that cannot be read is reported, not fatal.

Text is UTF-8 with or without a byte order mark, lines end with \\n or \\r\\n, and a file may be gzipped, whatever its
name says.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from workbench.errors import FormatError

LONGEST_ROW = 1 << 26
"""Bytes of one row; a longer one is skipped as broken."""

LARGEST_DOCUMENT = 1 << 28
"""Bytes of a file that is one JSON value: it is read whole."""

CHUNK = 1 << 20
HEAD = 1 << 16
GZIP, ZIP, PARQUET, MARK = b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\xef\xbb\xbf"
UTF16 = b"\xff\xfe", b"\xfe\xff"
BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Row:
    """A JSON value of a file."""

    number: int  # from 1: line of a .jsonl, item of an array
    where: str  # "dump.jsonl, line 3"
    value: Any
    size: int = 0  # characters


@dataclass(frozen=True)
class Broken:
    """A row that is not JSON, too long, or cut off."""

    where: str
    why: str


@dataclass(frozen=True)
class Head:
    """What a format is guessed from: the name and the beginning of a file."""

    path: Path
    start: bytes = field(repr=False)  # unpacked

    @classmethod
    def of(cls, path: Path) -> Head:
        """Raises FormatError where there is no such file."""
        try:
            with open_bytes(path) as file:
                return cls(path, file.read(HEAD))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return cls(path, b"")

    @property
    def name(self) -> str:
        """The file's name in small letters, without .gz."""
        return self.path.name.lower().removesuffix(".gz")

    @property
    def is_parquet(self) -> bool:
        return self.start.startswith(PARQUET)

    @cached_property
    def columns(self) -> dict[str, str]:
        """Names and types of a Parquet file's columns; none for another file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return {f.name: str(f.type) for f in pq.read_schema(self.path)} if self.is_parquet else {}
        except (pa.ArrowException, OSError):
            return {}

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Names of the first files in a zip; none for another file."""
        if not self.start.startswith(ZIP):
            return ()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return tuple(archive.namelist()[:100])
        except (zipfile.BadZipFile, OSError):
            return ()

    @cached_property
    def row(self) -> Mapping[str, Any]:
        """The first object of a JSON file (of its lines, its array, or the whole); empty where there is none."""
        if self.is_parquet or self.start.startswith((ZIP, *UTF16)):
            return {}
        first = (row.value for row in itertools.islice(json_rows(self.path), 20) if isinstance(row, Row))
        return next((value for value in first if isinstance(value, dict)), {})

    def has(self, *names: str) -> bool:
        """True where the first object has all these keys."""
        return all(name in self.row for name in names)


def check_is_file(path: Path) -> None:
    """Raises FormatError where there is no such file."""
    if path.is_dir():
        held = sorted(one.name for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        told = f"it holds {', '.join(held[:5])}{' ...' if len(held) > 5 else ''}" if held else "it holds no files"
        raise FormatError(f"{path} is a folder; name one of its files: {told}")
    if not path.is_file():
        raise FormatError(f"no file {path}")


def open_bytes(path: Path) -> IO[bytes]:
    """The file, unpacked where it is gzipped.

    Raises:
        FormatError: there is no such file.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else open(path, "rb")


def json_rows(path: Path) -> Iterator[Row | Broken]:
    """Every line of a .jsonl file, every item of one JSON array, or the one value that the whole file is."""
    try:
        with open_bytes(path) as file:
            start = file.read(HEAD).removeprefix(MARK).lstrip()
        if start.startswith(UTF16):  # Python's json would read its first line, and no other
            yield Broken(path.name, "UTF-16 text; bring it to UTF-8 with: iconv -f UTF-16 -t UTF-8")
        elif start.startswith(b"["):
            yield from _items(path)
        elif (document := _document(path, start)) is not None:
            yield document
        else:
            yield from _lines(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Broken(path.name, f"not a whole gzip file: {error}")


def read_json(data: bytes | str, where: str, number: int) -> Row | Broken:
    """One JSON value."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8", "surrogatepass")  # json would try UTF-16 too
        return Row(number, where, json.loads(text), len(data))
    except RecursionError:
        return Broken(where, "nested too deeply")
    except ValueError as error:  # both bad UTF-8 and bad JSON
        return Broken(where, f"not JSON ({error})")


def _document(path: Path, start: bytes) -> Row | None:
    """The file as one JSON value, laid out on many lines; None where it is not that."""
    if not start.startswith(b"{") or not start.split(b"\n", 1)[0].rstrip().endswith((b"{", b"[", b",")):
        return None
    with open_bytes(path) as file:
        whole = file.read(LARGEST_DOCUMENT + 1)
    if len(whole) > LARGEST_DOCUMENT:
        return None
    row = read_json(whole.removeprefix(MARK), f"{path.name}, the whole document", 1)
    return row if isinstance(row, Row) else None


def _lines(path: Path) -> Iterator[Row | Broken]:
    with open_bytes(path) as file:
        number = 0
        while line := file.readline(LONGEST_ROW):
            number += 1
            where = f"{path.name}, line {number}"
            if len(line) == LONGEST_ROW and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST_ROW)) and not rest.endswith(b"\n"):
                    pass
                yield Broken(where, f"longer than {LONGEST_ROW >> 20} MB")
                continue
            if text := (line.removeprefix(MARK) if number == 1 else line).strip():
                yield read_json(text, where, number)


def _items(path: Path) -> Iterator[Row | Broken]:
    """The items of one JSON array, a chunk of the file in memory at a time. Nothing can be read after a broken one."""
    decoder, number, at = json.JSONDecoder(), 1, 0
    with open_bytes(path) as raw:
        decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        try:
            buffer = decode(raw.read(CHUNK)).lstrip()[1:]  # without the opening bracket
            while True:
                where = f"{path.name}, item {number}"
                at = BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]  # it matches anything, if only nothing
                if buffer.startswith("]", at):
                    if (buffer[at + 1 :] + decode(raw.read(CHUNK))).strip():
                        yield Broken(f"{path.name}, after the array", "text that was not read: a file is one array")
                    return
                try:
                    item, stop = decoder.raw_decode(buffer, at)
                except ValueError as error:  # most often the end of the chunk
                    more = decode(raw.read(max(CHUNK, len(buffer) - at))) if len(buffer) - at < LONGEST_ROW else ""
                    if not more:
                        yield Broken(where, f"not JSON, or cut off ({error}); nothing after it can be read")
                        return
                    buffer, at = buffer[at:] + more, 0
                    continue
                yield Row(number, where, item, stop - at)
                at, number = stop, number + 1
        except RecursionError:
            yield Broken(f"{path.name}, item {number}", "nested too deeply; nothing after it can be read")
        except UnicodeDecodeError as error:
            yield Broken(f"{path.name}, item {number}", f"not UTF-8 text ({error}); nothing after it can be read")


def parquet_rows(path: Path, columns: list[str] | None = None) -> Iterator[Row | Broken]:
    """Rows of a Parquet file as dicts, some in memory at a time, however large its row groups are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # buffered: else Arrow holds a whole row group, and many a writer makes one of the whole file
        with pq.ParquetFile(path, buffer_size=CHUNK, pre_buffer=False) as file:
            for chunk in file.iter_batches(_rows_at_a_time(file), columns=columns, use_threads=False):
                each = chunk.nbytes // max(len(chunk), 1)
                for value in chunk.to_pylist():
                    number += 1
                    yield Row(number, f"{path.name}, row {number}", value, each)
    except (pa.ArrowException, OSError) as error:
        yield Broken(f"{path.name}, row {number + 1}", f"not Parquet, or cut off: {error}")


def _rows_at_a_time(file: Any) -> int:
    """As many rows as fill a chunk, at most 256."""
    groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
    size = sum(group.total_byte_size for group in groups) // max(file.metadata.num_rows, 1)
    return min(max(CHUNK // max(size, 1), 1), 256)


class Lines:
    """A .jsonl file being written, gzipped where its name says so."""

    def __init__(self, path: Path) -> None:
        packed = path.suffix == ".gz"
        self._file = cast(IO[bytes], gzip.open(path, "wb") if packed else open(path, "wb"))  # noqa: SIM115

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, value: Any) -> None:
        """One more line of JSON; text that UTF-8 cannot hold (half characters) as JSON escapes."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        try:
            self.write_text(text)
        except UnicodeEncodeError:
            self.write_text(json.dumps(value, separators=(",", ":")))

    def write_text(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")


class Table:
    """A Parquet file being written, a batch of rows at a time; half characters become U+FFFD, as Parquet is UTF-8."""

    def __init__(self, path: Path, schema: Any, batch: int = 256) -> None:
        import pyarrow.parquet as pq

        self._schema, self._batch = schema, batch
        self._rows: list[dict[str, Any]] = []
        self._file = pq.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._file.close()

    def write(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._batch:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        try:
            table = pa.Table.from_pylist(self._rows, self._schema)
        except UnicodeEncodeError:
            table = pa.Table.from_pylist([_valid(row) for row in self._rows], self._schema)
        self._file.write_table(table)
        self._rows = []


def _valid(value: Any) -> Any:
    """The value with every half character replaced."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_valid(item) for item in value]
    return {key: _valid(item) for key, item in value.items()} if isinstance(value, dict) else value
