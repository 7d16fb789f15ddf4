"""The contract that every reward keeps. A new reward joins by an entry in `CASES`; without one a test here fails."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import workbench.rewards
from tests.builders import a_step, a_task, a_trajectory
from tests.rewards.vectors import Scattered
from workbench.errors import LevelError, MissingGold, SettingError, WorkbenchError
from workbench.retrieval import HashedNgrams
from workbench.rewards import (
    CallCount,
    Clip,
    CosineTo,
    Coverage,
    CoverageGain,
    Decomposition,
    ExactMatch,
    ExpansionRules,
    FormatLayer,
    FormatTable,
    FoundRelevance,
    Gate,
    GroupRescale,
    HitRelevance,
    MarginalGain,
    Named,
    OnLastStep,
    OverLong,
    Placed,
    Product,
    QueryGain,
    RankedGold,
    ReachLength,
    ReduceSteps,
    RepeatedDocuments,
    RepeatedQueries,
    Residual,
    Reward,
    SearchKeyMatch,
    SelfAssessment,
    SetJaccard,
    Similarity,
    TaskNumber,
    TextOverlap,
    TokenF1,
    ToolCallMatch,
    WeightedSum,
    WellFormed,
    place,
)
from workbench.rewards.expression import read_reward
from workbench.rewards.reward import Wrapper, length_of
from workbench.scores import Scores, Status
from workbench.spec import PARTS, dumps, loads, part
from workbench.trajectory import Call, End, Group, Hit, Span, SubQuestion, Trajectory


@part
class Judged(Reward):
    """Stands for a judge: pays a third, and fails on trajectories whose id says so."""

    range = (0.0, 1.0)

    def score(self, trajectory: Trajectory) -> Scores:
        return Scores.missing("the judge failed") if "fails" in trajectory.id else Scores.trajectory(1 / 3, "as asked")


@part
class Halves:
    """Stands for a reranker: a half for what names France, NaN (failed) for other texts."""

    def __call__(self, texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
        return np.array([0.5 if "France" in text else np.nan for text in texts])


# ---------------------------------------------------------------- probes

TASK = a_task(
    golds=("Paris", "Paris, France"),
    sub_questions=(
        SubQuestion("Which capital?", ("Paris",), "p1", ("capital of France",)),
        SubQuestion("Which neighbour?", ("Spain",), "p2", ("countries bordering France", "France neighbours")),
    ),
    gold_texts=("Paris is the capital of France", "France borders Spain"),
    gold_calls=(
        {"name": "search", "parameters": {"query": "capital of France"}},
        {"name": "search", "parameters": {"query": "countries bordering France"}},
    ),
    blocks=("think", "search", "answer"),
    references=("It is Paris, the city of light", "Paris, France"),
    found=("p1",),
    relevance={"p1": 1.0, "p2": 0.75, "x": 0.4},
    pass_rate=0.625,
    share=0.5,
)
TEXTS = {"p1": "Paris is the capital of France", "p2": "France borders Spain", "copy": "France borders Spain"}


def probe(*pages: Any, **settings: Any) -> Trajectory:
    return a_trajectory(*pages, task=TASK, texts=TEXTS, tokens=4, **settings)


def with_step(trajectory: Trajectory, s: int, **changes: Any) -> Trajectory:
    steps = list(trajectory.steps)
    steps[s] = replace(steps[s], **changes)
    return replace(trajectory, steps=tuple(steps))


def asked(**pages: list[str]) -> tuple[Call, ...]:
    """Calls by their queries."""
    return tuple(
        Call("search", {"query": query}, tuple(Hit(page, "", "", rank=rank) for rank, page in enumerate(found)))
        for query, found in pages.items()
    )


RIGHT = probe(["p1", "x"], ["p2", "p1"], None, answer="Paris", id="right")
PROBES = (
    RIGHT,
    probe(["x"], ["x", "y"], answer="Rome", id="wrong", queries=["capital of France", "France border countries"]),
    probe(["p1", "p1", "p2"], ["copy"], answer="It is Paris", id="twice, and a longer answer"),
    probe(["p2"], ["p1", "p2", "p2"], answer="", id="empty answer"),
    probe(answer="yes", id="no search"),
    probe(["p1"], ["p1"], id="never answers", queries=["capital of France", "capital France city"]),
    probe(["x"], ["p1"], end=End.FAILED, id="failed", queries=["capital of France", "The capital of france?"]),
    probe([], answer="France", id="nothing found"),
    probe(["p1"], answer="paris", id="other words, the judge fails", queries=["France neighbours"]),
    with_step(probe(["p1"], answer="Paris", id="malformed"), 1, text="so <answer>Paris</answer>"),
    with_step(probe(["p2"], answer="Lyon", id="wrong and malformed"), 1, text="<answer>Lyon</answer> or so"),
    with_step(probe(["p2"], answer="Lyon", id="talks between"), 1, text="<think>a</think> so <answer>Lyon</answer>"),
    with_step(probe(["p2"], answer="Lyon", id="thinks not"), 1, text="<answer>Lyon</answer>"),
    with_step(probe(["p1"], id="call refused"), 0, calls=(Call("search", {"query": "x"}, valid=False),)),
    with_step(probe(["x"], id="not shown"), 0, calls=(Call("search", {"query": "x"}, (Hit("p1", "", "", shown=0),)),)),
    probe(["x"], ["y"], id="the second search first", queries=["countries bordering France", "x"]),
    with_step(probe(["x"], id="three at once"), 0, calls=asked(a=["x", "p1", "y"], b=["z", "p2", "x"], c=["v", "w"])),
    with_step(probe(["p1", "p2"], None, answer="Paris", id="judges"), 1, spans=(Span("judge", "Yes"),)),
    with_step(probe(["p2", "p1"], None, None, ["x"], None, id="judges late"), 2, spans=(Span("judge", "No"),)),
    with_step(probe(["x"], None, answer="Paris", id="takes what is no use"), 1, spans=(Span("judge", "yes."),)),
    with_step(probe(["x"], None, ["p1"], id="sends it back"), 1, spans=(Span("judge", "No"),)),
    with_step(probe(["p2"], None, id="cannot decide"), 1, spans=(Span("judge", "Yes"), Span("judge", "no"))),
    with_step(probe(["p2"], None, id="is content with half"), 1, spans=(Span("judge", "Yes"),)),
    with_step(probe(["p2"], None, id="hedges"), 1, spans=(Span("judge", "maybe"),)),
    with_step(probe(None, id="other span"), 0, spans=(Span("assessment", "yes"),)),
    replace(probe(answer="Paris", id="one bare turn"), steps=(a_step("b", answer="Paris", text="Paris", tokens=1),)),
)
SPLITS = probe([], [], [], id="several queries a step")
for n, second in enumerate(("neighbours of France", "France neighbours", "rivers")):
    both = tuple(Call("search", {"query": query}) for query in ("capital of France", second))
    SPLITS = with_step(SPLITS, n, calls=both)
PROBES = (*PROBES, SPLITS)
GROUP = Group(PROBES)
YES = replace(RIGHT, id="yes", task=a_task(golds=("yes it is",)), steps=(a_step("y", answer="yes", tokens=2),))
HALVES = replace(  # what two pages hold together
    a_trajectory(["a", "b"], id="halves", task=YES.task, texts={"a": "yes", "b": "it is"}, tokens=2), end=End.TRUNCATED
)
EXTRA = (YES, HALVES)  # probes of other tasks, scored alone


# ---------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """How one reward class is tried: an instance, another legal value for each field, what must be refused."""

    reward: Reward
    others: dict[str, Any]
    bad_settings: tuple[dict[str, Any], ...] = ()
    bad_inputs: tuple[tuple[Trajectory, type[WorkbenchError]], ...] = ()


BARE = a_trajectory(["p1"], answer="Paris", golds=(), gold_pages=())
EMPTY_GOLD = a_trajectory(answer="", golds=("Paris", "The"))
NO_GOLD = ((BARE, MissingGold), (EMPTY_GOLD, MissingGold))
MIXED = ExactMatch() + CoverageGain()
NGRAMS = HashedNgrams()

CASES: dict[type[Reward], Case] = {
    ExactMatch: Case(ExactMatch(), {"match": "contains_gold", "wrong": 0.1}, ({"match": "fuzzy"},), NO_GOLD),
    TokenF1: Case(TokenF1(), {"yes_no": False, "digits": 1, "threshold": 0.6}, (), NO_GOLD),
    WellFormed: Case(
        WellFormed(),
        {
            "turn": ("search",),
            "last": ("answer",),
            "optional": ("think",),
            "stray": "anywhere",
            "by_task": True,
            "formed": 0.5,
            "malformed": -1.0,
        },
        ({"stray": "some"}, {"optional": ("plan",)}, {"formed": float("nan")}),
    ),
    FormatTable: Case(
        FormatTable(),
        {
            "form": WellFormed(turn=None, last=None),
            "right": 2.0,
            "right_malformed": 0.7,
            "found": 0.3,
            "formed": 0.4,
            "answered": 0.15,
            "nothing": -1.0,
        },
        (),
        NO_GOLD,
    ),
    CoverageGain: Case(
        CoverageGain(),
        {"by": "similarity", "mode": "union"},
        ({"by": "title"}, {"mode": "max"}),
        ((BARE, MissingGold),),
    ),
    RepeatedDocuments: Case(
        RepeatedDocuments(), {"by": "text", "same_step": False, "more_than": 1}, ({"by": "title"},)
    ),
    SearchKeyMatch: Case(SearchKeyMatch(), {"over": "last", "digits": 1}, ({"over": "first"},), ((BARE, MissingGold),)),
    RankedGold: Case(
        RankedGold(value="rank", over="best_subset", eta=0.6, top=3),
        {
            "value": "ndcg",
            "k": 1,
            "fuse": "consensus_reversed",
            "over": "all",
            "most_queries": 1,
            "eta": 0.5,
            "first_exponent": 0,
            "top": 1,
            "bonus": 2.0,
        },
        ({"value": "mrr"}, {"k": 0}, {"fuse": "sum"}, {"over": "some"}, {"eta": -1.0}, {"first_exponent": 2}),
        ((BARE, MissingGold),),
    ),
    RepeatedQueries: Case(RepeatedQueries(by="ngrams"), {"by": "exact", "n": 1}, ({"by": "meaning"}, {"n": 0})),
    CallCount: Case(CallCount(), {}),
    HitRelevance: Case(HitRelevance(), {"scorer": Halves(), "join": "joined"}, ({"join": "mean"},), NO_GOLD),
    TaskNumber: Case(TaskNumber(), {"key": "share"}),
    SelfAssessment: Case(
        SelfAssessment(CoverageGain(mode="single"), threshold=0.5),
        {
            "reference": TaskNumber("share"),
            "span": "assessment",
            "threshold": 0.4,
            "inclusive": True,
            "true_yes": 1.0,
            "true_no": 0.2,
            "false_yes": -1.0,
            "false_no": 0.1,
            "unlabelled": 0.0,
            "yes": ("yes", "maybe"),
            "no": ("maybe",),
        },
        ({"yes": ("no",)},),
        ((BARE, MissingGold),),
    ),
    OverLong: Case(
        OverLong(10, 6), {"most": 12, "buffer": 3, "of": "words"}, ({"buffer": 0}, {"buffer": 11}, {"of": "lines"})
    ),
    ReachLength: Case(ReachLength(4.0), {"target": 2.0, "span": None, "digits": 1}, ({"target": 0.0},)),
    ToolCallMatch: Case(
        ToolCallMatch(),
        {"most": 1.0, "grain": "coarse", "matching": "greedy", "gold": "sub_questions", "values": "f1"},
        ({"most": 0.0}, {"grain": "rough"}, {"matching": "best"}, {"gold": "steps"}, {"values": "near"}),
        ((BARE, MissingGold),),
    ),
    SetJaccard: Case(SetJaccard(), {"of": "results"}, ({"of": "words"},), ((BARE, MissingGold),)),
    ExpansionRules: Case(
        ExpansionRules(), {"most": 1, "words": 2, "banned": ("bordering",)}, ({"most": 0}, {"words": 0})
    ),
    FoundRelevance: Case(FoundRelevance(), {}, (), ((BARE, MissingGold),)),
    MarginalGain: Case(
        MarginalGain(),
        {"function": Coverage("relevance", k=3), "new_only": True},
        (),
        ((BARE, MissingGold),),
    ),
    TextOverlap: Case(
        TextOverlap(),
        {"kind": "rouge_l", "orders": 2, "smooth": False, "brevity": "none", "against": "golds"},
        ({"kind": "meteor"}, {"orders": 0}, {"brevity": "closest"}, {"against": "pages"}),
        ((BARE, MissingGold),),
    ),
    GroupRescale: Case(
        GroupRescale(TokenF1()),
        {"reward": WellFormed(), "kind": "rank", "ddof": 0, "eps": 0.5},
        ({"kind": "median"}, {"ddof": -1}, {"eps": float("nan")}),
        NO_GOLD,
    ),
    WeightedSum: Case(
        WeightedSum(((1.0, ExactMatch()), (0.5, CoverageGain()), (1.0, Judged()))),
        {"terms": ((1.0, ExactMatch()), (0.4, CoverageGain())), "on_missing": "term"},
        ({"terms": ()}, {"terms": ((float("nan"), ExactMatch()),)}, {"on_missing": "zero"}),
        ((BARE, MissingGold),),
    ),
    Product: Case(Product((TokenF1(), WellFormed())), {"factors": (TokenF1(), Judged())}, ({"factors": ()},), NO_GOLD),
    Gate: Case(
        Gate(TokenF1(), MIXED, -1.0, 0.2),
        {"condition": WellFormed(), "then": SearchKeyMatch(), "otherwise": -0.5, "above": 0.8},
        ({"otherwise": float("nan")},),
        NO_GOLD,
    ),
    ReduceSteps: Case(
        ReduceSteps(CoverageGain(), "sum"),
        {"reward": RepeatedDocuments(), "kind": "max", "discount": 0.5, "empty": 0.25},
        ({"kind": "median"}, {"threshold": 0.5}, {"kind": "max", "discount": 0.5}, {"kind": "count_below"}),
        ((BARE, MissingGold),),
    ),
    OnLastStep: Case(OnLastStep(TokenF1()), {"reward": ExactMatch()}, (), NO_GOLD),
    Clip: Case(Clip(TokenF1(), 0.1, 0.6), {"reward": ExactMatch(), "low": 0.2, "high": 0.5}, ({"low": 0.7},), NO_GOLD),
    Placed: Case(Placed(CoverageGain(), "end"), {"reward": ExactMatch(), "at": "think"}, (), ((BARE, MissingGold),)),
    Similarity: Case(
        Similarity(Scattered()),
        {
            "encoder": NGRAMS,
            "of": "question",
            "to": "gold_texts",
            "first": 1,
            "over": "max",
            "clamp": True,
            "empty": "skipped",
        },
        ({"of": "title"}, {"to": "query"}, {"first": 0}, {"over": "sum"}, {"empty": "one"}),
    ),
    Decomposition: Case(
        Decomposition(Scattered()),
        {"encoder": NGRAMS, "peak": 0.5, "width": 0.4, "mix": 0.3, "bounds": "none"},
        ({"width": 0.0}, {"mix": 1.5}, {"peak": 2.0}, {"bounds": "clip"}),
    ),
    Residual: Case(
        Residual(TokenF1(), WellFormed(), 0.2),
        {"outcome": ExactMatch(), "process": Judged(), "beta": 0.1},
        ({"beta": float("nan")},),
        NO_GOLD,
    ),
    FormatLayer: Case(
        FormatLayer(TokenF1()),
        {
            "reward": ExactMatch(),
            "form": WellFormed(turn=None, last=None),
            "structure": 0.15,
            "final": 0.05,
            "retrieval": 0.2,
        },
        (),
        NO_GOLD,
    ),
    QueryGain: Case(
        QueryGain(CosineTo(NGRAMS)),
        {"measure": CosineTo(NGRAMS, texts="golds"), "scale": 5.0, "fail": -2.0, "of": "answer"},
        ({"fail": float("nan")}, {"of": "title"}),
        ((BARE, MissingGold),),
    ),
    Named: Case(Named(MIXED, "mix"), {"reward": ExactMatch(), "name": "sum"}, (), NO_GOLD),
}
MORE = (  # further instances that must keep the contract
    CoverageGain(by="answer", mode="single"),
    CoverageGain(by="similarity"),
    RepeatedDocuments(by="text", more_than=0),
    ReduceSteps(CoverageGain(mode="single"), "count_below", threshold=0.4),
    RankedGold(),
    RankedGold(value="rank"),
    ReduceSteps(RepeatedDocuments(), "last", empty=0.0),
    WeightedSum(((1.0, ExactMatch()), (1.0, Judged())), on_missing="term"),
    0.5 * (ExactMatch() - 0.2 * RepeatedDocuments()).named("both") + Gate(WellFormed(), MIXED, -1.0),
    Gate(CoverageGain(mode="union"), RepeatedDocuments(), 0.3, 0.4),
    ToolCallMatch(grain="refined", gold="sub_questions", values="f1"),
    0.5 * ToolCallMatch(grain="intermediate", matching="greedy") + WellFormed(formed=0.0, malformed=-1.0),
    SetJaccard(of="results"),
    MarginalGain(Coverage("relevance", k=1), new_only=True),
    Gate(ExpansionRules(), 0.5 * FoundRelevance() + 0.5 * ReduceSteps(MarginalGain(), "sum", empty=0.0), -1.0),
    TextOverlap(kind="f1", against="golds"),
    0.5 * GroupRescale(TextOverlap()) + 0.5 * GroupRescale(Judged(), "max"),
    GroupRescale(TokenF1() + Judged(), "min_max"),
    Placed(ExactMatch(), "query") + Placed(CoverageGain(), "think"),
    Similarity(NGRAMS, "answer", "golds", clamp=True),
    Decomposition(HashedNgrams(unit="character", longest=3), bounds="none"),
    Residual(ExactMatch(), ReduceSteps(Similarity(NGRAMS), "mean", empty=0.0) + 0.5 * Judged(), 0.2),
    FormatLayer(Residual(ExactMatch(), Judged())),
    ReduceSteps(QueryGain(CosineTo(NGRAMS)), "last", empty=-1.0),
)
REWARDS = (*(case.reward for case in CASES.values()), *MORE)


def registered() -> set[type[Reward]]:
    """Every reward class of the rewards' room, found by importing all of it (a bench elsewhere may bring its own)."""
    for module in pkgutil.iter_modules(workbench.rewards.__path__):
        importlib.import_module(f"workbench.rewards.{module.name}")
    made = {cls for cls in PARTS.values() if issubclass(cls, Reward)}
    return {cls for cls in made if cls.__module__.startswith(f"{workbench.rewards.__name__}.")}


