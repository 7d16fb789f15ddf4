"""The words: task, step, trajectory, tree, group.

Ids are the truth. A step keeps the sampled ids and logprobs byte for byte; its text is derived from them and
nothing is ever tokenised a second time. A trajectory imported as text has ``tokens=None`` on its steps, and
what needs ids says so. Everything here is frozen: a change is a new object (``dataclasses.replace``).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from workbench.errors import MissingTokens, ShapeError

Json = Mapping[str, Any]


class Origin(enum.IntEnum):
    """Who wrote a token. Only SAMPLED tokens have a usable logprob and enter ratio and loss."""

    SAMPLED = 0  # by the step's own policy
    WRITTEN = 1  # by another model
    FORCED = 2  # by the program (a prefix, a closing tag)
    ENVIRONMENT = 3  # prompt, tool results, notices


class End(enum.StrEnum):
    """How a trajectory ended. The four are never confused."""

    ANSWERED = "answered"  # the agent gave an answer, or the environment reached its goal
    TRUNCATED = "truncated"  # a limit of turns or tokens cut it off
    FAILED = "failed"  # an error outside the agent; `end_reason` says which
    PRUNED = "pruned"  # a candidate never extended, or a discarded suffix


@dataclass(frozen=True)
class SubQuestion:
    """One hop of a task: what to find out, what it gives, on which page it stands."""

    question: str
    golds: tuple[str, ...] = ()
    page: str = ""
    queries: tuple[str, ...] = ()  # acceptable search queries (StepSearch's search keys)


@dataclass(frozen=True)
class Task:
    """A question with all that is known of its solution."""

    id: str
    question: str
    golds: tuple[str, ...] = ()
    gold_pages: frozenset[str] = frozenset()
    sub_questions: tuple[SubQuestion, ...] = ()
    rubrics: tuple[Json, ...] = ()
    kind: str = ""  # comparison, bridge, open, closed, 2-hop ...
    extras: Json = field(default_factory=dict)  # typed by who writes them: database, grid, page texts, price list

    @property
    def hops(self) -> int:
        """Number of sub-questions, at least 1."""
        return max(1, len(self.sub_questions))


@dataclass(frozen=True)
class Hit:
    """One retrieved page."""

    id: str
    title: str
    text: str
    score: float = float("nan")
    rank: int = 0  # from 0, within its query
    query: str = ""  # the (sub-)query that brought it
    shown: int | None = None  # characters of `text` the agent was shown; None: all of it


@dataclass(frozen=True)
class Call:
    """One tool call of a step, with what came of it. A failed call is data, not an exception."""

    tool: str
    arguments: Json = field(default_factory=dict)
    hits: tuple[Hit, ...] = ()
    result: str | None = None  # what a tool that is no search engine returned
    error: str | None = None
    cost: float = 0.0  # in the unit of the tool's price list
    seconds: float = 0.0
    valid: bool = True  # False: the agent asked for something that cannot be called

    @property
    def query(self) -> str:
        """The search query, or ``""`` where the call has none."""
        return str(self.arguments.get("query", ""))


@dataclass(frozen=True)
class Span:
    """A named stretch of a turn (think, search, answer, judge). Token positions count from the step's first token."""

    name: str
    text: str
    start: int | None = None
    stop: int | None = None  # exclusive


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids with who wrote each and, where sampled, its logprob under the sampler.

    ids_T int32, logprobs_T float32 (natural log, NaN where not sampled), origins_T int8 (see `Origin`).
    """

    ids_T: np.ndarray
    logprobs_T: np.ndarray
    origins_T: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in (("ids_T", np.int32), ("logprobs_T", np.float32), ("origins_T", np.int8)):
            array = np.array(getattr(self, name), dtype=dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        shapes = {self.ids_T.shape, self.logprobs_T.shape, self.origins_T.shape}
        if len(shapes) != 1 or self.ids_T.ndim != 1:
            raise ShapeError(f"ids_T, logprobs_T and origins_T must share one axis [T], got shapes {sorted(shapes)}")

    @classmethod
    def sampled(cls, ids_T: Sequence[int] | np.ndarray, logprobs_T: Sequence[float] | np.ndarray) -> Tokens:
        """Tokens drawn by the policy of the step."""
        return cls(np.asarray(ids_T), np.asarray(logprobs_T), np.full(len(ids_T), Origin.SAMPLED))

    @classmethod
    def foreign(cls, ids_T: Sequence[int] | np.ndarray, origin: Origin = Origin.ENVIRONMENT) -> Tokens:
        """Tokens that the policy did not draw; their logprobs are NaN."""
        return cls(np.asarray(ids_T), np.full(len(ids_T), np.nan), np.full(len(ids_T), origin))

    @classmethod
    def join(cls, pieces: Iterable[Tokens]) -> Tokens:
        """All pieces one after another."""
        pieces = list(pieces)
        if not pieces:
            return cls.foreign([])
        return cls(
            np.concatenate([piece.ids_T for piece in pieces]),
            np.concatenate([piece.logprobs_T for piece in pieces]),
            np.concatenate([piece.origins_T for piece in pieces]),
        )

    @property
    def own_T(self) -> np.ndarray:
        """bool [T], True where the policy drew the token."""
        return self.origins_T == Origin.SAMPLED

    def __len__(self) -> int:
        return len(self.ids_T)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        mine, theirs = (t.ids_T.tobytes() + t.logprobs_T.tobytes() + t.origins_T.tobytes() for t in (self, other))
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Context:
    """All that a step was sampled from, when it is not simply the step before plus its observation."""

    text: str
    tokens: Tokens | None = None


@dataclass(frozen=True)
class Step:
    """One model turn and what the environment answered.

    `tokens` holds what the step adds to the context: the turn, then the observation. `context` is None where the
    step extends the one before (append-only); the first step always names one, its prompt.
    """

    id: str
    text: str  # the turn
    calls: tuple[Call, ...] = ()
    spans: tuple[Span, ...] = ()
    observation: str = ""  # as the agent saw it
    tokens: Tokens | None = None
    context: Context | None = None
    role: str = "agent"
    policy: str = ""  # name and weights version of who sampled it
    native_reward: float = float("nan")  # the environment's own reward; NaN: it pays none here
    episode: int = 0
    valid: bool = True  # False: the turn held neither an answer nor a call that could be read
    seconds: float = 0.0

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The hits of all calls, in order."""
        return tuple(hit for call in self.calls for hit in call.hits)

    @property
    def queries(self) -> tuple[str, ...]:
        """The non-empty search queries of all calls, in order."""
        return tuple(call.query for call in self.calls if call.query)

    def span(self, name: str) -> str | None:
        """Text of the last span of this name, None where there is none."""
        return next((span.text for span in reversed(self.spans) if span.name == name), None)

    @property
    def own_tokens(self) -> int:
        """How many tokens the policy drew in this step; 0 for text-only steps."""
        return 0 if self.tokens is None else int(self.tokens.own_T.sum())


