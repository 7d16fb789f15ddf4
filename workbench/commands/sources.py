"""Tasks and pages by name: files, folders, addresses, and the embedded world. Loads no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.embedded import demo
from workbench.errors import FormatError, SettingError
from workbench.retrieval import RemoteIndex, Searcher, SearchIndex, read_corpus, read_tasks
from workbench.trajectory import Task

DEMO_TASKS = {"demo": "tasks", "demo-test": "test_tasks"}
"""Names of task sets of the embedded world, and where a `Demo` holds them."""


def tasks_of(source: str, limit: int | None) -> tuple[Task, ...]:
    """The first `limit` tasks of a question set, or of the embedded world.

    Raises:
        FormatError: there is no such file, or no question in it.
    """
    held = getattr(demo(), DEMO_TASKS[source]) if source in DEMO_TASKS else read_tasks(source)
    tasks = tuple(itertools.islice(held, limit))
    if not tasks:
        raise FormatError(f"{source} holds no questions")
    return tasks


def pages_of(sources: Sequence[str]) -> Iterator[Any]:
    """The pages of all sources, in order."""
    for source in sources:
        yield from demo().pages if source == "demo" else read_corpus(source)


def searcher(sources: Sequence[str]) -> Searcher:
    """What answers searches over these sources: one address or index folder, or any number of corpora together.

    Raises:
        SettingError: an address or index among others.
        ToolError: nobody answers at the address.
    """
    alone = [source for source in sources if _is_address(source) or _is_index(source)]
    if alone and len(sources) > 1:
        raise SettingError(f"{alone[0]} must be the only corpus, got {len(sources)}; index the files together instead")
    if alone and _is_address(alone[0]):
        remote = RemoteIndex(alone[0])
        remote.search(["Is anybody there?"], k=1)  # better now than as the failure of every call
        return remote
    if alone:
        return SearchIndex.load(alone[0])
    return SearchIndex.build(pages_of(sources), progress=list(sources) != ["demo"])


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _is_index(source: str) -> bool:
    return (Path(source) / "index.json").is_file()
