"""Parts: frozen dataclasses whose settings go into the store and come back.

Rewards, credits, losses, samplers and methods are parts. A part is registered under its class name; its
spec is plain JSON, ``{"part": "CoverageGain", "mode": "union"}``, which nests. Reading a spec only looks
classes up by name: it never imports or runs anything that the spec says.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform

import numpy as np

from workbench.errors import SettingError, UnknownName

PARTS: dict[str, type] = {}
"""Every registered part by class name. A user's own part joins by the `part` decorator."""

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def part(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and register it, so that its settings can be stored and read back.

    Defining a class again under the same name (a re-run notebook cell) replaces the earlier one.
    """
    made = dataclasses.dataclass(frozen=True)(cls)
    PARTS[made.__name__] = made
    return made


def to_spec(value: Any, *, loose: bool = False) -> Any:
    """Plain JSON data that `from_spec` turns back into an equal value.

    Args:
        loose: what cannot be stored (a function, a model) stands as its repr, ``{"unstored": "..."}``, which can be
            read by a person and not brought back.

    Raises:
        SettingError: a setting holds something that is neither a part nor plain data, and `loose` is False.
    """
    if dataclasses.is_dataclass(value) and PARTS.get(type(value).__name__) is type(value):
        fields = {f.name: to_spec(getattr(value, f.name), loose=loose) for f in dataclasses.fields(value) if f.init}
        return {"part": type(value).__name__, **fields}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [to_spec(item, loose=loose) for item in value]
    if isinstance(value, frozenset):
        return sorted(to_spec(item) for item in value)
    if isinstance(value, Mapping):
        return {str(key): to_spec(item, loose=loose) for key, item in value.items()}
    if loose:
        return {"unstored": repr(value)}
    raise SettingError(
        f"{type(value).__name__} cannot be stored as a setting: {value!r}. Allowed are parts (classes made with "
        "@part), numbers, texts, booleans, None, and tuples or mappings of these"
    )


def from_spec(spec: Any) -> Any:
    """The value that `to_spec` described; lists come back as tuples.

    Raises:
        UnknownName: the spec names a part that no imported module defines.
        SettingError: the part has no such setting (the spec is from another version), or it could not be stored.
    """
    if isinstance(spec, list):
        return tuple(from_spec(item) for item in spec)
    if not isinstance(spec, dict):
        return spec
    if spec.keys() == {"float"}:
        return float(spec["float"])
    if "unstored" in spec:
        raise SettingError(f"{spec['unstored']} was a function or object that cannot be stored; give it again")
    if "part" not in spec:
        return {key: from_spec(item) for key, item in spec.items()}
    name = spec["part"]
    if name not in PARTS:
        raise UnknownName.among("part", name, PARTS, where="the imported modules (import the one that defines it)")
    settings = {key: from_spec(item) for key, item in spec.items() if key != "part"}
    known = {f.name for f in dataclasses.fields(PARTS[name]) if f.init}
    if unknown := sorted(settings.keys() - known):
        raise SettingError(f"{name} has no setting {unknown}; it has {sorted(known)}")
    return PARTS[name](**settings)


def dumps(value: Any, *, loose: bool = False) -> str:
    """The spec of `value` as one line of JSON, keys sorted, so that equal values give equal text."""
    return json.dumps(_finite(to_spec(value, loose=loose)), sort_keys=True, ensure_ascii=False)


def loads(text: str) -> Any:
    """The value whose spec `dumps` wrote."""
    return from_spec(json.loads(text))


def _finite(spec: Any) -> Any:
    """The spec with inf and nan, which JSON does not have, as ``{"float": "inf"}``."""
    if isinstance(spec, dict):
        return {key: _finite(item) for key, item in spec.items()}
    if isinstance(spec, list):
        return [_finite(item) for item in spec]
    return {"float": str(spec)} if isinstance(spec, float) and not math.isfinite(spec) else spec


def code_version(value: Any) -> str:
    """Twelve hex digits over the source of a part's class and of the parts it holds: another code, another version.

    A class whose source cannot be read (defined at a prompt) counts with its name alone.
    """
    digest = hashlib.sha256()
    for cls in _classes(value):
        try:
            digest.update(inspect.getsource(cls).encode())
        except (OSError, TypeError):
            digest.update(cls.__qualname__.encode())
    return digest.hexdigest()[:12]


def _classes(value: Any) -> list[type]:
    if isinstance(value, tuple | list):
        return [cls for item in value for cls in _classes(item)]
    if not dataclasses.is_dataclass(value):
        return []
    held = [cls for f in dataclasses.fields(value) for cls in _classes(getattr(value, f.name))]
    return [type(value), *held]
