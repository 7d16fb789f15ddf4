"""A page, and pages in a file of which only those asked for are read."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from workbench.errors import FormatError
from workbench.trajectory import Hit

KEPT_PAGES = 4096
"""Pages of a PageFile that stay decoded; the hits of many rollouts then share one text."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a corpus. `id` is unique in it, the title need not be."""

    id: str
    title: str
    text: str


class Searcher(Protocol):
    """Whatever answers queries: a `SearchIndex`, or a `RemoteIndex`."""

    def search(self, queries: Sequence[str], k: int = 3, exclude: Collection[str] = ()) -> list[list[Hit]]:
        """At most `k` hits a query, best first, without the pages whose ids are in `exclude`."""
        ...


def content_id(title: str, text: str) -> str:
    """An id from what a page says: title, then eight hex digits of its text. The same paragraph, the same id."""
    return f"{title}#{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def to_contents(title: str, text: str) -> str:
    """A page as one string, as Search-R1 and FlashRAG keep it: the title in quotes, a line break, the text."""
    return f'"{" ".join(title.split())}"\n{text}'


def from_contents(contents: str) -> tuple[str, str]:
    """Title (one pair of quotes around it taken off) and text of such a string.

    >>> from_contents('"Ed Wood (film)"\\nEd Wood is a film.')
    ('Ed Wood (film)', 'Ed Wood is a film.')
    """
    title, _, text = contents.partition("\n")
    if len(title) > 1 and title[0] == title[-1] == '"':
        title = title[1:-1]
    return title, text


def write_pages(pages: Iterable[Page], folder: Path) -> None:
    """Write pages.jsonl and offsets.npy (int64 [pages + 1], the byte where each line starts) into `folder`."""
    offsets = [0]
    with open(folder / "pages.jsonl", "wb") as file:
        for page in pages:
            row = {"id": page.id, "title": page.title, "text": page.text}
            line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            file.write(line)
            offsets.append(offsets[-1] + len(line))
    np.save(folder / "offsets.npy", np.array(offsets, dtype=np.int64))


class PageFile:
    """Pages that `write_pages` wrote, by row, memory-mapped: a page is decoded when it is asked for.

    Raises:
        FormatError: the two files do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        self._offsets = np.asarray(np.load(folder / "offsets.npy", mmap_mode="r"))  # a plain view of the map
        with open(folder / "pages.jsonl", "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._bytes) != self._offsets[-1]:
            raise FormatError(
                f"{folder}/pages.jsonl has {len(self._bytes)} bytes and offsets.npy ends at {self._offsets[-1]}: the "
                "two do not belong together. Build and save the index again"
            )
        self._page = lru_cache(maxsize=KEPT_PAGES)(self._decode)

    def _decode(self, row: int) -> Page:
        line = json.loads(self._bytes[self._offsets[row] : self._offsets[row + 1]].decode())
        return Page(line["id"], line["title"], line["text"])

    def __getitem__(self, row: int) -> Page:
        return self._page(row)

    def __iter__(self) -> Iterator[Page]:
        return (self._decode(row) for row in range(len(self)))

    def __len__(self) -> int:
        return len(self._offsets) - 1
