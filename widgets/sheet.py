"""One tree as a page shows it: its steps and scores as plain data, and what credit makes of them after every edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from widgets.edits import Edit, Place
from workbench.batch import flat_batch
from workbench.errors import ScoreError, UnknownName
from workbench.protocols import Credit
from workbench.scores import Level, Part, Scores, Status
from workbench.trajectory import Call, Hit, Step, Trajectory, Tree

Plain = dict[str, Any]


class Sheet:
    """A tree with its scores (None: it has none) and the edits laid over them."""

    def __init__(self, tree: Tree, scores: Sequence[Scores] | None, credit: Credit) -> None:
        if scores is not None and len(scores) != len(tree):
            raise ScoreError(f"tree {tree.id!r} has {len(tree)} trajectories and {len(scores)} scores")
        self.tree, self.credit = tree, credit
        self.scored = None if scores is None else list(scores)
        self.scores = self.scored
        self._number = {trajectory.id: n for n, trajectory in enumerate(tree)}

    # ------------------------------------------------------------ edits

    def value(self, place: Place) -> tuple[float | None, Status]:
        """The value in force at a place, and its status.

        Raises:
            UnknownName: no such trajectory, part or step.
            ScoreError: the tree has no scores, or what stands there cannot be edited.
        """
        scores = self._part(place).scores
        s = self._position(scores, place)
        status = Status(int(scores.status_S[s]))
        return (None if status is not Status.SCORED else float(scores.values_S[s])), status

    def lay(self, edits: Mapping[Place, Edit]) -> None:
        """Lay these edits, and no others, over the scores as given."""
        if self.scored is None:
            return
        made = list(self.scored)
        for edit in edits.values():
            if edit.tree == self.tree.id:
                n = self._number[edit.trajectory]
                made[n] = self._with(made[n], edit)
        self.scores = made

    def _with(self, scores: Scores, edit: Edit) -> Scores:
        parts = terms(scores)
        r = next(r for r, part in enumerate(parts) if part.name == edit.part)
        changed = replace(parts[r].scores)
        s = self._position(changed, edit.place)
        assert edit.new is not None
        changed.set(s, edit.new, edit.why)
        if not scores.parts:
            return changed
        return replace(scores, parts=(*parts[:r], replace(parts[r], scores=changed), *parts[r + 1 :]))

    def _part(self, place: Place) -> Part:
        if self.scores is None:
            raise ScoreError(f"tree {self.tree.id!r} has no scores to edit; give StepThrough(trees, scores)")
        _, trajectory, name, _ = place
        if trajectory not in self._number:
            raise UnknownName.among("trajectory", trajectory, self._number, where=f"tree {self.tree.id!r}")
        parts = {part.name: part for part in terms(self.scores[self._number[trajectory]])}
        if name not in parts:
            raise UnknownName.among("part", name, parts, where=f"the scores of trajectory {trajectory!r}")
        return parts[name]

    def _position(self, scores: Scores, place: Place) -> int:
        step = place[3]
        if scores.level is Level.TOKEN:
            raise ScoreError(f"{place[2]} scores tokens; only scores of steps and trajectories can be edited")
        if scores.level.single != (step is None):
            wanted = "the whole trajectory (no step)" if scores.level.single else "a step"
            raise ScoreError(f"{place[2]} scores {wanted}, got step {step}")
        if step is not None and not 0 <= step < len(scores):
            raise ScoreError(f"step {step} of trajectory {place[1]!r}: its steps are 0 to {len(scores) - 1}")
        s = step or 0
        if scores.status_S[s] == Status.NOT_APPLICABLE:
            raise ScoreError(f"{place[2]} is not applicable here: there is no value to edit")
        return s

    # ------------------------------------------------------------ as plain data

    def told(self) -> Plain:
        """Everything that does not change with an edit, then `credited`."""
        index, steps = _flat_steps(self.tree)
        task = self.tree.task
        return {
            "id": self.tree.id,
            "task": {
                "id": task.id,
                "question": task.question,
                "golds": task.golds,
                "gold_pages": sorted(task.gold_pages),
                "sub_questions": [{"question": sub.question, "golds": sub.golds} for sub in task.sub_questions],
                "kind": task.kind,
                "hops": task.hops,
            },
            "steps": [_step(step, task.gold_pages) for step in steps],
            "trajectories": [_trajectory(one, index) for one in self.tree],
            **self.credited(),
        }

    def credited(self) -> Plain:
        """Scores by part, returns and advantages as they are with the edits."""
        if self.scores is None:
            return {"parts": [], "scores": [], "returns": [], "rewards": [], "advantages": []}
        pairs = list(zip(self.tree, self.scores, strict=True))
        walked = [n for n, trajectory in enumerate(self.tree) if trajectory.steps]  # one that failed at once has none
        told: Plain = {
            "parts": [{"name": part.name, "weight": part.weight} for part in terms(self.scores[0])],
            "scores": [[_values(part, one) for part in terms(score)] for one, score in pairs],
            "returns": [None] * len(pairs),
            "rewards": [[] for _ in pairs],
            "advantages": [[] for _ in pairs],
        }
        live = replace(self.tree, trajectories=tuple(self.tree.trajectories[n] for n in walked))
        batch = flat_batch([live], [[self.scores[n] for n in walked]])
        advantages_S = self.credit(batch).values_S
        for number, n in enumerate(walked):
            path = batch.path(number)
            told["returns"][n] = batch.returns_N[number]
            told["rewards"][n], told["advantages"][n] = batch.rewards_S[path], advantages_S[path]
        return told


def terms(scores: Scores) -> tuple[Part, ...]:
    """The terms that credit adds up: the parts, or the score itself where it has none."""
    return scores.parts or (Part(scores.name, 1.0, scores),)


def _values(part: Part, trajectory: Trajectory) -> Plain:
    """A term's values, statuses and reasons; one of level token as sums by step."""
    scores = part.scores
    values_S, status_S, why_S = scores.values_S, scores.status_S, scores.why_S
    if scores.level is Level.TOKEN:
        values_S, status_S, why_S = _by_step(scores, trajectory)
    return {"level": str(scores.level), "values": values_S, "status": status_S, "why": why_S}


