"""Rows of a jsonl question set as tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from workbench.errors import FormatError
from workbench.trajectory import SubQuestion, Task

REFERENCE = re.compile(r"#(\d+)")
"""MuSiQue's way to say, in a sub-question, "the answer of the n-th before"."""

_READ = {"id", "_id", "question", "golds", "answers", "golden_answers", "answer", "gold_pages", "gold_ids"}
_READ |= {"sub_questions", "decomposition", "question_decomposition", "triples", "rubrics", "kind", "type"}


def task_of(row: Mapping[str, Any], where: str) -> Task:
    """The task of a row. Read are, under the first name that is there:

    id or _id; question; golds, answers, golden_answers or answer; gold_pages or gold_ids; sub_questions,
    decomposition or question_decomposition (each with question, its answer, and page or gold_id), else triples
    (subject, relation, object; the page is found by title in gold_titles); rubrics; kind or type.
    All other fields go to `extras` as they are.

    Raises:
        FormatError: no id or no question; `where` is named.
    """
    task_id, question = _first(row, "id", "_id"), row.get("question")
    if task_id is None or not isinstance(question, str) or not question.strip():
        raise FormatError(f"{where}: a question needs an id and a question; the row has {sorted(row)}")
    return Task(
        id=str(task_id),
        question=question,
        golds=texts(_first(row, "golds", "answers", "golden_answers", "answer")),
        gold_pages=frozenset(texts(_first(row, "gold_pages", "gold_ids"))),
        sub_questions=_sub_questions(row, where),
        rubrics=tuple(row.get("rubrics") or ()),
        kind=str(_first(row, "kind", "type") or ""),
        extras={key: value for key, value in row.items() if key not in _READ and value is not None},
    )


def texts(value: Any) -> tuple[str, ...]:
    """One text or number, or a list of them, as different non-empty texts in order; None is none."""
    if value is None:
        return ()
    values = [value] if isinstance(value, str | int | float) else value
    return tuple(dict.fromkeys(text for text in (str(item).strip() for item in values) if text))


def resolved(question: str, answers: list[str]) -> str:
    """A sub-question with "#1" replaced by the first answer, and so on.

    >>> resolved("#1 >> member of sports team", ["Kris Benson"])
    'Kris Benson >> member of sports team'
    """
    return REFERENCE.sub(lambda m: answers[int(m[1]) - 1] if 0 < int(m[1]) <= len(answers) else m[0], question)


def chain(parts: Iterable[tuple[str, tuple[str, ...], str]]) -> tuple[SubQuestion, ...]:
    """Sub-questions from (question, golds, page id) in order, references resolved."""
    made: list[SubQuestion] = []
    for question, golds, page in parts:
        before = [sub.golds[0] if sub.golds else "" for sub in made]
        made.append(SubQuestion(resolved(question, before), golds, page))
    return tuple(made)


def triple_chain(triples: Iterable[Any], page_of_title: Mapping[str, str]) -> tuple[SubQuestion, ...]:
    """One sub-question "subject >> relation" a triple (2WikiMultihopQA's evidences), on the subject's page."""
    return chain((f"{s} >> {relation}", (str(o),), page_of_title.get(s, "")) for s, relation, o in triples)


def _sub_questions(row: Mapping[str, Any], where: str) -> tuple[SubQuestion, ...]:
    given = _first(row, "sub_questions", "decomposition", "question_decomposition")
    try:
        if given:
            return chain(
                (
                    part["question"],
                    texts(_first(part, "golds", "answers", "answer")),
                    str(_first(part, "page", "gold_id") or ""),
                )
                for part in given
            )
        pages = dict(zip(row.get("gold_titles") or (), row.get("gold_ids") or (), strict=False))
        return triple_chain(row.get("triples") or (), pages)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where}: its sub-questions cannot be read ({type(error).__name__}: {error})") from error


def _first(row: Mapping[str, Any], *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
