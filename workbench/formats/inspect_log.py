"""Inspect's logs: .eval (a zip of JSON parts, read sample by sample) and .json (one document).

Layout of inspect_ai 0.3.285 (log/_log.py, `EvalLog`, `EvalSample`; log/_recorders/eval.py): samples/<id>_epoch_<n>.json
with input, target, messages, output, scores; long texts of messages may stand in `attachments`. The epochs of a sample
form a tree. Every scorer is a term of weight 1: "C", "I", "P", "N" count as 1, 0, 0.5, 0, as in Inspect's
`value_to_float`; a value that is no number is missing (Inspect would count it 0).
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.formats.contract import Format, Read
from workbench.formats.files import LARGEST_DOCUMENT, Broken, Head, Row, json_rows, read_json
from workbench.formats.losses import all_but
from workbench.formats.messages import end_of, rollout_of
from workbench.formats.paying import number, paid, summed
from workbench.formats.reading import Rollout, each, rest_of, task_named, texts, together
from workbench.scores import Scores
from workbench.trajectory import End, Span, Step

SAMPLE = re.compile(r"samples/(.+)_epoch_(\d+)\.json", re.DOTALL)
GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
HELD = ("id", "epoch", "input", "target", "messages", "scores", "metadata", "attachments", "events", "output", "store")
ATTACHED = "attachment://"
ZSTD = 93  # as zip files number it
LOCAL_HEADER = 30  # bytes before the name of a member


def sniff(head: Head) -> float:
    if any(name.startswith(("samples/", "_journal/")) or name == "header.json" for name in head.members):
        return 1.0
    return 1.0 if head.has("eval", "samples") else 0.8 * head.has("eval", "plan")


def read(path: Path) -> Iterator[Read]:
    rows = _zipped(path) if zipfile.is_zipfile(path) else _document(path)
    return together(each(rows, lambda row: [_rollout(row)]))


def _zipped(path: Path) -> Iterator[Row | Broken]:
    """The samples, the epochs of one side by side."""
    with zipfile.ZipFile(path) as archive:
        found = [(match[1], int(match[2]), name) for name in archive.namelist() if (match := SAMPLE.fullmatch(name))]
        for n, (_, _, name) in enumerate(sorted(found), start=1):
            where = f"{path.name}, {name}"
            info = archive.getinfo(name)
            if info.file_size > LARGEST_DOCUMENT:
                yield Broken(where, f"larger than {LARGEST_DOCUMENT >> 20} MB")
                continue
            try:
                yield read_json(_unpacked(archive, path, info), where, n)
            except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, struct.error) as error:
                yield Broken(where, f"not whole: {error}")


def _unpacked(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo) -> bytes:
    """The member's bytes. Inspect packs with zstd, which Python's zipfile learns with 3.14; Arrow has it."""
    if info.compress_type != ZSTD:
        return archive.read(info)
    import pyarrow as pa

    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER)
        name_size, extra_size = struct.unpack("<HH", header[26:LOCAL_HEADER])
        file.seek(name_size + extra_size, 1)
        packed = file.read(info.compress_size)
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        return stream.read()


def _document(path: Path) -> Iterator[Row | Broken]:
    for row in json_rows(path):
        if isinstance(row, Broken):
            yield row
            continue
        samples = row.value.get("samples") if isinstance(row.value, Mapping) else None
        if not isinstance(samples, list):
            yield Broken(row.where, "it holds no samples")
            continue
        for n, sample in enumerate(samples, start=1):
            yield Row(n, f"{path.name}, sample {n}", sample, row.size)


def _rollout(row: Row) -> Rollout:
    sample = row.value
    name = f"{sample['id']}.{sample['epoch']}"
    given = sample["input"]
    messages = _attached(sample["messages"], sample.get("attachments") or {})
    task = task_named(given if isinstance(given, str) else "", sample["id"], golds=texts(sample.get("target")))
    task = replace(task, extras=sample.get("metadata") or {})
    trajectory, chat = rollout_of(messages, name, task)
    if not isinstance(given, str):
        task = replace(task, question=chat.question)
    steps, end, reason = _ended(sample, trajectory.steps)
    scores = sample.get("scores") or {}
    told = {key: rest_of(score, "value", "explanation", "history") for key, score in scores.items()}
    extras = {**trajectory.extras, **rest_of(sample, *HELD), **({"scores": told} if any(told.values()) else {})}
    made = replace(trajectory, task=task, steps=steps, end=end, end_reason=reason, extras=extras)
    terms = {key: (1.0, score) for given_name, given in scores.items() for key, score in _terms(given_name, given)}
    return Rollout(str(sample["id"]), made, summed(terms) if terms else None, size=row.size)


def _attached(value: Any, attachments: Mapping[str, str]) -> Any:
    """The value with the texts that were put aside."""
    if isinstance(value, str) and value.startswith(ATTACHED):
        return attachments.get(value[len(ATTACHED) :], value)
    if isinstance(value, list):
        return [_attached(item, attachments) for item in value]
    return {key: _attached(item, attachments) for key, item in value.items()} if isinstance(value, dict) else value


def _ended(sample: Mapping[str, Any], steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], End, str]:
    """How it ended; what was handed in with submit() is the answer."""
    if error := sample.get("error"):
        return steps, End.FAILED, str(error.get("message", error) if isinstance(error, Mapping) else error)
    last = steps[-1]
    handed = next((call.arguments.get("answer") for call in last.calls if call.tool == "submit"), None)
    if handed is not None:
        last = replace(last, spans=(*last.spans, Span("answer", str(handed))))
        return (*steps[:-1], last), End.ANSWERED, ""
    if limit := sample.get("limit"):
        return steps, End.TRUNCATED, f"limit: {limit.get('type') if isinstance(limit, Mapping) else limit}"
    choices = (sample.get("output") or {}).get("choices") or [{}]
    if choices[0].get("stop_reason") in ("max_tokens", "model_length"):
        return steps, End.TRUNCATED, str(choices[0]["stop_reason"])
    return steps, *end_of(steps)


def _terms(name: str, score: Mapping[str, Any]) -> Iterator[tuple[str, Scores]]:
    """One term a scorer, or one a key where its value is an object."""
    value, why = score.get("value"), str(score.get("explanation") or "")
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{name}.{key}", _graded(item, why)
    else:
        yield name, _graded(value, why)


def _graded(value: Any, why: str) -> Scores:
    grade = GRADES.get(value, GRADES.get(value.lower())) if isinstance(value, str) else None
    amount = number(value) if grade is None else grade
    return paid(amount if amount == amount else None, why or f"graded {json.dumps(value, default=str)}")


FORMAT = Format(
    "inspect",
    "Inspect's logs, .eval and .json",
    (".eval", ".json"),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result call.error task.id task.question task.golds task.extras trajectory.end "
        "trajectory.extras scores scores.parts scores.names scores.why step.policy"
    ),
)
