"""`FormatLayer`: what form and findings add to a reward or take from it, by SubSearch's table."""

from __future__ import annotations

import itertools
from dataclasses import KW_ONLY, replace

from workbench.errors import LevelError
from workbench.rewards.answers import normalized_golds
from workbench.rewards.compose import one_level
from workbench.rewards.formats import WellFormed, gold_shown
from workbench.rewards.reward import Reward, Wrapper
from workbench.scores import Scores, Status
from workbench.spec import part
from workbench.trajectory import Trajectory

SLIGHT = 1e-9
"""An R just above 0, where the table pays least."""


@part
class FormatLayer(Wrapper):
    """A reward R of a trajectory under a layer of form: well formed or not, gold seen or not.

    | answer | R above 0 | well formed | a gold stands in what the tool showed | pays |
    |---|---|---|---|---|
    | yes | yes | yes | yes | min(1, R + `retrieval`) |
    | yes | yes | yes | no | R |
    | yes | yes | no | | max(0, R - `structure`) |
    | yes, R not above 0, or none | | yes | yes | `structure` + `retrieval` |
    | the same | | yes | no | `structure` |
    | yes | no | no | | `final` |
    | none | | no | | 0 |

    R is not rewarded in order: a small R above 0 pays less than R = 0 (`reversals` lists where). Source: SubSearch
    (arXiv:2604.07415, ``qa_em_format.py``).

    Raises:
        MissingGold: as `ExactMatch`.
    """

    reward: Reward
    _: KW_ONLY
    form: WellFormed = WellFormed()
    structure: float = 0.2
    final: float = 0.1
    retrieval: float = 0.1

    def __post_init__(self) -> None:
        one_level("FormatLayer", self.reward)
        if not self.reward.level.single:
            raise LevelError(f"FormatLayer takes a reward of a trajectory, got {self.reward!r}; see ReduceSteps")

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def needs(self) -> frozenset[str]:
        return self.reward.needs | {"golds"}

    @property
    def range(self) -> tuple[float, float]:
        cells = (0.0, self.structure, self.final, self.structure + self.retrieval)
        high = self.reward.range[1]
        return min(cells), max(*cells, min(1.0, high + self.retrieval), high, high - self.structure)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        low, high = self.reward.totals(right, steps)
        values = {low, high, *((0.0, SLIGHT) if low <= 0.0 < high else ())}
        cells = itertools.product(values, (True,) if right else (True, False), (True, False), (True, False))
        paid = [self.paid(value, answered=given, formed=formed, hit=hit) for value, given, formed, hit in cells]
        return min(paid), max(paid)

    @property
    def concerns(self) -> tuple[str, ...]:
        return tuple(f"{self.name} is not in order: {says}." for says in self.reversals())

    def change(self, scores: Scores, trajectory: Trajectory) -> Scores:
        if scores.status_S[0] != Status.SCORED:
            return replace(scores, parts=())
        formed = not self.form.violations(trajectory)
        hit = gold_shown(trajectory, normalized_golds(trajectory.task, self.name))
        answered = trajectory.answer is not None
        value = self.paid(scores.value, answered=answered, formed=formed, hit=hit)
        facts = [("answered", answered), ("well formed", formed), ("gold seen", hit)]
        told = ", ".join(name if holds else f"not {name}" for name, holds in facts)
        return Scores.trajectory(value, f"{told}; {scores.why_S[0]}", level=self.level)

    def paid(self, value: float, *, answered: bool, formed: bool, hit: bool) -> float:
        """What the table says."""
        if answered and value > 0:
            if not formed:
                return max(0.0, value - self.structure)
            return min(1.0, value + self.retrieval) if hit else value
        if formed:
            return self.structure + (self.retrieval if hit else 0.0)
        return self.final if answered else 0.0

    def reversals(self) -> list[str]:
        """Where an answer whose R is above 0 is paid less than one whose R is 0, a sentence each."""
        found = []
        for formed, hit in ((True, True), (True, False), (False, True)):
            nothing = self.paid(0.0, answered=True, formed=formed, hit=hit)
            gained = self.retrieval if hit and formed else 0.0 if formed else -self.structure
            below = nothing - gained
            if below > 0:
                what = ("well formed, gold seen" if hit else "well formed, gold not seen") if formed else "malformed"
                found.append(f"{what}: an R of 0 pays {nothing:.3g}, any R between 0 and {below:.3g} pays less")
        return found
