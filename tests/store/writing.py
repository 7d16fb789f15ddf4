"""A process that writes to a lab: ``python -m tests.store.writing LAB RUN FIRST COUNT [--named]``.

Records trees FIRST, FIRST + 1 ... with their scores, one commit each, and prints the tree's id once it is on disk.
COUNT 0 goes on until it is killed.
"""

from __future__ import annotations

import itertools
import sys

from tests.builders import a_trajectory, a_tree
from workbench.scores import Scores
from workbench.store import open_store
from workbench.trajectory import Tree


def tree_number(n: int) -> Tree:
    """Four trajectories of two steps."""
    members = [a_trajectory([f"p{n}"], answer=f"answer {n}", id=f"{n}.{g}", tokens=5) for g in range(4)]
    return a_tree(*members, id=f"tree-{n}")


def main(lab: str, run: str, first: str, count: str) -> None:
    numbers = itertools.count(int(first))
    with open_store(lab) as store:
        if run == "new":
            run = store.start_run({"first": first})
            print("run", run, flush=True)
        for n in itertools.islice(numbers, int(count) or None):
            tree = tree_number(n)
            store.record_trees([tree], run=run, update=n)
            store.record_scores([tree], [[Scores.trajectory(float(n))] * 4], run=run)
            store.flush()
            print(tree.id, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
