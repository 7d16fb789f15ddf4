"""Files as they come: cut off, broken, huge, of another kind. What can be read is read, the rest is reported."""

from __future__ import annotations

import contextlib
import gzip
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.builders import a_task, a_trajectory
from tests.formats.samples import CHAT, SAMPLES, verl_row
from workbench.errors import FormatError, UnknownName, WorkbenchError
from workbench.formats import BadRow, Record, files, formats, guess, read
from workbench.formats.passages import hits_in, page_id
from workbench.formats.reading import Rollout, gathered, together
from workbench.retrieval.pages import content_id
from workbench.store.rows import tree_rows

LINE = json.dumps({"messages": CHAT})


def outcome(file: Path, format: str) -> tuple[int, list[BadRow]]:
    """How many trajectories came of a file, and its bad rows."""
    made = list(read(file, format))
    return sum(len(one.tree) for one in made if isinstance(one, Record)), [b for b in made if isinstance(b, BadRow)]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (LINE + "\r\n" + LINE + "\r\n", 2, []),
        ("\ufeff" + LINE + "\n", 1, []),
        ("\n\n" + LINE + "\n\n", 1, []),
        (LINE + "\n" + LINE[:-20], 1, ["file, line 2"]),
        ("{not json}\n" + LINE + "\n[1]\n7\n", 1, ["file, line 1", "file, line 3", "file, line 4"]),
        (
            LINE + "\n" + '{"messages": "hello"}\n{"messages": [{}]}\n{"messages": []}\n',
            1,
            ["line 2", "line 3", "line 4"],
        ),
        ("[" + LINE + "," + LINE + "]", 2, []),
        ("[" + LINE + "," + LINE[:-20], 1, ["file, item 2"]),
        ("[" * 100_000, 0, ["file, item 1"]),
        ('{"messages": ' + "[" * 100_000 + "\n" + LINE, 1, ["file, line 1"]),
        ('{"messages": [{"role": "assistant", "content": "\\ud800"}]}\n', 1, []),
    ],
)
def test_lines_and_arrays_of_every_kind(text: str, good: int, bad: list[str], tmp_path: Path):
    (tmp_path / "file").write_text(text, newline="")
    count, left_out = outcome(tmp_path / "file", "openai")
    assert count == good
    assert len(left_out) == len(bad) and all(where in row.where for row, where in zip(left_out, bad, strict=True))
    assert all(row.why for row in left_out)


def test_bytes_that_are_no_utf8_are_a_bad_row(tmp_path: Path):
    (tmp_path / "file").write_bytes(LINE.encode() + b'\n{"messages": "\xff"}\n' + LINE.encode())
    count, [bad] = outcome(tmp_path / "file", "openai")
    assert count == 2 and "line 2" in bad.where


def test_a_row_that_is_too_long_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "LONGEST_ROW", 2000)
    (tmp_path / "file").write_text(LINE + "\n" + json.dumps({"messages": "x" * 9000}) + "\n" + LINE + "\n")
    count, [bad] = outcome(tmp_path / "file", "openai")
    assert count == 2 and "line 2" in bad.where and "longer than" in bad.why


