"""Read corpora into pages, and question sets into tasks.

Formats, guessed from the path and its first row:

======== ================================================================================================
jsonl    rows with id (or _id), title, text; or with id and `contents` = '"Title"\\ntext' (FlashRAG, Search-R1)
folder   a folder of .txt and .md files, one page each
beir     a BEIR folder: corpus.jsonl, queries.jsonl, qrels/*.tsv (Thakur et al. 2021, arXiv:2104.08663)
hotpotqa HotpotQA (arXiv:1809.09600) or 2WikiMultihopQA (arXiv:2011.01060) json: their contexts are the pages
musique  MuSiQue jsonl (arXiv:2108.00573): its paragraphs are the pages
======== ================================================================================================

A .jsonl or .json file may be gzipped. Rows are streamed: a corpus larger than the memory can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench.errors import FormatError, UnknownName
from workbench.retrieval import multihop
from workbench.retrieval.pages import Page, from_contents
from workbench.retrieval.questions import task_of
from workbench.retrieval.rows import read_rows
from workbench.trajectory import Task

CORPUS_FORMATS = ("jsonl", "folder", "beir", "hotpotqa", "musique")
TASK_FORMATS = ("jsonl", "beir", "hotpotqa", "musique")

Placed = tuple[str, Any]
"""Something read, and where it stood ("questions.jsonl, line 3")."""


def read_corpus(path: str | Path, format: str | None = None) -> Iterator[Page]:
    """The pages of a corpus, streamed in file order.

    The contexts of a question set repeat from question to question: each page comes once.

    Args:
        path: a file or folder.
        format: one of `CORPUS_FORMATS`; None guesses.

    Raises:
        UnknownName: no such format.
        FormatError: nothing to read, a row that cannot be read, or an id met twice (file, line and id are named).
    """
    path = Path(path)
    format = _known(format or _guess(path), CORPUS_FORMATS)
    if format == "folder":
        return (page for _, page in _folder_pages(path))
    if format in ("hotpotqa", "musique"):
        pages_of = multihop.hotpot_pages if format == "hotpotqa" else multihop.musique_pages
        return _first_of_each((where, page) for where, row in read_rows(path) for page in pages_of(row, where))
    file = _beir_file(path, "corpus") if format == "beir" else path
    return _unique((where, page_of(row, where)) for where, row in read_rows(file))


def read_tasks(path: str | Path, format: str | None = None) -> Iterator[Task]:
    """The questions of a question set as tasks, streamed in file order.

    Args:
        path: a file, or a BEIR folder.
        format: one of `TASK_FORMATS`; None guesses. For "jsonl" see `questions.task_of`.

    Raises:
        UnknownName: no such format.
        FormatError: a row that cannot be read, or an id met twice (file, line and id are named).
    """
    path = Path(path)
    format = format or _guess(path)
    if format == "folder":
        raise FormatError(f"{path} is no question set: a jsonl file with questions, or a BEIR folder, is one")
    if _known(format, TASK_FORMATS) == "beir":
        return _unique(_beir_tasks(path))
    make = {"jsonl": task_of, "hotpotqa": multihop.hotpot_task, "musique": multihop.musique_task}[format]
    return _unique((where, make(row, where)) for where, row in read_rows(path))


def page_of(row: dict, where: str) -> Page:
    """The page of a jsonl row; `where` is named in errors."""
    page_id = row.get("id", row.get("_id"))
    if page_id is None:
        raise FormatError(f"{where}: a page needs an id (or _id); the row has {sorted(row)}")
    if isinstance(text := row.get("text"), str):
        return Page(str(page_id), str(row.get("title") or ""), text)
    if isinstance(contents := row.get("contents"), str):
        return Page(str(page_id), *from_contents(contents))
    raise FormatError(f"{where}: page {page_id!r} needs a text (or contents), as a string; the row has {sorted(row)}")


def _guess(path: Path) -> str:
    if not path.exists():
        raise FormatError(f"no file or folder {path}")
    if path.is_dir():
        return "beir" if _beir_file(path, "corpus").exists() else "folder"
    if path.suffix in (".txt", ".md"):
        return "folder"
    first = next((row for _, row in read_rows(path)), None)
    if first is None:
        raise FormatError(f"{path} holds no rows")
    if "paragraphs" in first:
        return "musique"
    return "hotpotqa" if "question" in first and isinstance(first.get("context"), list | dict) else "jsonl"


def _known(format: str, formats: tuple[str, ...]) -> str:
    if format not in formats:
        raise UnknownName.among("format", format, formats)
    return format


def _unique(placed: Iterable[Placed]) -> Iterator[Any]:
    seen: set[str] = set()
    for where, thing in placed:
        if thing.id in seen:
            raise FormatError(f"{where}: the id {thing.id!r} was met before; ids must be unique")
        seen.add(thing.id)
        yield thing


def _first_of_each(placed: Iterable[Placed]) -> Iterator[Any]:
    seen: set[str] = set()
    for _, thing in placed:
        if thing.id not in seen:
            seen.add(thing.id)
            yield thing


def _folder_pages(path: Path) -> Iterator[tuple[str, Page]]:
    """One page a file: id is the path inside the folder, title the first heading or else the file's name."""
    root = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in (".txt", ".md"))
    if not files:
        raise FormatError(f"{path} holds no .txt or .md files")
    for file in files:
        try:
            text = file.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FormatError(f"{file} is not UTF-8 text: {error}") from error
        yield str(file), _page_of_file(file.relative_to(root).as_posix(), file, text)


def _page_of_file(page_id: str, file: Path, text: str) -> Page:
    lines = text.splitlines()
    heading = next((i for i, line in enumerate(lines) if line.startswith("#")), None) if file.suffix == ".md" else None
    if heading is None:
        return Page(page_id, file.stem, text.strip())
    rest = "\n".join(lines[:heading] + lines[heading + 1 :])
    return Page(page_id, lines[heading].strip("# "), rest.strip())


def _beir_file(folder: Path, name: str) -> Path:
    zipped = folder / f"{name}.jsonl.gz"
    return zipped if zipped.exists() else folder / f"{name}.jsonl"


def _beir_tasks(folder: Path) -> Iterator[tuple[str, Task]]:
    """Every judged query. Gold pages are those judged above 0; extras hold the grades and the split."""
    relevance: dict[str, dict[str, float]] = {}
    split_of: dict[str, str] = {}
    files = sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise FormatError(f"{folder}/qrels holds no .tsv file; a BEIR folder has one a split, such as qrels/test.tsv")
    for file in files:
        for query, page, grade in _judgements(file):
            relevance.setdefault(query, {})[page] = grade
            split_of.setdefault(query, file.stem)
    for where, row in read_rows(_beir_file(folder, "queries")):
        task = task_of({"id": row.get("_id"), "question": row.get("text")}, where)
        if grades := relevance.get(task.id):
            golds = frozenset(page for page, grade in grades.items() if grade > 0)
            extras = {"relevance": grades, "split": split_of[task.id]}
            yield where, Task(task.id, task.question, gold_pages=golds, extras=extras)


def _judgements(file: Path) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if number == 1 and fields[0] == "query-id":
            continue
        try:
            query, page, grade = fields
            yield query, page, float(grade)
        except ValueError as error:
            raise FormatError(f"{file}, line {number}: expected query-id, corpus-id, score; got {line!r}") from error
