"""Every format that writes loses exactly what it declares: written, read again, all else is equal to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.formats.losing import differs, stripped, whole
from tests.formats.samples import SAMPLES
from tests.formats.strategies import any_record, chat_record, rich_record
from tests.store.trees import facts
from workbench.formats import Record, format_named, formats, read, write
from workbench.formats.losses import IMPLIED

OURS = ("jsonl", "parquet")
WRITTEN = sorted(name for name, one in formats().items() if one.write is not None)
THEIRS = [name for name in WRITTEN if name not in OURS]

ours = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
theirs = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def again(record: Record, file: Path, format: str) -> Record:
    """The record after a visit to a file."""
    write([record], file, format)
    [back] = read(file, format)
    assert isinstance(back, Record), back
    return back


@pytest.mark.parametrize("format", OURS)
def test_our_own_formats_lose_nothing(format: str, tmp_path: Path):
    assert not formats()[format].lacks

    @ours
    @given(any_record())
    def holds(record: Record) -> None:
        back = again(record, tmp_path / "file", format)
        assert whole(back, facts) == whole(record, facts)
        for one, two in zip(record.tree, back.tree, strict=True):
            assert [one.steps.index(s) for s in one.steps] == [two.steps.index(s) for s in two.steps]

    holds()


@pytest.mark.parametrize("format", OURS)
def test_shared_steps_stay_shared(format: str, tmp_path: Path):
    back = again(rich_record(), tmp_path / "file", format)
    one, two = back.tree
    assert one.steps[0] is two.steps[0]
    assert not differs(back, rich_record(), facts)


@pytest.mark.parametrize("format", THEIRS)
def test_what_is_not_declared_lost_comes_back(format: str, tmp_path: Path):
    lost = formats()[format].lacks

    @theirs
    @given(chat_record())
    def holds(record: Record) -> None:
        back = again(record, tmp_path / "file", format)
        assert whole(stripped(back, lost), facts) == whole(stripped(record, lost), facts)

    holds()


@pytest.mark.parametrize("format", THEIRS)
def test_what_is_declared_lost_is_lost(format: str, tmp_path: Path):
    lost = formats()[format].lacks
    record = rich_record()
    back = again(record, tmp_path / "file", format)
    assert not differs(stripped(back, lost), stripped(record, lost), facts)
    kept = [
        name
        for name in sorted(lost)
        if IMPLIED.get(name) not in lost
        and not differs(stripped(back, lost - {name}), stripped(record, lost - {name}), facts)
    ]
    assert not kept, f"{format} declares lost what it keeps: {kept}"


def test_a_format_that_is_only_read_says_which_can_be_written(tmp_path: Path):
    readers = [name for name, one in formats().items() if one.write is None]
    with pytest.raises(ValueError, match="only read here; written can be: jsonl, openai"):
        write([], tmp_path / "file", readers[0])
    assert format_named("openai").name == "openai"


MADE = {"task.id", "tree.id", "trajectory.id", "step.spans", "scores.steps"}
"""What reading makes where the file has none of its own: names, spans of what tags mark, scores as totals."""


def test_every_format_says_what_it_lacks():
    assert {name for name, one in formats().items() if not one.lacks} == set(OURS)


@pytest.mark.parametrize("format", [name for name in SAMPLES if formats()[name].write is None])
def test_what_a_format_cannot_carry_is_empty_after_reading(format: str, tmp_path: Path):
    (tmp_path / "file.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SAMPLES[format]))
    for record in read(tmp_path / "file.jsonl", format):
        assert isinstance(record, Record)
        lacks = formats()[format].lacks - MADE
        there = [name for name in sorted(lacks) if differs(stripped(record, {name}), stripped(record, ()), facts)]
        assert not there, f"{format} is said to lack what it brings: {there}"
