"""`workbench score`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from workbench.commands.options import add_command, add_lab

if TYPE_CHECKING:
    from workbench.scores import Scores
    from workbench.trajectory import Tree

LESSON = """
pay for what a run did: score its rollouts by a reward

Reads the run's trajectories from the lab, scores each, and records the scores as a new version beside earlier ones;
`scores` in SQL shows the newest. Prints each part's mean over rollouts with its 95 % interval (tasks drawn again), and
how many were scored, missing (should have a score, and it failed) or not applicable (the part says nothing there);
neither of those two counts as 0. A reward is written as in Python: names with settings, numbers, + - * and brackets.

examples:
  workbench score r1 "ExactMatch()"

  # an answer, evidence found on the way, and a fine for searching up the same pages again
  workbench score r1 "ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()"

  # the rewards there are, with their settings
  workbench score --list
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "score", run, LESSON, kept="no scores were recorded in {lab}")
    parser.add_argument("name", nargs="?", metavar="RUN", help="a run of the lab")
    parser.add_argument("reward", nargs="?", metavar="REWARD", help='such as "ExactMatch() + 0.5 * CoverageGain()"')
    parser.add_argument("--list", action="store_true", help="list the rewards instead")
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    if args.list:
        print(listing())
        return
    from workbench.commands.labs import existing_lab, in_lab
    from workbench.errors import SettingError
    from workbench.rewards import score
    from workbench.rewards.expression import read_reward
    from workbench.spec import code_version, dumps

    if args.reward is None:
        raise SettingError('score needs a run and a reward, such as: workbench score r1 "ExactMatch()"')
    reward = read_reward(args.reward)
    with existing_lab(args.lab) as store:
        trees = store.trees(args.name)
        if not trees:
            raise SettingError(f"run {args.name!r} holds no trajectories; there is nothing to score")
        scores = score(trees, reward)
        store.record_scores(trees, scores, run=args.name, reward=dumps(reward), version=code_version(reward))
    print(f"{reward!r} on {sum(map(len, trees))} rollouts of {len(trees)} tasks of run {args.name}\n")
    print(report(trees, scores, type(reward).__name__))
    asked = f"select part, value, why from scores where run = '{args.name}' order by value limit 20"
    command = f'sql "{asked}"'
    print(f"\nRecorded in {args.lab}. Why, rollout by rollout:\n{in_lab(command, args.lab)}")


def report(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]], name: str) -> str:
    """A line a part, then the whole: mean over rollouts of what the part pays a rollout, unweighted."""
    from workbench.commands.tables import text_table

    first = scores[0][0]
    rows = [
        _row(part.name, part.weight, [[s.parts[p].scores for s in tree] for tree in scores])
        for p, part in enumerate(first.parts)
    ]
    rows.append(_row("total" if rows else name, 1.0, scores))
    columns = ["part", "weight", "mean", "95 % interval", "scored", "missing", "not applicable"]
    return text_table(columns, rows)


def _row(name: str, weight: float, scores: Sequence[Sequence[Scores]]) -> list[Any]:
    import numpy as np

    from workbench.evaluation import bootstrap_interval
    from workbench.scores import Status, combined_status

    status = np.array([combined_status(one.status_S[:, None])[0] for tree in scores for one in tree])
    totals = [np.array([one.total for one in tree]) for tree in scores]
    tasks = np.array([np.nanmean(values) if not np.isnan(values).all() else np.nan for values in totals])
    interval = bootstrap_interval(tasks)
    counts = [int((status == kind).sum()) for kind in (Status.SCORED, Status.MISSING, Status.NOT_APPLICABLE)]
    reach = "" if np.isnan(interval.mean) else f"{interval.low:.3f} to {interval.high:.3f}"
    return [name, weight, f"{interval.mean:.3f}" if reach else "-", reach or "-", *counts]


def listing() -> str:
    """Every reward that a text may name: its settings and what it pays."""
    import dataclasses
    import inspect

    from workbench.rewards import Reward
    from workbench.spec import PARTS

    lines = []
    for name, cls in sorted(PARTS.items()):
        if issubclass(cls, Reward):
            first = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
            settings = ", ".join(_setting(field) for field in dataclasses.fields(cast(Any, cls)) if field.init)
            lines.append(f"{name}({settings})\n    {first}")
    return "\n".join(lines)


def _setting(field: Any) -> str:
    import dataclasses

    return field.name if field.default is dataclasses.MISSING else f"{field.name}={field.default!r}"
