"""A language model of a few thousand weights with a byte-level tokenizer, for tests of engines and training."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workbench.agents.transformers_engine import TransformersEngine

TAGS = ["<think>", "</think>", "<search>", "</search>", "<answer>", "</answer>"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, one id each, the tags as one id each, and an eos."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={"<eos>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    tokenizer.add_tokens(TAGS)
    return tokenizer


def tiny_engine(seed: int = 0, *, heat: float = 0.2, **config: object) -> TransformersEngine:
    """Random weights of standard deviation `heat`: large enough that samples differ."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 0,
        **config,
    }
    model = LlamaForCausalLM(LlamaConfig(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, heat)
    return TransformersEngine(model, tokenizer, name="tiny")
