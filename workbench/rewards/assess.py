"""What the agent says of its own work, held against what is so: `SelfAssessment`, and two references for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from workbench.errors import LevelError, SettingError
from workbench.protocols import PairScorer
from workbench.rewards.answers import normalized_golds
from workbench.rewards.evidence import is_search, seen_hits, seen_text
from workbench.rewards.reward import Reward
from workbench.scores import Level, Scores, Status
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Step, Task, Trajectory


@part
class HitRelevance(Reward):
    """How well what a search brought bears on the answer, in [0, 1]: the best of its pages, over the golds.

    Without a `scorer`, a page in which a gold stands word for word has 1, another the share of the gold's words that
    it holds. ReSeek (arXiv:2510.00568) asks a reranker, ``bge-reranker-large`` with a sigmoid.

    A step that makes no search is not applicable; a search that brought nothing has 0. Where the scorer gives NaN it
    has failed, and the step is missing.

    Raises:
        MissingGold: the task has no golds, or one that normalises to nothing.
    """

    _: KW_ONLY
    scorer: PairScorer | None = None
    join: Literal["max", "joined"] = "max"  # each page alone, the best counts; or all pages as one text

    level = Level.STEP
    range = (0.0, 1.0)
    causal = True
    needs = frozenset({"golds"})

    def __post_init__(self) -> None:
        if self.join not in ("max", "joined"):
            raise SettingError(f"join is 'max' or 'joined', got {self.join!r}")

    def score(self, trajectory: Trajectory) -> Scores:
        golds = normalized_golds(trajectory.task, self.name)
        scores = Scores.unscored(len(trajectory.steps))
        for s, step in enumerate(trajectory.steps):
            if not is_search(step):
                continue
            texts = [f"{hit.title} {seen_text(hit)}" for hit in seen_hits(step)]
            texts = [" ".join(texts)] if texts and self.join == "joined" else texts
            if not texts:
                scores.set(s, 0.0, "nothing found")
                continue
            best, gold = self._best(texts, trajectory.task, golds)
            if math.isnan(best):
                scores.miss(s, "the scorer failed")
            else:
                scores.set(s, best, f"{best:.3g} for {gold!r}")
        return scores

    def _best(self, texts: Sequence[str], task: Task, golds: Sequence[str]) -> tuple[float, str]:
        if self.scorer is None:
            given = [normalize_answer(text) for text in texts]
            return max((gold_overlap(text, gold), gold) for text in given for gold in golds)
        pairs = [(text, gold) for text in texts for gold in task.golds]
        found = np.asarray(self.scorer([text for text, _ in pairs], [gold for _, gold in pairs]), dtype=np.float64)
        return float(found.max()), pairs[int(found.argmax())][1]  # NaN wins both


def gold_overlap(text: str, gold: str) -> float:
    """1 where the gold's words stand in the text as they are, else the share of them that it holds; both normalised."""
    if f" {gold} " in f" {text} ":
        return 1.0
    held, words = set(text.split()), gold.split()
    return sum(word in held for word in words) / len(words) if len(words) > 1 else 0.0


@part
class TaskNumber(Reward):
    """A number that is known of the task, whatever the agent does: ``task.extras[key]``, such as its pass rate.

    Missing where the task carries none, or NaN.
    """

    key: str = "pass_rate"

    def score(self, trajectory: Trajectory) -> Scores:
        task = trajectory.task
        value = task.extras.get(self.key)
        if not isinstance(value, int | float) or math.isnan(value):
            return Scores.missing(f"task {task.id!r} carries no number as extras[{self.key!r}], got {value!r}")
        return Scores.trajectory(float(value), f"{self.key} of the task")


@dataclass(frozen=True)
class Assessment:
    """A yes or no that was due: what was said (None: neither), and what is so (None: the reference failed)."""

    step: int
    said: bool | None
    truth: bool | None
    why: str


