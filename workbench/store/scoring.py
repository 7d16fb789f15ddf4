"""Scores to rows and back, unchanged: one row a part and step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.errors import ScoreError
from workbench.plain import dumps, escape, loads, null_if_nan, pack, unpack
from workbench.scores import Level, Part, Scores, Status
from workbench.store.rows import Rows, arrow, group_ids, now, time_id
from workbench.trajectory import Trajectory, Tree

_STATUS = {Status.SCORED: "scored", Status.NOT_APPLICABLE: "not applicable", Status.MISSING: "missing"}
_STATUS_OF = {name: status for status, name in _STATUS.items()}

Node = tuple[int, Part]
"""A Scores inside a Scores: the number of the one above it (-1 for the whole), and what it is there."""


def reward_version(settings: str, code: str) -> str:
    """Twelve hex digits for a reward's settings and code: another setting or code, another version."""
    return hashlib.blake2b(f"{settings}\n{code}".encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def score_rows(
    trees: Sequence[Tree], scores: Sequence[Sequence[Scores]], *, run: str, update: int, settings: str, code: str
) -> Rows:
    """All rows of one scoring of `trees`.

    Raises:
        ScoreError: there is not one Scores a trajectory, or one has the wrong length.
    """
    if len(trees) != len(scores):
        raise ScoreError(f"{len(trees)} trees came with scores for {len(scores)}; give one list of Scores a tree")
    reward = reward_version(settings, code)
    rows: dict[str, list[tuple]] = {"rewards": [(reward, code, settings, now())], "scorings": []}
    rows |= {"scores_log": [], "token_scores": []}
    for tree, tree_scores in zip(trees, scores, strict=True):
        if len(tree) != len(tree_scores):
            raise ScoreError(f"tree {tree.id!r} has {len(tree)} trajectories and {len(tree_scores)} scores")
        scoring, of, shapes = time_id(), [], []
        for trajectory, score, group in zip(tree, tree_scores, group_ids(tree), strict=True):
            nodes = _nodes(score)
            shape = [_shape(above, part) for above, part in nodes]
            if shape not in shapes:
                shapes.append(shape)
            of.append(shapes.index(shape))
            place = (scoring, run, update, tree.task.id, tree.id, group, trajectory.id)
            for number, (above, part) in enumerate(nodes):
                term = above == 0 or (above < 0 and not score.parts)
                rows["scores_log"] += _log_rows(place, trajectory, number, part, term, reward)
                rows["token_scores"] += _token_rows(place, number, part)
        made = dumps({"shapes": shapes, "of": of})
        rows["scorings"].append((scoring, run, update, tree.task.id, tree.id, reward, made, now()))
    tables = {name: arrow(name, made) for name, made in rows.items() if made}
    return Rows(escape(run), tables, update, scored=frozenset(escape(tree.id) for tree in trees))


def _shape(above: int, part: Part) -> list:
    """What a node is beside its values; the name its Scores has of its own may differ from the part's."""
    return [above, part.name, pack(float(part.weight)), part.place, str(part.scores.level), part.scores.name]


def _nodes(scores: Scores) -> list[Node]:
    """The whole, then its parts, each before what it is made of."""
    nodes: list[Node] = []

    def visit(part: Part, above: int) -> None:
        number = len(nodes)
        nodes.append((above, part))
        for child in part.scores.parts:
            visit(child, number)

    visit(Part("total" if scores.parts else scores.name, 1.0, scores), -1)
    return nodes


def _log_rows(
    place: tuple, trajectory: Trajectory, number: int, part: Part, term: bool, reward: str
) -> Iterator[tuple]:
    scores = part.scores
    values, statuses = scores.values_S.tolist(), scores.status_S.tolist()
    whys: Sequence[str] = scores.why_S
    if scores.level is Level.TOKEN:
        values, statuses = _by_step(scores, trajectory)
        whys = ("",) * len(values)
    elif scores.level is Level.STEP and len(scores) != len(trajectory.steps):
        raise ScoreError(
            f"part {part.name!r} gives {len(scores)} step scores to trajectory {trajectory.id!r}, which has "
            f"{len(trajectory.steps)} steps"
        )
    tail = (float(part.weight), str(scores.level), part.place, reward)
    for s, (value, status, why) in enumerate(zip(values, statuses, whys, strict=True)):
        if status != Status.NOT_APPLICABLE or why:
            step = None if scores.level.single else s
            yield (*place, step, number, part.name, term, null_if_nan(value), _STATUS[status], why, *tail)


def _by_step(scores: Scores, trajectory: Trajectory) -> tuple[list[float], list[int]]:
    """Token scores added up over the own tokens of each step; missing where one of them is."""
    owner_T = np.repeat(np.arange(len(trajectory.steps)), [step.own_tokens for step in trajectory.steps])
    if len(owner_T) != len(scores):
        raise ScoreError(f"trajectory {trajectory.id!r} has {len(owner_T)} own tokens and {len(scores)} token scores")
    sums_S = np.bincount(owner_T, np.nan_to_num(scores.values_S), minlength=len(trajectory.steps))
    status_S = np.full(len(sums_S), Status.NOT_APPLICABLE)
    status_S[owner_T[scores.status_S == Status.SCORED]] = Status.SCORED
    status_S[owner_T[scores.status_S == Status.MISSING]] = Status.MISSING
    return np.where(status_S == Status.SCORED, sums_S, np.nan).tolist(), status_S.tolist()


def _token_rows(place: tuple, number: int, part: Part) -> Iterator[tuple]:
    if part.scores.level is Level.TOKEN:
        whys = dumps(list(part.scores.why_S)) if any(part.scores.why_S) else None
        yield (*place, number, part.name, part.scores.values_S, part.scores.status_S, whys)


# ---------------------------------------------------------------- rows to scores


def build_scores(
    trees: Sequence[Tree], shapes: Mapping[str, str], log: Iterable[tuple], tokens: Iterable[tuple]
) -> list[list[Scores]]:
    """Scores as they were recorded.

    Args:
        shapes: column `shapes` of the scoring of each tree, by tree.
        log: (tree, trajectory, node, step, value, status, why) a row of scores_log.
        tokens: (tree, trajectory, node, values, statuses, whys) a row of token_scores.
    """
    given: dict[tuple, list[tuple]] = {}
    for tree, trajectory, node, *row in log:
        given.setdefault((tree, trajectory, node), []).append(tuple(row))
    token_level = {(tree, trajectory, node): tuple(row) for tree, trajectory, node, *row in tokens}
    made = []
    for tree in trees:
        told = loads(shapes[tree.id])
        pairs = zip(tree, told["of"], strict=True)
        made.append([_build(tree, trajectory, told["shapes"][n], given, token_level) for trajectory, n in pairs])
    return made


def _build(
    tree: Tree, trajectory: Trajectory, shape: list, given: Mapping[tuple, list], token_level: Mapping[tuple, tuple]
) -> Scores:
    nodes = []
    for number, (_, _, _, _, level, *_) in enumerate(shape):
        key = (tree.id, trajectory.id, number)
        if key in token_level:
            nodes.append(_token_scores(*token_level[key]))
        else:
            nodes.append(_filled(given.get(key, []), Level(level), len(trajectory.steps)))
    for number in reversed(range(1, len(shape))):
        above, name, weight, place, *_ = shape[number]
        nodes[above].parts = (Part(name, unpack(weight), nodes[number], place), *nodes[above].parts)
    for node, (_, part, _, _, _, *own) in zip(nodes, shape, strict=True):
        if own:
            node.name = own[0]
        elif not node.parts:  # schema 1 kept no name of the score's own: without parts it goes by its part's
            node.name = part
    return nodes[0]


def _filled(rows: Sequence[tuple], level: Level, steps: int) -> Scores:
    scores = Scores.unscored(1 if level.single else steps, level=level)
    whys = list(scores.why_S)
    for step, value, status, why in rows:
        s = step or 0
        scores.status_S[s] = _STATUS_OF[status]
        scores.values_S[s] = np.nan if value is None else value
        whys[s] = why
    scores.why_S = tuple(whys)
    return scores


def _token_scores(values: np.ndarray, statuses: np.ndarray, whys: Any) -> Scores:
    return Scores(values, statuses, tuple(loads(whys)) if whys else (), Level.TOKEN)
