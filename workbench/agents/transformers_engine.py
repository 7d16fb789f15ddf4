"""The default engine: any causal language model that transformers loads, sampled in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from workbench.agents.kv_cache import TurnCache
from workbench.agents.split_model import SplitModel
from workbench.errors import SettingError
from workbench.protocols import Capabilities, Generation

CROWD = 0.6
"""Share of the rows fed that must go on: where fewer do, the finished ones are put aside until the turn is over."""


class TransformersEngine:
    """Batched sampling with a key-value cache kept across turns.

    The model is the one that training updates: call `weights_changed` after an update, so that nothing read under
    the old weights is used again.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        name: how steps name it in the log.
        compute: ``torch.bfloat16``: sample and train with matrix products of that type, where the machine is faster at
            them; weights, head and logprobs stay as they are. Under a LoRA the frozen weights are better loaded in it.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str = "model", compute: torch.dtype | None = None) -> None:
        self.model, self.tokenizer, self.name, self.compute = model.eval(), tokenizer, name, compute
        self.weights_version = 0
        self._split = SplitModel(self.model, compute)
        self.capabilities = Capabilities(score=True, cache_across_turns=self._split.full_attention, trainable=True)
        self.eos_ids = eos_ids_of(model.generation_config, tokenizer)
        self._cache: TurnCache | None = None
        self._enders: dict[tuple[str, ...], np.ndarray] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        dtype: torch.dtype = torch.float32,
        compute: torch.dtype | None = None,
        name: str | None = None,
    ) -> TransformersEngine:
        """From a folder or a hub name. A hub name (owner/model) needs a network, or a filled hub cache.

        Raises:
            SettingError: no model there.
        """
        here = "/" not in str(path)  # no hub name of today: asking the hub would take a minute where there is none
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=here)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=here)
        except (OSError, ValueError) as error:
            raise SettingError(
                f"no model could be loaded from {str(path)!r} ({str(error).splitlines()[0]}). Give a folder that "
                "save_pretrained wrote, a hub name (owner/model), or get one: workbench models get smollm2"
            ) from error
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.to(device), tokenizer, name=name or Path(path).name, compute=compute)

    def weights_changed(self) -> None:
        """Count a new weights version and forget what was read under the old one."""
        self.weights_version += 1
        self._cache = None

    @property
    def split(self) -> SplitModel:
        """The model as it is now: adapters may have been put around it, or `compute` set."""
        if self._split.model is not self.model or self._split.compute is not self.compute:
            self._split, self._cache = SplitModel(self.model, self.compute), None
        return self._split

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        *,
        max_tokens: int,
        temperature: float,
        stop: Sequence[str],
        seeds: Sequence[int],
        keys: Sequence[str] = (),
    ) -> list[Generation]:
        """Sample a continuation of every prompt (see `workbench.protocols.Engine`).

        Logprobs are those of the distribution sampled from, logits / temperature; at temperature 0 (greedy) they are
        those of temperature 1. Row b draws its tokens from `seeds[b]` alone.
        """
        if not prompts:
            return []
        if temperature < 0 or max_tokens < 1:
            raise SettingError(f"temperature must be >= 0 and max_tokens >= 1, got {temperature} and {max_tokens}")
        with self.split.reading():
            return self._sample(prompts, max_tokens, temperature, stop, seeds, keys)

    def _sample(
        self,
        prompts: Sequence[np.ndarray],
        max_tokens: int,
        temperature: float,
        stop: Sequence[str],
        seeds: Sequence[int],
        keys: Sequence[str],
    ) -> list[Generation]:
        cache, logits_BV = self._read(prompts, keys)
        uniform_BT = np.stack([np.random.Generator(np.random.Philox(seed)).random(max_tokens) for seed in seeds])
        rows = _Rows(len(prompts), stop, self._enders_of(stop), self.eos_ids, self.tokenizer)
        going = np.arange(len(prompts))  # the rows that are still fed
        for t in range(max_tokens):
            ids_B, logprobs_B = _draw(logits_BV, uniform_BT[going, t], temperature)
            live_B = rows.add(going, ids_B, logprobs_B)
            if not live_B.any() or t == max_tokens - 1:
                break
            if self.capabilities.cache_across_turns and live_B.sum() <= len(going) * CROWD:
                going, ids_B = going[live_B], ids_B[torch.from_numpy(live_B).to(ids_B.device)]
                cache.narrow(going.tolist())
                live_B = live_B[live_B]
            logits_BV = self._forward(cache, ids_B[:, None], torch.from_numpy(live_B).to(ids_B.device)[:, None])
        cache.widen()
        generations = rows.done()
        fed = [g.ids_T[:-1] for g in generations]  # the last token of a row is never fed
        cache.read = [np.concatenate([p, f]) for p, f in zip(prompts, fed, strict=True)]
        return generations

    def score(self, prompts: Sequence[np.ndarray], continuations: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 [T] logprob (temperature 1) of each continuation token, one array a row."""
        scores = []
        with self.split.reading():
            for prompt, continuation in zip(prompts, continuations, strict=True):
                ids = torch.tensor(np.concatenate([prompt, continuation]), device=self.model.device).long()[None]
                logits_TV = self.split.logits((0, slice(len(prompt) - 1, -1)), input_ids=ids, use_cache=False)
                chosen_T1 = ids[0, len(prompt) :, None]
                scores.append(logits_TV.log_softmax(-1).gather(1, chosen_T1)[:, 0].cpu().numpy())
        return scores

    def _read(self, prompts: Sequence[np.ndarray], keys: Sequence[str]) -> tuple[TurnCache, torch.Tensor]:
        """Bring the cache up to the end of every prompt. Returns it with the logits [B, V] of the next token."""
        cache = self._cache
        if cache is not None and self.capabilities.cache_across_turns and cache.holds(keys, prompts):
            cache.keep(keys)
        else:
            cache = TurnCache(self.model.config)
            cache.keys, cache.read = list(keys), [np.empty(0, np.int32)] * len(prompts)
        self._cache = cache
        new = [prompt[len(read) :] for prompt, read in zip(prompts, cache.read, strict=True)]
        if cache.marked_BL is None and self.capabilities.cache_across_turns:
            return cache, self._read_once(cache, new)
        return cache, self._read_block(cache, new)

    def _read_once(self, cache: TurnCache, prompts: Sequence[np.ndarray]) -> torch.Tensor:
        """Read prompts into an empty cache, equal ones once: rollouts of one task begin alike."""
        places: dict[bytes, int] = {}
        row_of = [places.setdefault(prompt.tobytes(), len(places)) for prompt in prompts]
        first = [row_of.index(row) for row in range(len(places))]
        logits_BV = self._read_block(cache, [prompts[b] for b in first])
        if len(first) == len(prompts):
            return logits_BV
        cache.repeat(row_of)
        return logits_BV[torch.tensor(row_of, device=logits_BV.device)]

    def _read_block(self, cache: TurnCache, new: Sequence[np.ndarray]) -> torch.Tensor:
        """Append a stretch of ids to every row of the cache; logits [B, V] of what comes next."""
        width = max(len(row) for row in new)
        block_BT = np.zeros((len(new), width), dtype=np.int64)
        own_BT = np.zeros((len(new), width), dtype=bool)
        for b, row in enumerate(new):  # right-aligned: the last column is every row's last token
            block_BT[b, width - len(row) :], own_BT[b, width - len(row) :] = row, True
        device = self.model.device
        return self._forward(cache, torch.tensor(block_BT, device=device), torch.tensor(own_BT, device=device))

    def _forward(self, cache: TurnCache, ids_BT: torch.Tensor, own_BT: torch.Tensor) -> torch.Tensor:
        before_B1 = 0 if cache.marked_BL is None else cache.marked_BL.sum(1, keepdim=True)
        positions_BT = (before_B1 + own_BT.long().cumsum(1) - 1).clamp(min=0)
        cache.mark(own_BT)
        return self.split.next_logits(
            input_ids=ids_BT,
            attention_mask=self._mask(cache, ids_BT.shape[1]),
            position_ids=positions_BT,
            past_key_values=cache.past,
            use_cache=True,
        )

    def _mask(self, cache: TurnCache, new: int) -> torch.Tensor:
        """Who may look at what: additive [B, 1, T, L] for full attention, bool [B, L] for models with other layers."""
        marked_BL = cache.marked_BL
        assert marked_BL is not None
        if not self.capabilities.cache_across_turns:
            return marked_BL.long()
        length = marked_BL.shape[1]
        column_L = torch.arange(length, device=marked_BL.device)
        causal_TL = column_L <= torch.arange(length - new, length, device=marked_BL.device)[:, None]
        return self.split.mask(marked_BL[:, None, :] & causal_TL)

    def _enders_of(self, stop: Sequence[str]) -> np.ndarray:
        """bool [V]: tokens that can complete a stop string (their text holds its last character)."""
        key = tuple(stop)
        if key not in self._enders:
            size = max(self.model.config.get_text_config().vocab_size, len(self.tokenizer))
            last = {text[-1] for text in stop}
            pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
            ends = np.zeros(size, dtype=bool)
            ends[: len(pieces)] = [any(c in piece for c in last) for piece in pieces]
            self._enders[key] = ends
        return self._enders[key]


class _Rows:
    """The continuations under way, and which of them go on."""

    def __init__(self, count: int, stop: Sequence[str], enders_V: np.ndarray, eos_ids: frozenset[int], tokenizer: Any):
        self.ids: list[list[int]] = [[] for _ in range(count)]
        self.logprobs: list[list[float]] = [[] for _ in range(count)]
        self.finish = ["length"] * count
        self.live = np.ones(count, dtype=bool)
        self.stop, self.enders_V, self.eos_ids, self.tokenizer = tuple(stop), enders_V, eos_ids, tokenizer

    def add(self, going: np.ndarray, ids_B: torch.Tensor, logprobs_B: torch.Tensor) -> np.ndarray:
        """Take one token for each of the rows `going` that is live. Returns bool: which of them go on."""
        for b, id, logprob in zip(going.tolist(), ids_B.tolist(), logprobs_B.tolist(), strict=True):
            if not self.live[b]:
                continue
            self.ids[b].append(id)
            self.logprobs[b].append(logprob)
            if id in self.eos_ids:
                self.finish[b], self.live[b] = "eos", False
            elif self.enders_V[id] and any(text in self._text(b) for text in self.stop):
                self.finish[b], self.live[b] = "stop", False
        return self.live[going]

    def done(self) -> list[Generation]:
        return [
            Generation(np.array(ids, np.int32), np.array(logprobs, np.float32), self._text(b), self.finish[b])
            for b, (ids, logprobs) in enumerate(zip(self.ids, self.logprobs, strict=True))
        ]

    def _text(self, b: int) -> str:
        ids = self.ids[b][:-1] if self.finish[b] == "eos" else self.ids[b]
        return self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def _draw(logits_BV: torch.Tensor, uniform_B: np.ndarray, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A token a row by inverting the cumulative distribution at `uniform_B`, and its logprob."""
    if temperature == 0:
        logprobs_BV = logits_BV.log_softmax(-1)
        ids_B1 = logits_BV.argmax(-1, keepdim=True)
    else:
        logprobs_BV = (logits_BV / temperature).log_softmax(-1)
        below_BV = logprobs_BV.double().exp().cumsum(-1)
        target_B1 = torch.from_numpy(uniform_B).to(below_BV.device)[:, None] * below_BV[:, -1:]
        ids_B1 = torch.searchsorted(below_BV, target_B1, right=True).clamp(max=logits_BV.shape[-1] - 1)
    return ids_B1[:, 0], logprobs_BV.gather(1, ids_B1)[:, 0]


def eos_ids_of(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a turn, by the model's generation settings (may be None) and by its tokenizer."""
    ids = getattr(generation_config, "eos_token_id", None)
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
