"""What a file may be that is in no format that is known, and what to do with it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from workbench.formats.files import GZIP, LARGEST_DOCUMENT, PARQUET, UTF16, ZIP, Head

PACKED = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
}
"""First bytes of packed files, with what unpacks them. (gzip is unpacked here.)"""

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin")
TABLES = (".csv", ".tsv")


def advice(head: Head) -> str:
    """A sentence on what the file looks like and what to do; "" where nothing can be said."""
    start, name = head.start, shlex.quote(head.path.name)
    if not start.strip():
        return _empty(head)
    for mark, (packer, unpack) in PACKED.items():
        if start.startswith(mark):
            return f"it is packed with {packer}; unpack it first: {unpack} {name}"
    if start.startswith(ZIP):
        return f"it is a zip file, and no log of Inspect; unpack it first: unzip {name}"
    if start.startswith(PARQUET) and not head.columns:
        return "it begins as Parquet does, but its end is missing or broken: it was not written or copied to its end"
    if start.startswith(PARQUET):
        return f"its columns are {', '.join(sorted(head.columns)[:10])}"
    if _is_utf16(start[:64]):
        return f"it looks like UTF-16 text; bring it to UTF-8: iconv -f UTF-16 -t UTF-8 {name} > utf8.jsonl"
    if head.name.endswith(PICKLES) and not start.startswith((b"{", b"[")):
        return "it looks like a pickle, which may run anything it likes and is never opened here; save it as .jsonl"
    if head.name.endswith(TABLES):
        return "it is a table; name its columns as a format does and save it as .jsonl, a rollout a row"
    return _of_json(head, name)


def _is_utf16(start: bytes) -> bool:
    """True for a mark, and where every second byte is 0, as in plain letters."""
    zeros = [not any(start[n::2]) for n in (0, 1)]
    return start.startswith(UTF16) or (len(start) > 1 and zeros[0] != zeros[1])


def _empty(head: Head) -> str:
    with open(head.path, "rb") as file:
        packed = file.read(2) == GZIP
    return "it is packed with gzip, and cut off at its beginning" if packed else "it is empty"


def _of_json(head: Head, name: str) -> str:
    start = head.start.lstrip()
    if head.row:
        return _of_row(head.row, name)
    if start.startswith(b"[") and not start[1:].strip(b" \r\n\t]"):
        return "it is an empty list"
    if not start.startswith(b"{") or not start.startswith(b"{\n") and not start.startswith(b"{\r\n"):
        return f"it begins with {head.start[:24]!r}"
    if head.path.stat().st_size > LARGEST_DOCUMENT:
        return f"one JSON value of more than {LARGEST_DOCUMENT >> 20} MB; bring it to a row a line: jq -c '.[]' {name}"
    return f"JSON on many lines, and not one whole value; if it is several, bring each to a line: jq -c . {name}"


def _of_row(row: Mapping[str, object], name: str) -> str:
    inner = [key for key, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    told = f"its first row has {', '.join(sorted(row)[:10])}"
    if len(row) <= 3 and len(inner) == 1:
        return f"{told}; if the rollouts stand in {inner[0]!r}: jq -c '.{inner[0]}[]' {name} > rows.jsonl"
    if {"id", "title", "text"} <= row.keys():
        return f"{told}: a corpus, it seems; see: workbench corpus --help"
    return told
