"""Rewards for the final answer: `ExactMatch` and `TokenF1`.

The answer is the one of the trajectory (`Trajectory.answer`), read from what the agent wrote. The published code of
Search-R1 searches prompt and response together and therefore asks for two matches; that cannot go wrong here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import KW_ONLY
from typing import Literal

from workbench.errors import MissingGold, SettingError
from workbench.rewards.reward import Reward
from workbench.scores import Scores
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Task, Trajectory

MATCHES = ("equal", "contained", "contains_gold")


@part
class ExactMatch(Reward):
    """1 where the normalised answer matches a normalised gold, else `wrong`; 0 where no answer was given.

    `match` says what counts: the answer is ``"equal"`` to a gold (Search-R1's EM), is ``"contained"`` in one, or
    ``"contains_gold"`` (its sub-EM). Source: Search-R1 (arXiv:2503.09516), ``qa_em.py``.

    Raises:
        MissingGold: the task has no golds, or one that normalises to nothing ("The") and would match anything.
    """

    _: KW_ONLY
    match: Literal["equal", "contained", "contains_gold"] = "equal"
    wrong: float = 0.0  # for an answer that was given and is wrong (Search-R1's format_score)

    needs = frozenset({"golds"})

    def __post_init__(self) -> None:
        if self.match not in MATCHES:
            raise SettingError(f"match must be one of {', '.join(MATCHES)}, got {self.match!r}")
        if not math.isfinite(self.wrong):
            raise SettingError(f"wrong must be a finite number, got {self.wrong}")

    @property
    def range(self) -> tuple[float, float]:
        return min(0.0, self.wrong), max(1.0, self.wrong)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return (1.0, 1.0) if right else (min(0.0, self.wrong), max(0.0, self.wrong))

    def score(self, trajectory: Trajectory) -> Scores:
        golds = normalized_golds(trajectory.task, self.name)
        if trajectory.answer is None:
            return Scores.trajectory(0.0, no_answer(trajectory))
        given = normalize_answer(trajectory.answer)
        matched = next((gold for gold in golds if self._matches(given, gold)), None)
        if matched is None:
            return Scores.trajectory(self.wrong, f"{trajectory.answer!r} matches none of {list(trajectory.task.golds)}")
        return Scores.trajectory(1.0, f"{trajectory.answer!r} matches {matched!r}")

    def _matches(self, given: str, gold: str) -> bool:
        if self.match == "equal":
            return given == gold
        return gold in given if self.match == "contains_gold" else bool(given) and given in gold


@part
class TokenF1(Reward):
    """Word overlap of answer and gold as F1, the best over the golds; 0 where no answer was given.

    Words are those of the normalised texts, counted with their repeats. Source: SQuAD's script; with
    ``yes_no=False, digits=4`` it is StepSearch's answer score (arXiv:2505.15107, ``qa_step.py``).

    Raises:
        MissingGold: as `ExactMatch`.
    """

    _: KW_ONLY
    yes_no: bool = True  # where either text is yes, no or noanswer, only equality counts (HotpotQA's script)
    digits: int | None = None  # round to this many digits; None: do not
    threshold: float | None = None  # pay 1 from this F1 on and 0 below; None: pay the F1

    range = (0.0, 1.0)
    needs = frozenset({"golds"})

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        return (1.0, 1.0) if right else (0.0, 0.0)

    def score(self, trajectory: Trajectory) -> Scores:
        golds = normalized_golds(trajectory.task, self.name)
        if trajectory.answer is None:
            return Scores.trajectory(0.0, no_answer(trajectory))
        given = normalize_answer(trajectory.answer)
        best, gold = max((self._f1(given, gold), gold) for gold in golds)
        value = best if self.threshold is None else float(best >= self.threshold)
        return Scores.trajectory(value, f"F1 {best:.4g} of {trajectory.answer!r} with {gold!r}")

    def _f1(self, given: str, gold: str) -> float:
        if self.yes_no and given != gold and {given, gold} & {"yes", "no", "noanswer"}:
            return 0.0
        value = token_f1(given, gold)
        return value if self.digits is None else round(value, self.digits)


def token_f1(given: str, gold: str) -> float:
    """F1 in [0, 1] of the words of two normalised texts, repeats counted; 0 where nothing is shared."""
    given_words, gold_words = given.split(), gold.split()
    shared = (Counter(given_words) & Counter(gold_words)).total()
    return 2.0 * shared / (len(given_words) + len(gold_words)) if shared else 0.0


def normalized_golds(task: Task, who: str) -> list[str]:
    """The normalised golds of a task.

    Raises:
        MissingGold: there are none, or one normalises to nothing.
    """
    if not task.golds:
        raise MissingGold(f"task {task.id!r} has no golds; {who} needs at least one")
    golds = [normalize_answer(gold) for gold in task.golds]
    if "" in golds:
        raise MissingGold(
            f"gold {task.golds[golds.index('')]!r} of task {task.id!r} normalises to nothing and would match an empty "
            "answer; take it out or write it in full"
        )
    return golds


def no_answer(trajectory: Trajectory) -> str:
    """The reason that goes with a score for no answer."""
    reason = f": {trajectory.end_reason}" if trajectory.end_reason else ""
    return f"no answer ({trajectory.end.value}{reason})"