def test_a_gzip_file_that_is_cut_off_gives_what_it_holds(tmp_path: Path):
    packed = gzip.compress("".join(f"{json.dumps(verl_row(n, n))}\n" for n in range(2000)).encode())
    (tmp_path / "file.jsonl").write_bytes(packed[: len(packed) // 2])
    count, bad = outcome(tmp_path / "file.jsonl", "verl")
    assert 500 < count < 2000 and "not a whole gzip file" in bad[-1].why


def test_a_parquet_file_that_is_cut_off_is_a_bad_row(tmp_path: Path):
    pq.write_table(pa.table({"record": ["x"] * 9, "tree": ["t"] * 9, "trajectory": ["u"] * 9}), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-40])
    assert guess(tmp_path / "whole").format.name == "parquet"
    with pytest.raises(FormatError, match="in no format"):
        guess(tmp_path / "cut")
    assert "not Parquet, or cut off" in outcome(tmp_path / "cut", "parquet")[1][0].why


def test_an_eval_file_with_broken_samples_gives_the_others(tmp_path: Path):
    sample = SAMPLES["inspect"][0]["samples"][0]
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/a_epoch_1.json", json.dumps(sample))
        archive.writestr("samples/b_epoch_1.json", json.dumps(sample)[:100])
        archive.writestr("samples/c_epoch_1.json", json.dumps({"id": 1}))
    assert guess(tmp_path / "log.eval").format.name == "inspect"
    count, bad = outcome(tmp_path / "log.eval", "inspect")
    assert count == 1 and [row.where for row in bad] == [f"log.eval, samples/{name}_epoch_1.json" for name in "bc"]


@pytest.mark.parametrize(
    "content", [b"", b"   \n", b"\x00\x01\x02" * 999, b"hello", b"PK\x03\x04broken", b"\x1f\x8bno"]
)
def test_what_is_no_trajectory_file_says_so(content: bytes, tmp_path: Path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(
        FormatError, match=r"(?s)nothing can be read|in no format that is known: .* formats \(--format\): agent"
    ):
        guess(tmp_path / "file")


def test_no_file_and_no_format_say_what_there_is(tmp_path: Path):
    with pytest.raises(FormatError, match=r"no file .*absent\.jsonl"):
        guess(tmp_path / "absent.jsonl")
    with pytest.raises(FormatError, match="is a folder; name one of its files"):
        guess(tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'verifiers'"):
        read(tmp_path, "verfiers")


@settings(max_examples=40, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"{", b"[", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes):
    file = tmp_path_factory.mktemp("fuzz") / "file"
    file.write_bytes(start + data)
    for name in formats():
        assert all(isinstance(one, Record | BadRow) for one in read(file, name))


# ---------------------------------------------------------------- rows of another shape

SWAPS = (None, 7, -1.5, True, "x", "", [], {}, [[]], [None], {"x": None}, 2**70)


def changed(value: Any) -> Iterator[Any]:
    """Every value that differs from this one in one place."""
    yield from SWAPS
    if isinstance(value, dict):
        for key, item in value.items():
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in changed(item))
    elif isinstance(value, list):
        yield value[1:]
        for n, item in enumerate(value[:3]):
            yield from ([*value[:n], other, *value[n + 1 :]] for other in changed(item))


@pytest.mark.parametrize("format", SAMPLES)
def test_a_row_that_is_wrong_anywhere_is_left_out_or_storable(format: str, tmp_path: Path):
    for row in SAMPLES[format]:
        lines = [json.dumps(other) for other in changed(row)][:: 1 if len(str(row)) < 1500 else 3]
        (tmp_path / "file.jsonl").write_text("\n".join(lines))
        for made in read(tmp_path / "file.jsonl", format):
            if isinstance(made, Record):
                with contextlib.suppress(WorkbenchError):  # the import reports these
                    tree_rows([made.tree], run="r", update=made.update)
                assert not made.scores or len(made.scores) == len(made.tree)
            else:
                assert isinstance(made, BadRow) and made.why


# ---------------------------------------------------------------- bringing together


def rollout(key: str, name: str, size: int = 1) -> Rollout:
    return Rollout(key, a_trajectory(answer="x", id=name, task=a_task(key)), size=size)


def test_rollouts_of_a_key_are_one_tree_within_the_window():
    def trees(keys: str, window: int) -> list[list[str]]:
        given = [rollout(key, f"{key}{n}") for n, key in enumerate(keys)]
        return [[one.id for one in made.tree] for made in together(given, window) if isinstance(made, Record)]

    assert trees("abab", 9) == [["a0", "a2"], ["b1", "b3"]]
    # a window of two characters: when b comes third, the oldest (a) is given out, and its last rollout is late
    assert trees("aabba", 2) == [["a0", "a1"], ["b2", "b3"], ["a4"]]


def test_memory_is_bounded_by_the_window():
    held = peak = 0

    def items() -> Iterator[int]:
        nonlocal held, peak
        for n in range(1000):
            held += 1
            peak = max(peak, held)
            yield n

    for group in gathered(items(), str, lambda _: 1, window=10):
        held -= len(group)
    assert peak <= 12


def test_a_trajectory_that_comes_twice_is_left_out_once():
    one, two = together([rollout("a", "t"), rollout("a", "t")])
    assert isinstance(one, BadRow) and "twice" in one.why and isinstance(two, Record) and len(two.tree) == 1


# ---------------------------------------------------------------- pages in texts


def test_pages_are_found_as_each_project_shows_them():
    for text in (
        'Doc 1(Title: "Ed Wood (film)") A film.\nDoc 2(Title: Lyon) A city.\n',
        'Doc 1 (Title: "Ed Wood (film)")\nA film.\n\nDoc 2 (Title: "Lyon")\nA city.',
        "(1)Title: Ed Wood (film) Text: A film.\n(2)Title: Lyon Text: A city.",
        "(1)Ed Wood (film)   A film.\n(2)Lyon   A city.",
    ):
        hits = hits_in(text, "films")
        assert [(hit.title, hit.text, hit.rank, hit.query) for hit in hits] == [
            ("Ed Wood (film)", "A film.", 0, "films"),
            ("Lyon", "A city.", 1, "films"),
        ]
    assert hits_in("no pages here") == () == hits_in("{broken")


def test_a_page_without_an_id_gets_the_one_our_own_index_gives():
    assert page_id("Lyon", "A city.") == content_id("Lyon", "A city.")
    [hit] = hits_in('{"result": [[{"document": {"id": 7, "contents": "\\"Lyon\\"\\nA city."}, "score": 0.5}]]}')
    assert (hit.id, hit.title, hit.text, hit.score) == ("7", "Lyon", "A city.", 0.5)
