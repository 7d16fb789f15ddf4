"""The pages that an agent was shown, found again in the text it was shown.

Read are what the search tools of these projects write:

- Search-R1 (search_r1/llm_agent/generation.py, `_passages2string`): ``Doc 1(Title: "Ed Wood") text``
- verl (verl/tools/utils/search_r1_like_utils.py): ``Doc 1 (Title: "Ed Wood")\\ntext``
- R1-Searcher (evaluation): ``(1)Title: Ed Wood Text: text``, or ``(1)Ed Wood   text``
- Search-R1's retrieval server (search_r1/search/retrieval_server.py):
  ``{"result": [[{"document": {"id": ..., "contents": "\\"Title\\"\\ntext"}, "score": 0.8}]]}``

A page that names no id gets the one that `workbench.retrieval.pages.content_id` would give it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.trajectory import Hit

DOC = re.compile(r"^Doc ?(\d+) ?\(Title: ?", re.MULTILINE)
NUMBERED = re.compile(r"^\((\d+)\) ?", re.MULTILINE)


def hits_in(text: str, query: str = "") -> tuple[Hit, ...]:
    """The pages shown, best first; () where the text shows none in a way that is known."""
    if text.lstrip().startswith("{"):
        try:
            return server_hits(json.loads(text), query)
        except (ValueError, RecursionError):
            return ()
    if DOC.search(text):
        return tuple(_doc(block, rank, query) for rank, block in enumerate(_blocks(DOC, text)))
    if NUMBERED.match(text) and ("Text:" in text or "   " in text):
        return tuple(_numbered(block, rank, query) for rank, block in enumerate(_blocks(NUMBERED, text)))
    return ()


def server_hits(reply: Any, query: str = "") -> tuple[Hit, ...]:
    """Hits of a retrieval server's reply, one list a query."""
    lists = reply.get("result") if isinstance(reply, Mapping) else None
    if isinstance(lists, str):
        return hits_in(lists, query) if not lists.lstrip().startswith("{") else ()
    if not isinstance(lists, Sequence) or not all(isinstance(found, list) for found in lists):
        return ()
    return tuple(_document(item, rank, query) for found in lists for rank, item in enumerate(found))


def page_id(title: str, text: str) -> str:
    """The id of a page that has none: its title and a hash of its text."""
    return f"{title}#{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def titled(contents: str) -> tuple[str, str]:
    """Title (without quotes around it) and text of ``"Title"\\ntext``."""
    title, _, text = contents.partition("\n")
    return unquoted(title), text


def unquoted(title: str) -> str:
    return title[1:-1] if len(title) > 1 and title[0] == title[-1] == '"' else title


def _document(item: Any, rank: int, query: str) -> Hit:
    document = item.get("document", item)
    title, text = titled(str(document.get("contents", document.get("text", ""))))
    title = str(document.get("title") or title)
    score = item.get("score")
    name = document.get("id")
    return Hit(
        page_id(title, text) if name is None else str(name),
        title,
        text,
        float("nan") if score is None else float(score),
        rank,
        query,
    )


def _blocks(mark: re.Pattern[str], text: str) -> list[str]:
    """What stands behind each mark, up to the next."""
    found = list(mark.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [text[match.end() : end] for match, end in zip(found, ends, strict=True)]


def _doc(block: str, rank: int, query: str) -> Hit:
    """``Title) text``: the title ends at the first bracket that closes it and is followed by white space."""
    depth = 0
    for at, letter in enumerate(block):
        depth += (letter == "(") - (letter == ")")
        if depth < 0 and (at + 1 == len(block) or block[at + 1].isspace()):
            title, text = unquoted(block[:at].strip()), block[at + 1 :].strip()
            return Hit(page_id(title, text), title, text, rank=rank, query=query)
    return Hit(page_id("", block.strip()), "", block.strip(), rank=rank, query=query)


def _numbered(block: str, rank: int, query: str) -> Hit:
    mark = "Text:" if block.startswith("Title:") else "   "
    title, _, text = block.strip().removeprefix("Title:").partition(mark)
    title, text = title.strip(), text.strip()
    return Hit(page_id(title, text), title, text, rank=rank, query=query)
