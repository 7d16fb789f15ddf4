"""Rewards that compare texts by their vectors: what they share (`Encodes`), and `Similarity` of two texts of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Literal

import numpy as np

from workbench.encoding import encode
from workbench.errors import EngineError, MissingGold, SettingError
from workbench.protocols import Encoder
from workbench.rewards.evidence import seen_text
from workbench.rewards.reward import Reward, length_of
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Call, Group, Step, Task, Trajectory

ENCODER_FAILED = (EngineError, ConnectionError, TimeoutError)
"""What an encoder that is away or broken raises: the score is then missing."""

Rows = Mapping[str, np.ndarray]
"""Vectors [d] by text."""


class Encodes(Reward):
    """Base of rewards that need vectors: `texts` says of which texts, `score_with` scores with them.

    All texts of a group are encoded in one call, each once. An encoder that fails makes the scores missing.
    """

    encoder: Encoder

    def texts(self, trajectory: Trajectory) -> list[str]:
        """The texts whose vectors `score_with` will look up."""
        raise NotImplementedError

    def score_with(self, trajectory: Trajectory, rows: Rows) -> Scores:
        raise NotImplementedError

    def score(self, trajectory: Trajectory) -> Scores:
        return self._scored([trajectory])[0]

    def score_group(self, group: Group) -> list[Scores]:
        return self._scored(list(group))

    def _scored(self, trajectories: Sequence[Trajectory]) -> list[Scores]:
        wanted = [self.texts(trajectory) for trajectory in trajectories]
        try:
            rows = rows_of(self.encoder, [text for texts in wanted for text in texts])
        except ENCODER_FAILED as error:
            return [self._missing(trajectory, error) for trajectory in trajectories]
        return [self.score_with(trajectory, rows) for trajectory in trajectories]

    def _missing(self, trajectory: Trajectory, error: Exception) -> Scores:
        why = f"the encoder failed: {type(error).__name__}: {error}"
        return Scores.missing(why, length_of(self.level, trajectory), level=self.level)


def rows_of(encoder: Encoder, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """The vector of each text."""
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, encode(encoder, distinct), strict=True)) if distinct else {}


OF_A_CALL = ("query", "documents")
OF_A_STEP = ("thought", "answer")
OF_THE_TASK = ("question", "golds", "gold_texts")
NAMES = (*OF_A_CALL, *OF_A_STEP, *OF_THE_TASK)

Named = Literal["query", "documents", "thought", "answer", "question", "golds", "gold_texts"]


@part
class Similarity(Encodes):
    """Cosine of two texts of a step: of its query and the documents it brought, its query and the question, its
    answer and the golds.

    With a query or documents on one side, each search of the step is compared by itself and the step is paid the mean
    over its searches; a search that brought no document scores 0. A step without one of the two texts is not
    applicable. `over` joins the cosines where a side has several texts.

    ``ReduceSteps(Similarity(encoder, "query", "documents", first=3), "mean", empty=0.0)`` is SubSearch's answerability
    (arXiv:2604.07415, ``qa_em.py``). Its released parser steps over a search that brought nothing, as if it had not
    been made: ``empty="skipped"``.

    Raises:
        MissingGold: the task lacks the golds or gold texts that are compared with.
    """

    encoder: Encoder
    of: Named = "query"
    to: Named = "documents"
    _: KW_ONLY
    first: int | None = None  # only so many documents of a search, best first; None: all
    over: Literal["mean", "max"] = "mean"
    clamp: bool = False  # a cosine below 0 counts as 0
    empty: Literal["zero", "skipped"] = "zero"  # a search that brought nothing: 0, or as if it had not been made

    level = Level.STEP
    causal = True

    def __post_init__(self) -> None:
        if self.of not in NAMES or self.to not in NAMES or self.of == self.to:
            raise SettingError(f"of and to are two of {', '.join(NAMES)}; got {self.of!r} and {self.to!r}")
        if not {self.of, self.to} - set(OF_THE_TASK):
            raise SettingError(f"one of the two texts must be the agent's; got {self.of!r} and {self.to!r}")
        if self.over not in ("mean", "max") or self.empty not in ("zero", "skipped"):
            raise SettingError(f"over is mean or max and empty zero or skipped; got {self.over!r} and {self.empty!r}")
        if self.first is not None and self.first < 1:
            raise SettingError(f"first is at least 1 document, or None for all; got {self.first}")

    @property
    def range(self) -> tuple[float, float]:
        return 0.0 if self.clamp else -1.0, 1.0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"encoder"}) | ({self.of, self.to} & {"golds", "gold_texts"})

    def texts(self, trajectory: Trajectory) -> list[str]:
        pairs = [pair for step in trajectory.steps for pair in self._pairs(step, trajectory.task)]
        return [text for pair in pairs for side in pair for text in side]

    def score_with(self, trajectory: Trajectory, rows: Rows) -> Scores:
        scores = Scores.unscored(len(trajectory.steps))
        for s, step in enumerate(trajectory.steps):
            if pairs := list(self._pairs(step, trajectory.task)):
                values = [self._cosine(ones, others, rows) for ones, others in pairs]
                scores.set(s, float(np.mean(values)), self._why(values))
        return scores

    def _why(self, values: Sequence[float]) -> str:
        return f"{self.of} and {self.to}: {', '.join(f'{value:.3g}' for value in values)}"

    def _cosine(self, ones: Sequence[str], others: Sequence[str], rows: Rows) -> float:
        if not ones or not others:
            return 0.0
        cosines = np.clip([[rows[one] @ rows[other] for other in others] for one in ones], self.range[0], 1.0)
        return float(cosines.mean() if self.over == "mean" else cosines.max())

    def _pairs(self, step: Step, task: Task) -> Iterator[tuple[list[str], list[str]]]:
        """The texts of either side, for each search or, where neither side belongs to one, for the step."""
        calls: list[Call | None] = [None]
        if {self.of, self.to} & set(OF_A_CALL):
            calls = [call for call in step.calls if call.valid and ("query" in call.arguments or call.hits)]
        for call in calls:
            ones, others = self._side(self.of, step, call, task), self._side(self.to, step, call, task)
            found = {self.of: ones, self.to: others}
            nothing = self.empty == "skipped" and not found.get("documents", True)
            if not nothing and all(found[name] for name in found if name in OF_A_STEP):
                yield ones, others

    def _side(self, name: str, step: Step, call: Call | None, task: Task) -> list[str]:
        if call is not None and name == "query":
            return [call.query] if call.query else []
        if call is not None and name == "documents":
            seen = [hit for hit in call.hits if hit.shown != 0]
            return [f"{hit.title} {seen_text(hit)}" for hit in seen[: self.first]]
        if name in OF_A_STEP:
            said = step.span("think" if name == "thought" else "answer")
            return [said] if said else []
        return texts_of_task(task, name, type(self).__name__)


def texts_of_task(task: Task, name: str, who: str) -> list[str]:
    """The question, the golds or the gold texts of a task.

    Raises:
        MissingGold: there are none.
    """
    if name == "question":
        return [task.question]
    found = list(task.golds if name == "golds" else task.extras.get("gold_texts", ()))
    if not any(found):
        where = "golds" if name == "golds" else "extras['gold_texts']"
        raise MissingGold(f"task {task.id!r} has no {where}; {who} needs at least one text there")
    return [text for text in found if text]
