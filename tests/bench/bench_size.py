"""Ten questions about a large log, asked of a lab and of others: `python -m tests.bench.bench_size --folder big`.

One log (big_lab.py) is written as a lab, as plain Parquet laid out by hand, and as JSONL. Each contender answers in a
process of its own; the answers are checked to be the same. Each question is asked five times: shown are the first
time, the median of the others, and the processor time of that median, which other load does not stretch as much.
pandas takes what fits in memory; Inspect, MLflow and Phoenix take the first trajectories: their figures are stretched
to the whole log, and marked. They run under the Python that `--peer NAME=PYTHON` names, or are left out.

A million steps take 6 GB of disk and about half an hour to write; `--folder` keeps them for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.big_lab import VERSIONS, Size
from tests.bench.size_files import EDITS, JSONL, LAB, PLAIN, edited, made
from tests.bench.size_pandas import Frames, in_pandas
from tests.bench.size_peers import peak
from tests.bench.size_questions import QUESTIONS, Asked, difference, jsonl, ours, parameters, plain_parquet, told_by
from workbench.store import Store, open_store

ROOT = Path(__file__).resolve().parents[2]
TIMES = 5
Answer = dict[str, Any]
"""first, median and cpu [seconds], rows of the answer."""

LAST = """
    select run, update, task, tree, trajectory from trajectories
    order by run desc, update desc, tree desc, trajectory desc limit 1
