"""HotpotQA, 2WikiMultihopQA and MuSiQue as published: each row is a question with its candidate paragraphs.

Formats: https://github.com/hotpotqa/hotpot (_id, question, answer, supporting_facts [title, sentence], context
[title, sentences], type, level), https://github.com/Alab-NII/2wikimultihop (the same plus evidences, triples),
https://github.com/StonyBrookNLP/musique (id, question, answer, answer_aliases, paragraphs, question_decomposition).
HotpotQA's columns as the Hugging Face hub serves them (id; context and supporting_facts as lists of columns) read too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from workbench.errors import FormatError
from workbench.retrieval.pages import Page, content_id
from workbench.retrieval.questions import chain, texts, triple_chain
from workbench.trajectory import Task

Row = Mapping[str, Any]
Made = TypeVar("Made")


def _names_the_place(read: Callable[[Row], Made]) -> Callable[[Row, str], Made]:
    @wraps(read)
    def reader(row: Row, where: str) -> Made:
        try:
            return read(row)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"{where}: not as published ({type(error).__name__}: {error})") from error

    return reader


@_names_the_place
def hotpot_pages(row: Row) -> list[Page]:
    """The paragraphs of a HotpotQA or 2WikiMultihopQA row."""
    return _context(row)


@_names_the_place
def hotpot_task(row: Row) -> Task:
    """The question of such a row; 2WikiMultihopQA's evidences become sub-questions."""
    pages = _context(row)
    facts = _pairs(row.get("supporting_facts") or (), "sent_id")  # absent from the published test sets
    page_of_title = {page.title: page.id for page in reversed(pages)}
    return Task(
        id=str(row.get("_id") or row["id"]),
        question=row["question"],
        golds=texts(row.get("answer")),
        gold_pages=frozenset(page_of_title[title] for title, _ in facts if title in page_of_title),
        sub_questions=triple_chain(row.get("evidences") or (), page_of_title),
        kind=str(row.get("type") or ""),
        extras={
            "candidate_ids": [page.id for page in pages],
            "supporting_facts": [list(fact) for fact in facts],
            **{key: row[key] for key in ("level", "answer_id", "evidences_id") if key in row},
        },
    )


@_names_the_place
def musique_pages(row: Row) -> list[Page]:
    """The paragraphs of a MuSiQue row."""
    return [_page(paragraph["title"], paragraph["paragraph_text"]) for paragraph in row["paragraphs"]]


@_names_the_place
def musique_task(row: Row) -> Task:
    """The question of a MuSiQue row, "#1" in its sub-questions replaced by the answer meant."""
    page_of_idx = {p["idx"]: content_id(p["title"], p["paragraph_text"]) for p in row["paragraphs"]}
    gold_pages = {page_of_idx[p["idx"]] for p in row["paragraphs"] if p.get("is_supporting")}
    return Task(
        id=str(row["id"]),
        question=row["question"],
        golds=texts([row["answer"], *row.get("answer_aliases", ())] if "answer" in row else None),
        gold_pages=frozenset(gold_pages),
        sub_questions=chain(
            (part["question"], texts(part["answer"]), page_of_idx.get(part.get("paragraph_support_idx"), ""))
            for part in row.get("question_decomposition", ())
        ),
        kind=str(row["id"]).split("__")[0],
        extras={"candidate_ids": list(page_of_idx.values()), "answerable": row.get("answerable", True)},
    )


def _page(title: str, text: str) -> Page:
    return Page(content_id(title, text), title, text)


def _context(row: Row) -> list[Page]:
    return [_page(title, _joined(sentences)) for title, sentences in _pairs(row["context"], "sentences")]


def _pairs(table: Any, column: str) -> list[tuple[Any, Any]]:
    """(title, value) pairs, from a list of pairs or from two columns."""
    if isinstance(table, Mapping):
        return list(zip(table["title"], table[column], strict=True))
    return [(title, value) for title, value in table]


def _joined(sentences: list[str]) -> str:
    """One paragraph. HotpotQA's sentences bring the space before them, 2WikiMultihopQA's do not."""
    return "".join(s if not i or s[:1] in ("", " ") else f" {s}" for i, s in enumerate(sentences)).strip()
