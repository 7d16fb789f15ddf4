"""Updates of our `train` beside TRL's GRPOTrainer: `python -m tests.bench.bench_training [--model smollm2]`.

Multi-turn search on the embedded world, exact match paid (to SmolLM2, which answers nothing right, by lot), Dr. GRPO,
no KL, fp32 on the CPU. Each side runs in a process of its own with the same weights, tasks, threads and tokens of a
micro-batch; they take turns, one update each, so that whatever else the machine does meets both. Ratios are medians of
ours over theirs of the same turn. cpu is processor time, which other load does not stretch as much as wall time.
training_sides.py says how TRL is set up and
why both sides sample alike; training_floor.py what the floor is.

`--model smollm2` needs models/smollm2 (`workbench models get smollm2`). It gets the tags as tokens and some minutes of
demonstrations first, kept in --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.training_policies import prepared
from tests.bench.training_sides import Setting

ROOT = Path(__file__).resolve().parents[2]
Took = dict[str, float]


class Side:
    """A process that does one update when told to."""

    def __init__(self, name: str, setting: Setting) -> None:
        threads = str(setting.threads)
        quiet = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TRL_EXPERIMENTAL_SILENCE": "1"}
        quiet |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.bench.training_sides",
            name,
            json.dumps(asdict(setting)),
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | quiet, **pipes)  # type: ignore[call-overload]
        self.name, self.held = name, self._hear()["held"]  # megabytes before the first update

    def update(self) -> Took:
        print("update", file=self.process.stdin, flush=True)
        took = self._hear()
        self._hear()  # ready again
        return took

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _hear(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with exit status {self.process.wait()}; its lines above say why")
        return json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["tiny", "smollm2"], default="tiny")
    parser.add_argument("--updates", type=int, help="measured on each side, after one to warm up (7; smollm2: 3)")
    parser.add_argument("--prompts", type=int, help="of an update (12; smollm2: 4)")
    parser.add_argument("--rollouts", type=int, help="of a prompt (8; smollm2: 4)")
    parser.add_argument("--micro-batch-tokens", type=int, default=4096)
    parser.add_argument("--lora", type=int, default=0, help="rank of adapters on both sides; 0: all weights")
    parser.add_argument("--bf16", nargs="+", choices=["ours", "theirs"], default=[], help="sides that compute in it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where prepared policies are kept; default a temporary folder")
    args = parser.parse_args()
    small = args.model == "tiny"
    with tempfile.TemporaryDirectory() as scratch:
        policy = prepared(args.model, args.folder or Path(scratch))
        setting = Setting(
            str(policy),
            args.prompts or (12 if small else 4),
            args.rollouts or (8 if small else 4),
            args.micro_batch_tokens,
            args.lora,
            args.threads,
            bf16=tuple(args.bf16),
            lot=not small,
        )
        show(*in_turns(setting, args.updates or (7 if small else 3)), args.model)


def in_turns(setting: Setting, updates: int) -> tuple[Setting, dict[str, Side], list[tuple[Took, Took]]]:
    """Warm both up, then one update each in turns."""
    ours = Side("ours", setting)
    longest = ours.update()["longest"]
    setting = replace(setting, rows=rows_of(setting, longest))
    theirs = Side("theirs", setting)
    theirs.update()
    took = [(ours.update(), theirs.update()) for _ in range(updates)]
    for side in (ours, theirs):
        side.close()
    return setting, {"ours": ours, "theirs": theirs}, took


def rows_of(setting: Setting, longest: float) -> int:
    """Rows of TRL's micro-batch: as many as fit the tokens, and divide the rollouts of an update."""
    total = setting.prompts * setting.rollouts
    fitting = [
        rows for rows in range(1, total + 1) if total % rows == 0 and rows * longest <= setting.micro_batch_tokens
    ]
    return max(fitting, default=1)


