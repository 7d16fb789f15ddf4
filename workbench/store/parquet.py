"""Files of rows, each read on its own: to find what is damaged."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb

_READ = "select count(*), bit_xor(hash(t)) from read_parquet($path) t"  # every value is read


def why_unreadable(path: Path, bytes: int | None = None, rows: int | None = None) -> str:
    """What is wrong with a Parquet file, read to its end; "" where nothing is.

    Args:
        bytes: the size it should have, where that is known.
        rows: how many rows it should hold.
    """
    if not path.exists():
        return "missing"
    size = path.stat().st_size
    if bytes is not None and size != bytes:
        return f"{'cut off: ' if size < bytes else ''}{size:,} bytes instead of {bytes:,}"
    with contextlib.closing(duckdb.connect(config={"threads": 1})) as connection:
        return why_unreadable_in(connection, str(path), rows)


def why_unreadable_in(connection: duckdb.DuckDBPyConnection, address: str, rows: int | None) -> str:
    """The same of a file that a connection reaches, in a folder or in S3."""
    try:
        [(found, _)] = connection.execute(_READ, {"path": address}).fetchall()
    except duckdb.Error as error:
        return f"damaged: {' '.join(str(error).replace(address, Path(address).name).split())[:200]}"
    return "" if rows in (None, found) else f"damaged: {found:,} rows instead of {rows:,}"


def row_count(path: Path) -> int:
    """Rows of a Parquet file; every value is read.

    Raises:
        duckdb.Error: it is damaged.
    """
    with contextlib.closing(duckdb.connect(config={"threads": 1})) as connection:
        return connection.execute(_READ, {"path": str(path)}).fetchall()[0][0]
