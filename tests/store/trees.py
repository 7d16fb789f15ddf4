"""Trees that are hard to keep, and a comparison that lets nothing pass."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from workbench.scores import Level, Part, Scores, Status
from workbench.trajectory import (
    Call,
    Context,
    End,
    Hit,
    Origin,
    Span,
    Step,
    SubQuestion,
    Task,
    Tokens,
    Trajectory,
    Tree,
)

NASTY = (
    "",
    " ",
    "\0",
    "a\0b",
    "\\",
    "\\\\'",
    '"',
    "'; drop table runs; --",
    "null",
    "\r\n\t",
    "🦆 é 中",
    "\ufdd0",
    "\ufeff",
)
LONE = ("\ud800", "a\udfff🦆", "\ud83d\ude00", "\ufdd0\\ud800")  # half characters: not valid Unicode


def facts(value: Any) -> Any:
    """`value` as something whose == sees every bit, except which NaN a lone number is."""
    if isinstance(value, Tokens):
        return ("Tokens", value.ids_T.tobytes(), value.logprobs_T.tobytes(), value.origins_T.tobytes())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, [facts(item) for item in value.tolist()])
    if dataclasses.is_dataclass(value):
        fields = [facts(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare]
        return (type(value).__name__, *fields)
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value.hex())
    if isinstance(value, Mapping):
        return ("mapping", [(facts(key), facts(item)) for key, item in value.items()])
    if isinstance(value, set | frozenset):
        return (type(value).__name__, sorted(repr(facts(item)) for item in value))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [facts(item) for item in value])
    return (type(value).__name__, value)


# ---------------------------------------------------------------- any trees

texts = st.one_of(st.sampled_from(NASTY + LONE), st.text(st.characters(exclude_categories=()), max_size=12))
numbers = st.floats(width=64)
counts = st.integers(0, 2**31 - 1)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(st.one_of(counts, st.tuples(counts, texts)), inner, max_size=2),
        st.frozensets(st.one_of(counts, texts), max_size=3),
        st.sets(counts, max_size=3),
    ),
    max_leaves=6,
)
extras = st.dictionaries(texts, plain, max_size=3)


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    size = draw(st.integers(0, 5))
    bits = draw(st.lists(st.integers(0, 2**32 - 1), min_size=size, max_size=size))  # any float32, any NaN
    ids = draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=size, max_size=size))
    origins = draw(st.lists(st.sampled_from(Origin), min_size=size, max_size=size))
    return Tokens(np.array(ids), np.array(bits, dtype=np.uint32).view(np.float32), np.array(origins))


hits = st.builds(Hit, texts, texts, texts, numbers, counts, texts, st.none() | counts)
calls = st.builds(
    Call,
    texts,
    st.dictionaries(texts, plain, max_size=2),
    st.lists(hits, max_size=3).map(tuple),
    st.none() | texts,
    st.none() | texts,
    numbers,
    numbers,
    st.booleans(),
)
spans = st.builds(Span, texts, texts, st.none() | counts, st.none() | counts)
steps = st.builds(
    Step,
    id=texts,
    text=texts,
    calls=st.lists(calls, max_size=2).map(tuple),
    spans=st.lists(spans, max_size=2).map(tuple),
    observation=texts,
    tokens=st.none() | tokens(),
    context=st.none() | st.builds(Context, texts, st.none() | tokens()),
    role=texts,
    policy=texts,
    native_reward=numbers,
    episode=counts,
    valid=st.booleans(),
    seconds=numbers,
)
names = st.lists(texts, max_size=3).map(tuple)
tasks = st.builds(
    Task,
    texts,
    texts,
    names,
    st.frozensets(texts, max_size=3),
    st.lists(st.builds(SubQuestion, texts, names, texts, names), max_size=2).map(tuple),
    st.lists(extras, max_size=2).map(tuple),
    texts,
    extras,
)


@st.composite
def trees(draw: st.DrawFn, id: st.SearchStrategy[str] = texts) -> Tree:
    """A tree whose trajectories share some of their steps."""
    pool = draw(st.lists(steps, max_size=5, unique_by=lambda step: step.id))
    task = draw(tasks)
    trajectories = []
    for name in draw(st.lists(texts, max_size=4, unique=True)):
        path = tuple(draw(st.lists(st.sampled_from(pool), max_size=4))) if pool else ()
        fork = draw(st.integers(0, len(path)))
        end = draw(st.sampled_from(End))
        trajectories.append(Trajectory(name, task, path, end, draw(texts), draw(texts), fork, draw(extras)))
    return Tree(draw(id), task, tuple(trajectories), draw(extras))


# ---------------------------------------------------------------- any scores


@st.composite
def scores_of(draw: st.DrawFn, trajectory: Trajectory, depth: int = 2) -> Scores:
    """Scores of any level that fits the trajectory, with parts inside parts."""
    level = draw(st.sampled_from(Level))
    own = sum(step.own_tokens for step in trajectory.steps)
    length = {Level.STEP: len(trajectory.steps), Level.TOKEN: own}.get(level, 1)
    status_S = draw(st.lists(st.sampled_from(Status), min_size=length, max_size=length))
    amounts = draw(st.lists(st.floats(allow_nan=False), min_size=length, max_size=length))
    values_S = [a if s is Status.SCORED else math.nan for a, s in zip(amounts, status_S, strict=True)]
    whys = tuple(draw(st.lists(texts, min_size=length, max_size=length)))
    parts = draw(st.lists(texts, max_size=2)) if depth else []
    weights = st.floats(allow_nan=False)
    made = tuple(Part(name, draw(weights), draw(scores_of(trajectory, depth - 1)), draw(texts)) for name in parts)
    return Scores(np.array(values_S), np.array(status_S, dtype=np.int8), whys, level, made, draw(texts))
