"""Retrieval benchmark: `SearchIndex` beside plain bm25s and rank-bm25 over a corpus of 51,415 real pages.

Run ``python tests/bench/bench_retrieval.py`` with the extra [bench] installed and the shared data sets beside the
repository (or WORKBENCH_SHARED set). Each contender runs in a process of its own, so that memory is its own. Times
are processor seconds of one run on one core (what else the machine does hardly counts); memory is the peak above what
Python and the imports take, the corpus included. Searches ask for 10 pages:

single  one query a call, each of the questions once (bm25s on numpy: the first 300, rank-bm25: the first 50)
batch   all these questions in one call
group   each question 8 times in a row in one call, as the rollouts of a group ask
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from workbench.retrieval import Page, SearchIndex, read_corpus, read_tasks  # noqa: E402
from workbench.retrieval.pages import PageFile  # noqa: E402
from workbench.trajectory import Task  # noqa: E402

DATA = Path(os.environ.get("WORKBENCH_SHARED", ROOT.parent / "shared")) / "data" / "wiki_multihop"
K = 10
GROUP = 8
README = {  # recall@10 and share with all golds found, core + distractors, as the data set's README has them
    "hotpotqa": (0.812, 0.644),
    "2wikimultihopqa": (0.688, 0.384),
    "musique": (0.524, 0.160),
    "nq_qed": (0.842, 0.842),
    "squad_xquad": (0.889, 0.889),
}

IMPORTS_MB = 0.0
"""Peak memory before any work, set by `main` in each contender's process."""

Search = Callable[[Sequence[str]], list[list[str]]]
"""Queries to page ids."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=CONTENDERS, help="run one contender and print its figures as JSON")
    parser.add_argument("--folder", type=Path, help="where --one saves to, or loads from")
    arguments = parser.parse_args()
    if arguments.one:
        import bm25s  # noqa: F401  # imported before any clock runs
        import rank_bm25  # noqa: F401

        global IMPORTS_MB
        IMPORTS_MB = _peak_mb()
        print(json.dumps(CONTENDERS[arguments.one](arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: _in_own_process(name, Path(folder)) for name in CONTENDERS}
    _print_speed(figures)
    _print_recall(figures["SearchIndex"]["recall"])


def _in_own_process(name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _corpus() -> list[Page]:
    return [page for name in ("corpus", "corpus_distractors") for page in read_corpus(DATA / f"{name}.jsonl.gz")]


def _tasks() -> list[Task]:
    return list(read_tasks(DATA / "questions.jsonl"))


class Clock:
    """Seconds of named stretches."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        self.seconds[name] = time.process_time() - started
        return result


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _searches(
    clock: Clock, search: Search, forget: Callable[[], None] = lambda: None, few: int | None = None
) -> dict[str, Any]:
    """Query speeds and recall. `forget` empties what the search remembers."""
    tasks = _tasks()
    questions = [task.question for task in tasks][:few]
    search(["warm up"])
    clock.time("single", lambda: [search([question]) for question in questions])
    forget()
    found = clock.time("batch", lambda: search(questions))
    if few is None:
        repeated = [question for question in questions for _ in range(GROUP)]
        forget()
        clock.time("group", lambda: search(repeated))
    s = clock.seconds
    return {
        **{name: s.get(name) for name in ("build", "save", "load")},
        "single_ms": 1000 * s["single"] / len(questions),
        "batch_qps": len(questions) / s["batch"],
        "group_qps": len(questions) * GROUP / s["group"] if "group" in s else None,
        "peak_mb": _peak_mb() - IMPORTS_MB,
        "recall": _recall(tasks[:few], found),
    }


def _recall(tasks: Sequence[Task], found: Sequence[Sequence[str]]) -> dict[str, tuple[int, float, float]]:
    """By data set: questions, mean recall, share with all golds found."""
    shares: dict[str, list[float]] = {}
    for task, ids in zip(tasks, found, strict=True):
        share = len(task.gold_pages & set(ids)) / len(task.gold_pages)
        shares.setdefault(task.extras["dataset"], []).append(share)
    return {
        name: (len(some), sum(some) / len(some), sum(share == 1 for share in some) / len(some))
        for name, some in shares.items()
    }


