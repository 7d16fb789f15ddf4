"""Rewards for form: `WellFormed` (a grammar of tagged blocks) and Search-R1's `FormatTable`."""

from __future__ import annotations

import math
import re
from dataclasses import KW_ONLY, fields
from typing import Literal

from workbench.errors import SettingError
from workbench.rewards.answers import normalized_golds
from workbench.rewards.reward import Reward
from workbench.scores import Scores
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Trajectory

BETTER = (
    ("right", "right_malformed", "only the first keeps the form"),
    ("found", "formed", "only the first saw a gold answer"),
    ("formed", "answered", "only the first keeps the form"),
    ("answered", "nothing", "only the first gave an answer"),
)
"""Cells of a `FormatTable`: the better one, the worse one, and why."""
STRAY = ("none", "before", "anywhere")


@part
class WellFormed(Reward):
    """`formed` where every turn is made of the right blocks in the right order, else `malformed`; the reason lists the
    violations.

    Each turn is read alone: all but the last must hold exactly the blocks of `turn`, the last those of `last`, each
    opened and closed once, none inside another. With tool results between the turns this is Search-R1's state machine
    think -> (search -> information -> think)* -> answer. The tool's own text is never read, so no page can break or
    mend the format. Source: Search-R1 (arXiv:2503.09516), ``qa_em_format.py``.

    StepSearch's gate, an answer with nothing after it, is ``WellFormed(turn=None, last=("answer",), stray="before")``.
    Where tasks differ in what their last turn must hold (a call, a reply, both), ``extras["blocks"]`` of the task
    lists its tags and takes the place of `last` (by_task=True; ToolRL, arXiv:2504.13958, ``rlla.py``).
    """

    _: KW_ONLY
    turn: tuple[str, ...] | None = ("think", "search")  # tags of a turn that calls a tool; None: anything goes
    last: tuple[str, ...] | None = ("think", "answer")  # tags of the last turn; None: anything goes
    optional: tuple[str, ...] = ()  # tags that may be absent
    stray: Literal["none", "before", "anywhere"] = "none"  # text outside blocks: none, not after the last block, or any
    by_task: bool = False  # the last turn holds the blocks that the task names, where it names some
    formed: float = 1.0  # reward units
    malformed: float = 0.0

    @property
    def range(self) -> tuple[float, float]:
        return min(self.formed, self.malformed), max(self.formed, self.malformed)

    def __post_init__(self) -> None:
        known = {*(self.turn or ()), *(self.last or ())}
        if self.stray not in STRAY:
            raise SettingError(f"stray must be one of {', '.join(STRAY)}, got {self.stray!r}")
        if unknown := sorted(set(self.optional) - known):
            raise SettingError(f"optional tags {unknown} stand in no turn; the turns have {sorted(known)}")
        if not (math.isfinite(self.formed) and math.isfinite(self.malformed)):
            raise SettingError(f"formed and malformed must be finite, got {self.formed} and {self.malformed}")

    def score(self, trajectory: Trajectory) -> Scores:
        found = self.violations(trajectory)
        return Scores.trajectory(self.malformed if found else self.formed, "; ".join(found) or "well formed")

    def violations(self, trajectory: Trajectory) -> list[str]:
        """What is wrong with the form, one short sentence each, turn by turn."""
        turns = len(trajectory.steps)
        if not turns:
            return ["no turn"]
        last = self.last
        if self.by_task and "blocks" in trajectory.task.extras:
            last = tuple(trajectory.task.extras["blocks"])
        asked = [self.turn] * (turns - 1) + [last]
        rows = zip(trajectory.steps, asked, strict=True)
        return [f"turn {s}: {what}" for s, (step, due) in enumerate(rows) for what in self._read(step.text, due)]

    def _read(self, text: str, due: tuple[str, ...] | None) -> list[str]:
        """Violations of one turn that must hold the blocks `due`."""
        if due is None:
            return []
        blocks, stray, wrong = blocks_of(text, frozenset({*(self.turn or ()), *(self.last or ()), *due}))
        if not _fits(blocks, due, self.optional):
            wrong.append(f"expected {' '.join(due)}, found {' '.join(blocks) or 'no block'}")
        late = [where for where, _ in stray if where == len(blocks)]
        if stray and (self.stray == "none" or (self.stray == "before" and late)):
            wrong.append(f"text outside the blocks: {stray[-1][1][:40]!r}")
        return wrong


