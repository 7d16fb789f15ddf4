"""The trees of a run, some at a time: what is done to all of them needs no more memory than one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.store import queries
from workbench.store.reading import Reader
from workbench.trajectory import Tree


class Batches:
    """Iterate over it for lists of trees, by update, then in order of recording."""

    def __init__(
        self, reader: Reader, run: str, listed: Sequence[tuple[int, str, int]], *, held: int, trajectories: int
    ) -> None:
        self._reader, self._run, self._listed, self._trajectories = reader, run, listed, trajectories
        self.update_of = {tree: update for update, tree, _ in listed}
        self.left = len(listed)  # trees that will come
        self.held = held  # trees that were left out

    def __iter__(self) -> Iterator[list[Tree]]:
        batch: list[str] = []
        count = 0
        for _, tree, trajectories in self._listed:
            batch.append(tree)
            count += trajectories
            if count >= self._trajectories:
                yield self._read(batch)
                batch, count = [], 0
        if batch:
            yield self._read(batch)

    def _read(self, trees: Sequence[str]) -> list[Tree]:
        return self._reader.trees(queries.TREES_NAMED, run=self._run, trees=trees)
