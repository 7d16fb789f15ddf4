"""Values as text that a database can hold, and back, unchanged.

JSON has no NaN, no tuples and no sets, and keys that are texts only: what it cannot say is tagged
(``{"$tuple": [1, 2]}``), so that SQL still reads the rest. UTF-8 has no lone surrogates, and a NUL in a filter breaks
DuckLake's own SQL: texts that hold one are escaped, all others stand as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from workbench import spec
from workbench.errors import SettingError

MARK = "\ufdd0"
"""First character of a text that had to be escaped. Unicode reserves it: no text of the world holds it."""


def is_plain(text: str) -> bool:
    """True where `escape` leaves the text, and every part of it, as it is."""
    return MARK not in text and _is_storable(text)


def escape(text: str) -> str:
    """`text` unchanged, or marked and backslash-escaped where it holds a lone surrogate or a NUL."""
    if _is_storable(text) and not text.startswith(MARK):
        return text
    return MARK + text.encode("unicode_escape").decode("ascii")


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def unescape(text: str) -> str:
    """What `escape` was given."""
    return text[1:].encode("ascii").decode("unicode_escape") if text.startswith(MARK) else text


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=lambda value: pack(value, "a field")).encode


def text_of(value: Any) -> str:
    """JSON for plain data, nothing escaped (see `pack` for data that is not plain)."""
    return _encode(value)


def dumps(value: Any) -> str:
    """Valid JSON for plain data (see `pack` for data that is not plain)."""
    text = _encode(value)
    return text if is_plain(text) else _encode(escaped(value))


def loads(text: str) -> Any:
    """What `dumps` was given."""
    value = json.loads(text)
    return unescaped(value) if MARK in text else value


def escaped(value: Any) -> Any:
    """Plain data with every text escaped that needs it, keys too."""
    return _map_texts(value, escape)


def unescaped(value: Any) -> Any:
    """What `escaped` was given."""
    return _map_texts(value, unescape)


def pack(value: Any, where: str = "extras") -> Any:
    """Plain JSON data for nested numbers, texts, lists, tuples, sets, mappings and parts; `unpack` brings them back.

    Raises:
        SettingError: something else is in there; `where` says where.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic):
        return pack(value.item(), where)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, list):
        return [pack(item, where) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [pack(item, where) for item in value]}
    if isinstance(value, set | frozenset):
        return {f"${type(value).__name__}": sorted((pack(item, where) for item in value), key=repr)}
    if isinstance(value, Mapping):
        return _pack_mapping(value, where)
    if spec.PARTS.get(type(value).__name__) is type(value):
        return {"$part": spec.to_spec(value)}
    raise SettingError(
        f"{where} holds a {type(value).__name__}, which the store cannot bring back: {value!r:.200}. Allowed are "
        "numbers, texts, booleans, None, lists, tuples, sets, mappings of these, and parts (classes made with @part)"
    )


def _pack_mapping(value: Mapping, where: str) -> dict:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {str(key): pack(item, f"{where}[{key!r}]") for key, item in value.items()}
    return {"$dict": [[pack(key, where), pack(item, f"{where}[{key!r}]")] for key, item in value.items()]}


_TAGS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$tuple": lambda items: tuple(unpack(item) for item in items),
    "$set": lambda items: {unpack(item) for item in items},
    "$frozenset": lambda items: frozenset(unpack(item) for item in items),
    "$dict": lambda pairs: {unpack(key): unpack(item) for key, item in pairs},
    "$part": spec.from_spec,
}


def unpack(value: Any) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (tag := next(iter(value))) in _TAGS:
        return _TAGS[tag](value[tag])
    return {key: unpack(item) for key, item in value.items()}


def null_if_nan(number: float) -> float | None:
    """NaN becomes NULL at the store's edge: `avg` skips NULL, while one NaN turns a whole mean into NaN."""
    number = float(number)
    return None if math.isnan(number) else number


def nan_if_null(number: float | None) -> float:
    """What `null_if_nan` was given."""
    return math.nan if number is None else number


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_map_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): _map_texts(item, change) for key, item in value.items()}
    return value
