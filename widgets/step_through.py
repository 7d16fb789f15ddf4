"""StepThrough: read a group of trajectories step by step, see what was paid and why, and pay otherwise."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Sequence
from html import escape
from typing import Any, Protocol

import traitlets

from widgets.component import Component
from widgets.edits import Edit, EditLog
from widgets.sheet import Sheet, terms
from workbench.credit import GroupAdvantage
from workbench.errors import ScoreError, SettingError, UnknownName
from workbench.protocols import Credit
from workbench.scores import Scores
from workbench.trajectory import Trajectory, Tree

log = logging.getLogger(__name__)


class EditKeeper(Protocol):
    """Where edits go: a store has these."""

    def edit(
        self,
        run: str,
        tree: str,
        trajectory: str,
        part: str,
        new: float | None,
        why: str,
        *,
        step: int | None = None,
        who: str | None = None,
    ) -> str: ...

    def record_scores(self, trees: Sequence[Tree], scores: Sequence[Sequence[Scores]], *, run: str) -> None: ...


class StepThrough(Component):
    """Step through trees: J and K step, [ and ] change the trajectory, E edits, U takes back, ? lists the keys.

    Args:
        trees: what to read, a tree or several.
        scores: as `workbench.score` gives them, one list a tree; None: nothing is scored.
        credit: what makes advantages of the rewards; an edit shows at once what it does to them.
        recorder: a store; every edit, undo and redo is kept there at once, as a row of its own. Without one they are
            held in `edits` only, until `keep(store)`.
        run: run that the trees were recorded under; default: as they say themselves.
        against: other scores of the same trees; D jumps to where they differ.
        who: author of the edits; default the login name.
        at: where to begin: {"tree": id, "trajectory": id, "step": number}; each may be left out.
    """

    at = traitlets.Dict(help="both ways: tree, trajectory (ids) and step in view").tag(sync=True)
    edits = traitlets.List(traitlets.Dict(), help="kernel to page: every edit, oldest first").tag(sync=True)
    height = traitlets.Int(620, help="pixels").tag(sync=True)

    def __init__(
        self,
        trees: Tree | Sequence[Tree],
        scores: Sequence[Sequence[Scores]] | None = None,
        *,
        credit: Credit | None = None,
        recorder: EditKeeper | None = None,
        run: str | None = None,
        against: Sequence[Sequence[Scores]] | None = None,
        who: str | None = None,
        at: dict[str, Any] | None = None,
        **traits: Any,
    ) -> None:
        self.trees = [trees] if isinstance(trees, Tree) else list(trees)
        credit = credit or GroupAdvantage()
        self._sheets = _sheets(self.trees, scores, credit)
        self._against = None if against is None else _sheets(self.trees, against, credit)
        self._tree = {tree.id: number for number, tree in enumerate(self.trees)}
        self._log, self._kept = EditLog(), 0
        self.recorder, self.run, self.who = recorder, run, who or getpass.getuser()
        super().__init__(at=self._place(at or {}), **traits)
        self.still = self._told_still()

    # ------------------------------------------------------------ where we are

    def go(self, *, tree: str | None = None, trajectory: str | None = None, step: int | None = None) -> None:
        """Show another place; what is left out stays, or begins anew where it cannot.

        Raises:
            UnknownName: no such tree or trajectory.
            SettingError: no such step.
        """
        asked = {"tree": tree, "trajectory": trajectory, "step": step}
        kept = dict(self.at) if tree in (None, self.at.get("tree")) else {}
        if trajectory is not None and trajectory != self.at.get("trajectory"):
            kept.pop("step", None)
        self.at = self._place({**kept, **{name: value for name, value in asked.items() if value is not None}})

    def _place(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The place with everything said that was left open."""
        if not self.trees:
            return {}
        tree = self.trees[self._number(asked.get("tree", self.trees[0].id))]
        ids = [trajectory.id for trajectory in tree]
        trajectory = asked.get("trajectory", ids[0])
        if trajectory not in ids:
            raise UnknownName.among("trajectory", trajectory, ids, where=f"tree {tree.id!r}")
        steps = len(tree.trajectories[ids.index(trajectory)].steps)
        step = asked.get("step", 0)
        if not isinstance(step, int) or not 0 <= step < max(steps, 1):
            raise SettingError(f"step {step!r} of trajectory {trajectory!r}: its steps are 0 to {steps - 1}")
        return {"tree": tree.id, "trajectory": trajectory, "step": step}

    @traitlets.validate("at")
    def _check_at(self, proposal: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._place(proposal["value"])
        except (UnknownName, SettingError) as error:
            raise traitlets.TraitError(str(error)) from error

    def _number(self, tree: str) -> int:
        if tree not in self._tree:
            raise UnknownName.among("tree", tree, self._tree, where="what StepThrough was given")
        return self._tree[tree]

    @property
    def tree(self) -> Tree:
        """The tree in view."""
        return self.trees[self._number(self.at["tree"])]

    @property
    def trajectory(self) -> Trajectory:
        """The trajectory in view."""
        return next(one for one in self.tree if one.id == self.at["trajectory"])

    # ------------------------------------------------------------ what the page asks

    def hear_hello(self) -> None:
        """A page was drawn: the list of trees, then the one in view."""
        self.say("trees", [_listed(sheet) for sheet in self._sheets])
        if self.trees:
            self.hear_tree(self.at["tree"])
        self._say_edits()

    def hear_tree(self, tree: str) -> None:
        """The page wants to show a tree."""
        number = self._number(tree)
        told = self._sheets[number].told()
        if self._against is not None:
            told["against"] = self._against[number].credited()["rewards"]
        self.say("tree", told, number=number)

    def hear_edit(self, tree: str, trajectory: str, part: str, step: int | None, new: float, why: str) -> None:
        """A person gave a value."""
        self.edit(trajectory, part, new, why, tree=tree, step=step)

    def hear_undo(self) -> None:
        self.undo()

    def hear_redo(self) -> None:
        self.redo()

    # ------------------------------------------------------------ edits

    def edit(
        self, trajectory: str, part: str, new: float, why: str, *, tree: str | None = None, step: int | None = None
    ) -> Edit:
        """Lay a value over a score.

        Args:
            new: reward units before weighting.
            why: the reason; it is kept with the edit and must not be empty.
            tree: default the one in view.
            step: number of the step; None for a trajectory's one number.

        Raises:
            ScoreError: there is no such value to edit, or `new` is no finite number or no change.
            SettingError: no reason was given.
        """
        sheet = self._sheets[self._number(tree or self.at["tree"])]
        if not why.strip():
            raise SettingError("an edit needs a reason; write in a few words what was wrong")
        place = (sheet.tree.id, trajectory, part, step)
        old, _ = sheet.value(place)
        row = self._log.add(Edit(*place, old=old, new=float(new), why=why.strip(), who=self.who))
        self._changed(row)
        return row

    def undo(self) -> Edit | None:
        """Take the last edit back, as one more row; None where there is none."""
        return self._changed(self._log.undo())

    def redo(self) -> Edit | None:
        """Do the edit taken back last again, as one more row; None where there is none."""
        return self._changed(self._log.redo())

    def _changed(self, row: Edit | None) -> Edit | None:
        if row is not None:
            sheet = self._sheets[self._number(row.tree)]
            sheet.lay(self._log.in_force())
            self.say("credited", sheet.credited(), tree=row.tree)
            if self.recorder is not None:
                self.keep()
        self._say_edits()
        return row

    def keep(self, recorder: EditKeeper | None = None, *, run: str | None = None) -> int:
        """Hand the edits not yet kept to a store; returns how many rows that were.

        Raises:
            SettingError: there is no recorder.
        """
        self.recorder, self.run = recorder or self.recorder, run or self.run
        if self.recorder is None:
            raise SettingError("there is no store to keep the edits in; call keep(store)")
        waiting = self._log.rows[self._kept :]
        for row in waiting:
            self._keep_one(self.recorder, row)
            self._kept += 1
        self._say_edits()
        return len(waiting)

    def _keep_one(self, recorder: EditKeeper, row: Edit) -> None:
        sheet = self._sheets[self._number(row.tree)]
        run = self.run or sheet.tree.run
        if not run:
            raise SettingError(f"tree {row.tree!r} does not say its run; say it: StepThrough(..., run=...)")
        told: dict[str, Any] = {"step": row.step, "who": row.who}
        try:
            recorder.edit(run, row.tree, row.trajectory, row.part, row.new, row.why, **told)
        except ScoreError:  # the lab has the tree and not these scores: it gets them now, as they were given
            assert sheet.scored is not None
            recorder.record_scores([sheet.tree], [sheet.scored], run=run)
            recorder.edit(run, row.tree, row.trajectory, row.part, row.new, row.why, **told)

    @property
    def scores(self) -> list[list[Scores]] | None:
        """The scores with the edits laid over them, one list a tree; None where nothing is scored."""
        found = [sheet.scores for sheet in self._sheets if sheet.scores is not None]
        return found if len(found) == len(self._sheets) and found else None

    def _say_edits(self) -> None:
        self.edits = [row.as_row() for row in self._log.rows]
        self.say(
            "edits",
            kept=self._kept,
            keeps=self.recorder is not None,
            can_undo=self._log.can_undo,
            can_redo=self._log.can_redo,
            in_force=[list(place) for place in self._log.in_force()],
        )

    # ------------------------------------------------------------ without a page

    def __repr__(self) -> str:
        count = sum(len(tree) for tree in self.trees)
        scored = "scored" if self.scores is not None else "not scored"
        return f"StepThrough({len(self.trees)} trees, {count} trajectories, {scored}, {len(self._log.rows)} edits)"

    def _told_still(self) -> str:
        if not self.trees:
            return "no trees"
        lines = [self.tree.task.question, ""]
        for s, step in enumerate(self.trajectory.steps):
            said = "; ".join(step.queries) or step.span("answer") or step.text
            lines.append(f"step {s}: {said[:200]}")
        return "\n".join([*lines, "", repr(self)])

    def picture(self) -> str:
        """The trajectory in view as a table: step, what it did, what came back, what it was paid."""
        if not self.trees:
            return "<p>StepThrough: no trees</p>"
        sheet = self._sheets[self._number(self.at["tree"])]
        n = [one.id for one in self.tree].index(self.at["trajectory"])
        credited = sheet.credited()
        heads = ["step", "what it did", "what came back", *(["reward", "advantage"] if sheet.scores else [])]
        rows = []
        for s, step in enumerate(self.trajectory.steps):
            did = "; ".join(f"search: {query}" for query in step.queries) or (step.span("answer") or step.text)
            cells = [str(s), did[:300], ", ".join(hit.title for hit in step.hits)[:300]]
            if sheet.scores:
                cells += [f"{credited['rewards'][n][s]:.3g}", f"{credited['advantages'][n][s]:+.3g}"]
            rows.append(cells)
        return _table(f"{self.tree.task.question} — trajectory {n + 1} of {len(self.tree)}", heads, rows)


def _sheets(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]] | None, credit: Credit) -> list[Sheet]:
    if scores is not None and len(scores) != len(trees):
        raise ScoreError(f"{len(trees)} trees came with scores for {len(scores)}; give one list of Scores a tree")
    return [Sheet(tree, None if scores is None else scores[number], credit) for number, tree in enumerate(trees)]


def _listed(sheet: Sheet) -> dict[str, Any]:
    totals = [] if sheet.scores is None else [one.total for one in sheet.scores]
    return {
        "id": sheet.tree.id,
        "question": sheet.tree.task.question,
        "trajectories": len(sheet.tree),
        "returns": totals,
        "parts": [] if sheet.scores is None else [part.name for part in terms(sheet.scores[0])],
    }


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
