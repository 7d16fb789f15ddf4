"""Every proof of every method for three seeds, and those on the embedded world: `make bench-papers`.

What is found is kept in workbench/papers/results, one file a method, after every proof: the list of papers and the app
show it. ``python tests/bench/papers.py reseek 25 --seeds 0 1 2 --on-world``
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from workbench.commands.papers_command import proof_text
from workbench.papers import built, entry, load
from workbench.papers.paper import Proof
from workbench.papers.results import keep, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of methods; default all that are built")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--on-world", action="store_true", help="train the tiny policy: about ten minutes a seed")
    args = parser.parse_args()
    for name in [entry(name).name for name in args.names] or [one.name for one in built()]:
        paper = load(name)
        if args.on_world and paper.on_world is None:
            continue
        for seed in args.seeds:
            prove(name, seed, (paper.on_world if args.on_world else None) or paper.proof, args.on_world)


def prove(name: str, seed: int, make: Callable[[int], Proof], on_world: bool) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    proof = make(seed)
    took = f"{time.perf_counter() - started:.0f} s, {time.process_time() - cpu:.0f} s of processor"
    keep(name, kept(name).with_proof(seed, proof, on_world=on_world))
    where = " on the embedded world" if on_world else ""
    print(f"== {name}{where}, seed {seed}: {took}, load {os.getloadavg()[0]:.1f}\n{proof_text(proof)}\n", flush=True)


if __name__ == "__main__":
    main()