# ---------------------------------------------------------------- contenders


def ours_built(folder: Path) -> dict[str, Any]:
    clock = Clock()
    pages = _corpus()
    index = clock.time("build", lambda: SearchIndex.build(pages, progress=False))
    clock.time("save", lambda: index.save(folder / "ours"))
    return _searches(clock, *_ours(index))


def ours_loaded(folder: Path) -> dict[str, Any]:
    clock = Clock()
    index = clock.time("load", lambda: SearchIndex.load(folder / "ours"))
    return _searches(clock, *_ours(index))


def _ours(index: SearchIndex) -> tuple[Search, Callable[[], None]]:
    def forget() -> None:
        index._ranking.cache_clear()
        if isinstance(index._pages, PageFile):
            index._pages._page.cache_clear()

    return lambda queries: [[hit.id for hit in hits] for hits in index.search(queries, k=K)], forget


def bm25s_numpy(folder: Path) -> dict[str, Any]:
    return _bm25s("numpy", folder)


def bm25s_numba(folder: Path) -> dict[str, Any]:
    return _bm25s("numba", folder)


def _bm25s(backend: str, folder: Path) -> dict[str, Any]:
    import bm25s

    clock = Clock()
    pages = _corpus()

    def build() -> Any:
        engine = bm25s.BM25(backend=backend)
        tokens = bm25s.tokenize([f"{page.title} {page.text}" for page in pages], show_progress=False)
        engine.index(tokens, show_progress=False)
        return engine

    engine = clock.time("build", build)
    rows = [{"id": page.id, "title": page.title, "text": page.text} for page in pages]
    clock.time("save", lambda: engine.save(str(folder / backend), corpus=rows, show_progress=False))
    clock.time("load", lambda: bm25s.BM25.load(str(folder / backend), mmap=True, load_corpus=True, show_progress=False))

    def search(queries: Sequence[str]) -> list[list[str]]:
        tokens = bm25s.tokenize(list(queries), show_progress=False)
        rows, _ = engine.retrieve(tokens, k=K, show_progress=False)
        return [[pages[row].id for row in some] for some in rows]

    return _searches(clock, search, few=None if backend == "numba" else 300)


def rank_bm25(folder: Path) -> dict[str, Any]:
    import bm25s
    import numpy as np
    from rank_bm25 import BM25Okapi

    clock = Clock()
    pages = _corpus()

    def words(texts: list[str]) -> list[list[str]]:
        return bm25s.tokenize(texts, show_progress=False, return_ids=False)

    engine = clock.time("build", lambda: BM25Okapi(words([f"{page.title} {page.text}" for page in pages])))

    def search(queries: Sequence[str]) -> list[list[str]]:
        best = [np.argsort(-engine.get_scores(query), kind="stable")[:K] for query in words(list(queries))]
        return [[pages[row].id for row in rows] for rows in best]

    return _searches(clock, search, few=50)


CONTENDERS = {
    "SearchIndex": ours_built,
    "SearchIndex, loaded": ours_loaded,
    "bm25s, numpy": bm25s_numpy,
    "bm25s, numba": bm25s_numba,
    "rank-bm25": rank_bm25,
}


# ---------------------------------------------------------------- tables


def _print_speed(figures: dict[str, dict[str, Any]]) -> None:
    columns = ("build", "save", "load", "single_ms", "batch_qps", "group_qps", "peak_mb")
    heads = ("build s", "save s", "load s", "single ms", "batch q/s", "group q/s", "peak MB")
    print(f"{'':<20}" + "".join(f"{head:>12}" for head in heads))
    for name, row in figures.items():
        print(f"{name:<20}" + "".join(f"{_figure(row[column]):>12}" for column in columns))


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print_recall(recall: dict[str, tuple[int, float, float]]) -> None:
    print(f"\n{'recall@10':<20}{'n':>6}{'recall':>10}{'all found':>12}{'README':>18}")
    for name, (count, mean, whole) in recall.items():
        theirs = "{:.3f} / {:.3f}".format(*README[name])
        print(f"{name:<20}{count:>6}{mean:>10.3f}{whole:>12.3f}{theirs:>18}")


if __name__ == "__main__":
    main()