@dataclass(frozen=True, eq=False)
class Segment:
    """An append-only stretch of a trajectory, as one sequence to train on.

    `step_T` int32 [T]: index of the step each token belongs to, -1 for the context it starts from.
    """

    tokens: Tokens
    step_T: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """A root-to-end path of steps."""

    id: str
    task: Task
    steps: tuple[Step, ...]
    end: End
    end_reason: str = ""
    role: str = "agent"
    fork: int = 0  # how many first steps were given; siblings that share them are compared
    extras: Json = field(default_factory=dict)

    @cached_property
    def answer(self) -> str | None:
        """The final answer as the agent wrote it, None where it gave none."""
        if self.end is not End.ANSWERED or not self.steps:
            return None
        return self.steps[-1].span("answer")

    @property
    def group_key(self) -> tuple[str, str, tuple[str, ...]]:
        """Task, role and prefix: trajectories with the same key are compared."""
        return self.task.id, self.role, tuple(step.id for step in self.steps[: self.fork])

    def segments(self) -> list[Segment]:
        """The trajectory as append-only token sequences, in order.

        Raises:
            MissingTokens: a step was imported as text.
        """
        segments: list[Segment] = []
        pieces: list[Tokens] = []
        owners: list[np.ndarray] = []
        for s, step in enumerate(self.steps):
            context = step.context
            if step.tokens is None or (context is not None and context.tokens is None):
                raise MissingTokens(
                    f"step {s} of trajectory {self.id!r} carries no token ids; only trajectories that were sampled "
                    "here (or imported with ids) can be trained on"
                )
            if context is not None and context.tokens is not None:
                if pieces:
                    segments.append(Segment(Tokens.join(pieces), np.concatenate(owners)))
                pieces, owners = [context.tokens], [np.full(len(context.tokens), -1, np.int32)]
            pieces.append(step.tokens)
            owners.append(np.full(len(step.tokens), s, np.int32))
        if pieces:
            segments.append(Segment(Tokens.join(pieces), np.concatenate(owners)))
        return segments

    def __repr__(self) -> str:
        turns = len(self.steps)
        answer = "" if self.answer is None else f", answer {self.answer!r}"
        return f"Trajectory({self.id!r}, {self.task.question!r}, {turns} steps, {self.end}{answer})"


@dataclass(frozen=True)
class Group:
    """The siblings that are compared: same task, role and prefix."""

    trajectories: tuple[Trajectory, ...]

    def __post_init__(self) -> None:
        keys = {trajectory.group_key for trajectory in self.trajectories}
        if len(keys) > 1:
            raise ShapeError(f"a group holds one task, role and prefix, got {len(keys)} different: {sorted(keys)[:2]}")

    @property
    def task(self) -> Task:
        return self.trajectories[0].task

    def __len__(self) -> int:
        return len(self.trajectories)

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self.trajectories)


@dataclass(frozen=True)
class Tree:
    """All trajectories of a task drawn together. Those that share a prefix share its Step objects (same step ids)."""

    id: str
    task: Task
    trajectories: tuple[Trajectory, ...]
    extras: Json = field(default_factory=dict)
    run: str = field(default="", compare=False)  # it was recorded under; "" where it was not

    def groups(self) -> list[Group]:
        """The trajectories by group key, in order of first appearance."""
        by_key: dict[tuple, list[Trajectory]] = {}
        for trajectory in self.trajectories:
            by_key.setdefault(trajectory.group_key, []).append(trajectory)
        return [Group(tuple(members)) for members in by_key.values()]

    def __len__(self) -> int:
        return len(self.trajectories)

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self.trajectories)

    def __repr__(self) -> str:
        return f"Tree({self.id!r}, {self.task.question!r}, {len(self.trajectories)} trajectories)"