@part
class SelfAssessment(Reward):
    """Pay the agent's own yes or no, in a span of its turn, by whether it is right.

    | says | `reference` above `threshold` | pays |
    |---|---|---|
    | yes | yes | `true_yes` |
    | yes | no | `false_yes` |
    | no | yes | `false_no` |
    | no | no | `true_no` |

    With a reference per step, each step that it scores is to be assessed once, in a later turn and before the next
    such step is over; the defaults are ReSeek's (arXiv:2510.00568), which judges every search. With a reference per
    trajectory there is one assessment, as in AdaSearch (arXiv:2512.16883), where the agent says whether it knows::

        SelfAssessment(TaskNumber("pass_rate"), span="assessment", threshold=0.5, inclusive=True,
                       true_yes=1.0, true_no=1.0, false_yes=0.0, false_no=0.0, unlabelled=0.0)

    Only the first turn with the span counts, so that saying it twice pays once. A turn that says both, or something
    else, is like one that says nothing. Where the reference is missing, so is the pay of what was said.

    Raises:
        MissingGold: as the reference.
        LevelError: the reference compares siblings or scores tokens.
    """

    reference: Reward = HitRelevance()
    _: KW_ONLY
    span: str = "judge"
    threshold: float = 0.7  # reward units of the reference
    inclusive: bool = False  # a reference of exactly `threshold` is a yes
    true_yes: float = 0.3
    true_no: float = 0.3
    false_yes: float = -0.6
    false_no: float = -0.3
    unlabelled: float | None = None  # where an assessment was due and none can be read; None: not applicable
    yes: tuple[str, ...] = ("yes",)  # what counts as a yes, after normalising
    no: tuple[str, ...] = ("no",)

    level = Level.STEP

    def __post_init__(self) -> None:
        if self.reference.grouped or self.reference.levels not in ({Level.STEP}, {Level.TRAJECTORY}):
            raise LevelError(f"a reference scores steps or a trajectory, alone; got {self.reference!r}")
        if both := set(self.yes) & set(self.no):
            raise SettingError(f"{sorted(both)} cannot mean both yes and no")

    @property
    def needs(self) -> frozenset[str]:
        return self.reference.needs

    @property
    def causal(self) -> bool:
        """A step that is never assessed is paid `unlabelled` once that is certain: at its end, for a prefix."""
        return self.reference.causal and self.unlabelled is None

    @property
    def range(self) -> tuple[float, float]:
        cells = [self.true_yes, self.true_no, self.false_yes, self.false_no]
        cells += [] if self.unlabelled is None else [self.unlabelled]
        return min(cells), max(cells)

    def score(self, trajectory: Trajectory) -> Scores:
        scores = Scores.unscored(len(trajectory.steps))
        for one in self.assessments(trajectory):
            if one.said is None and self.unlabelled is None:
                scores.skip(one.step, one.why)
            elif one.said is None:
                scores.set(one.step, float(self.unlabelled or 0.0), one.why)
            elif one.truth is None:
                scores.miss(one.step, one.why)
            else:
                scores.set(one.step, self._pay(one.said, one.truth), one.why)
        return scores

    def assessments(self, trajectory: Trajectory) -> list[Assessment]:
        """Every assessment that was due, for `workbench.evaluation.decision_report`."""
        reference = self.reference(trajectory)
        return [self._assessment(trajectory, reference, at, due) for at, due in self._due(trajectory, reference)]

    def _due(self, trajectory: Trajectory, reference: Scores) -> Iterator[tuple[int, Sequence[int]]]:
        """Places of the reference, each with the steps in which it may be assessed."""
        count = len(trajectory.steps)
        if reference.level.single:
            places, edges = [0], [-1, count - 1]
        else:
            places = np.flatnonzero(reference.status_S != Status.NOT_APPLICABLE).tolist()
            edges = [*places, count - 1]
        for at, first, last in zip(places, edges, edges[1:], strict=False):
            if last > first:
                yield at, range(first + 1, last + 1)

    def _assessment(self, trajectory: Trajectory, reference: Scores, at: int, due: Sequence[int]) -> Assessment:
        step = next((s for s in due if self._labels(trajectory.steps[s])), due[0])
        said = self._said(trajectory.steps[step])
        words = {True: "said yes", False: "said no", None: "said neither yes nor no"}[said]
        value, why = float(reference.values_S[at]), reference.why_S[at]
        if math.isnan(value):
            return Assessment(step, said, None, f"{words}; {why or 'the reference does not apply'}")
        truth = value > self.threshold or (self.inclusive and value == self.threshold)
        return Assessment(step, said, truth, f"{words}; it is {'yes' if truth else 'no'} ({why})")

    def _labels(self, step: Step) -> set[str]:
        return {normalize_answer(span.text) for span in step.spans if span.name == self.span}

    def _said(self, step: Step) -> bool | None:
        labels = self._labels(step)
        if labels and labels <= set(self.yes):
            return True
        return False if labels and labels <= set(self.no) else None

    def _pay(self, said: bool, truth: bool) -> float:
        if said:
            return self.true_yes if truth else self.false_yes
        return self.false_no if truth else self.true_no
