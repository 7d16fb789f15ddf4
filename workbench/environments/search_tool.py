"""A search engine as a tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from workbench.retrieval.pages import Searcher
from workbench.trajectory import Call


@dataclass(frozen=True)
class SearchTool:
    """Search pages by a query, shown as Search-R1 shows them (arXiv:2503.09516, generation.py, _passages2string)."""

    index: Searcher  # a SearchIndex or a RemoteIndex
    k: int = 3  # pages a query
    name: str = "search"
    quoted_titles: bool = False  # as models trained on Search-R1's own corpus saw them: Doc 1(Title: "Ed Wood") ...

    description: ClassVar[str] = "Find pages of the corpus by words that stand on them."
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "what to look for"}},
        "required": ["query"],
    }

    def __call__(self, calls: Sequence[Call]) -> list[Call]:
        """The calls with their hits; an empty query finds nothing."""
        found = self.index.search([call.query for call in calls], self.k)
        return [replace(call, hits=tuple(hits)) for call, hits in zip(calls, found, strict=True)]

    def render(self, call: Call) -> str:
        """`Doc 1(Title: ...) text`, one line a hit; an empty text where nothing was found."""
        quote = '"' if self.quoted_titles else ""
        return "".join(
            f"Doc {i}(Title: {quote}{hit.title}{quote}) {hit.text}\n" for i, hit in enumerate(call.hits, start=1)
        )
