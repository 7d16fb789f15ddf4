"""Writers that are killed at random moments: ``python -m tests.store.killing LAB RUN KILLS SEED``.

Each writer is forked from this process, which has imported everything and opened nothing. It opens the lab (and so
folds what the one before left), records trees with a score and labels them, and prints a line as each call returns;
`kill -9` ends it anywhere, in the middle of an open, of a recording or of a commit.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time

from tests.store.writing import tree_number
from workbench.scores import Scores
from workbench.store import open_store

LABELS = 5
"""Labels of each tree."""


def write_on(lab: str, run: str, first: int, out: int) -> None:
    """Record trees first, first + 1 ... with a score and labels, until killed; say what is acknowledged."""
    store = open_store(lab)
    for n in itertools.count(first):
        tree = tree_number(n)
        with store.together():
            store.record_trees([tree], run=run, update=n)
            store.record_scores([tree], [[Scores.trajectory(float(n))] * 4], run=run)
        os.write(out, f"tree {n}\n".encode())
        for k in range(LABELS):
            store.label(run, tree.id, f"{n}.0", "correct", float(k))
            os.write(out, f"label {n} {k}\n".encode())


def killed(lab: str, run: str, first: int, rng: random.Random) -> None:
    """One writer's life."""
    reading, writing = os.pipe()
    writer = os.fork()
    if writer == 0:
        try:
            write_on(lab, run, first, writing)
        except BaseException as error:
            os.write(writing, f"error {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os.close(writing)
    said = os.read(reading, 1 << 16) if rng.random() < 0.75 else b""  # else killed while it opens the lab, perhaps
    time.sleep(rng.random() * 0.6)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    while piece := os.read(reading, 1 << 16):
        said += piece
    os.close(reading)
    sys.stdout.write(said.decode())
    sys.stdout.flush()


def main(lab: str, run: str, kills: str, seed: str) -> None:
    rng = random.Random(int(seed))
    for kill in range(int(kills)):
        killed(lab, run, 100_000 * (kill + 1), rng)


if __name__ == "__main__":
    main(*sys.argv[1:])