def blocks_of(text: str, tags: frozenset[str]) -> tuple[list[str], list[tuple[int, str]], list[str]]:
    """Read tagged blocks.

    Returns:
        The tags of the complete blocks in order; the stretches of text outside them, each with how many blocks stand
        before it; and the errors (a tag that opens, closes or nests wrongly; reading ends at the first).
    """
    blocks: list[str] = []
    stray: list[tuple[int, str]] = []
    inside = ""
    names = "|".join(re.escape(tag) for tag in sorted(tags))
    for piece in re.split(rf"(</?(?:{names})>)", text) if tags else [text]:
        tag = piece.strip("</>") if re.fullmatch(rf"</?(?:{names})>", piece) and tags else ""
        if tag and piece.startswith("</"):
            if tag != inside:
                return blocks, stray, [f"unexpected {piece}"]
            blocks.append(tag)
            inside = ""
        elif tag:
            if inside:
                return blocks, stray, [f"{piece} inside <{inside}>"]
            inside = tag
        elif piece.strip() and not inside:
            stray.append((len(blocks), piece.strip()))
    return blocks, stray, [f"<{inside}> is not closed"] if inside else []


def _fits(blocks: list[str], due: tuple[str, ...], optional: tuple[str, ...]) -> bool:
    pattern = "".join(f"(?:{re.escape(tag)} ){'?' if tag in optional else ''}" for tag in due)
    return re.fullmatch(pattern, "".join(f"{tag} " for tag in blocks)) is not None


@part
class FormatTable(Reward):
    """Search-R1's v0.3 table: right or wrong, well formed or not, gold seen or not.

    | answer | well formed | a gold stands in what the tool showed | pays |
    |---|---|---|---|
    | right | yes | | `right` |
    | right | no | | `right_malformed` |
    | wrong or none | yes | yes | `found` |
    | wrong or none | yes | no | `formed` |
    | wrong | no | | `answered` |
    | none | no | | `nothing` |

    The cells are those of the scripts (structure 0.2, final 0.1, retrieval 0); the comments in the code speak of
    retrieval 0.1, which is ``found=0.3``. Source: Search-R1 (arXiv:2503.09516), ``qa_em_format.py``.

    Raises:
        MissingGold: as `ExactMatch`.
    """

    _: KW_ONLY
    form: WellFormed = WellFormed()
    right: float = 1.0
    right_malformed: float = 0.8
    found: float = 0.2
    formed: float = 0.2
    answered: float = 0.1
    nothing: float = 0.0

    needs = frozenset({"golds"})

    @property
    def range(self) -> tuple[float, float]:
        cells = (self.right, self.right_malformed, self.found, self.formed, self.answered, self.nothing)
        return min(cells), max(cells)

    def totals(self, right: bool, steps: int) -> tuple[float, float]:
        cells = (self.right, self.right_malformed) if right else (self.found, self.formed, self.answered, self.nothing)
        return min(cells), max(cells)

    @property
    def concerns(self) -> tuple[str, ...]:
        pays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "form"}
        return tuple(
            f"FormatTable pays {more} {pays[more]:g}, less than {less} {pays[less]:g}, though {why}."
            for more, less, why in BETTER
            if pays[more] < pays[less]
        )

    def score(self, trajectory: Trajectory) -> Scores:
        golds = normalized_golds(trajectory.task, self.name)
        violations = self.form.violations(trajectory)
        cell = self._cell(trajectory, golds, formed=not violations)
        why = f"{cell.replace('_', ', ')}: {'; '.join(violations) or 'well formed'}"
        return Scores.trajectory(getattr(self, cell), why)

    def _cell(self, trajectory: Trajectory, golds: list[str], *, formed: bool) -> str:
        answer = trajectory.answer
        if answer is not None and normalize_answer(answer) in golds:
            return "right" if formed else "right_malformed"
        if not formed:
            return "nothing" if answer is None else "answered"
        return "found" if gold_shown(trajectory, golds) else "formed"


def gold_shown(trajectory: Trajectory, golds: list[str]) -> bool:
    """Whether one of the normalised golds stands in what a tool showed the agent."""
    shown = [normalize_answer(step.observation) for step in trajectory.steps if step.calls]
    return any(gold in text for text in shown for gold in golds)
