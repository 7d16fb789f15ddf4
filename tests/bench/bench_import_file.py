"""How much memory and time an import takes as its file grows: `python tests/bench/bench_import_file.py --mb 100 400`.

Files are made of search agents' rollouts, eight a question: chats (openai), verl dumps, verifiers traces with ids and
logprobs, our own jsonl, Inspect's .eval (a zip, its size counted unpacked) and TRL's Parquet (all in one row group, as
pandas writes it, its size counted unpacked). Each is imported by the command in a process of its own; peak is that
process's largest resident set, reading is the same file read without a lab. A peak that does not grow with the file is
what is promised: 2 GB in less than 500 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
TEXT = """the of and to in is a for on with by as from at that it was are this have which their river city founded
capital population north born country language film year member world first second university war century"""
WORDS = np.array(TEXT.split())
FILES = {"inspect": "file.eval", "trl": "file.parquet"}  # the others: file.jsonl
FORMATS = ("openai", "verl", "verifiers", "jsonl", *FILES)
GROUP, STEPS, IDS = 8, 4, 300

# not ru_maxrss: a child's begins with that of the process it was forked from
PEAK = "import re; print('peak', int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)"
RUN = f"""
import sys
from workbench.cli import main
code = main(sys.argv[1:])
{PEAK}
sys.exit(code)
"""
READ = f"""
import sys
from workbench.formats import Record, read
count = sum(len(one.tree) for one in read(sys.argv[1]) if isinstance(one, Record))
{PEAK}
"""


def said(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


def turns(rng: np.random.Generator, page_words: int) -> list[tuple[str, str]]:
    """Texts of a rollout: each turn and what it was shown."""
    made = []
    for _ in range(STEPS - 1):
        docs = "".join(f'Doc {n + 1}(Title: "{said(rng, 2)}") {said(rng, page_words)}\n' for n in range(3))
        turn = f"<think> {said(rng, 40)} </think>\n<search> {said(rng, 5)} </search>"
        made.append((turn, f"\n\n<information>{docs}</information>\n\n"))
    return [*made, (f"<think> {said(rng, 40)} </think>\n<answer> {said(rng, 2)} </answer>", "")]


def rows(format: str, rng: np.random.Generator, page_words: int) -> Iterator[dict[str, Any]]:
    """Rows of a file without end."""
    n = 0
    while True:
        question = f"{said(rng, 12)} {n}?"
        members = [turns(rng, page_words) for _ in range(GROUP)]
        if format == "jsonl":
            yield {"task": {"id": f"q{n}", "question": question}, "trajectories": [_plain(m) for m in members]}
        else:
            makers = {"openai": _chat, "verl": _verl, "verifiers": _trace, "inspect": _sample, "trl": _completion}
            make = makers[format]
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


def _sample(prompt: str, member: list[tuple[str, str]], n: int, g: int, rng: np.random.Generator) -> dict[str, Any]:
    row = _chat(prompt, member, n, g, rng)
    scores = {"match": {"value": "C" if row["reward"] else "I"}}
    told = {"id": f"q{n}", "epoch": g + 1, "input": prompt, "target": "x", "messages": row["messages"]}
    return {**told, "scores": scores, "output": {}, "events": [{"event": "model", "input": row["messages"]}]}


def _completion(prompt: str, member: list[tuple[str, str]], n: int, g: int, rng: np.random.Generator) -> dict[str, Any]:
    made = "".join(turn + shown for turn, shown in member)
    paid = float(rng.random() < 0.5)
    return {"step": n // 64, "prompt": prompt, "completion": made, "reward": paid, "advantage": paid - 0.5}


def make(file: Path, format: str, mb: int, page_words: int) -> int:
    """Write rows up to `mb` megabytes; returns how many."""
    made = _first(rows(format, np.random.default_rng(0), page_words), mb << 20)
    if format == "trl":
        return _write_parquet(file, made)
    if format == "inspect":
        return _write_zip(file, made)
    with open(file, "wb") as out:
        return sum(1 for text in made if out.write(text))


def _first(made: Iterator[dict[str, Any]], size: int) -> Iterator[bytes]:
    """Rows as lines of JSON, up to so many bytes."""
    for row in made:
        text = json.dumps(row).encode() + b"\n"
        yield text
        size -= len(text)
        if size <= 0:
            return


def _write_parquet(file: Path, made: Iterator[bytes]) -> int:
    table = pa.Table.from_pylist([json.loads(text) for text in made])
    pq.write_table(table, file, row_group_size=len(table))
    return len(table)


def _write_zip(file: Path, made: Iterator[bytes]) -> int:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("header.json", "{}")
        count = 0
        for text in made:
            count += 1
            archive.writestr(f"samples/q{(count - 1) // GROUP}_epoch_{(count - 1) % GROUP + 1}.json", text)
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
    parser.add_argument("--words", type=int, default=90, help="words of a page; nine pages a rollout (default: 90)")
    args = parser.parse_args()
    print(f"{'format':12}{'MB':>6}{'rows':>9}{'reading s':>11}{'peak MB':>9}{'import s':>10}{'peak MB':>9}{'MB/s':>7}")
    for format in args.formats:
        for mb in args.mb:
            with tempfile.TemporaryDirectory() as folder:
                file = FILES.get(format, "file.jsonl")
                count = make(Path(folder) / file, format, mb, args.words)
                read_s, read_peak = measured(READ, file, folder=folder)
                import_s, peak = measured(RUN, "import", file, folder=folder)
            line = f"{format:12}{mb:>6}{count:>9,}{read_s:>11.1f}{read_peak:>9}"
            print(f"{line}{import_s:>10.1f}{peak:>9}{mb / import_s:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
