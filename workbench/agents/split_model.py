"""A causal language model in its two halves: the decoder, whose products may be bfloat16, and the head, which stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workbench.errors import SettingError

WHOLE_ATTENTION = "sdpa_in_float32"


class SplitModel:
    """Gives the logits at some places only, float32.

    With `compute` the decoder's matrix products are computed in that type, and the weights stay as they are: what an
    optimiser adds to them is not lost in rounding. The head computes in the weights' own type, since a rounded logit
    is a wrong logprob (MiniMax-M1, arXiv:2506.13585, keeps its head in float32 for that); in a model whose logits are
    more than its head's output (scaled, capped) it is rounded like the rest. On a processor attention is computed in
    float32 too: its kernels for bfloat16 are the slower ones there.
    """

    def __init__(self, model: Any, compute: torch.dtype | None = None) -> None:
        if compute not in (None, torch.bfloat16):
            raise SettingError(
                f"compute is torch.bfloat16, or None for the weights' own type, got {compute!r} (float16 would need "
                "scaled gradients)"
            )
        self.model, self.compute = model, compute
        if compute and model.device.type == "cpu" and self.bare.config._attn_implementation == "sdpa":
            self.bare.set_attn_implementation(WHOLE_ATTENTION)

    @property
    def bare(self) -> Any:
        """The model without what peft puts around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @cached_property
    def apart(self) -> bool:
        """Whether the head applied to the decoder's last hidden state gives the model's logits."""
        with torch.no_grad(), torch.autocast(self.model.device.type, enabled=False):
            ids = torch.arange(1, 9, device=self.model.device)[None] % self.bare.config.get_text_config().vocab_size
            whole = self.model(input_ids=ids).logits
            alone = self.head(self.bare.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state)
        return torch.allclose(whole, alone.to(whole.dtype), atol=1e-4, rtol=1e-4)

    @cached_property
    def full_attention(self) -> bool:
        """Whether every layer sees all that was read before: no sliding window, no state."""
        text = self.bare.config.get_text_config()
        kinds = getattr(text, "layer_types", None)
        if kinds is not None:
            return set(kinds) == {"full_attention"}
        return getattr(text, "sliding_window", None) is None and not getattr(text, "is_encoder_decoder", False)

    def mask(self, seen_BTL: torch.Tensor) -> torch.Tensor:
        """Additive [B, 1, T, L], of bool [B, T, L]: which columns each place may look at."""
        dtype = self.model.dtype
        zeros = torch.zeros(seen_BTL.shape, dtype=dtype, device=seen_BTL.device)
        return zeros.masked_fill_(~seen_BTL, torch.finfo(dtype).min)[:, None]

    def hidden(self, *, body: Any = None, **inputs: Any) -> torch.Tensor:
        """[B, T, D], the last hidden states. `body`: of such a decoder, not of the model's own."""
        with self._computing():
            return (self.bare.get_decoder() if body is None else body)(**inputs).last_hidden_state

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [..., V], the logits of last hidden states [..., D]."""
        head = self.bare.get_output_embeddings()
        with torch.autocast(hidden.device.type, enabled=False):
            return head(hidden.to(head.weight.dtype)).float()

    def logits(self, places: Any, **inputs: Any) -> torch.Tensor:
        """float32 [..., V] at `places`, an index into [B, T]."""
        if self.apart:
            return self.head(self.hidden(**inputs)[places])
        with self._computing():
            return self.model(**inputs).logits[places].float()

    def next_logits(self, **inputs: Any) -> torch.Tensor:
        """float32 [B, V], of what comes after the last place."""
        if self.apart:
            return self.head(self.hidden(**inputs)[:, -1])
        with self._computing():
            return self.model(**inputs, logits_to_keep=1).logits[:, -1].float()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Without gradients. Weights that can be trained are converted once in such a block, however often used."""
        mode = torch.inference_mode() if self.compute is None else torch.no_grad()  # the former would convert anew
        with mode, self._computing():
            yield

    def _computing(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.compute is None else torch.autocast(self.model.device.type, self.compute)


def _whole_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **settings: Any
) -> Any:
    """Scaled dot product attention in float32, whatever the products around it."""
    if mask is not None and mask.is_floating_point():
        mask = mask.float()
    with torch.autocast(query.device.type, enabled=False):
        out, weights = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **settings)
    return out.to(value.dtype), weights


AttentionInterface.register(WHOLE_ATTENTION, _whole_attention)
AttentionMaskInterface.register(WHOLE_ATTENTION, sdpa_mask)
