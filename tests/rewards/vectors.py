"""Encoders that give the vectors a test names."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from workbench.errors import EngineError
from workbench.spec import part


@part
class Given:
    """The vectors of `table` as they are, zeros for other texts."""

    table: Mapping[str, tuple[float, ...]]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        width = len(next(iter(self.table.values())))
        return np.array([self.table.get(text, (0.0,) * width) for text in texts], dtype=np.float64)


@part
class Scattered:
    """A direction of its own for every text, many of them opposed."""

    width: int = 3

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        drawn = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.width) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in drawn]).reshape(len(texts), self.width)


@part
class Broken:
    """An encoder that is away."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        raise EngineError("the encoder's process ended")


def at(cosine: float) -> tuple[float, float]:
    """The unit vector whose cosine with (1, 0) is this."""
    return cosine, math.sqrt(1.0 - cosine * cosine)