def same(one: list[Scores], other: list[Scores]) -> bool:
    return len(one) == len(other) and all(a.same_as(b) for a, b in zip(one, other, strict=True))


def effects(reward: Reward) -> list[Any]:
    """All that a reward does to the probes: scores, reasons, names of terms, and where they land among the tokens."""
    scores = [*zip(PROBES, reward(GROUP), strict=True)]
    if not reward.grouped and "sub_questions" not in reward.needs:
        scores += [(trajectory, reward(trajectory)) for trajectory in EXTRA if reward.needs <= {"golds"}]
    tokens = [place(one, trajectory, reward.place).round(12).tolist() for trajectory, one in scores]
    parts = [[(term.name, term.weight, term.place) for term in one.parts] for _, one in scores]
    values = [one.values_S.tolist() for _, one in scores]
    return [repr(values), repr(tokens), repr(parts)]


by_repr = pytest.mark.parametrize("reward", REWARDS, ids=repr)
by_case = pytest.mark.parametrize("case", CASES.values(), ids=[cls.__name__ for cls in CASES])


# ---------------------------------------------------------------- the contract


def test_every_registered_reward_has_a_case():
    assert registered() == set(CASES), "give each new reward an entry in CASES"


def test_every_reward_is_exported_by_its_room():
    assert {cls.__name__ for cls in CASES} <= set(workbench.rewards.__all__)