def _by_step(scores: Scores, trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    owner_T = np.repeat(np.arange(len(trajectory.steps)), [step.own_tokens for step in trajectory.steps])
    status_S = np.full(len(trajectory.steps), Status.NOT_APPLICABLE)
    status_S[owner_T[scores.status_S == Status.SCORED]] = Status.SCORED
    status_S[owner_T[scores.status_S == Status.MISSING]] = Status.MISSING
    sums_S = np.bincount(owner_T, np.nan_to_num(scores.values_S), minlength=len(status_S))
    why = f"sum over the step's own tokens ({len(scores)} in all)"
    return np.where(status_S == Status.SCORED, sums_S, np.nan), status_S, (why,) * len(status_S)


def _flat_steps(tree: Tree) -> tuple[dict[str, int], list[Step]]:
    """Each step once, and its number by id."""
    index: dict[str, int] = {}
    steps: list[Step] = []
    for trajectory in tree:
        for step in trajectory.steps:
            if step.id not in index:
                index[step.id] = len(steps)
                steps.append(step)
    return index, steps


def _trajectory(one: Trajectory, index: Mapping[str, int]) -> Plain:
    return {
        "id": one.id,
        "path": [index[step.id] for step in one.steps],
        "end": str(one.end),
        "end_reason": one.end_reason,
        "answer": one.answer,
        "role": one.role,
        "fork": one.fork,
    }


def _step(step: Step, gold_pages: frozenset[str]) -> Plain:
    return {
        "text": step.text,
        "spans": [{"name": span.name, "text": span.text} for span in step.spans],
        "calls": [_call(call, gold_pages) for call in step.calls],
        "observation": step.observation,
        "context": None if step.context is None else step.context.text,
        "role": step.role,
        "policy": step.policy,
        "tokens": step.own_tokens,
        "native": step.native_reward,
        "valid": step.valid,
        "seconds": step.seconds,
    }


def _call(call: Call, gold_pages: frozenset[str]) -> Plain:
    return {
        "tool": call.tool,
        "arguments": {str(name): _shown(value) for name, value in call.arguments.items()},
        "query": call.query,
        "hits": [_hit(hit, gold_pages) for hit in call.hits],
        "result": call.result,
        "error": call.error,
        "valid": call.valid,
        "cost": call.cost,
        "seconds": call.seconds,
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _hit(hit: Hit, gold_pages: frozenset[str]) -> Plain:
    return {
        "id": hit.id,
        "title": hit.title,
        "text": hit.text,
        "score": hit.score,
        "rank": hit.rank,
        "query": hit.query,
        "shown": hit.shown,
        "gold": hit.id in gold_pages,
    }
