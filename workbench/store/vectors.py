"""Vectors that encoders made of texts, kept in the lab under a hash of encoder and text (see `workbench.encoding`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from workbench.errors import StoreError
from workbench.store.reading import Reader
from workbench.store.rows import Rows, arrow, now
from workbench.store.writer import Writer

KEPT = 20_000
"""Vectors that stay in memory: those just made, which the tables may not hold yet, and those just asked for."""

FIND = "select key, vector from vectors where key in (select unnest($keys))"


class StoreVectors(MutableMapping[str, np.ndarray]):
    """A mapping from key to float32 [d] over the table `vectors`. Rows are only added: a key keeps its first vector."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer
        self._kept: dict[str, np.ndarray] = {}

    def known(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of `keys` that are there, in one question. What another process made in the last tenths of a second
        may not be: it is then made again."""
        found = {key: self._kept[key] for key in keys if key in self._kept}
        if asked := [key for key in keys if key not in found]:
            found |= dict(self._reader.glance(FIND, keys=asked))
        self._keep(found)
        return found

    def update(self, other: Any = (), /, **more: np.ndarray) -> None:
        """Keep many at once: one wait for the disk."""
        new = {key: np.asarray(vector, np.float32) for key, vector in dict(other, **more).items()}
        if new:
            rows = [(key, vector, now()) for key, vector in new.items()]
            self._writer.put(Rows("", {"vectors": arrow("vectors", rows)}))
            self._keep(new)

    def _keep(self, vectors: Mapping[str, np.ndarray]) -> None:
        self._kept |= vectors
        for key in list(self._kept)[: max(0, len(self._kept) - KEPT)]:
            del self._kept[key]

    def __getitem__(self, key: str) -> np.ndarray:
        return self.known([key])[key]

    def __setitem__(self, key: str, vector: np.ndarray) -> None:
        self.update({key: vector})

    def __delitem__(self, key: str) -> None:
        raise StoreError(f"vector {key!r} stays: a lab only adds rows. Other encoder settings have keys of their own")

    def __iter__(self) -> Iterator[str]:
        return iter(key for (key,) in self._reader.rows("select key from vectors order by key"))

    def __len__(self) -> int:
        [(count,)] = self._reader.rows("select count(*) from vectors")
        return count