@by_repr
def test_scores_have_the_declared_level_and_length(reward):
    for trajectory, scores in zip(PROBES, reward(GROUP), strict=True):
        assert scores.level == reward.level
        assert len(scores) == length_of(reward.level, trajectory)


@by_repr
def test_only_what_is_scored_has_a_value_and_parts_add_up(reward):
    for scores in reward(GROUP):
        np.testing.assert_array_equal(np.isnan(scores.values_S), scores.status_S != Status.SCORED)
        assert set(scores.status_S) <= set(Status)
        if scores.parts and not np.isnan(scores.total):
            whole = sum(term.weight * np.nansum(term.scores.values_S) for term in scores.parts)
            assert scores.total == pytest.approx(whole)


@by_repr
def test_every_scored_value_comes_with_a_reason(reward):
    for scores in reward(GROUP):
        for value, why in zip(scores.values_S, scores.why_S, strict=True):
            assert why or np.isnan(value)


@by_repr
def test_values_stay_in_the_declared_range(reward):
    low, high = reward.range
    for scores in reward(GROUP):
        scored = scores.values_S[~np.isnan(scores.values_S)]
        assert ((scored >= low - 1e-12) & (scored <= high + 1e-12)).all()


@by_repr
def test_totals_stay_in_the_declared_bounds(reward):
    for trajectory, scores in zip(PROBES, reward(GROUP), strict=True):
        bounds = [reward.totals(right, len(trajectory.steps)) for right in (True, False)]
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        assert np.isnan(scores.total) or low - 1e-9 <= scores.total <= high + 1e-9


