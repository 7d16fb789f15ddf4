"""The trees of a run, some at a time: what is done to all of them needs no more memory than one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.store import queries
from workbench.store.reading import Reader
from workbench.trajectory import Tree


class Batches:
    """The trees of a run, some at a time: (update, trees), a batch holding trees of one update."""

    def __init__(
        self, reader: Reader, run: str, listed: Sequence[tuple[int, str, int]], *, held: int, trajectories: int
    ) -> None:
        self._reader, self._run, self._listed, self._trajectories = reader, run, listed, trajectories
        self.left = len(listed)  # trees that will come
        self.held = held  # trees that were left out

    def __iter__(self) -> Iterator[tuple[int, list[Tree]]]:
        batch: list[str] = []
        count = 0
        for place, (update, tree, trajectories) in enumerate(self._listed, start=1):
            batch.append(tree)
            count += trajectories
            last = place == self.left or self._listed[place][0] != update
            if last or count >= self._trajectories:
                found = self._reader.columns(queries.TREES_NAMED, run=self._run, trees=batch)
                yield update, self._reader.trees(self._run, found)
                batch, count = [], 0
