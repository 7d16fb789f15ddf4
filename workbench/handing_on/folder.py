"""The folder of a training set: rows in two files, split by task, and the card that says what they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import SettingError
from workbench.formats.files import Lines
from workbench.handing_on.choosing import Paid
from workbench.plain import unescape
from workbench.store.asking import Asking

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class TrainingSet:
    """A training set that was written: ``datasets.load_dataset(str(made.folder))`` reads it."""

    folder: Path
    rows: Mapping[str, int]  # by split
    left_out: Mapping[str, int]  # by reason

    def __repr__(self) -> str:
        rows = ", ".join(f"{count:,} {split}" for split, count in self.rows.items())
        left = "".join(f"\n  left out: {count:,} {why}" for why, count in self.left_out.items())
        return f"{self.folder}: {rows} rows{left}"


@dataclass
class Card:
    """What the README says, gathered while the rows are made."""

    title: str
    layout: str  # the columns, in sentences
    training: str  # what a trainer must be told
    selection: dict[str, Any]  # the arguments that chose
    tags: tuple[str, ...]
    features: dict[str, str] = field(default_factory=dict)  # kind of each column
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)  # rows to which something applies


def split_of(task: str, test: float) -> str:
    """train or test: by the task's id alone, so that a task stays where it is when a lab grows."""
    digest = hashlib.blake2b(task.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return TEST if int.from_bytes(digest, "big") < test * 2**64 else TRAIN


def write_folder(
    folder: str | Path, rows: Iterable[dict[str, Any]], card: Card, store: Asking, used: Sequence[Paid], test: float
) -> TrainingSet:
    """Write the rows (each names its `task`) and the card; the folder appears when it is whole.

    Args:
        used: trajectories that the rows are chosen from.
        test: share of the tasks that go into test.jsonl, from 0 to below 1.

    Raises:
        SettingError: the folder is there already, `test` is outside its range, or nothing was left.
    """
    folder = Path(folder)
    if not 0.0 <= test < 1.0:
        raise SettingError(f"test is the share of tasks in the test split, from 0 to below 1, got {test}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingError(f"{folder} is there already; a training set is written to a new folder")
    partly = folder.with_name(f".partly-{folder.name}")
    shutil.rmtree(partly, ignore_errors=True)
    partly.mkdir(parents=True)
    try:
        counts = _write_rows(partly, rows, card, test)
        if not counts:
            left = "; ".join(f"{count} {why}" for why, count in card.left_out.items() if count) or "no trajectories"
            raise SettingError(f"nothing is left to train on: {left}")
        (partly / "README.md").write_text("\n".join(_readme(card, counts, store, used, test)) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        partly.replace(folder)
    finally:
        shutil.rmtree(partly, ignore_errors=True)
    return TrainingSet(folder, dict(counts), {why: count for why, count in card.left_out.items() if count})


def _write_rows(folder: Path, rows: Iterable[dict[str, Any]], card: Card, test: float) -> dict[str, int]:
    """Rows by split; a split without any has no file."""
    counts = {TRAIN: 0, TEST: 0}
    paths = {split: folder / f"{split}.jsonl" for split in counts}
    with Lines(paths[TRAIN]) as train, Lines(paths[TEST]) as held:
        for row in rows:
            split = split_of(row["task"], test)
            whole = _whole_characters(row)
            if whole != row:
                card.notes["rows where half a character, which UTF-8 cannot hold, was replaced by U+FFFD"] += 1
            card.features |= {name: _kind(value, card.features.get(name, "")) for name, value in whole.items()}
            (held if split == TEST else train).write(whole)
            counts[split] += 1
    for split, count in counts.items():
        if not count:
            paths[split].unlink()
    return {split: count for split, count in counts.items() if count}


FEATURES = {
    "messages": ["list:", "- name: role", "  dtype: string", "- name: content", "  dtype: string"],
    "calls": ["list: json"],
    "texts": ["list: string"],
    "truths": ["list: bool"],
    "ids": ["list: int32"],
    "text": ["dtype: string"],
    "number": ["dtype: float64"],
}
"""Columns in the words of `datasets`: told in the card, so that no split is read by what its own first rows hold."""


def _kind(value: Any, before: str) -> str:
    """Kind of a column with this value in it, which earlier rows have shown to be `before`."""
    if not isinstance(value, list):
        return "text" if isinstance(value, str) else "number"
    if isinstance(value[0], dict):
        plain = before != "calls" and all(message.keys() == {"role", "content"} for message in value)
        return "messages" if plain else "calls"
    return {str: "texts", bool: "truths"}.get(type(value[0]), "ids")


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value] if value and not isinstance(value[0], int | float) else value
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value


# ---------------------------------------------------------------- the card


def _readme(card: Card, counts: Mapping[str, int], store: Asking, used: Sequence[Paid], test: float) -> Iterator[str]:
    yield from ("---", "configs:", "- config_name: default", "  data_files:")
    for split in counts:
        yield from (f"  - split: {split}", f"    path: {split}.jsonl")
    yield from ("dataset_info:", "  features:")
    for name, kind in card.features.items():
        yield from (f"  - name: {name}", *(f"    {line}" for line in FEATURES[kind]))
    yield from ("tags:", *(f"- {tag}" for tag in card.tags), "---", "", f"# {card.title}", "", card.layout, "")
    yield from ("```python", "from datasets import load_dataset", "", 'rows = load_dataset("FOLDER")', "```", "")
    if "calls" in card.features.values():
        yield from ("Calls have arguments of any kind, so that reading it takes `datasets` 4.7 or newer.", "")
    yield from ("## Training", "", card.training, "", "## What it was made of", "")
    for run, count in Counter(paid.run for paid in used).items():
        yield f"- run {_shown(run)}: {count:,} trajectories"
    yield from _versions(store, used)
    yield from (f"- {name}: {_shown(value)}" for name, value in card.selection.items())
    yield f"- test split: {test:g} of the tasks, by a hash of their ids: a task is never in both"
    yield from (f"- {split}: {count:,} rows" for split, count in counts.items())
    yield from ("", "## What was left out", "")
    yield from [f"- {count:,} {why}" for why, count in card.left_out.items() if count] or ["Nothing."]
    if card.notes:
        yield from ("", "## To know", "", *(f"- {count:,} {what}" for what, count in card.notes.items()))


def _versions(store: Asking, used: Sequence[Paid]) -> Iterator[str]:
    """The reward versions in force, with their settings."""
    held = store.versions()
    settings = dict(zip(held.version, held.settings, strict=True))
    for version, count in Counter(paid.reward for paid in used if paid.reward).items():
        told = settings.get(version)
        yield f"- reward version {version} ({count:,} trajectories): `{unescape(told) if told else '{}'}`"
    yield "- edits that people laid over scores count"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True) if isinstance(value, str | bool) else str(value)