@by_repr
def test_a_right_answer_stays_in_the_bounds_of_right_ones_and_junk_in_those_of_wrong_ones(reward):
    junk = replace(RIGHT, id="junk", steps=(*RIGHT.steps[:-1], a_step("junk", answer="qwerty", tokens=4)))
    for right, trajectory in ((True, RIGHT), (False, junk)):
        low, high = reward.totals(right, len(trajectory.steps))
        [scores] = reward(Group((trajectory,)))
        assert np.isnan(scores.total) or low - 1e-9 <= scores.total <= high + 1e-9


@by_repr
def test_the_input_is_not_changed_and_the_same_input_scores_the_same(reward):
    before = copy.deepcopy(GROUP)
    first, second = reward(GROUP), reward(GROUP)
    assert before == GROUP
    assert same(first, second)


@by_repr
def test_a_trajectory_scores_the_same_alone_as_in_its_group_unless_siblings_are_compared(reward):
    if reward.grouped:
        with pytest.raises(LevelError, match="compares siblings"):
            reward(RIGHT)
    else:
        assert same([reward(trajectory) for trajectory in PROBES], reward(GROUP))


@by_repr
def test_it_goes_into_the_store_and_comes_back(reward):
    back = loads(dumps(reward))
    assert back == reward
    assert dumps(back) == dumps(reward)
    assert same(back(GROUP), reward(GROUP))


