"""vLLM in a process of its own: frames of JSON and raw arrays in on one pipe, frames out on another.

This file is run by its path, by whichever Python has vLLM, so it imports the standard library and numpy, and vllm once
it is asked for it: nothing of the workbench, which that Python may not have. The engine imports the frames from here.

A frame: 4 bytes that mark it, the lengths of header and body (little-endian uint64), the header (JSON; "arrays" names
each array with its dtype and shape), the body (the arrays' bytes in that order).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np

MARK = b"wbf1"
_LENGTHS = struct.Struct("<4sQQ")
BEAT_S = 1.0
"""Seconds between two signs of life while a question is being worked on."""

Frame = tuple[dict[str, Any], dict[str, np.ndarray]]
Beat = Callable[[Any], None]
"""Is told how far the work is, and passes on that it went on where that changed; raises GivenUp where nobody waits for
it any more."""


class GivenUp(Exception):
    """A newer question is waiting, so nobody waits for the answer to this one."""


# ---------------------------------------------------------------- frames


def packed(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """One frame."""
    held = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    shapes = [[name, array.dtype.str, array.shape] for name, array in held.items()]
    head = json.dumps({**header, "arrays": shapes}).encode()
    body = b"".join(array.tobytes() for array in held.values())
    return _LENGTHS.pack(MARK, len(head), len(body)) + head + body


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame; None at the end of the stream, also where it ends within a frame.

    Raises:
        ValueError: what comes is no frame.
    """
    start = stream.read(_LENGTHS.size)
    if len(start) < _LENGTHS.size:
        return None
    mark, head_size, body_size = _LENGTHS.unpack(start)
    if mark != MARK:
        raise ValueError(f"a frame begins with {MARK!r}, got {start[:16]!r}")
    head, body = stream.read(head_size), stream.read(body_size)
    if len(head) < head_size or len(body) < body_size:
        return None
    header = json.loads(head)
    arrays, at = {}, 0
    for name, dtype, shape in header.pop("arrays"):
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape)
        at += arrays[name].nbytes
    return header, arrays


def joined(rows: Sequence[Any], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as one array, and int64 lengths."""
    lengths = np.array([len(row) for row in rows], np.int64)
    return np.concatenate([np.asarray(row, dtype) for row in rows] or [np.empty(0, dtype)]), lengths


def parted(flat: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The rows again."""
    return np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []


# ---------------------------------------------------------------- answering


class Sampler(Protocol):
    """What `serve` asks. Rows in, rows out; `beat` is to be called now and then."""

    def about(self) -> dict[str, Any]: ...

    def generate(
        self, prompts: list[np.ndarray], seeds: list[int], header: Mapping[str, Any], beat: Beat
    ) -> tuple[list[Any], list[Any], list[str]]:
        """Ids, logprobs and finish ("stop", "eos", "length") of each row."""
        ...

    def score(self, prompts: list[np.ndarray], continuations: list[np.ndarray], beat: Beat) -> list[Any]: ...

    def load(self, folder: str) -> None: ...

    def sleep(self) -> None: ...

    def wake(self) -> None: ...


class Inbox:
    """Questions as they come in. When the other end is gone, so is this process, whatever it is doing."""

    def __init__(self, stream: BinaryIO) -> None:
        self._frames: queue.Queue[Frame] = queue.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: BinaryIO) -> None:
        with contextlib.suppress(ValueError, OSError):
            while frame := read_frame(stream):
                self._frames.put(frame)
        os.killpg(0, signal.SIGKILL)  # this process leads its group: what it started ends with it

    def next(self) -> Frame:
        return self._frames.get()

    @property
    def waiting(self) -> bool:
        return not self._frames.empty()


def serve(heard: BinaryIO, told: BinaryIO, make: Callable[[dict[str, Any]], Sampler]) -> None:
    """Answer questions, one at a time, until the other end is gone.

    Every answer carries the number of its question and of the weights in use: 0 at the start, then as `load` was told.
    """
    inbox = Inbox(heard)
    sampler: Sampler | None = None
    weights = 0
    while True:
        header, arrays = inbox.next()
        tell = _Teller(told, inbox, header["number"])
        try:
            if header["ask"] == "start":
                sampler = make(header["settings"])
                reply: dict[str, Any] = sampler.about()
                out: dict[str, np.ndarray] = {}
            else:
                assert sampler is not None, "asked before it was started"
                reply, out = _answer(sampler, header, arrays, tell.beat)
            weights = header.get("weights", weights)
            tell({**reply, "weights": weights}, out)
        except GivenUp:
            continue
        except Exception as error:  # the other end says it to the person
            last = traceback.format_exc().strip().splitlines()[-12:]
            tell({"error": type(error).__name__, "says": str(error), "trace": "\n".join(last), "weights": weights}, {})


