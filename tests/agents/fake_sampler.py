"""A program that speaks the wire of workbench/agents/vllm_process.py without vLLM: a real process for tests.

Its settings come with "start": {"model": FOLDER, "fake": {...}}. In "fake", `plan` names what it samples with:

* "count": each row counts on from its last id; numpy only, ready in a moment
* "model": the folder's model, by TransformersEngine

and `trouble` what it does wrong, see `Count`.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
main = runpy.run_path(str(HERE.parents[2] / "workbench" / "agents" / "vllm_process.py"))["main"]  # without workbench


class Count:
    """Row b is its last id + 1, + 2, ... with logprob -1 each. `trouble`: how it fails when asked for rows of 13."""

    def __init__(self, settings):
        print("a line on stdout, which is no frame", flush=True)
        self.fake = settings.get("fake", {})
        self.trouble = self.fake.get("trouble", "")
        if self.trouble == "start":
            raise RuntimeError("no memory for the cache")
        if self.trouble == "package":
            raise ModuleNotFoundError("No module named 'vllm'")
        if self.trouble == "dies at start":
            print("its last words", file=sys.stderr, flush=True)
            os._exit(3)
        self.held = {name: value for name, value in settings.items() if name != "fake"}
        self.loads = 0

    def about(self):
        return {
            "version": json.dumps(self.held),
            "device": "gpu",
            "longest": 100,
            "pythonpath": os.environ.get("PYTHONPATH"),
        }

    def generate(self, prompts, seeds, header, beat):
        if header["max_tokens"] == 13:
            self.fail(beat)
        ids = [prompt[-1] + 1 + np.arange(header["max_tokens"]) for prompt in prompts]
        return ids, [np.full(len(row), -1.0) for row in ids], ["length"] * len(ids)

    def fail(self, beat):
        if self.trouble == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.trouble == "hangs":
            time.sleep(1000)
        elif self.trouble == "garbage":
            os.write(int(sys.argv[2]), b"Loading safetensors checkpoint shards: 100%\n")
            time.sleep(1000)
        elif self.trouble == "slow":
            for n in range(200):
                time.sleep(0.05)
                beat(n)
            self.note("to the end")
        elif self.trouble == "spins":
            for _ in range(200):
                time.sleep(0.05)
                beat("no further")
        elif self.trouble == "offspring":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            self.note(str(child.pid))
            time.sleep(1000)
        else:
            raise ValueError("thirteen is not allowed")

    def score(self, prompts, continuations, beat):
        return [np.full(len(row), -2.0) for row in continuations]

    def load(self, folder):
        if self.trouble == "load":
            raise OSError("a weight is missing")
        self.loads += 1

    def sleep(self):
        self.note("sleep ")

    def wake(self):
        self.note("wake ")

    def note(self, text):
        if "note" in self.fake:
            with Path(self.fake["note"]).open("a") as file:
                file.write(text)


class Modelled:
    """Samples with the folder's model; `trouble` "skips": it says that it loaded, and did not."""

    def __init__(self, settings):
        sys.path.insert(0, str(HERE.parents[2]))
        from workbench.agents.transformers_engine import TransformersEngine

        self.trouble = settings["fake"].get("trouble", "")
        self.engine = TransformersEngine.load(settings["model"], device="cpu")

    def about(self):
        return {"version": "transformers", "device": "gpu", "longest": 2048}

    def generate(self, prompts, seeds, header, beat):
        settings = {name: header[name] for name in ("max_tokens", "temperature", "stop")}
        done = self.engine.generate(prompts, seeds=seeds, **settings)
        return [g.ids_T for g in done], [g.logprobs_T for g in done], [g.finish for g in done]

    def score(self, prompts, continuations, beat):
        return self.engine.score(prompts, continuations)

    def load(self, folder):
        from safetensors.torch import load_file

        weights = load_file(Path(folder) / "model.safetensors")
        if self.trouble != "skips":
            self.engine.model.load_state_dict(weights, strict=True)

    def sleep(self):
        pass

    def wake(self):
        pass


def make(settings):
    """The sampler that the settings ask for."""
    return Modelled(settings) if settings.get("fake", {}).get("plan") == "model" else Count(settings)


if __name__ == "__main__":
    main(make)
