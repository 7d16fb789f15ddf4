"""Files that are no trajectories, or not as they should be: what a person is told, and what to do next."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.formats.samples import CHAT, verl_row
from workbench.cli import main
from workbench.errors import FormatError
from workbench.formats import BadRow, Record, files, guess, read

LINE = json.dumps({"messages": CHAT}) + "\n"


def parquet(**columns: list) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.jsonl", LINE)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", b"", "nothing can be read from rows.jsonl: it is empty"),
        ("rows.jsonl", b"  \n\n", "it is empty"),
        ("rows.jsonl.gz", gzip.compress(LINE.encode(), mtime=0)[:12], "packed with gzip, and cut off at its beginning"),
        ("rows.jsonl.bz2", bz2.compress(LINE.encode()), "unpack it first: bunzip2 rows.jsonl.bz2"),
        ("my rows.zst", b"\x28\xb5\x2f\xfd" + b"x" * 50, "unpack it first: zstd -d 'my rows.zst'"),
        ("rows.zip", zipped(), "a zip file, and no log of Inspect; unpack it first: unzip rows.zip"),
        ("rows.parquet", parquet(prompt=["q"] * 99)[:-20], "its end is missing or broken"),
        ("rows.parquet", parquet(b=[1], a=[2]), "its columns are a, b"),
        ("rows.jsonl", LINE.encode("utf-16"), "iconv -f UTF-16 -t UTF-8 rows.jsonl > utf8.jsonl"),
        ("rows.jsonl", LINE.encode("utf-16-le"), "it looks like UTF-16 text"),
        ("rows.jsonl", LINE.encode("utf-16-be"), "it looks like UTF-16 text"),
        ("rows.pkl", pickle.dumps({"messages": CHAT}), "never opened here; save it as .jsonl"),
        ("rows.csv", b"question,answer\nWho?,Ed\n", "it is a table; name its columns as a format does"),
        ("rows.json", b"[ ]", "it is an empty list"),
        ("rows.json", json.dumps({"data": [{"x": 1}]}).encode(), "jq -c '.data[]' rows.json > rows.jsonl"),
        ("rows.json", (json.dumps({"a": 1}, indent=1) * 2).encode(), "bring each to a line: jq -c . rows.json"),
        ("rows.jsonl", b'{"id": 1, "title": "a", "text": "b"}', "a corpus, it seems; see: workbench corpus --help"),
        ("notes.txt", b"hello", "it begins with b'hello'"),
        ("zeros.jsonl", bytes(500), "it begins with b'\\x00"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,
)
def test_a_stranger_is_named_with_what_to_do(name: str, content: bytes, said: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError) as told:
        guess(tmp_path / name)
    assert said in str(told.value)


def test_a_json_value_that_is_too_large_says_how_to_bring_it_to_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "LARGEST_DOCUMENT", 1000)
    monkeypatch.setattr("workbench.formats.strangers.LARGEST_DOCUMENT", 1000)
    (tmp_path / "log.json").write_text(json.dumps({"eval": {}, "samples": ["x" * 2000]}, indent=2))
    with pytest.raises(FormatError, match="one JSON value of more than"):
        guess(tmp_path / "log.json")


def test_a_folder_names_files_that_could_be_meant(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(FormatError, match="run is a folder; name one of its files: it holds no files"):
        guess(tmp_path / "run")
    for n in range(7):
        (tmp_path / "run" / f"{n}.jsonl").write_text(LINE)
    with pytest.raises(FormatError, match=r"it holds 0.jsonl, 1.jsonl, 2.jsonl, 3.jsonl, 4.jsonl \.\.\."):
        guess(tmp_path / "run")


def test_utf_16_is_no_half_read_file_where_the_format_is_named(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_bytes((LINE * 3).encode("utf-16"))
    [bad] = read(tmp_path / "rows.jsonl", "openai")
    assert isinstance(bad, BadRow) and "UTF-16 text" in bad.why


def test_what_follows_an_array_is_not_passed_over_in_silence(tmp_path: Path):
    array = json.dumps([{"messages": CHAT}])
    (tmp_path / "rows.json").write_text(array + "\n" + array + "\n")
    bad, one = read(tmp_path / "rows.json")  # a bad row comes out at once
    assert isinstance(one, Record) and isinstance(bad, BadRow)
    assert bad.where == "rows.json, after the array" and "not read" in bad.why
    (tmp_path / "rows.json").write_text(array + "\n\n  ")
    assert len(list(read(tmp_path / "rows.json"))) == 1


def test_a_row_that_is_no_object_says_what_it_is(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text(LINE + '[1]\nnull\n"x"\n3\n')
    _, *bad = sorted(read(tmp_path / "rows.jsonl"), key=lambda one: isinstance(one, BadRow))
    told = [(row.where, row.why) for row in bad if isinstance(row, BadRow)]
    kinds = ("a list", "null", "a text", "a number")
    assert told == [(f"rows.jsonl, line {n}", f"an object is wanted, and this is {k}") for n, k in enumerate(kinds, 2)]


def test_a_file_of_mixed_formats_says_that_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("mixed.jsonl").write_text((json.dumps(verl_row(1.0)) + "\n" + LINE) * 3)
    assert main(["import", "mixed.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "3 rows left out:\n  mixed.jsonl, line 2: " in out
    assert "as many as were read, or more: is all of it verl? A file is read as one format" in out
