"""How long a page of the browsing table takes on a large lab: `python -m tests.bench.bench_browse`.

The lab is big_lab.py's with short texts and without ids: one run of 100,000 trajectories in groups of 8, about a
million steps, eight parts, scored twice. It is made here, in a temporary folder, in about ten minutes; `--lab` names a
lab that is there already. Each question is asked five times; the first time stands apart, of the others the median
and the worst are shown, and the processor time of the median, which other load does not stretch as much. Then 300
scores are edited, and the same is asked again.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.big_lab import Size, edit_some, made_lab
from tests.bench.size_files import copied
from tests.bench.size_peers import peak
from workbench.store import Store, open_store
from workbench.store.browsing import Browsing, Page, Query

RUN = "r1"


def questions(browsing: Browsing, rows: int) -> dict[str, Callable[[], Page]]:
    def page(**query: object) -> Callable[[], Page]:
        return lambda: browsing.trajectories(RUN, Query(**query))  # type: ignore[arg-type]

    return {
        "trajectories, first page": page(),
        "the last page": page(offset=max(0, rows - 50)),
        "sorted by own tokens": page(sort="own_tokens", descending=True),
        "sorted by a part of one number": page(sort="part:ExactMatch", descending=True),
        "sorted by a part of a number a step": page(sort="part:CoverageGain", descending=True),
        "sorted by return": page(sort="return", descending=True),
        "... the page in the middle": page(sort="return", descending=True, offset=rows // 2),
        "text found, sorted by a part": page(text="airport", sort="part:TokenF1"),
        "range of two parts, sorted by return": page(
            ranges={"part:CoverageGain": (1.0, None), "part:Judge": (0.5, None)}, sort="return"
        ),
        "ended and updates": page(equal={"ended": "truncated"}, ranges={"update": (100, 200)}),
        "tasks of the run": lambda: browsing.tasks(RUN),
        "runs of the lab": browsing.runs,
    }


def ask(store: Store) -> None:
    print(f"{'':40}{'first':>9}{'median':>9}{'worst':>9}{'cpu':>9}{'rows':>10}")
    for name, question in questions(store.browsing, _count(store)).items():
        times = []
        for _ in range(5):
            wall, cpu = time.perf_counter(), time.process_time()
            found = question()
            times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
        walls, cpus = zip(*times[1:], strict=True)
        shown = (times[0][0], statistics.median(walls), max(walls), statistics.median(cpus))
        print(f"{name:40}" + "".join(f"{value:>6.0f} ms" for value in shown) + f"{found.total:>10,}")


def _count(store: Store) -> int:
    return int(store.sql("select count(*) as n from trajectories where run = $run", run=RUN)["n"][0])


@contextlib.contextmanager
def lab(given: Path | None, trajectories: int) -> Iterator[Store]:
    """A lab of one's own: a new one, or a copy of the one given (its data files are linked)."""
    with tempfile.TemporaryDirectory(dir=given and given.parent) as folder:
        place = Path(folder) / "lab"
        if given:
            copied(given, place)
            store = open_store(place)
        else:
            size = Size(trajectories, runs=1, ids=False, page_words=8, thought_words=8)
            store = made_lab(place, size, progress=True)
        with store:
            yield store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trajectories", type=int, default=100_000)
    parser.add_argument("--lab", type=Path, help="one that big_lab.py made")
    args = parser.parse_args()
    with lab(args.lab, args.trajectories) as store:
        told = {name: int(store.sql(f"select count(*) as n from {name}")["n"][0]) for name in ("steps", "scores")}
        print(
            f"{_count(store):,} trajectories in {RUN}; in the lab {told['steps']:,} steps, {told['scores']:,} scores\n"
        )
        ask(store)
        print(f"\nwith {edit_some(store, 300)} edits")
        ask(store)
    print(f"\npeak memory {peak():,.0f} MB")


if __name__ == "__main__":
    main()
