"""What recording costs a training, and what reading back costs, beside plain Parquet files: `make bench`.

Updates of 96 trajectories x 4 steps x 60 sampled ids (searches with three pages of 60 words), three parts and a total.
Plain Parquet writes the very same rows with pyarrow (zstd), one file a table and update, without any catalog, lock or
transaction; its reading is DuckDB over these files. Times are medians; cpu is what the calling thread itself spends.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq

from workbench.scores import Part, Scores, Status
from workbench.store import open_store
from workbench.store.rows import tree_rows
from workbench.store.scoring import score_rows
from workbench.trajectory import Call, Context, End, Hit, Span, Step, SubQuestion, Task, Tokens, Trajectory, Tree

TEXT = """the of and to in is a for on with by as from at that it was are this have which their river city founded
capital population north born country language film year member world first second university war"""
WORDS = np.array(TEXT.split())
GROUPS, MEMBERS, STEPS, IDS, SHOWN_IDS = 12, 8, 4, 60, 80
MEAN_BY_PART = "select update, part, avg(value) from {} where term group by all"


def made_tree(n: int, rng: np.random.Generator) -> Tree:
    """A tree as a search agent draws it."""
    task = Task(
        f"q{n}", said(rng, 10), (said(rng, 2),), frozenset({f"p{n}", f"p{n + 1}"}), (SubQuestion(said(rng, 6)),) * 2
    )
    prompt = Context(said(rng, 80), Tokens.foreign(rng.integers(0, 1000, 100)))
    members = []
    for g in range(MEMBERS):
        steps = [made_step(f"{n}.{g}.{s}", n, s, prompt, rng) for s in range(STEPS)]
        members.append(Trajectory(f"{n}.{g}", task, tuple(steps), End.ANSWERED))
    return Tree(f"tree-{n}", task, tuple(members))


def made_step(id: str, n: int, s: int, prompt: Context, rng: np.random.Generator) -> Step:
    own = Tokens.sampled(rng.integers(0, 1000, IDS), np.log(rng.random(IDS)))
    context = prompt if s == 0 else None
    if s == STEPS - 1:
        spans = (Span("think", said(rng, 20), 0, 20), Span("answer", said(rng, 2)))
        return Step(id, said(rng, 45), spans=spans, tokens=own, context=context, policy="tiny@3")
    query = said(rng, 5)
    pages = rng.integers(n, n + 5, 3)
    hits = tuple(Hit(f"p{p}", said(rng, 3), said(rng, 60), float(rng.random()), k, query) for k, p in enumerate(pages))
    shown = Tokens.foreign(rng.integers(0, 1000, SHOWN_IDS))
    calls = (Call("search", {"query": query}, hits, seconds=0.001),)
    spans = (Span("think", said(rng, 20), 0, 20), Span("query", query))
    text, observation = said(rng, 45), " ".join(hit.text for hit in hits)
    return Step(id, text, calls, spans, observation, Tokens.join([own, shown]), context, policy="tiny@3")


def said(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


def made_scores(rng: np.random.Generator) -> Scores:
    """A sum of three parts."""
    searched_S = np.arange(STEPS) < STEPS - 1
    exact = Scores.trajectory(float(rng.random() < 0.5), "answer 'Paris' is none of the golds")
    gain = Scores.steps(np.where(searched_S, rng.random(STEPS), np.nan), ["new gold pages: none"] * STEPS)
    again = Scores.steps(np.where(searched_S, rng.random(STEPS), np.nan))
    parts = (Part("ExactMatch", 1.0, exact), Part("CoverageGain", 0.5, gain), Part("RepeatedDocuments", -0.2, again))
    return Scores(np.zeros(STEPS), np.full(STEPS, Status.SCORED), parts=parts)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and thread CPU milliseconds."""
    wall, cpu = time.perf_counter(), time.thread_time()
    work()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.thread_time() - cpu)


def row(name: str, times: list[tuple[float, float]]) -> None:
    walls, cpus = zip(*times, strict=True)
    print(f"{name:52}{statistics.median(walls):>9.1f} ms{statistics.median(cpus):>9.1f} ms cpu")


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=2016)
    updates = -(-parser.parse_args().trajectories // (GROUPS * MEMBERS))
    rng = np.random.default_rng(0)
    trees = [[made_tree(GROUPS * u + g, rng) for g in range(GROUPS)] for u in range(updates)]
    scores = [[[made_scores(rng) for _ in tree] for tree in batch] for batch in trees]
    print(f"{updates} updates, {updates * GROUPS * MEMBERS} trajectories, {updates * GROUPS * MEMBERS * STEPS} steps\n")
    with tempfile.TemporaryDirectory() as folder:
        lab, plain = Path(folder) / "lab", Path(folder) / "plain"
        compare_writing(lab, plain, trees, scores)
        compare_reading(lab, plain, trees)


def compare_writing(lab: Path, plain: Path, trees: list[list[Tree]], scores: list[list[list[Scores]]]) -> None:
    recorded, committed, written = [], [], []
    with open_store(lab) as store:
        run = store.start_run({})
        for u, (batch, paid) in enumerate(zip(trees, scores, strict=True)):

            def record(batch: list[Tree] = batch, paid: list[list[Scores]] = paid, u: int = u) -> None:
                store.record_trees(batch, run=run, update=u)
                store.record_scores(batch, paid, run=run, update=u)

            recorded.append(timed(record))
            committed.append(timed(store.flush))
            written.append(timed(lambda batch=batch, paid=paid, u=u: write_plain(plain, batch, paid, u)))
    print("an update of 96 trajectories")
    row("  record_trees + record_scores (what a training waits)", recorded)
    row("  commit, in the writer's thread", committed)
    row("  plain Parquet: rows made and written", written)
    print(f"  on disk: lab {megabytes(lab):.1f} MB, plain Parquet {megabytes(plain):.1f} MB\n")


def write_plain(folder: Path, trees: list[Tree], scores: list[list[Scores]], update: int) -> None:
    rows = tree_rows(trees, run="r1", update=update).tables
    rows |= score_rows(trees, scores, run="r1", update=update, settings="{}", code="").tables
    for name, table in rows.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name / f"{update}.parquet", compression="zstd")


def compare_reading(lab: Path, plain: Path, trees: list[list[Tree]]) -> None:
    with open_store(lab) as store:
        back = store.trees("r1")
        one = trees[-1][-1].id
        questions: dict[str, Callable[[], object]] = {
            "all trees, as objects": lambda: store.trees("r1"),
            "all scores, as objects": lambda: store.scores("r1", back),
            "one tree": lambda: store.tree(one),
            "trees of one update": lambda: store.trees("r1", update=1),
            "mean_return_by_update": lambda: store.mean_return_by_update("r1"),
            "searches_by_update": lambda: store.searches_by_update("r1"),
            "sql: mean by update and part of scores_log": lambda: store.sql(MEAN_BY_PART.format("scores_log")),
            "sql: text contains": lambda: store.sql("select count(*) from steps where text like '%river city%'"),
        }
        print("reading")
        for name, question in questions.items():
            row(f"  {name}", [timed(question) for _ in range(5)])
        store.tidy()
        print("  after store.tidy()")
        for name in ("one tree", "mean_return_by_update"):
            row(f"  {name}", [timed(questions[name]) for _ in range(5)])
    connection = duckdb.connect()
    asked = MEAN_BY_PART.format(f"'{plain}/scores_log/*.parquet'")
    row("  plain Parquet: mean by update and part", [timed(lambda: connection.execute(asked).df()) for _ in range(5)])


if __name__ == "__main__":
    main()
