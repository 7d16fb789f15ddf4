"""Records of any kind for hypothesis: ours (anything the store keeps), and those that other projects' files can say."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from tests.store.trees import scores_of, tokens, trees
from workbench.formats import Label, Record
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

# ---------------------------------------------------------------- ours


@st.composite
def any_record(draw: st.DrawFn) -> Record:
    """A tree with everything that the store's own tests put into one."""
    tree = draw(trees())
    scores = tuple(draw(scores_of(one)) for one in tree) if draw(st.booleans()) else ()
    names = [one.id for one in tree]
    labels = st.builds(
        Label, st.sampled_from(names or [""]), st.none() | st.integers(0, 9), plain_texts, st.floats(), plain_texts
    )
    return Record(tree, scores, tuple(draw(st.lists(labels, max_size=2))) if names else (), draw(st.integers(0, 99)))


# ---------------------------------------------------------------- what a chat can say

plain_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
json_values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | plain_texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(plain_texts, inner, max_size=2),
    max_leaves=4,
)
numbers = st.floats(width=32)
hits = st.builds(Hit, plain_texts, plain_texts, plain_texts, numbers, st.integers(0, 9), plain_texts)
calls = st.builds(
    Call,
    plain_texts,
    st.dictionaries(plain_texts, json_values, max_size=2),
    st.lists(hits, max_size=2).map(tuple),
    st.none() | plain_texts,
    st.none() | plain_texts,
    numbers,
    numbers,
    st.booleans(),
)


@st.composite
def sampled_tokens(draw: st.DrawFn) -> Tokens:
    """At least one id; every sampled one with a finite logprob, as samplers give them."""
    made = draw(tokens().filter(len))
    own_T = made.own_T
    logprobs_T = np.where(np.isfinite(made.logprobs_T), made.logprobs_T, np.float32(-1.5))
    return Tokens(made.ids_T, np.where(own_T, logprobs_T, np.float32("nan")), made.origins_T)


steps = st.builds(
    Step,
    id=plain_texts,
    text=plain_texts,
    calls=st.lists(calls, max_size=2).map(tuple),
    spans=st.lists(st.builds(Span, plain_texts, plain_texts), max_size=1).map(tuple),
    observation=plain_texts,
    tokens=st.none() | sampled_tokens(),
    context=st.none() | st.builds(Context, plain_texts, st.none() | sampled_tokens()),
    role=plain_texts,
    policy=plain_texts,
    native_reward=numbers,
    episode=st.integers(0, 9),
    valid=st.booleans(),
    seconds=st.floats(0, 1e6),
)
names = st.lists(plain_texts, max_size=2).map(tuple)
golds = st.lists(plain_texts.filter(str.strip), max_size=2, unique=True).map(tuple)  # blank ones are left out
tasks = st.builds(
    Task,
    plain_texts.filter(bool),
    plain_texts,
    golds,
    st.frozensets(plain_texts, max_size=2),
    st.lists(st.builds(SubQuestion, plain_texts, names), max_size=1).map(tuple),
    kind=plain_texts,
    extras=st.dictionaries(plain_texts, json_values, max_size=1),
)


@st.composite
def single_scores(draw: st.DrawFn, depth: int = 1) -> Scores:
    """A trajectory-level score, or a sum of two."""
    status = draw(st.sampled_from(Status))
    value = draw(st.floats(-1e6, 1e6)) if status is Status.SCORED else math.nan
    parts = draw(st.lists(plain_texts, max_size=2, unique=True)) if depth else []
    terms = tuple(Part(name, draw(st.floats(-9, 9)), draw(single_scores(0))) for name in parts)
    name = draw(plain_texts.filter(bool))
    return Scores(np.array([value]), np.array([status]), (draw(plain_texts),), Level.TRAJECTORY, terms, name)


