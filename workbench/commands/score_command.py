"""`workbench score`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, cast

from workbench.commands.options import add_command, add_lab, add_load, load

if TYPE_CHECKING:
    from pandas import DataFrame

    from workbench.store import Store

LESSON = """
pay for what a run did: score its rollouts by a reward

Reads the run's trajectories from the lab, scores each, and records the scores as a new version beside earlier ones;
`scores` in SQL shows the newest. A run of any size is scored some hundred trajectories at a time; after Ctrl-C the same
command goes on where it stopped. Prints each part's mean over rollouts with its 95 % interval (tasks drawn again), and
how many were scored, missing (should have a score, and it failed) or not applicable (the part says nothing there);
neither of those two counts as 0. A reward is written as in Python: names with settings, numbers, + - * and brackets.

--report says what the reward pays for, before anything is trained on it: whether its weights let a wrong answer
outscore a right one, how much of the variance within groups each term brings and whether it goes with right answers or
with length, what right answers cost, and what cheap tricks (repeating a search, junk, lists of candidates) are paid
beside honest rollouts. Lines to act on begin with LOOK.

examples:
  workbench score r1 "ExactMatch()"

  # an answer, evidence found on the way, and a fine for searching up the same pages again
  workbench score r1 "ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()"

  # what does it pay for?
  workbench score r1 "ExactMatch() + 0.5 * CoverageGain(mode='single')" --report

  # a reward of your own, from a file
  workbench score r1 "ExactMatch() + 0.5 * MyReward()" --load my_rewards.py

  # the rewards there are, with their settings
  workbench score --list
"""


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "score",
        run,
        LESSON,
        kept="what was scored so far is kept in {lab}; the same command goes on from there",
    )
    parser.add_argument("name", nargs="?", metavar="RUN", help="a run of the lab")
    parser.add_argument("reward", nargs="?", metavar="REWARD", help='such as "ExactMatch() + 0.5 * CoverageGain()"')
    parser.add_argument("--report", action="store_true", help="lint, terms, efficiency, tricks: what it pays for")
    parser.add_argument("--list", action="store_true", help="list the rewards instead")
    add_load(parser)
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    load(args.load)
    if args.list:
        print(listing())
        return
    import workbench.retrieval.encoders  # noqa: F401  a reward may name one
    from workbench.commands.labs import existing_lab, in_lab
    from workbench.errors import SettingError
    from workbench.rescoring import rescore
    from workbench.rewards.expression import read_reward

    if args.reward is None:
        raise SettingError('score needs a run and a reward, such as: workbench score r1 "ExactMatch()"')
    reward = read_reward(args.reward)
    with existing_lab(args.lab) as store:
        done = rescore(store, reward, args.name, progress=sys.stderr.isatty())
        already = f", {done.kept} of them scored by it before" if done.kept else ""
        print(f"{reward!r} (version {done.version}) on {done.trees + done.kept} trees of run {args.name}{already}")
        print(f"\n{report(store, args.name, done.version)}")
        if args.report:
            from workbench.commands.reward_report import reward_report

            print(f"\n{reward_report(store, args.name, reward, done.version)}")
        others = len(store.versions(args.name)) - 1
    asked = f"select part, value, why from scores where run = '{args.name}' order by value limit 20"
    command = f'sql "{asked}"'
    print(f"\nRecorded in {args.lab}. Why, rollout by rollout:\n{in_lab(command, args.lab)}")
    if others:
        print(f"What moved from the version before: wb.open({args.lab!r}).compare(run={args.name!r})")


TOTALS = """
    with newest as (
        select max(scorings.pass) as pass from scorings where run = $run and reward = $version group by tree
    ), sums as (
        select l.node = 0 as whole, l.part, l.tree, l.trajectory, count(l.value) > 0 as scored,
               bool_or(l.status = 'missing') as missing, sum(l.value) as total
        from scores_log l join newest using (pass) where (l.term or l.node = 0) and l.status <> 'not applicable'
        group by all
    )
    select whole, part, tree, avg(total) filter (not missing) as mean, count(*) filter (missing) as missing,
           count(*) filter (scored and not missing) as scored
    from sums group by whole, part, tree order by tree
"""


def report(store: Store, run: str, version: str) -> str:
    """A line a part, then the whole: mean over rollouts of what the part pays a rollout, unweighted."""
    from workbench.commands.tables import text_table

    found = store.sql(TOTALS, run=run, version=version)
    count = int(store.sql("select count(*) as n from trajectories where run = $run", run=run).n[0])
    first = store.scores(run, store.trees(run, limit=1), version)[0][0]
    terms = found[~found.whole] if first.parts else found.iloc[:0]
    rows = [_row(part.name, part.weight, terms[terms.part == part.name], count) for part in first.parts]
    rows.append(_row("total" if rows else first.name, 1.0, found[found.whole], count))
    columns = ["part", "weight", "mean", "95 % interval", "scored", "missing", "not applicable"]
    return text_table(columns, rows)


def _row(name: str, weight: float, trees: DataFrame, count: int) -> list[Any]:
    """One part, from what it paid in each tree."""
    from workbench.evaluation import bootstrap_interval

    scored, missing = int(trees.scored.sum()), int(trees.missing.sum())
    counts = [scored, missing, count - scored - missing]
    if not scored:
        return [name, weight, "-", "-", *counts]
    interval = bootstrap_interval(trees["mean"].to_numpy(float))
    return [name, weight, f"{interval.mean:.3f}", f"{interval.low:.3f} to {interval.high:.3f}", *counts]


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