"""


# ---------------------------------------------------------------- in the child


def answers(contender: str, folder: Path, lines: int) -> dict[str, Any]:
    """What one contender says, and what it took."""
    about = json.loads((folder / "about.json").read_text())
    told = parameters(about["run"], about["tree"], about["trajectory"])
    started = time.perf_counter()
    if contender in (LAB, EDITED):
        with open_store(folder / contender) as store:
            found, held = _timed(ours(store, told, about["task"], about["update"])), peak()
            return {"answers": found | _timed(_more(store)), "peak": held}  # of the ten alone
    elif contender == "pandas":
        asked = in_pandas(Frames(folder / JSONL, told, lines))
        found = {"load": {"first": time.perf_counter() - started}} | _timed(asked)
    else:
        asked = plain_parquet(folder / PLAIN, told) if contender == PLAIN else jsonl(folder / JSONL, told)
        found = _timed(asked, times=TIMES if contender == PLAIN else 2)
    return {"answers": found, "peak": peak()}


def _more(store: Store) -> Asked:
    """What the store answers beside the ten."""
    run = store.runs()[0]
    return {
        "... of one run, mean_return_by_update": lambda: store.mean_return_by_update(run),
        "... of one run, groups_by_spread(100)": lambda: store.groups_by_spread(run, 100),
        "... store.compare, all of it": lambda: store.compare(*VERSIONS).parts,
    }


def _timed(asked: Asked, times: int = TIMES) -> dict[str, Answer]:
    found = {}
    for name, question in asked.items():
        walls, cpus = [], []
        for _ in range(times):
            wall, cpu = time.perf_counter(), time.process_time()
            frame = question()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        warm = {"median": statistics.median(walls[1:]), "cpu": statistics.median(cpus[1:])}
        found[name] = {"first": walls[0], **warm, "rows": told_by(frame) if name in QUESTIONS else []}
    return found


EDITED = "edited"
CONTENDERS = (LAB, EDITED, PLAIN, "jsonl", "pandas")
TITLES = {
    LAB: "the lab, values as scored",
    EDITED: f"the lab, {EDITS:,} edits in force",
    PLAIN: "DuckDB over plain Parquet, laid out by hand",
    "jsonl": "DuckDB over JSONL",
    "pandas": "pandas over JSONL",
}


# ---------------------------------------------------------------- in the parent


def asked_in_a_process(contender: str, folder: Path, lines: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.bench_size", "--ask", contender, "--folder", str(folder)]
    command += ["--lines", str(lines)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def report(contender: str, told: dict[str, Any], stretch: float, right: dict[str, Answer] | None) -> None:
    """The table of one contender. `right`: the answers to compare with; None where the log was another."""
    print(f"\n{TITLES[contender]}: peak {told['peak']:,.0f} MB")
    print(f"  {'':42}{'first':>10}{'median':>10}{'cpu':>10}")
    for name, answer in told["answers"].items():
        figures = [answer.get(key) for key in ("first", "median", "cpu")]
        shown = "".join(" " * 10 if figure is None else f"{_told(figure * stretch):>10}" for figure in figures)
        wrong = difference(right[name]["rows"], answer["rows"]) if right and name in QUESTIONS else ""
        print(f"  {name:42}{shown}{'   OTHER ANSWER: ' + wrong if wrong else ''}")


def _told(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 10 else f"{seconds:,.0f} s"


def report_files(figures: dict[str, Any]) -> None:
    steps, spent = figures["steps"], figures["spent"]
    print(f"{figures['trajectories']:,} trajectories, {steps:,} steps\n")
    print("written, a microsecond a step: wall, processor")
    rows = {
        "record_trees, record_scores twice, label, flush": [("lab", 1)],
        "... of it, rows made of objects": [("rows", 1)],
        "... so from prepared rows": [("lab", 1), ("rows", -1)],
        "plain Parquet, rows made and written": [("rows", 1), ("plain", 1)],
        "plain Parquet, prepared rows written": [("plain", 1)],
        "JSONL": [("jsonl", 1)],
        "store.tidy() at the end": [("tidy", 1)],
    }
    for name, terms in rows.items():
        wall, cpu = (sum(sign * spent[term][n] for term, sign in terms) * 1e6 / steps for n in (0, 1))
        print(f"  {name:52}{wall:>8.0f}{cpu:>8.0f}")
    disk = "  ".join(f"{TITLES.get(name, name)} {size:,.0f} MB" for name, size in figures["megabytes"].items())
    print(f"on disk: {disk}")


def report_peer(peer: str, python: str, folder: Path, count: int, whole: int) -> None:
    """What a peer says of the first `count` trajectories, stretched to all of them."""
    with tempfile.TemporaryDirectory() as place:
        script = Path(__file__).with_name("size_peers.py")
        command = [python, str(script), peer, str(folder / JSONL), str(Path(place) / peer), str(count)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            print(f"\n{peer}: not measured: {said.strip().splitlines()[-1]:.200}")
            return
    told = json.loads(done.stdout.splitlines()[-1])
    stretch = whole / count
    print(f"\n{peer} {told['version']}: {count:,} trajectories, figures stretched {stretch:.0f} times to {whole:,}")
    print(f"  measured peak {told['peak']:,.0f} MB; on disk {told['megabytes'] * stretch:,.0f} MB (stretched)")
    print(f"  {'writing':42}{_told(told['write'][0] * stretch):>10}{'':10}{_told(told['write'][1] * stretch):>10}")
    for name, (wall, cpu) in told["asked"].items():
        times = 1 if name == "one trajectory" else stretch
        print(f"  {name:42}{_told(wall * times):>10}{'':10}{_told(cpu * times):>10}")


def about(folder: Path) -> dict[str, Any]:
    """The trajectory that is asked for: the last of all."""
    with open_store(folder / LAB) as store:
        row = store.sql(LAST).iloc[0]
    return {name: row[name] if isinstance(row[name], str) else int(row[name]) for name in row.index}


def chosen(names: list[str]) -> Iterator[str]:
    return (name for name in CONTENDERS if not names or name in names)


def run(args: argparse.Namespace, folder: Path) -> None:
    figures = made(folder, Size(args.trajectories))
    (folder / "about.json").write_text(json.dumps(about(folder)))
    if not (folder / EDITED).exists():
        edited(folder, folder / EDITED)
    report_files(figures)
    right, whole = None, figures["trajectories"]
    for contender in chosen(args.only):
        lines = min(args.lines, whole)
        told = asked_in_a_process(contender, folder, lines)
        partly = contender == "pandas" and lines < whole
        if partly:
            print(f"\n(pandas holds {lines:,} of {whole:,} trajectories; its times are stretched, its peak is not)")
        report(contender, told, whole / lines if partly else 1.0, None if partly or contender == EDITED else right)
        right = right or (told["answers"] if contender == LAB else None)
    for peer in args.peer:
        name, _, python = peer.partition("=")
        report_peer(name, python, folder, min(args.peer_trajectories, whole), whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trajectories", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the files are kept; made where they are not there")
    parser.add_argument("--only", nargs="*", default=[], choices=CONTENDERS)
    parser.add_argument("--lines", type=int, default=5_000, help="trajectories that pandas takes")
    parser.add_argument("--peer", action="append", default=[], help="inspect, mlflow or phoenix = its Python")
    parser.add_argument("--peer-trajectories", type=int, default=1_000)
    parser.add_argument("--ask", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(answers(args.ask, args.folder, args.lines)))
        return
    if args.folder:
        run(args, args.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


if __name__ == "__main__":
    main()