@by_repr
def test_its_repr_is_the_formula_that_makes_it(reward):
    assert read_reward(repr(reward)) == reward


@by_repr
def test_a_causal_reward_scores_a_prefix_as_inside_the_whole(reward):
    if not reward.causal:
        return
    for trajectory, scores in zip(PROBES, reward(GROUP), strict=True):
        for cut in range(len(trajectory.steps)):
            prefix = replace(trajectory, steps=trajectory.steps[:cut], end=End.TRUNCATED)
            np.testing.assert_array_equal(reward(prefix).values_S, scores.values_S[:cut])


@by_repr
def test_what_it_needs_is_a_known_word(reward):
    known = {"golds", "gold_pages", "gold_texts", "gold_calls", "references", "sub_questions", "rubrics"}
    known |= {"judge", "encoder", "tokens"}
    assert reward.needs <= known


@by_case
def test_every_field_has_an_effect(case):
    fields = {field.name for field in dataclasses.fields(case.reward)}
    tried = set(case.others)
    if isinstance(case.reward, ReduceSteps):
        tried.add("threshold")  # only with kind="count_below", see MORE
    assert fields == tried, "name another value for each field"
    for name, value in case.others.items():
        assert effects(replace(case.reward, **{name: value})) != effects(case.reward), f"{name} changes nothing"


def test_the_threshold_of_reduce_steps_has_an_effect():
    counting = ReduceSteps(CoverageGain(mode="single"), "count_below", threshold=0.4)
    assert effects(replace(counting, threshold=0.6)) != effects(counting)


@by_case
def test_settings_outside_what_is_allowed_are_refused(case):
    for settings in case.bad_settings:
        with pytest.raises(SettingError, match=r"\w"):
            replace(case.reward, **settings)


@by_case
def test_bad_input_is_refused_as_documented(case):
    for trajectory, error in case.bad_inputs:
        with pytest.raises(error, match=repr(trajectory.task.id)):
            case.reward(Group((trajectory,)))
    if case.bad_inputs and not isinstance(case.reward, Wrapper):
        assert "Raises:" in (inspect.getdoc(type(case.reward)) or "") or hasattr(case.reward, "inner")
