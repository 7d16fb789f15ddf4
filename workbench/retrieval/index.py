"""The search engine: BM25 over pages, in memory or memory-mapped from a folder.

BM25 in Lucene's form (k1, b), by bm25s (Lù 2024, arXiv:2407.03618), which scores every word of every page when the
index is built; a query then adds up the columns of its words. This is the only module that imports bm25s.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import FormatError, SettingError, UnknownName
from workbench.retrieval.pages import Page, PageFile, write_pages
from workbench.trajectory import Hit

if TYPE_CHECKING:
    from bm25s import BM25

WORD = re.compile(r"(?u)\b\w\w+\b")
"""What counts as a word: two or more word characters, lower-cased first (bm25s' own rule)."""

KEPT_RANKINGS = 16384
"""Rankings of recent queries that are kept: the rollouts of a group ask the same things."""

FEW = 16
"""Up to this many hits, repeated argmax beats sorting."""


class SearchIndex:
    """BM25 over pages. Make one with `build` or `load`.

    >>> index = SearchIndex.build([Page("p1", "Ed Wood", "A film by Tim Burton."), Page("p2", "Lyon", "A city.")])
    >>> [hit.id for hit in index.search(["Who made Ed Wood?"])[0]]
    ['p1']
    """

    def __init__(self, bm25: BM25, pages: list[Page] | PageFile, ids: list[str], settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)  # k1, b, stopwords
        self._bm25, self._pages, self._ids = bm25, pages, ids
        self._vocabulary: dict[str, int] = bm25.vocab_dict
        self._ranking = lru_cache(maxsize=KEPT_RANKINGS)(self._rank)

    @classmethod
    def build(
        cls,
        pages: Iterable[Any],
        *,
        k1: float = 1.5,
        b: float = 0.75,
        stopwords: str | Collection[str] | None = "english",
        progress: bool = True,
    ) -> SearchIndex:
        """Index title and text of `pages` (anything with id, title and text).

        Args:
            pages: in the order that decides ties.
            k1: how slowly a repeated word stops counting; bm25s' default.
            b: how much long pages are discounted, 0 to 1.
            stopwords: words left out: a language name of bm25s, or the words themselves; None: every word counts.
            progress: show progress bars.

        Raises:
            FormatError: no pages, or two with the same id.
            SettingError: k1, b or stopwords outside what is allowed.
        """
        import bm25s

        if k1 < 0 or not 0 <= b <= 1:
            raise SettingError(f"BM25 needs k1 >= 0 and b between 0 and 1, got k1={k1}, b={b}")
        left_out = stopwords if isinstance(stopwords, str) else list(stopwords or ())
        kept = [Page(page.id, page.title, page.text) for page in pages]
        _check_ids(kept)
        texts = [f"{page.title} {page.text}" for page in kept]
        try:
            tokens = bm25s.tokenize(texts, stopwords=left_out, show_progress=progress)
        except ValueError as error:
            raise SettingError(f"no stop words by the name {stopwords!r}: {error}") from error
        bm25 = bm25s.BM25(k1=k1, b=b)
        with np.errstate(invalid="ignore"):  # pages without a single word: 0 words / 0 on average
            bm25.index(tokens, create_empty_token=False, show_progress=progress)
        return cls(bm25, kept, [page.id for page in kept], {"k1": k1, "b": b, "stopwords": left_out})

    def save(self, folder: str | Path) -> Path:
        """Write the index to `folder` (made, or an earlier index there replaced in one move).

        Raises:
            SettingError: `folder` holds something other than an index.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / "index.json").exists():
            raise SettingError(f"{folder} holds other files; save the index to a new or empty folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh, old = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("new", "old"))
        fresh.mkdir()
        self._bm25.save(str(fresh / "bm25"), show_progress=False)
        write_pages(self._pages, fresh)
        (fresh / "ids.json").write_text(json.dumps(self._ids))
        (fresh / "index.json").write_text(json.dumps({"pages": len(self), "settings": self.settings}))
        if folder.exists():  # open memory maps of the earlier index stay valid: its files are unlinked, not changed
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> SearchIndex:
        """The index in `folder`, memory-mapped: scores and pages are read from disk as searches touch them.

        Raises:
            FormatError: there is no index, or its parts do not belong together.
        """
        import bm25s

        folder = Path(folder)
        if not (folder / "index.json").exists():
            how = f"SearchIndex.build(pages).save({str(folder)!r})"
            raise FormatError(f"no search index in {folder}; make one with {how}")
        about = json.loads((folder / "index.json").read_text())
        bm25 = bm25s.BM25.load(str(folder / "bm25"), mmap=True, show_progress=False)
        bm25.scores = {
            name: np.asarray(part) if isinstance(part, np.ndarray) else part for name, part in bm25.scores.items()
        }  # plain views of the maps: slicing a np.memmap costs ten times as much
        pages = PageFile(folder)
        ids = json.loads((folder / "ids.json").read_text())
        if not len(pages) == len(ids) == about["pages"] == bm25.scores["num_docs"]:
            raise FormatError(f"the index in {folder} is damaged (page counts differ); build and save it again")
        return cls(bm25, pages, ids, about["settings"])

    def search(self, queries: Sequence[str], k: int = 3, exclude: Collection[str] = ()) -> list[list[Hit]]:
        """The best pages for each query.

        Pages that share no word with a query are no hits, so that fewer than `k` may come back, and none for a query
        that is empty or holds nothing but stop words and words that no page has. Equal scores come in corpus order.

        Args:
            queries: any number of texts.
            k: most hits a query.
            exclude: ids of pages that must not come back.

        Returns:
            One list a query, best first; each hit carries score, rank (from 0) and the query that brought it.

        Raises:
            UnknownName: `exclude` names a page that is not in the index.
            SettingError: k below 1, or one text where a list of texts is due.
        """
        if isinstance(queries, str):
            raise SettingError(f"search takes a list of queries, got one text: search([{queries!r}])")
        if k < 1:
            raise SettingError(f"k must be at least 1, got {k}")
        barred = frozenset(self._row(page_id) for page_id in exclude)
        return [self._hits(query, self._ranking(query, k, barred)) for query in queries]

    def scores(self, query: str, pages: Sequence[str]) -> np.ndarray:
        """float64 [pages]: the score of each page for the query, 0 where they share no word.

        Raises:
            UnknownName: a page is not in the index.
        """
        rows = [self._row(page_id) for page_id in pages]
        known = [self._vocabulary[word] for word in WORD.findall(query.lower()) if word in self._vocabulary]
        if not known:
            return np.zeros(len(rows))
        return np.asarray(self._bm25.get_scores_from_ids(known)[rows], dtype=np.float64)

    def _hits(self, query: str, ranking: Sequence[tuple[int, float]]) -> list[Hit]:
        found = ((self._pages[row], score) for row, score in ranking)
        return [Hit(page.id, page.title, page.text, score, i, query) for i, (page, score) in enumerate(found)]

    def _rank(self, query: str, k: int, barred: frozenset[int]) -> tuple[tuple[int, float], ...]:
        """(row, score) of the best pages. Stop words need no care: the vocabulary has none."""
        known = (self._vocabulary.get(word) for word in WORD.findall(query.lower()))
        words = [word for word in known if word is not None]
        if not words:
            return ()
        scores_N = self._bm25.get_scores_from_ids(words)
        scores_N[list(barred)] = 0.0
        return _best(scores_N, k)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {page_id: row for row, page_id in enumerate(self._ids)}

    def _row(self, page_id: str) -> int:
        if page_id not in self._rows:
            raise UnknownName(f"no page {page_id!r} in the index of {len(self)} pages; ids look like {self._ids[0]!r}")
        return self._rows[page_id]

    def __getitem__(self, page_id: str) -> Page:
        """The page of this id.

        Raises:
            UnknownName: the index has no such page.
        """
        return self._pages[self._row(page_id)]

    def __contains__(self, page_id: object) -> bool:
        return page_id in self._rows

    def __iter__(self) -> Iterator[Page]:
        """The pages, in corpus order."""
        return iter(self._pages)

    def __len__(self) -> int:
        return len(self._pages)

    def __repr__(self) -> str:
        where = ", memory-mapped" if isinstance(self._pages, PageFile) else ""
        return f"SearchIndex({len(self):,} pages, {len(self._vocabulary):,} words{where})"


def _best(scores_N: np.ndarray, k: int) -> tuple[tuple[int, float], ...]:
    """(row, score) of the `k` best positive scores, best first, equal ones by row. Overwrites `scores_N`."""
    if k > FEW:
        rows = np.flatnonzero(scores_N > 0)
        if len(rows) > k:
            rows = rows[scores_N[rows] >= np.partition(scores_N[rows], -k)[-k]]
        rows = rows[np.argsort(-scores_N[rows], kind="stable")][:k]
        return tuple(zip(rows.tolist(), scores_N[rows].tolist(), strict=True))
    found = []
    for _ in range(min(k, len(scores_N))):
        row = int(scores_N.argmax())  # the first of equals
        if scores_N[row] <= 0:
            break
        found.append((row, float(scores_N[row])))
        scores_N[row] = 0.0
    return tuple(found)


def _check_ids(pages: Sequence[Page]) -> None:
    if not pages:
        raise FormatError("an index needs at least one page, got none")
    seen: set[str] = set()
    for row, page in enumerate(pages):
        if page.id in seen:
            raise FormatError(f"page {row} has the id {page.id!r} of an earlier page; ids must be unique")
        seen.add(page.id)
