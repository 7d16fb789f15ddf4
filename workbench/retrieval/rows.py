"""Rows of JSON files, streamed, each with the place it stood at."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from workbench.errors import FormatError

CHUNK = 1 << 20
"""Characters read at a time from a JSON array."""

BETWEEN = re.compile(r"[\s,]*")

LONGEST = 1 << 26
"""Characters one item of an array may have; a longer one is taken for a broken file."""


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) for each object of a .jsonl file or of one JSON array, gzipped or not.

    `where` reads "name, line 3" or "name, item 3", counted from 1.

    Raises:
        FormatError: the file is absent, not UTF-8, or holds something other than objects; names the line or item.
    """
    if not path.is_file():
        raise FormatError(f"no file {path}")
    try:
        with _open(path) as file:
            start = file.read(CHUNK).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        for where, row in _items(path) if start == b"[" else _lines(path):
            if not isinstance(row, dict):
                raise FormatError(f"{where}: expected a JSON object, got {type(row).__name__}")
            yield where, row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{path.name} is not a whole gzip file: {error}") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path.name}, line {number}"
                try:
                    yield where, json.loads(line.decode("utf-8-sig"))
                except ValueError as error:  # both bad UTF-8 and bad JSON
                    raise FormatError(f"{where}: not JSON ({error}); one object a line is expected") from error


def _items(path: Path) -> Iterator[tuple[str, Any]]:
    """The items of one JSON array, a chunk of the file in memory at a time."""
    decoder, number = json.JSONDecoder(), 1
    with _open(path) as raw:
        chunks = _chunks(raw, path)
        buffer = next(chunks, "").lstrip()[1:]  # without the opening bracket
        at = 0
        while True:
            at = BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]  # it matches anything, if only nothing
            if buffer.startswith("]", at):
                return
            try:
                item, stop = decoder.raw_decode(buffer, at)
            except ValueError as error:  # most often the end of the chunk
                more = next(chunks, "") if len(buffer) - at < LONGEST else ""
                if not more:
                    raise FormatError(f"{path.name}, item {number}: not JSON, or cut off ({error})") from error
                buffer, at = buffer[at:] + more, 0
                continue
            yield f"{path.name}, item {number}", item
            at, number = stop, number + 1


def _chunks(raw: IO[bytes], path: Path) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    while chunk := raw.read(CHUNK):
        try:
            yield decode(chunk)
        except UnicodeDecodeError as error:
            raise FormatError(f"{path.name} is not UTF-8 text: {error}") from error
