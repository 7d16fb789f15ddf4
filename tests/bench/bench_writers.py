"""Many processes on one lab: how long a label takes to be acknowledged, and whether anything is ever lost.

Writers give labels with a pause of 0 to 40 ms between them, while one process records updates of 96 trajectories with
their scores (two a second) and two others ask. A label is acknowledged when `label()` returns, and visible when another
process finds it in a question that it asks over and over. Then writers are killed (kill -9) at random moments.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.bench_store import GROUPS, made_scores, made_tree
from tests.store.servers import Servers, started
from tests.store.test_processes import check_killed
from tests.store.writing import tree_number
from workbench.store import join_team, open_store

COUNTS = (1, 2, 8)
SEEN = "select label::varchar as label from labels"
ASKED = "select count(*) as n, avg(value) as mean from scores"


def give_labels(lab: str, stop: Any, count: int, seed: int) -> list[tuple[str, float, float]]:
    """For each label its id, the time it was acknowledged (seconds of the epoch), and how long that took (seconds)."""
    rng, done = random.Random(seed), list[tuple[str, float, float]]()
    with open_store(lab) as store:
        for n in range(count):
            begun = time.perf_counter()
            made = store.label("bench", "tree-0", "0.0", "correct", float(n), who=str(seed))
            done.append((made, time.time(), time.perf_counter() - begun))
            time.sleep(rng.random() * 0.04)
    return done


def record_updates(lab: str, stop: Any) -> list[float]:
    """Seconds that each update was waited for."""
    rng = np.random.default_rng(0)
    trees = [made_tree(g, rng) for g in range(GROUPS)]
    scores = [[made_scores(rng) for _ in tree] for tree in trees]
    took: list[float] = []
    with open_store(lab) as store:
        run = store.start_run({})
        while not stop.is_set():
            begun = time.perf_counter()
            fresh = [type(tree)(f"{len(took)}-{tree.id}", tree.task, tree.trajectories) for tree in trees]
            store.record_trees(fresh, run=run, update=len(took))
            store.record_scores(fresh, scores, run=run, update=len(took))
            took.append(time.perf_counter() - begun)
            stop.wait(0.5)
        store.flush()
        assert store.sql("select count(*) as n from trees where run = $run", run=run).n[0] == GROUPS * len(took)
    return took


def ask(lab: str, stop: Any) -> list[float]:
    """Seconds that each answer took."""
    took: list[float] = []
    with open_store(lab) as store:
        while not stop.is_set():
            begun = time.perf_counter()
            store.sql(ASKED)
            took.append(time.perf_counter() - begun)
            time.sleep(0.05)
    return took


def watch(lab: str, stop: Any) -> dict[str, float]:
    """When each label was first seen, seconds of the epoch."""
    seen: dict[str, float] = {}
    with open_store(lab) as store:
        while not stop.is_set():
            found = store.sql(SEEN).label
            now = time.time()
            seen |= {label: now for label in found if label not in seen}
            time.sleep(0.02)
    return seen


def in_child(work: Callable[..., Any], pipe: Connection, *arguments: Any) -> None:
    try:
        pipe.send(work(*arguments))
    except BaseException:
        pipe.send(traceback.format_exc())


class Child:
    """A process doing `work`."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=in_child, args=(work, theirs, *arguments))
        self._process.start()

    def result(self) -> Any:
        """What it returned; an error there is one here."""
        made = self._pipe.recv()
        self._process.join()
        if isinstance(made, str):
            raise SystemExit(made)
        return made


def new_lab(folder: Path, servers: Servers | None) -> str:
    """A lab's folder, made."""
    if servers is not None:
        join_team(folder, **servers.settings(servers.new_schema()))
    return str(folder)


def crowd(lab: str, writers: int, labels: int) -> None:
    """Writers, one that records updates, one that watches and two that ask."""
    with open_store(lab) as store:
        store.start_run({}, name="bench")
        store.record_trees([tree_number(0)], run="bench")
    stop = multiprocessing.get_context("spawn").Event()
    others = [Child(record_updates, lab, stop), *[Child(ask, lab, stop) for _ in range(2)], Child(watch, lab, stop)]
    begun = time.perf_counter()
    writing = [Child(give_labels, lab, stop, labels, seed) for seed in range(writers)]
    given = [label for child in writing for label in child.result()]
    seconds = time.perf_counter() - begun
    time.sleep(0.3)
    stop.set()
    updates, first, second, seen = [child.result() for child in others]
    with open_store(lab) as store:
        held = store.sql(SEEN).label.tolist()
    lost, doubled = len({label for label, *_ in given} - set(held)), len(held) - len(set(held))
    print(f"{writers} writers: {len(given)} labels and {len(updates)} updates in {seconds:.0f} s")
    print(f"  lost {lost}, doubled {doubled}, errors 0, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    row("  a label, acknowledged", [took for *_, took in given])
    row("  a label, visible elsewhere", [seen[label] - at for label, at, _ in given if label in seen])
    row("  an update of 96 trajectories, acknowledged", updates)
    row("  a question", first + second)


def row(name: str, seconds: list[float]) -> None:
    p50, p99, worst = 1000 * np.percentile(seconds, [50, 99, 100])
    print(f"{name:48}p50 {p50:>8.1f} ms   p99 {p99:>8.1f} ms   worst {worst:>8.1f} ms")


def kill_writers(lab: str, kills: int) -> None:
    with open_store(lab) as store:
        store.start_run({}, name="killed")
    command = [sys.executable, "-m", "tests.store.killing", lab, "killed", str(kills), "1"]
    begun = time.perf_counter()
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    seconds = time.perf_counter() - begun
    check_killed(Path(lab), "killed", lines)
    trees = sum(line.startswith("tree") for line in lines)
    print(f"{kills} kills in {seconds:.0f} s: {trees} trees and {len(lines) - trees} labels acknowledged,")
    print("  none lost, none twice, and the lab opened every time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=200, help="of each writer")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--team", action="store_true", help="in PostgreSQL and an S3 stand-in")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = stack.enter_context(started(fsync=True)) if given.team else None
        for writers in given.writers:
            crowd(new_lab(folder / f"lab{writers}", servers), writers, given.labels)
        if given.kills:
            kill_writers(new_lab(folder / "killed", servers), given.kills)


if __name__ == "__main__":
    main()
