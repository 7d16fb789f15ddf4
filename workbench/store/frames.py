"""Data frames whose texts are as they were recorded, whatever characters they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from workbench.plain import is_plain


def frame_of(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The columns as a frame; one with half a character in it as Python objects, since pandas keeps texts as UTF-8."""
    return pd.DataFrame({name: pd.Series(values, dtype=_kind(values)) for name, values in columns.items()})


def _kind(values: Sequence[Any]) -> type | None:
    plain = all(not isinstance(value, str) or is_plain(value) for value in values)
    return None if plain and len(values) else object


def showable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with half characters replaced, so that it can be printed and sent."""
    return frame.map(lambda value: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value)
