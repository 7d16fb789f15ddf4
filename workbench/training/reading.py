"""Reading the rows of a micro-batch: what several begin with once, forward and backward, then how each goes on.

Rollouts of a task have its prompt in common, all rollouts the instructions before it, branches of a tree everything up
to their fork.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from workbench.agents.split_model import SplitModel
from workbench.training.rows import Row

WORTH = 0.95
"""Beginnings are read apart where that leaves at most this share of the tokens: a second pass has its price."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Rows, and the beginnings that several of them have in common."""

    rows: Sequence[Row]
    beginnings: Sequence[np.ndarray]  # ids
    of_B: np.ndarray  # int64, the row's beginning
    length_B: np.ndarray  # int64, how long it is: less than the row; 0 where it has none

    @property
    def longest(self) -> int:
        return max((len(ids_T) for ids_T in self.beginnings), default=0)

    @property
    def rest(self) -> int:
        """Tokens of the longest rest of a row."""
        return max(len(row) - int(length) for row, length in zip(self.rows, self.length_B, strict=True))

    @property
    def tokens(self) -> int:
        """Tokens to compute, padding among them."""
        return len(self.beginnings) * self.longest + len(self.rows) * self.rest


def reading_of(rows: Sequence[Row], *, shared: bool = True) -> Reading:
    """The way of reading `rows` that computes the fewest tokens; not `shared`: each row whole."""
    none_B = np.zeros(len(rows), np.int64)
    whole = Reading(rows, (), none_B, none_B)
    if not shared:
        return whole
    found = [(members, length) for members, length in _alike(rows) if len(members) > 1]
    of_B, length_B = none_B.copy(), none_B.copy()
    for number, (members, length) in enumerate(found):
        of_B[members], length_B[members] = number, length
    beginnings = [rows[members[0]].tokens.ids_T[:length] for members, length in found]
    once = Reading(rows, beginnings, of_B, length_B)
    return once if found and once.tokens <= WORTH * whole.tokens else whole


def _alike(rows: Sequence[Row]) -> Iterator[tuple[list[int], int]]:
    """Rows that begin alike, and how many tokens of them are alike.

    In the order of their ids the next row is the one most like this; it joins where more is read once with it than
    without.
    """
    order = sorted(range(len(rows)), key=lambda b: rows[b].tokens.ids_T.tobytes())
    members, length = order[:1], 0
    for before, b in zip(order, order[1:], strict=False):
        common = _common(rows[before].tokens.ids_T, rows[b].tokens.ids_T)
        if len(members) > 1:
            common = min(common, length)
        if common and common * len(members) >= length * (len(members) - 1):
            members, length = [*members, b], common
        else:
            yield members, length
            members, length = [b], 0
    yield members, length


def _common(a_T: np.ndarray, b_T: np.ndarray) -> int:
    """Tokens that both begin with, the last of the shorter never among them: something of each row is left."""
    most = min(len(a_T), len(b_T)) - 1
    differ = np.flatnonzero(a_T[:most] != b_T[:most])
    return int(differ[0]) if len(differ) else most


def states_before_trained(split: SplitModel, reading: Reading, body: Any = None) -> torch.Tensor:
    """[T, D]: the model's last hidden state before each trained token, rows in order. `body`: of such a decoder.

    Chosen is by `index_select`, whose gradient adds in order. That of `[index]` adds what several rows share in any
    order where there are several threads, and a resumed run would not be the unbroken one to the last bit.
    """
    device = split.model.device
    ids_BS, index_T = _laid_out(reading)
    ids, index = torch.from_numpy(ids_BS).to(device), torch.from_numpy(index_T).to(device)
    if not reading.beginnings:
        return split.hidden(body=body, input_ids=ids, use_cache=False).flatten(0, 1).index_select(0, index)
    cache = DynamicCache()
    beginnings = torch.from_numpy(_padded(reading.beginnings)).to(device)
    begun_GPD = split.hidden(body=body, input_ids=beginnings, past_key_values=cache, use_cache=True)
    of_B = torch.from_numpy(reading.of_B).to(device)
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys.index_select(0, of_B), layer.values.index_select(0, of_B)
    length_B1 = torch.from_numpy(reading.length_B).to(device)[:, None]
    rest_BSD = split.hidden(
        body=body,
        input_ids=ids,
        attention_mask=split.mask(_seen(length_B1, reading.longest, reading.rest)),
        position_ids=length_B1 + torch.arange(reading.rest, device=device),
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([begun_GPD.flatten(0, 1), rest_BSD.flatten(0, 1)]).index_select(0, index)


def logits_before_trained(split: SplitModel, reading: Reading) -> torch.Tensor:
    """float32 [T, V]: the logits of each trained token, rows in order, of a model that is not its two halves."""
    ids_BT, index_T = (torch.from_numpy(array).to(split.model.device) for array in _laid_out(reading))
    return split.logits(torch.unravel_index(index_T, ids_BT.shape), input_ids=ids_BT, use_cache=False)


def _laid_out(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """The rests of the rows, and where among all that is read the place before each trained token stands.

    Rows are padded on the right, which a causal model never looks at.
    """
    rests, places = [], []
    begun = len(reading.beginnings) * reading.longest
    for b, (row, of, length) in enumerate(zip(reading.rows, reading.of_B, reading.length_B, strict=True)):
        before_T = np.flatnonzero(row.train_T[1:])
        rests.append(row.tokens.ids_T[length:])
        in_rest_T = begun + b * reading.rest + before_T - length
        places.append(np.where(before_T < length, of * reading.longest + before_T, in_rest_T))
    return _padded(rests), np.concatenate(places)


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    ids_BT = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for b, ids_T in enumerate(rows):
        ids_BT[b, : len(ids_T)] = ids_T
    return ids_BT


def _seen(length_B1: torch.Tensor, longest: int, rest: int) -> torch.Tensor:
    """bool [B, S, P + S]: a row's rest looks at its own beginning, and at itself up to each place."""
    device = length_B1.device
    begun_BSP = (torch.arange(longest, device=device) < length_B1)[:, None, :].expand(-1, rest, -1)
    causal_BSS = torch.ones(rest, rest, dtype=torch.bool, device=device).tril().expand(len(length_B1), -1, -1)
    return torch.cat([begun_BSP, causal_BSS], dim=2)
