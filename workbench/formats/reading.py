"""From rows to trees: bad rows set aside, the rollouts of one task brought together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workbench.errors import FormatError
from workbench.formats.checking import check
from workbench.formats.contract import BadRow, Label, Read, Record
from workbench.formats.files import Broken, Row
from workbench.scores import Level, Scores, Status
from workbench.trajectory import Task, Trajectory, Tree

T = TypeVar("T")

WINDOW = 1 << 24
"""Characters of rows that wait for further rollouts of their tasks: see `together`."""

MALFORMED = (FormatError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What a row of another shape than expected raises, wherever it is read."""

KINDS = {type(None): "null", str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
"""What JSON calls a value that is no object."""


def each(rows: Iterable[Row | Broken], make: Callable[[Row], Iterable[T]]) -> Iterator[T | BadRow]:
    """What `make` makes of every row; a BadRow for one that is broken or of another shape."""
    for row in rows:
        if isinstance(row, Broken):
            yield BadRow(row.where, row.why)
            continue
        try:
            made = list(make(row))
            for one in made:
                _check(one)
        except MALFORMED as error:
            yield BadRow(row.where, _told(error, row.value))
            continue
        yield from made


def _check(made: Any) -> None:
    """Raises FormatError where a rollout or a record holds what its types forbid."""
    if isinstance(made, Rollout):
        check(made.trajectory)
    elif isinstance(made, Record):
        for trajectory in made.tree:
            check(trajectory)


def _told(error: Exception, value: Any) -> str:
    if isinstance(error, FormatError):
        return str(error)
    if value is None or isinstance(value, str | int | float | list):
        return f"an object is wanted, and this is {KINDS[type(value)]}"
    if isinstance(error, KeyError):
        return f"a key is missing: {error}"
    return f"not as this format writes it ({type(error).__name__}: {error})"


@dataclass(frozen=True, eq=False)
class Rollout:
    """One trajectory as a file tells it, before those of one task are brought together."""

    key: str  # rollouts of one key form one tree
    trajectory: Trajectory
    scores: Scores | None = None  # None: the file pays it nothing
    labels: tuple[Label, ...] = ()
    update: int = 0
    size: int = 0  # characters of its row
    tree: str = ""  # id of its tree; "": that of the task
    extras: Mapping[str, Any] = field(default_factory=dict)  # of the tree; the first one's count

    def __post_init__(self) -> None:
        if not -(2**31) <= self.update < 2**31:
            raise FormatError(f"its update (step) is {self.update}; updates have 31 bits")


def gathered(
    items: Iterable[T | BadRow], key: Callable[[T], str], size: Callable[[T], int], window: int = WINDOW
) -> Iterator[list[T] | BadRow]:
    """The items of each key, in order of first appearance; a bad row comes out at once.

    A list is given out when `window` characters wait, oldest first, or at the end. Items of its key that come after
    that form another list: so memory stays bounded, and what stands within the window is gathered whole.
    """
    waiting: dict[str, list[T]] = {}
    held = 0
    for item in items:
        if isinstance(item, BadRow):
            yield item
            continue
        waiting.setdefault(key(item), []).append(item)
        held += size(item)
        while held > window and len(waiting) > 1:
            oldest = waiting.pop(next(iter(waiting)))
            held -= sum(map(size, oldest))
            yield oldest
    yield from waiting.values()


def together(rollouts: Iterable[Rollout | BadRow], window: int = WINDOW) -> Iterator[Read]:
    """One tree for the rollouts of a key, within the window of `gathered`; a bad row comes out at once.

    What of a key comes too late forms another tree, which an import calls ``<id>~2``.
    """
    for members in gathered(rollouts, lambda one: one.key, lambda one: one.size, window):
        if isinstance(members, BadRow):
            yield members
        else:
            yield from _records(members)


def _records(members: list[Rollout]) -> Iterator[Read]:
    """The tree; a trajectory whose id came before in it is left out."""
    kept: dict[str, Rollout] = {}
    for one in members:
        if kept.setdefault(one.trajectory.id, one) is not one:
            task = one.trajectory.task.id
            yield BadRow(f"trajectory {one.trajectory.id!r} of task {task!r}", "it came twice; the first was taken")
    yield _record(list(kept.values()))


def _record(members: list[Rollout]) -> Record:
    first = members[0]
    task = first.trajectory.task
    tree = Tree(first.tree or task.id, task, tuple(one.trajectory for one in members), first.extras)
    scores: tuple[Scores, ...] = ()
    if any(one.scores is not None and _says_something(one.scores) for one in members):
        scores = tuple(one.scores or Scores.unscored(1, level=Level.TRAJECTORY) for one in members)
    return Record(tree, scores, tuple(label for one in members for label in one.labels), first.update)


def _says_something(scores: Scores) -> bool:
    """False where nothing is scored, nothing missing, and no reason given."""
    return bool((scores.status_S != Status.NOT_APPLICABLE).any()) or any(scores.why_S) or bool(scores.parts)


def alone(rollout: Rollout) -> Record:
    """A tree of one rollout."""
    return _record([rollout])


def text_id(prefix: str, text: str) -> str:
    """An id that the same text always gets: ``q-1f3a9c0b22d4``."""
    return f"{prefix}-{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


def task_named(question: str, id: Any = None, **more: Any) -> Task:
    """A task under the file's id, or one made from the question."""
    return Task(text_id("q", question) if id in (None, "") else str(id), question, **more)


def texts(value: Any) -> tuple[str, ...]:
    """One text or number, or a list of them, as different non-empty texts in order; None is none."""
    if value is None or isinstance(value, Mapping):
        return ()
    values = [value] if isinstance(value, str | int | float) else list(value)
    return tuple(dict.fromkeys(text for text in (str(item) for item in values if item is not None) if text.strip()))


def rest_of(row: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """What of a row has no home of its own: kept in extras."""
    return {str(key): value for key, value in row.items() if key not in used and value is not None}


def first_of(row: Mapping[str, Any], *names: str) -> Any:
    """The value under the first of these names that holds one."""
    return next((row[name] for name in names if row.get(name) is not None), None)