FIGURES: dict[str, Callable[[Took], float]] = {
    "updates a minute": lambda took: 60 / took["{}"],
    "sampled tokens/s while drawing": lambda took: took["own"] / took["rollout_{}"],
    "sampled tokens/s while learning": lambda took: took["own"] / (took["{}"] - took["rollout_{}"]),
    "all tokens/s while learning": lambda took: took["tokens"] / (took["{}"] - took["rollout_{}"]),
}


def show(setting: Setting, sides: dict[str, Side], took: list[tuple[Took, Took]], model: str) -> None:
    head(setting, took, model)
    print(f"{'':34}{'ours':>10}{'TRL':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    for clock in ("wall", "cpu"):
        for name, figure in FIGURES.items():
            pairs = [tuple(figure(by_clock(one, clock)) for one in pair) for pair in took]
            line(f"{name}, {clock}", pairs)
    for name in ("peak",):
        pairs = [(took[-1][0][name], took[-1][1][name])]
        line("peak memory [MB]", pairs)
        line("  of it for the updates", [(pairs[0][0] - sides["ours"].held, pairs[0][1] - sides["theirs"].held)])
    seconds(took)


def head(setting: Setting, took: list[tuple[Took, Took]], model: str) -> None:
    weights = f"LoRA of rank {setting.lora}" if setting.lora else "all weights"
    print(f"{model}, {weights}; {setting.prompts} prompts x {setting.rollouts} rollouts, at most 4 turns with a search")
    print(f"and one without; {setting.threads} thread(s); micro-batches of {setting.micro_batch_tokens} tokens,")
    print(f"for TRL {setting.rows} rows; {len(took)} updates each in turns, {os.cpu_count()} cores, load")
    print(
        f"{os.getloadavg()[0]:.1f}; torch {version('torch')}, trl {version('trl')}, Python {platform.python_version()}"
    )
    for name, n in (("ours", 0), ("TRL", 1)):
        of = {
            key: statistics.mean(pair[n][key] for pair in took)
            for key in ("turns", "own", "tokens", "longest", "equal")
        }
        print(
            f"{name:>5}: {of['turns']:.0f} turns, {of['own']:.0f} sampled of {of['tokens']:.0f} tokens, the longest "
            f"row {of['longest']:.0f}, {of['equal']:.1f} of {setting.prompts} groups paid alike"
        )
    print()


def by_clock(took: Took, clock: str) -> Took:
    return took | {"{}": took[clock], "rollout_{}": took[f"rollout_{clock}"]}


def line(name: str, pairs: list[tuple[float, ...]]) -> None:
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(one / other for one, other in pairs)
    print(f"{name:34}{ours:>10.1f}{theirs:>10.1f}{statistics.median(ratios):>8.2f}{ratios[0]:>8.2f}{ratios[-1]:>8.2f}")


def seconds(took: list[tuple[Took, Took]]) -> None:
    """Where the time goes, and how far ours is from the floor."""

    def of(n: int, name: str) -> float:
        return statistics.median(pair[n][name] for pair in took)

    print("\nprocessor seconds of an update    drawing  learning   wall   load (cpu/wall)")
    for title, n in (("ours", 0), ("TRL", 1)):
        draw, whole, wall = of(n, "rollout_cpu"), of(n, "cpu"), of(n, "wall")
        print(f"{title:34}{draw:>7.2f}{whole - draw:>10.2f}{wall:>7.2f}{whole / wall:>18.2f}")
    draw, learn = of(0, "floor_rollout"), of(0, "floor_train")
    bound = "bytes" if of(0, "bound") else "operations"
    print(f"{'floor of ours':34}{draw:>7.2f}{learn:>10.2f}")
    print(
        f"ours over its floor: drawing {of(0, 'rollout_cpu') / draw:.1f} (bound by {bound}), learning "
        f"{(of(0, 'cpu') - of(0, 'rollout_cpu')) / learn:.1f}, both {of(0, 'cpu') / (draw + learn):.1f}; the machine "
        f"does {of(0, 'flops') / 1e9:.0f} GFLOP/s and copies {of(0, 'bytes') / 1e9:.1f} GB/s in a processor second"
    )


if __name__ == "__main__":
    main()
