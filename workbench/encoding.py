"""Vectors of texts that were encoded before, by content: `Remembered` looks them up, `remembering` binds a reward."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import MutableMapping, Sequence
from typing import Any, TypeVar

import numpy as np

from workbench.errors import ShapeError
from workbench.protocols import Encoder
from workbench.spec import dumps

T = TypeVar("T")

Vectors = MutableMapping[str, np.ndarray]
"""Vectors by key. It may also have ``known(keys) -> dict[str, np.ndarray]``, many looked up in one go; it is used where
it is there."""


class Remembered:
    """An encoder that is asked only for what `vectors` does not hold.

    The key of a vector is a hash of the encoder's settings and one of the text: other settings, other vectors.
    """

    def __init__(self, encoder: Encoder, vectors: Vectors) -> None:
        self.encoder, self._vectors = encoder, vectors
        self._prefix = hashlib.blake2b(dumps(encoder).encode(), digest_size=8).hexdigest()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, d], as the encoder gives it."""
        keys = [self.key(text) for text in texts]
        held = self._held(list(dict.fromkeys(keys)))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        if new:
            rows = encode(self.encoder, list(new.values())).astype(np.float32)
            made = dict(zip(new, rows, strict=True))
            self._vectors.update(made)
            held |= made
        return np.stack([held[key] for key in keys]) if keys else encode(self.encoder, [])

    def key(self, text: str) -> str:
        """Of a text's vector."""
        return f"{self._prefix}-{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"

    def _held(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        if known := getattr(self._vectors, "known", None):
            return dict(known(keys))
        return {key: self._vectors[key] for key in keys if key in self._vectors}

    def __repr__(self) -> str:
        return repr(self.encoder)


def encode(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """What an encoder makes of `texts`, one row each.

    Raises:
        ShapeError: it gave something else.
    """
    rows = np.asarray(encoder(texts))
    if rows.ndim != 2 or len(rows) != len(texts):
        raise ShapeError(f"{encoder!r} made an array of shape {rows.shape} of {len(texts)} texts; give one row a text")
    return rows


def remembering(value: T, vectors: Vectors) -> T:
    """A reward (or any part) in which every encoder looks in `vectors` first.

    Only encoders whose class says ``remember = True`` do: those that are quicker than a look-up are left alone.
    """
    if getattr(type(value), "remember", False):
        return Remembered(value, vectors)  # type: ignore[arg-type, return-value]
    if isinstance(value, tuple):
        return tuple(remembering(item, vectors) for item in value)  # type: ignore[return-value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    held: dict[str, Any] = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    bound = {name: remembering(one, vectors) for name, one in held.items()}
    changed = {name: one for name, one in bound.items() if one is not held[name] and one != held[name]}
    return dataclasses.replace(value, **changed) if changed else value
