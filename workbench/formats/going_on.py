"""Going on with an import: which runs hold a file already, and what of it.

A file is known again by its size, its beginning and its end. What stands in a run is not recorded twice: trees, the
scores of a tree, and each label.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from workbench.formats.contract import Label, Record
from workbench.formats.files import check_is_file
from workbench.plain import unescape

ENDS = 1 << 20
"""Bytes of a file's beginning, and of its end, by which it is known again."""

IMPORTS = """
    select run, status, coalesce(settings->>'limit', '') as first from runs
    where (settings->>'kind') = 'import' and (settings->>'mark') = $mark and (settings->>'format') = $format
    order by started desc
"""
TREES = "select tree from trees where run = $run"
SCORED = "select distinct tree from scorings where run = $run"
LABELS = """
    select tree, trajectory, coalesce(step, -1) as step, name, who from labels where run = $run
"""


class Asked(Protocol):
    """What answers SQL, as the store."""

    def sql(self, query: str, **values: Any) -> Any: ...


@dataclass(frozen=True)
class Earlier:
    """A run that holds a file, or its beginning."""

    run: str
    status: str  # running: it is being imported, or was killed
    limited: bool  # to the first trees

    @property
    def whole(self) -> bool:
        return self.status == "finished" and not self.limited


def mark_of(path: Path) -> str:
    """What a file is known again by.

    Raises:
        FormatError: there is no such file.
    """
    check_is_file(path)
    digest = hashlib.blake2b(digest_size=12)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(file.read(ENDS))
        file.seek(max(size - ENDS, 0))
        digest.update(file.read(ENDS))
    return f"{size}-{digest.hexdigest()}"


def imports_of(lab: Asked, path: Path, format: str) -> list[Earlier]:
    """Runs that this file was imported to, in this format, newest first."""
    rows = lab.sql(IMPORTS, mark=mark_of(path), format=format).itertuples(index=False)
    return [Earlier(unescape(row.run), row.status, bool(row.first)) for row in rows]


@dataclass
class Held:
    """What a run holds. Hashes stand for ids, which may be long."""

    trees: set[int] = field(default_factory=set)
    scored: set[int] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)

    @classmethod
    def by(cls, lab: Asked, run: str) -> Held:
        said = lab.sql(LABELS, run=run).itertuples(index=False)
        return cls(
            {hash(unescape(tree)) for tree in lab.sql(TREES, run=run).tree},
            {hash(unescape(tree)) for tree in lab.sql(SCORED, run=run).tree},
            {hash((*map(unescape, (s.tree, s.trajectory, s.name, s.who)), int(s.step))) for s in said},
        )

    def has(self, record: Record) -> bool:
        """True where nothing of a record is missing."""
        tree = hash(record.tree.id)
        return (
            tree in self.trees
            and (not record.scores or tree in self.scored)
            and all(self._has_label(record, label) for label in record.labels)
        )

    def missing(self, record: Record) -> Record:
        """A record without the scores and labels that are held. Its tree stays: the store keeps it once."""
        labels = tuple(label for label in record.labels if not self._has_label(record, label))
        scores = () if hash(record.tree.id) in self.scored else record.scores
        return replace(record, scores=scores, labels=labels)

    def _has_label(self, record: Record, label: Label) -> bool:
        step = -1 if label.step is None else label.step
        return hash((record.tree.id, label.trajectory, label.name, label.who, step)) in self.labels
