"""Tables for a terminal. Cells may hold text that a model or a page wrote: it is shown, never obeyed."""

from __future__ import annotations

import math
import numbers
import shutil
from collections.abc import Sequence
from typing import Any

LONGEST_CELL = 80
"""Characters of a cell that a table shows; a single row is shown whole instead, one column a line."""

NARROWEST = 10
"""Characters to which a column is narrowed at most, so that the table fits the terminal."""


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None) -> str:
    """Rows under their column names, numbers to the right, narrowed to `width` characters (the terminal's)."""
    width = width or shutil.get_terminal_size((160, 24)).columns
    cells = [[cut(one_line(shown(value)), LONGEST_CELL) for value in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *cells, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    right = [all(_is_number(row[c]) or _is_null(row[c]) for row in rows) for c in range(len(columns))]
    lines = [columns, ["-" * size for size in widths], *cells]
    return "\n".join(_line(line, widths, right) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    fitted = (cut(cell, size) for cell, size in zip(cells, widths, strict=True))
    placed = (
        cell.rjust(size) if to_right else cell.ljust(size)
        for cell, size, to_right in zip(fitted, widths, right, strict=True)
    )
    return "  ".join(placed).rstrip()


def whole_row(columns: Sequence[str], row: Sequence[Any]) -> str:
    """One row, one column a line, nothing cut off; texts of several lines under their name."""
    lines = []
    size = max(map(len, columns))
    for name, value in zip(columns, row, strict=True):
        text = "\n".join(one_line(line) for line in shown(value).split("\n"))
        lines.append(f"{name}\n{text}" if "\n" in text else f"{name.ljust(size)}  {text}")
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A value as text: NULL where there is none, four digits of a fraction."""
    if _is_null(value):
        return "NULL"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.4g}"
    return str(value)


def one_line(text: str) -> str:
    """Line breaks and control characters (which could steer the terminal) spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_null(value: Any) -> bool:
    """None, NaN, and pandas' NaT and NA (which are not equal to themselves, or say so with an error)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)
