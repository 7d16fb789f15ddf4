"""Models of random weights in the shape of real ones: as fast and as large, with nothing to fetch."""

from __future__ import annotations

from itertools import islice, product
from string import ascii_lowercase
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

EOS = "<eos>"


def qwen_half_billion(*, small: bool = False, seed: int = 0) -> tuple[Any, Any]:
    """A Qwen2 of 0.5 billion weights (the shape of Qwen2.5-0.5B), and a tokenizer of its size, float32 on the CPU.

    Args:
        small: two narrow layers and 600 tokens instead, for a try in seconds.
    """
    shape = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
    shape |= {"num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936}
    if small:
        shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 600}
    tokenizer = letter_tokenizer(shape["vocab_size"])
    config = Qwen2Config(
        **shape,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config).eval(), tokenizer


def letter_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Reads bytes, one token each; may write any of `size` tokens: an eos, the bytes, then groups of four letters."""
    words = ("".join(letters) for letters in product(ascii_lowercase, repeat=4))
    names = [EOS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += islice(words, size - len(names))
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=EOS)
