"""The report of a machine: what was measured, what was not and why, as JSON and as a page to read."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


@dataclass
class MachineReport:
    """Filled case by case and written after each, so that a run that is cut short leaves what it has."""

    machine: dict[str, Any]
    command: str
    device: str
    small: bool
    parity: dict[str, Any] = field(default_factory=dict)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """``report.json`` and ``report.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(self.page(), encoding="utf-8")

    def page(self) -> str:
        """The report in Markdown."""
        parts = [self._head(), self._speeds(), self._agreement(), self._memory(), self._missing()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        size = "\n\n**Small**: sizes for a try of the command; the speeds mean nothing." if self.small else ""
        lines = [f"- {name}: {value}" for name, value in self.machine.items()]
        return f"# What this machine does\n\n`{self.command}`\n\n" + "\n".join(lines) + size

    def _speeds(self) -> str:
        if not self.cases:
            return ""
        columns = ("rollout_tokens_per_s", "trained_tokens_per_s", "updates_per_s", "sync_s", "start_s")
        heads = ("case", "rollout tokens/s", "trained tokens/s", "updates/s", "sync s", "start s")
        rows = [[name, *(_figure(case.get(column)) for column in columns)] for name, case in self.cases.items()]
        return "## Speed\n\nMedians over the measured updates, one update to warm up left out.\n\n" + _table(
            heads, rows
        )

    def _agreement(self) -> str:
        parts = []
        if self.parity:
            losses, norms = self.parity["loss"], self.parity["grad_norm"]
            parts.append(
                f"One update's gradient on the CPU and on {self.device}, float32, the same {self.parity['tokens']} "
                f"tokens: loss {losses[0]:.6g} and {losses[1]:.6g}, norm {norms[0]:.6g} and {norms[1]:.6g}, largest "
                f"difference {self.parity['gradient_off']:.1e} of the largest gradient, logprobs at most "
                f"{self.parity['logprob_off']:.1e} nats apart."
            )
        if self.cases:
            heads = ("case", "gap, nats", "gap at temperature 0.7", "checks that did not hold")
            rows = [
                [name, _figure(c.get("sampler_gap")), _figure(c.get("sampler_gap_at_0.7")), _alarms(c)]
                for name, c in self.cases.items()
            ]
            parts.append("Between trainer and sampler, mean over the tokens drawn:\n\n" + _table(heads, rows))
        return "## Agreement\n\n" + "\n\n".join(parts) if parts else ""

    def _memory(self) -> str:
        held = {name: case["memory_mb"] for name, case in self.cases.items() if case.get("memory_mb")}
        if not held:
            return ""
        moments = ("before", "running", "asleep", "stopped", "peak", "peak_trainer")
        rows = [[name, *(_figure(mb.get(moment)) for moment in moments)] for name, mb in held.items()]
        text = (
            "MB in use on the device by all processes. Asleep: vLLM keeps its process and hands its memory back; "
            "stopped: it has ended, the trainer's model is still there; peak_trainer: tensors of the trainer's process."
        )
        return f"## Memory\n\n{text}\n\n" + _table(("case", *moments), rows)

    def _missing(self) -> str:
        if not self.not_run:
            return "## Not run\n\nNothing was left out."
        return "## Not run\n\n" + "\n".join(f"- {what}: {why}" for what, why in self.not_run.items())


def machine(device: str) -> dict[str, Any]:
    """What is measured on: processor, device and versions."""
    facts: dict[str, Any] = {"processor": f"{platform.machine()}, {os.cpu_count()} cores", "device": device}
    if device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
        facts["device memory"] = f"{torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
        facts["cuda"] = torch.version.cuda
        facts["tf32 matmul"] = torch.backends.cuda.matmul.allow_tf32
    facts["threads of torch"] = torch.get_num_threads()
    if device == "cpu":
        facts["load"] = f"{os.getloadavg()[0]:.1f} when it began"
    return {**facts, "python": platform.python_version(), **_versions()}


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "transformers", "peft"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed here"
    return found


def _alarms(case: dict[str, Any]) -> str:
    return "; ".join(case.get("alarms", [])).replace("|", "/") or "none"


def _figure(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