@st.composite
def chat_record(draw: st.DrawFn) -> Record:
    """A tree as chats can hold it: rollouts of one prompt, each of at least one turn."""
    task, prompt = draw(tasks), draw(plain_texts)
    trajectories = []
    for name in draw(st.lists(plain_texts.filter(bool), min_size=1, max_size=3, unique=True)):
        path = draw(st.lists(steps, min_size=1, max_size=3))
        first = draw(st.none() | sampled_tokens())
        path[0] = Step(**{**vars(path[0]), "context": Context(prompt, first)})
        path = [Step(**{**vars(step), "id": f"{name}.{s}"}) for s, step in enumerate(path)]
        end = draw(st.sampled_from(End))
        extras = draw(st.dictionaries(plain_texts, json_values, max_size=1))
        made = Trajectory(
            name, task, tuple(path), end, draw(plain_texts), draw(plain_texts.filter(bool)), extras=extras
        )
        trajectories.append(made)
    tree = Tree(draw(plain_texts.filter(bool)), task, tuple(trajectories))
    scores = tuple(draw(single_scores()) for _ in trajectories) if draw(st.booleans()) else ()
    return Record(tree, scores, (), draw(st.integers(0, 99)))


# ---------------------------------------------------------------- one record that has everything


def rich_record() -> Record:
    """Two rollouts in which no field has its default: whatever a format loses, it loses here."""
    task = Task(
        "q1",
        "Who?",
        ("Ed", "Edward"),
        frozenset({"p1"}),
        (SubQuestion("Where?", ("Lyon",), "p1"),),
        ({"points": 2},),
        "bridge",
        {"level": 3},
    )
    shared = _rich_step("s0", Context("Answer. Who?", Tokens.foreign([1, 2, 3])))
    members = tuple(_rich_trajectory(task, name, shared) for name in ("a", "b"))
    tree = Tree("tree", task, members, {"drawn": "twice"})
    return Record(
        tree, (_rich_scores(3, 1.0), _rich_scores(3, 0.25)), (Label("a", 1, "helpful", 1.0, "ann", "why"),), 7
    )


def _rich_trajectory(task: Task, name: str, shared: Step) -> Trajectory:
    own = _rich_step(f"{name}1", Context("another context"))
    own = Step(**{**vars(own), "episode": 2, "text": "no tags", "observation": "none here"})
    last = Step(
        f"{name}2",
        "<answer>Ed</answer>",
        spans=(Span("answer", "Ed"), Span("judge", "fine")),
        tokens=_mixed(),
        policy="p",
    )
    return Trajectory(name, task, (shared, own, last), End.TRUNCATED, "turns", "solver", 1, {"note": name})


def _rich_step(id: str, context: Context) -> Step:
    hit = Hit("p1", "Ed Wood", "A film.", 0.5, 0, "Ed Wood", 4)
    calls = (
        Call("search", {"query": "Ed Wood"}, (hit,), "hidden", None, 0.25, 0.5),
        Call("search", {"query": "?"}, error="down", valid=False),
    )
    spans = (Span("think", "hm", 0, 2), Span("query", "Ed Wood"))
    text = "<think>hm</think><search>Ed Wood</search>"
    shown = "\n\n<information>Doc 1(Title: Ed Wood) A film.\n</information>\n\n"
    return Step(id, text, calls, spans, shown, _mixed(), context, "seeker", "tiny@3", 0.125, 1, False, 1.5)


def _mixed() -> Tokens:
    origins = [Origin.FORCED, Origin.SAMPLED, Origin.SAMPLED, Origin.WRITTEN, Origin.ENVIRONMENT]
    return Tokens(np.arange(5), np.array([np.nan, -0.1, -1 / 3, np.nan, np.nan]), np.array(origins))


def _rich_scores(steps: int, value: float) -> Scores:
    """A sum of a step-level and a trajectory-level term, one of three steps not applicable."""
    whys = ("new page", "", "no search")
    gain = Scores(np.array([value, 0.5, np.nan]), np.array([0, 0, 1]), whys, Level.STEP, name="CoverageGain")
    exact = Scores.trajectory(value, "'Ed' matches")
    exact.name = "ExactMatch"
    parts = (Part("ExactMatch", 1.0, exact, "answer"), Part("CoverageGain", 0.5, gain))
    total = Scores(np.array([1.5 * value + 0.25]), np.array([0]), ("the sum",), Level.TRAJECTORY, parts, "WeightedSum")
    assert steps == len(gain)
    return total
