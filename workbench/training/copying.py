"""A small Llama that can copy before it has learned anything.

Copying a name takes two attention heads in a row (an induction circuit: Olsson et al. 2022, "In-context learning and
induction heads", arXiv:2209.11895): one tells each token what stood before it, the next finds where the current token
stood earlier and brings what came after. Training from nothing spends most of its time on finding this circuit. It can
be written down instead: rotary positions make a head look a fixed distance back, and random projections give every
token a code to be found by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Subspaces:
    """Orthonormal directions of the residual stream. The first coordinate is kept for a constant."""

    words_ED: torch.Tensor  # where embeddings live
    codes_CD: torch.Tensor  # part of `words_ED`: the code that a token is found by
    before_2CD: torch.Tensor  # where the codes of the token before, and of the one before that, are put


@torch.no_grad()
def write_induction(
    model: Any, *, word: float = 0.1, look: float = 7.0, match: float = 2.6, bring: float = 3.0
) -> None:
    """Write the circuit into the first two layers of a LlamaForCausalLM with tied embeddings.

    Heads 0 and 1 of the first layer look one and two tokens back; heads 0 and 1 of the second find the tokens whose
    one-back (two-back) code is that of the current (last) token, and bring them to the output.

    Args:
        word: standard deviation of the embeddings.
        look, match: sharpness of the heads, about the square root of the scores in nats.
        bring: strength of what is copied, relative to the embeddings.
    """
    config, layers = model.config, model.model.layers
    size, width = layers[0].self_attn.head_dim, config.hidden_size
    found = _subspaces(width, size)
    embedding = model.get_input_embeddings().weight
    embedding.copy_(torch.randn(len(embedding), len(found.words_ED)) @ found.words_ED * word)
    embedding[:, 0] = 3 * word
    frequencies = model.model.rotary_emb.inv_freq
    for head in (0, 1):
        _look_back(layers[0].self_attn, head, head + 1, frequencies, look, constant=3 * word / _rms(embedding))
        rows = slice(head * size, (head + 1) * size)
        first, second = layers[0].self_attn, layers[1].self_attn
        slow = _slow_dimensions(size, len(found.codes_CD))
        first.v_proj.weight[rows] = 0.0
        first.v_proj.weight[rows][slow] = found.codes_CD
        first.o_proj.weight[:, rows][:, slow] = word * found.before_2CD[head].T
        asked_CD = found.codes_CD if head == 0 else found.before_2CD[0]
        second.q_proj.weight[rows] = 0.0
        second.k_proj.weight[rows] = 0.0
        second.q_proj.weight[rows][slow] = match * asked_CD
        second.k_proj.weight[rows][slow] = match * found.before_2CD[head]
        part_CD = found.words_ED[head * size : (head + 1) * size]
        second.v_proj.weight[rows] = part_CD
        second.o_proj.weight[:, rows] = bring * word * part_CD.T


def _subspaces(width: int, size: int) -> Subspaces:
    codes = 5 * size // 8  # as many as rotate slowly enough to be compared over a few hundred tokens
    basis_DD = torch.zeros(width - 1, width)
    basis_DD[:, 1:] = torch.linalg.qr(torch.randn(width - 1, width - 1)).Q
    before, words = basis_DD[: 2 * codes].view(2, codes, width), basis_DD[2 * codes :]
    return Subspaces(words, words[:codes], before)


def _slow_dimensions(size: int, count: int) -> torch.Tensor:
    """The `count` dimensions of a head that rotate least with the distance (pairs are i and i + size / 2)."""
    half = size // 2
    pairs = torch.arange(half - count // 2, half)
    return torch.cat([pairs, pairs + half])


def _look_back(
    attention: Any, head: int, distance: int, frequencies: torch.Tensor, look: float, constant: float
) -> None:
    """With query and key constant, the score is a sum of cosines of the distance: largest where their phases say."""
    size = attention.head_dim
    fast = torch.arange(size // 4)  # the pairs that tell neighbours apart
    rows = slice(head * size, (head + 1) * size)
    query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]
    query.zero_()
    key.zero_()
    angle = distance * frequencies[: size // 4]
    query[fast, 0] = look / constant * angle.cos()
    query[fast + size // 2, 0] = -look / constant * angle.sin()
    key[fast, 0] = look / constant


def _rms(embedding: torch.Tensor) -> float:
    return float(embedding.pow(2).mean(1).sqrt().mean())
