"""A key-value cache that lives across the turns of many trajectories at once.

Rows have different lengths, so the cache is a grid of rows and columns with holes: each turn appends a block of
columns, and a row marks which of them are its own. Positions count the marked columns only, so a hole changes nothing;
between two turns the holes are closed, so that they cost nothing either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

ROOM = 128
"""Columns that a buffer made anew has beyond those it takes over, so that it need not grow at the next token."""


class GrowingLayer(DynamicLayer):
    """Writes into a buffer that doubles, where DynamicLayer copies all it holds at every token."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.length = 0
        # Keys that were made in bfloat16 are rotated in float32. Attention is computed in that on a processor, so that
        # values are converted once, and elsewhere in bfloat16.
        like = key_states if key_states.device.type == "cpu" else value_states
        self.buffers = [like.new_empty(*state.shape[:-2], 0, state.shape[-1]) for state in (key_states, value_states)]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        stop = self.length + key_states.shape[-2]
        if stop > self.buffers[0].shape[-2]:
            self.buffers = [_grown(buffer, self.length, max(128, 2 * stop)) for buffer in self.buffers]
        for buffer, state in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., self.length : stop, :] = state
        self.length = stop
        self.keys, self.values = (buffer[..., :stop, :] for buffer in self.buffers)
        return self.keys, self.values

    def select(self, rows_B: torch.Tensor, columns_BL: torch.Tensor) -> None:
        """Keep these rows, and of each row these columns."""
        whole = len(rows_B) == len(self.buffers[0]) and bool((rows_B.diff() == 1).all())
        held = [buffer[..., : self.length, :] for buffer in self.buffers]
        held = held if whole else [states.index_select(0, rows_B) for states in held]
        index = columns_BL[:, None, :, None].expand(-1, held[0].shape[1], -1, held[0].shape[3])
        self.length = columns_BL.shape[1]
        self.buffers = [_roomy(states, len(rows_B), self.length) for states in held]
        for states, buffer in zip(held, self.buffers, strict=True):
            torch.gather(states, 2, index, out=buffer[..., : self.length, :])
        self.keys, self.values = (buffer[..., : self.length, :] for buffer in self.buffers)

    def repeat(self, rows_B: torch.Tensor) -> None:
        """Put these rows, some of them several times, in the place of what is held."""
        held, self.buffers = self.buffers, [_roomy(buffer, len(rows_B), self.length) for buffer in self.buffers]
        for before, buffer in zip(held, self.buffers, strict=True):
            torch.index_select(before[..., : self.length, :], 0, rows_B, out=buffer[..., : self.length, :])
        self.keys, self.values = (buffer[..., : self.length, :] for buffer in self.buffers)

    def narrow(self, rows_B: torch.Tensor) -> None:
        """Go on with these rows alone; `widen` brings the others back."""
        self.aside = (self.buffers, self.length)
        self.repeat(rows_B)

    def widen(self, rows_B: torch.Tensor) -> None:
        """Bring back the rows that `narrow` put aside; what was added since belongs to `rows_B`."""
        added, (whole, before) = self.buffers, self.aside
        if self.length > whole[0].shape[-2]:
            whole = [_grown(buffer, before, self.length) for buffer in whole]
        for buffer, some in zip(whole, added, strict=True):
            buffer[..., before : self.length, :] = 0  # what is masked must still be a number
            buffer[rows_B, :, before : self.length] = some[..., before : self.length, :]
        self.buffers = whole
        self.keys, self.values = (buffer[..., : self.length, :] for buffer in whole)


def _roomy(like: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    return like.new_empty(rows, like.shape[1], length + ROOM, like.shape[3])


def _grown(buffer: torch.Tensor, length: int, capacity: int) -> torch.Tensor:
    larger = buffer.new_empty(*buffer.shape[:-2], capacity, buffer.shape[-1])
    larger[..., :length, :] = buffer[..., :length, :]
    return larger


class TurnCache:
    """What a model has read of each conversation, by key."""

    def __init__(self, config: object) -> None:
        self.past = DynamicCache(config=config)
        self.past.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in self.past.layers]
        self.keys: list[str] = []
        self.read: list[np.ndarray] = []  # ids in the cache, per row
        self.marked_BL: torch.Tensor | None = None  # bool [B, L]: columns that belong to the row
        self._aside: tuple[torch.Tensor, torch.Tensor] | None = None  # the rows that go on, and the marks of all

    def holds(self, keys: Sequence[str], prompts: Sequence[np.ndarray]) -> bool:
        """True where every conversation is here and goes on from what was read."""
        rows = {key: row for row, key in enumerate(self.keys)}
        if not keys or any(key not in rows for key in keys):
            return False
        read = [self.read[rows[key]] for key in keys]
        return all(len(p) > len(r) and np.array_equal(p[: len(r)], r) for p, r in zip(prompts, read, strict=True))

    def keep(self, keys: Sequence[str]) -> None:
        """Drop the rows of other conversations, put these in this order, and close the holes between their columns."""
        rows = {key: row for row, key in enumerate(self.keys)}
        order = [rows[key] for key in keys]
        if self.marked_BL is not None:
            rows_B = torch.tensor(order, device=self.marked_BL.device)
            marked_BL = self.marked_BL[rows_B]
            width = int(marked_BL.sum(1).max())
            columns_BL = marked_BL.int().argsort(dim=1, stable=True)[:, -width:]  # own columns last, in their order
            for layer in self.past.layers:
                layer.select(rows_B, columns_BL)
            self.marked_BL = marked_BL.gather(1, columns_BL)
        self.read = [self.read[row] for row in order]
        self.keys = list(keys)

    def repeat(self, rows: Sequence[int]) -> None:
        """Put these rows, some of them several times, in the place of what is held."""
        assert self.marked_BL is not None
        rows_B = torch.tensor(rows, device=self.marked_BL.device)
        for layer in self.past.layers:
            layer.repeat(rows_B)
        self.marked_BL = self.marked_BL[rows_B]

    def narrow(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, until `widen`. Narrowed again, the rows are still those of the whole."""
        self.widen()
        assert self.marked_BL is not None
        self._aside = (torch.tensor(rows, device=self.marked_BL.device), self.marked_BL)
        for layer in self.past.layers:
            layer.narrow(self._aside[0])
        self.marked_BL = self.marked_BL[self._aside[0]]

    def widen(self) -> None:
        """Bring all rows back. Columns that were added meanwhile belong to the rows that went on."""
        if self._aside is None:
            return
        (rows_B, whole_BL), some_BL, self._aside = self._aside, self.marked_BL, None
        assert some_BL is not None
        for layer in self.past.layers:
            layer.widen(rows_B)
        added_BL = whole_BL.new_zeros(len(whole_BL), some_BL.shape[1] - whole_BL.shape[1])
        added_BL[rows_B] = some_BL[:, whole_BL.shape[1] :]
        self.marked_BL = torch.cat([whole_BL, added_BL], dim=1)

    def mark(self, block_BT: torch.Tensor) -> None:
        """Append a block of columns; True where the row owns the column."""
        self.marked_BL = block_BT if self.marked_BL is None else torch.cat([self.marked_BL, block_BT], dim=1)
