"""How long a page of the browsing table takes on a large lab: `python -m tests.bench.bench_browse`.

The lab is made here, in a temporary folder: one run of 100,000 trajectories in groups of 8, ten steps each (a million
steps), four parts of one number and four of one number a step (half of those not applicable, one score in a thousand
missing): 2.4 million scores. Each question is asked five times; the first time stands apart, of the others the median
and the worst are shown, and the processor time of the median, which other load does not stretch as much. Then 300
scores of 300 trees are edited, and the same is asked again.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.store import Store, open_store
from workbench.store.browsing import Browsing, Page, Query
from workbench.store.rows import Rows, time_id
from workbench.store.schema import TABLE

GROUP, STEPS = 8, 10
SINGLE = ("ExactMatch", "TokenF1", "WellFormed", "Judge")
STEPWISE = ("CoverageGain", "RepeatedDocuments", "SearchKeyMatch", "Process")
WHEN = datetime.datetime(2026, 1, 1)
RUN = "r1"


def made_lab(folder: Path, trajectories: int, pieces: int) -> Store:
    """A lab with one run, written piece by piece through the store's own writer."""
    store = open_store(folder)
    store.start_run({"kind": "train"}, name=RUN)
    rng = np.random.default_rng(0)
    for piece in np.array_split(np.arange(trajectories // GROUP), pieces):
        for rows in (tree_rows(piece, rng), score_rows(piece, rng)):
            store._writer.put(rows)
            store.flush()
    return store


def column(table: str, name: str, values: object, length: int) -> pa.Array:
    kind = TABLE[table].arrow.field(name).type
    if isinstance(values, pa.Array):
        return values.cast(kind)
    if isinstance(values, np.ndarray):
        return pa.array(values).cast(kind)
    return pa.nulls(length, kind) if values is None else pa.repeat(pa.scalar(values, kind), length)


def table(name: str, length: int, **columns: object) -> pa.Table:
    """A table of the store; columns not given are NULL."""
    schema = TABLE[name].arrow
    return pa.table([column(name, f.name, columns.get(f.name), length) for f in schema], schema=schema)


def texts(pattern: str, *numbers: np.ndarray) -> pa.Array:
    return pa.array([pattern.format(*row) for row in zip(*(n.tolist() for n in numbers), strict=True)])


def places(groups: np.ndarray) -> dict[str, object]:
    """Columns of place, one row a trajectory."""
    tree, member = np.repeat(groups, GROUP), np.tile(np.arange(GROUP), len(groups))
    names = texts("tree-{}", tree)
    return {
        "run": RUN,
        "update": tree // 12 + 1,
        "task": texts("q{}", tree % 2000),
        "tree": names,
        "group_id": names,
        "trajectory": texts("{}.{}", tree, member),
    }


def a_step_each(place: dict[str, object], steps: int = STEPS) -> dict[str, object]:
    """Columns of place and step, one row a step."""
    count = len(place["trajectory"])  # type: ignore[arg-type]
    at = np.repeat(np.arange(count), steps)
    rows = {
        k: v if isinstance(v, str) else (v[at] if isinstance(v, np.ndarray) else v.take(at)) for k, v in place.items()
    }
    return {**rows, "step": np.tile(np.arange(steps), count)}


def tree_rows(groups: np.ndarray, rng: np.random.Generator) -> Rows:
    place, n = places(groups), len(groups) * GROUP
    tree, task = np.asarray(groups), np.asarray(groups) % 2000
    known = np.unique(task)
    stepped = a_step_each(place)
    tables = {
        "tasks": table(
            "tasks",
            len(known),
            task_key=texts("key{}", known),
            task=texts("q{}", known),
            question=texts(
                "In which country does the river number {} that crosses the old town of {} begin?", known, known
            ),
            kind="bridge",
            hops=known % 3 + 1,
            golds="[]",
            gold_pages="[]",
            content="{}",
        ),
        "trees": table(
            "trees",
            len(tree),
            run=RUN,
            update=tree // 12 + 1,
            task=texts("q{}", task),
            tree=texts("tree-{}", tree),
            task_key=texts("key{}", task),
            trajectories=GROUP,
            extras="{}",
            digest=texts("d{}", tree),
            entry=pa.array([time_id() for _ in tree]),
            recorded=WHEN,
        ),
        "trajectories": table(
            "trajectories",
            n,
            **place,
            number=np.tile(np.arange(GROUP), len(tree)),
            task_key=texts("key{}", np.repeat(task, GROUP)),
            kind="bridge",
            hops=np.repeat(task % 3 + 1, GROUP),
            role="agent",
            fork=0,
            ended=pa.array(np.array(["answered", "truncated", "failed"])[rng.choice(3, n, p=[0.9, 0.09, 0.01])]),
            end_reason="",
            answer=texts("the answer {}", rng.integers(0, 1000, n)),
            steps=STEPS,
            searches=rng.integers(1, STEPS, n),
            own_tokens=rng.integers(50, 1500, n),
            seconds=rng.random(n),
            extras="{}",
        ),
        "step_rows": table(
            "step_rows",
            n * STEPS,
            **stepped,
            id=texts("s{}.{}", np.repeat(np.arange(n) + groups[0] * GROUP, STEPS), stepped["step"]),
            text="<think>the river begins in the mountains</think><search>source of the river</search>",
            observation="Doc 1(Title: River) A river that begins in the mountains and ends in the sea.",
            calls="[]",
            spans="[]",
            role="agent",
            policy="tiny@1",
            episode=0,
            valid=True,
            seconds=0.1,
            own_tokens=60,
        ),
    }
    digests = {f"tree-{g}": f"d{g}" for g in groups.tolist()}
    return Rows(RUN, tables, 0, digests)


def score_rows(groups: np.ndarray, rng: np.random.Generator) -> Rows:
    place, n = places(groups), len(groups) * GROUP
    passes = pa.array([time_id() for _ in groups])
    whole = {**place, "pass": passes.take(np.repeat(np.arange(len(groups)), GROUP))}
    logs = [log(whole, None, 0, "total", rng, term=False)]
    logs += [log(whole, None, node, part, rng) for node, part in enumerate(SINGLE, 1)]
    stepped = a_step_each(whole)
    for node, part in enumerate(STEPWISE, 5):
        kept = np.flatnonzero(rng.random(n * STEPS) < 0.5)
        some = {
            k: v if isinstance(v, str) else (v[kept] if isinstance(v, np.ndarray) else v.take(kept))
            for k, v in stepped.items()
        }
        logs.append(log({k: v for k, v in some.items() if k != "step"}, some["step"], node, part, rng))
    scorings = table(
        "scorings",
        len(groups),
        **{"pass": passes},
        run=RUN,
        update=groups // 12 + 1,
        task=texts("q{}", groups % 2000),
        tree=texts("tree-{}", groups),
        reward="abc",
        shapes="{}",
        recorded=WHEN,
    )
    rewards = table("rewards", 1, reward="abc", code="1", spec="{}", recorded=WHEN)
    tables = {"rewards": rewards, "scorings": scorings, "scores_log": pa.concat_tables(logs)}
    return Rows(RUN, tables, 0, scored=frozenset(f"tree-{g}" for g in groups.tolist()))


def log(place: dict, step: object, node: int, part: str, rng: np.random.Generator, *, term: bool = True) -> pa.Table:
    """One part's rows of scores_log; one in a thousand is missing."""
    n = len(place["trajectory"])
    missing = rng.random(n) < 0.001
    values = np.where(rng.random(n) < 0.5, 0.0, rng.integers(0, 64, n) / 64)
    return table(
        "scores_log",
        n,
        **place,
        step=step,
        node=node,
        part=part,
        term=term,
        value=pa.array(values, mask=missing),
        status=pa.array(np.where(missing, "missing", "scored")),
        why="new gold pages: none",
        weight=0.5,
        level="trajectory" if step is None else "step",
        place="end",
        reward="abc",
    )


def edit_rows(groups: np.ndarray) -> Rows:
    """One edit in each of these trees: its first trajectory's ExactMatch is 1."""
    n = len(groups)
    names = texts("tree-{}", groups)
    edits = table(
        "edits",
        n,
        edit=pa.array([time_id() for _ in groups]),
        who="ann",
        run=RUN,
        tree=names,
        trajectory=texts("{}.0", groups),
        part="ExactMatch",
        node=1,
        reward="abc",
        old=0.0,
        new=1.0,
        why="as asked",
        recorded=WHEN,
    )
    return Rows(RUN, {"edits": edits})


def questions(browsing: Browsing) -> dict[str, Callable[[], Page]]:
    def page(**query: object) -> Callable[[], Page]:
        return lambda: browsing.trajectories(RUN, Query(**query))  # type: ignore[arg-type]

    return {
        "trajectories, first page": page(),
        "the last page": page(offset=99_950),
        "sorted by own tokens": page(sort="own_tokens", descending=True),
        "sorted by a part of one number": page(sort="part:ExactMatch", descending=True),
        "sorted by a part of a number a step": page(sort="part:CoverageGain", descending=True),
        "sorted by return": page(sort="return", descending=True),
        "... page 1,000 of it": page(sort="return", descending=True, offset=49_950),
        "text found, sorted by a part": page(text="river number 5", sort="part:TokenF1"),
        "range of two parts, sorted by return": page(
            ranges={"part:CoverageGain": (1.0, None), "part:Judge": (0.5, None)}, sort="return"
        ),
        "ended and updates": page(equal={"ended": "truncated"}, ranges={"update": (100, 200)}),
        "tasks of the run": lambda: browsing.tasks(RUN),
        "runs of the lab": browsing.runs,
    }


def ask(store: Store) -> None:
    print(f"{'':40}{'first':>9}{'median':>9}{'worst':>9}{'cpu':>9}{'rows':>10}")
    for name, question in questions(store.browsing).items():
        times = []
        for _ in range(5):
            wall, cpu = time.perf_counter(), time.process_time()
            found = question()
            times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
        walls, cpus = zip(*times[1:], strict=True)
        shown = (times[0][0], statistics.median(walls), max(walls), statistics.median(cpus))
        print(f"{name:40}" + "".join(f"{value:>6.0f} ms" for value in shown) + f"{found.total:>10,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=100_000)
    trajectories = parser.parse_args().trajectories // GROUP * GROUP
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with made_lab(Path(folder) / "lab", trajectories, 20) as store:
            steps, scores = (
                int(store.sql(f"select count(*) as n from {name}")["n"][0]) for name in ("steps", "scores")
            )
            print(f"{trajectories:,} trajectories, {steps:,} steps, {scores:,} scores; made in ", end="")
            print(f"{time.perf_counter() - started:.0f} s\n")
            ask(store)
            store._writer.put(
                edit_rows(np.arange(0, trajectories // GROUP, max(1, trajectories // GROUP // 300))[:300])
            )
            print("\nwith 300 edits")
            ask(store)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
