"""The log of big_lab.py in a lab, as plain Parquet and as JSONL, each timed: what bench_size.py asks."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.big_lab import CODE, LABEL, SETTINGS, VERSIONS, Size, Update, edit_some, record, shown, updates
from workbench.scores import Scores, Status
from workbench.store import open_store
from workbench.store.rows import arrow, now, time_id, tree_rows
from workbench.store.schema import TABLE
from workbench.store.scoring import score_rows
from workbench.trajectory import Step

LAB, PLAIN, JSONL, MADE = "lab", "plain", "log.jsonl", "made.json"
EDITS = 5_000
ROW_GROUP = 122_880  # as DuckDB writes them; steps have smaller ones


class Plain:
    """The store's rows in Parquet files laid out by hand: one file a table, in order, row groups filled up."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._waiting: dict[str, list[pa.Table]] = {}
        self._files: dict[str, pq.ParquetWriter] = {}

    def write(self, tables: dict[str, pa.Table]) -> None:
        for name, table in tables.items():
            waiting = self._waiting.setdefault(name, [])
            waiting.append(table)
            if sum(len(one) for one in waiting) >= self._row_group(name):
                self._put(name)

    def close(self) -> None:
        for name in list(self._waiting):
            self._put(name)
            self._files[name].close()

    def _put(self, name: str) -> None:
        table = pa.concat_tables(self._waiting.pop(name, [TABLE[name].arrow.empty_table()]))
        self._waiting[name] = []
        if name not in self._files:
            self._files[name] = pq.ParquetWriter(self._folder / f"{name}.parquet", table.schema, compression="zstd")
        self._files[name].write_table(table, self._row_group(name))

    def _row_group(self, name: str) -> int:
        return TABLE[name].row_group or ROW_GROUP


def made(folder: Path, size: Size) -> dict[str, Any]:
    """Figures of the files in `folder`, which are made where they are not there yet."""
    if not (folder / MADE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MADE).write_text(json.dumps(_make(folder, size)))
    return json.loads((folder / MADE).read_text())


def _make(folder: Path, size: Size) -> dict[str, Any]:
    spent: dict[str, list[float]] = {}
    store, plain, steps, trajectories = open_store(folder / LAB), Plain(folder / PLAIN), 0, 0
    for run in range(size.runs):
        store.start_run({"kind": "train"}, name=f"r{run + 1}")
    with open(folder / JSONL, "w") as file:
        for update in shown(updates(size), size):
            with timed(spent, "lab"):
                record(store, update)
            with timed(spent, "rows"):
                rows = list(update_rows(update))
            with timed(spent, "plain"):
                for tables in rows:
                    plain.write(tables)
            with timed(spent, "jsonl"):
                file.writelines(lines(update))
            trajectories += sum(len(tree) for tree in update.trees)
            steps += sum(len(trajectory.steps) for tree in update.trees for trajectory in tree)
    with timed(spent, "plain"):
        plain.close()
    with timed(spent, "tidy"):
        store.tidy()
    store.close()
    disk = {name: megabytes(folder / name) for name in (LAB, PLAIN, JSONL)}
    return {"steps": steps, "trajectories": trajectories, "spent": spent, "megabytes": disk}


def update_rows(update: Update) -> Iterator[dict[str, pa.Table]]:
    """The store's rows of one update, as Arrow tables by name."""
    yield tree_rows(update.trees, run=update.run, update=update.number).tables
    for settings, scores in zip(SETTINGS, update.scores, strict=True):
        told = {"run": update.run, "update": update.number, "settings": settings, "code": CODE}
        yield score_rows(update.trees, scores, **told).tables
    said = [
        (time_id(), who, update.run, tree, trajectory, step, LABEL, value, "", now())
        for tree, trajectory, step, value, who in update.labels
    ]
    yield {"labels": arrow("labels", said)}


def edited(folder: Path, target: Path) -> int:
    """A copy of the lab with 5,000 edits in it. Its data files are linked, not copied: nothing changes them."""
    copied(folder / LAB, target)
    with open_store(target) as store:
        return edit_some(store, EDITS)


def copied(lab: Path, target: Path) -> None:
    for file in lab.rglob("*"):
        place = target / file.relative_to(lab)
        if file.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif file.suffix == ".parquet":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(file)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())


@contextlib.contextmanager
def timed(spent: dict[str, list[float]], name: str) -> Iterator[None]:
    """Add wall-clock and CPU seconds (of all threads) of the block to `spent`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    known = spent.setdefault(name, [0.0, 0.0])
    known[0] += time.perf_counter() - wall
    known[1] += time.process_time() - cpu


def megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


# ---------------------------------------------------------------- as others keep it


def lines(update: Update) -> Iterator[str]:
    """The update as people's own JSONL: one trajectory a line, with everything that the store keeps of it."""
    said_of: dict[str, list[dict]] = {}
    for _, trajectory, step, value, who in update.labels:
        said_of.setdefault(trajectory, []).append({"step": step, "name": LABEL, "value": value, "who": who})
    for tree, first, again in zip(update.trees, *update.scores, strict=True):
        for trajectory, *scores in zip(tree, first, again, strict=True):
            told = {
                "run": update.run,
                "update": update.number,
                "task": tree.task.id,
                "question": tree.task.question,
                "hops": tree.task.hops,
                "golds": tree.task.golds,
                "gold_pages": sorted(tree.task.gold_pages),
                "tree": tree.id,
                "trajectory": trajectory.id,
                "ended": str(trajectory.end),
                "answer": trajectory.answer,
                "steps": [_step_line(step) for step in trajectory.steps],
                "scores": [row for pair in zip(VERSIONS, scores, strict=True) for row in _score_lines(*pair)],
                "labels": said_of.get(trajectory.id, []),
            }
            yield json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n"


def _step_line(step: Step) -> dict[str, Any]:
    hits = [{"id": hit.id, "title": hit.title, "text": hit.text, "score": hit.score} for hit in step.hits]
    told: dict[str, Any] = {"text": step.text, "observation": step.observation}
    told |= {"query": step.queries[0] if step.queries else None, "hits": hits}
    if step.tokens is not None:
        own = step.own_tokens
        logprobs = [round(value, 6) for value in step.tokens.logprobs_T[:own].tolist()]
        told |= {"ids": step.tokens.ids_T.tolist(), "own": own, "logprobs": logprobs}
    return told


def _score_lines(version: str, scores: Scores) -> Iterator[dict[str, Any]]:
    for part in scores.parts:
        values = zip(part.scores.values_S.tolist(), part.scores.status_S.tolist(), part.scores.why_S, strict=True)
        for s, (value, status, why) in enumerate(values):
            if status != Status.NOT_APPLICABLE:
                yield {
                    "version": version,
                    "part": part.name,
                    "step": None if part.scores.level.single else s,
                    "value": None if status == Status.MISSING else value,
                    "weight": part.weight,
                    "why": why,
                }
