"""How much memory and time an import takes as its file grows: `python tests/bench/bench_import_file.py --mb 100 400`.

Files are made of search agents' rollouts, eight a question: chats (openai), verl dumps, verifiers traces with ids and
logprobs, and our own jsonl. Each is imported by the command in a process of its own; peak is that process's largest
resident set, reading is the same file read without a lab. A peak that does not grow with the file is what is promised:
2 GB in less than 500 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TEXT = """the of and to in is a for on with by as from at that it was are this have which their river city founded
capital population north born country language film year member world first second university war century"""
WORDS = np.array(TEXT.split())
FORMATS = ("openai", "verl", "verifiers", "jsonl")
GROUP, STEPS, PAGE_WORDS, IDS = 8, 4, 90, 300

RUN = """
import resource, sys
from workbench.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""
READ = """
import resource, sys
from workbench.formats import Record, read
count = sum(len(one.tree) for one in read(sys.argv[1]) if isinstance(one, Record))
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def said(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


def turns(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Texts of a rollout: each turn and what it was shown."""
    made = []
    for _ in range(STEPS - 1):
        docs = "".join(f'Doc {n + 1}(Title: "{said(rng, 2)}") {said(rng, PAGE_WORDS)}\n' for n in range(3))
        turn = f"<think> {said(rng, 40)} </think>\n<search> {said(rng, 5)} </search>"
        made.append((turn, f"\n\n<information>{docs}</information>\n\n"))
    return [*made, (f"<think> {said(rng, 40)} </think>\n<answer> {said(rng, 2)} </answer>", "")]


def rows(format: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Rows of a file without end."""
    n = 0
    while True:
        question = f"{said(rng, 12)} {n}?"
        members = [turns(rng) for _ in range(GROUP)]
        if format == "jsonl":
            yield {"task": {"id": f"q{n}", "question": question}, "trajectories": [_plain(m) for m in members]}
        else:
            make = {"openai": _chat, "verl": _verl, "verifiers": _trace}[format]
            yield from (make(f"Question: {question}\n", member, n, g, rng) for g, member in enumerate(members))
        n += 1


def _plain(member: list[tuple[str, str]]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"text": turn, "observation": shown} for turn, shown in member]
    steps[0]["context"] = {"text": "prompt"}
    return {"steps": steps}


def _chat(prompt: str, member: list[tuple[str, str]], n: int, g: int, rng: np.random.Generator) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    for turn, shown in member:
        messages += [{"role": "assistant", "content": turn}, *([{"role": "user", "content": shown}] if shown else [])]
    return {"messages": messages, "reward": float(rng.random() < 0.5)}


def _verl(prompt: str, member: list[tuple[str, str]], n: int, g: int, rng: np.random.Generator) -> dict[str, Any]:
    output = "".join(turn + shown for turn, shown in member)
    return {"input": prompt, "output": output, "gts": ["x"], "score": float(rng.random() < 0.5), "step": n // 64}


def _trace(prompt: str, member: list[tuple[str, str]], n: int, g: int, rng: np.random.Generator) -> dict[str, Any]:
    nodes = [_node(None, {"role": "user", "content": prompt}, rng)]
    for turn, shown in member:
        nodes.append(_node(len(nodes) - 1, {"role": "assistant", "content": turn}, rng, own=True))
        if shown:
            nodes.append(_node(len(nodes) - 1, {"role": "user", "content": shown}, rng))
    task = {"type": "Task", "data": {"prompt": prompt, "id": f"q{n}"}}
    rewards = {"em": {"score": float(rng.random() < 0.5), "weight": 1.0}}
    return {"id": f"{n}.{g}", "task": task, "traces": [{"id": f"{n}.{g}", "nodes": nodes, "rewards": rewards}]}


def _node(parent: int | None, message: dict[str, Any], rng: np.random.Generator, own: bool = False) -> dict[str, Any]:
    size = IDS // 4 if own else IDS
    logprobs = np.round(np.log(rng.random(size)), 4).tolist() if own else []
    ids = rng.integers(0, 150_000, size).tolist()
    return {"parent": parent, "message": message, "sampled": own, "token_ids": ids, "mask": [own] * size} | {
        "logprobs": logprobs
    }


def make(file: Path, format: str, mb: int) -> int:
    """Write rows up to `mb` megabytes; returns how many."""
    rng, written, count = np.random.default_rng(0), 0, 0
    with open(file, "wb") as out:
        for row in rows(format, rng):
            if written >= mb << 20:
                return count
            written += out.write(json.dumps(row).encode() + b"\n")
            count += 1
    return count


def measured(code: str, *argv: str, folder: str) -> tuple[float, int]:
    """Wall-clock seconds and peak memory in MB of a Python process."""
    started = time.perf_counter()
    command = [sys.executable, "-c", code, *argv]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, int(done.stdout.rsplit("peak ", 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mb", type=int, nargs="+", default=[50, 200], help="sizes of the files")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    args = parser.parse_args()
    print(f"{'format':12}{'MB':>6}{'rows':>9}{'reading s':>11}{'peak MB':>9}{'import s':>10}{'peak MB':>9}{'MB/s':>7}")
    for format in args.formats:
        for mb in args.mb:
            with tempfile.TemporaryDirectory() as folder:
                count = make(Path(folder) / "file.jsonl", format, mb)
                read_s, read_peak = measured(READ, "file.jsonl", folder=folder)
                import_s, peak = measured(RUN, "import", "file.jsonl", folder=folder)
            line = f"{format:12}{mb:>6}{count:>9,}{read_s:>11.1f}{read_peak:>9}"
            print(f"{line}{import_s:>10.1f}{peak:>9}{mb / import_s:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