class _Teller:
    """Writes the answer to one question, and signs of life before it."""

    def __init__(self, told: BinaryIO, inbox: Inbox, number: int) -> None:
        self._told, self._inbox, self._number = told, inbox, number
        self._last, self._far = time.monotonic(), None

    def __call__(self, reply: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._told.write(packed({**reply, "number": self._number}, arrays))
        self._told.flush()

    def beat(self, far: Any) -> None:
        if self._inbox.waiting:
            raise GivenUp
        if time.monotonic() - self._last > BEAT_S and far != self._far:
            self._last, self._far = time.monotonic(), far
            self({"beat": True}, {})


def _answer(
    sampler: Sampler, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], beat: Beat
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    asked = header["ask"]
    if asked == "generate":
        prompts = parted(arrays["prompts_T"], arrays["lengths_B"])
        ids, logprobs, finish = sampler.generate(prompts, arrays["seeds_B"].tolist(), header, beat)
        ids_T, lengths_B = joined(ids, np.int32)
        return {"finish": finish}, {"ids_T": ids_T, "lengths_B": lengths_B, "logprobs_T": joined(logprobs, "<f4")[0]}
    if asked == "score":
        prompts = parted(arrays["prompts_T"], arrays["lengths_B"])
        continuations = parted(arrays["continuations_T"], arrays["continuation_lengths_B"])
        return {}, {"logprobs_T": joined(sampler.score(prompts, continuations, beat), "<f4")[0]}
    if asked == "load":
        sampler.load(header["folder"])
    elif asked in ("sleep", "wake"):
        getattr(sampler, asked)()
    else:
        raise ValueError(f"nobody here knows how to {asked!r}")
    return {}, {}


# ---------------------------------------------------------------- vLLM


class VllmSampler:
    """vLLM's engine, stepped from here, all in this process (vLLM 0.32)."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        import vllm
        from vllm.platforms import current_platform

        self._vllm = vllm
        self._on_cpu = current_platform.is_cpu()
        usual: dict[str, Any] = {
            "logprobs_mode": "processed_logprobs",  # of the distribution sampled from: temperature counted in
            "generation_config": "vllm",  # the model's own would bring top-p and top-k
            "enable_prefix_caching": True,
            "disable_log_stats": True,
        }
        if self._on_cpu:
            # A compiled graph would keep the weights that were packed when it was traced. Without a size the cache
            # takes nearly all memory of the machine.
            usual |= {"enforce_eager": True, "kv_cache_memory_bytes": 2**30}
            # Rows with a seed break on a CPU (vLLM 0.32) where a prompt is read in two parts.
            usual |= {"enable_chunked_prefill": False}
            sys.modules["torch"]._dynamo.config.disable = True  # compiling what is left takes longer than it saves
        else:
            usual |= {"enable_sleep_mode": True}
        self.llm = vllm.LLM(**{**usual, **settings})

    def about(self) -> dict[str, Any]:
        """What the engine must know of it."""
        model = self.llm.llm_engine.model_config
        return {
            "version": self._vllm.__version__,
            "device": "cpu" if self._on_cpu else "gpu",
            "longest": int(model.max_model_len),
        }

    def generate(
        self, prompts: list[np.ndarray], seeds: list[int], header: Mapping[str, Any], beat: Beat
    ) -> tuple[list[Any], list[Any], list[str]]:
        params = [
            self._vllm.SamplingParams(
                max_tokens=header["max_tokens"],
                temperature=header["temperature"],
                seed=seed,
                stop=header["stop"],
                stop_token_ids=header["eos_ids"],
                include_stop_str_in_output=True,
                skip_special_tokens=False,
                spaces_between_special_tokens=False,
                logprobs=0,  # of the sampled token alone
            )
            for seed in seeds
        ]
        done = [output.outputs[0] for output in self._run(prompts, params, beat)]
        ids = [list(one.token_ids) for one in done]
        logprobs = [[at[i].logprob for i, at in zip(one.token_ids, one.logprobs, strict=False)] for one in done]
        return ids, logprobs, [_finish(one) for one in done]

    def score(self, prompts: list[np.ndarray], continuations: list[np.ndarray], beat: Beat) -> list[Any]:
        whole = [np.concatenate(pair) for pair in zip(prompts, continuations, strict=True)]
        params = [self._vllm.SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0) for _ in whole]
        scores = []
        for output, prompt in zip(self._run(whole, params, beat), prompts, strict=True):
            ids = output.prompt_token_ids
            scores.append([output.prompt_logprobs[t][ids[t]].logprob for t in range(len(prompt), len(ids))])
        return scores

    def _run(self, prompts: list[np.ndarray], params: list[Any], beat: Beat) -> list[Any]:
        """The finished outputs, in the order of the prompts."""
        engine = self.llm.llm_engine
        asked = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
        names = self.llm.enqueue(asked, params, use_tqdm=False)
        done: list[Any] = []
        try:
            while engine.has_unfinished_requests():
                done += [output for output in engine.step() if output.finished]
                beat(self._far())
        except BaseException:
            engine.abort_request(names, internal=True)  # what is left would be worked on with the next question
            raise
        if len(done) != len(names):
            raise RuntimeError(f"vLLM finished {len(done)} of {len(names)} requests")
        return sorted(done, key=lambda output: int(output.request_id))  # numbered as they were asked

    def _far(self) -> tuple[int, int]:
        """Requests under way and tokens computed for them: vLLM can also step on and on without getting anywhere."""
        requests = self.llm.llm_engine.engine_core.engine_core.scheduler.requests.values()
        return len(requests), sum(request.num_computed_tokens for request in requests)

    def load(self, folder: str) -> None:
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache could not be emptied: what it holds was read under the old weights")

    def sleep(self) -> None:
        if not self._on_cpu:
            self.llm.sleep(level=1)

    def wake(self) -> None:
        if not self._on_cpu:
            self.llm.wake_up()


def _finish(output: Any) -> str:
    if output.finish_reason == "stop":
        return "stop" if isinstance(output.stop_reason, str) else "eos"
    if output.finish_reason == "length":
        return "length"
    raise RuntimeError(f"vLLM ended a request with {output.finish_reason!r}")


def main(make: Callable[[dict[str, Any]], Sampler]) -> None:
    """Serve on the two pipes that the command line names."""
    heard, told = (int(text) for text in sys.argv[1:3])
    for pipe in (heard, told):
        os.set_inheritable(pipe, False)  # what vLLM starts must not hold them open
    with os.fdopen(heard, "rb") as questions, os.fdopen(told, "wb") as answers:
        serve(questions, answers, make)


if __name__ == "__main__":
    main(VllmSampler)
