"""`workbench rollout`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_batch, add_command, add_lab, add_material, number, whole

if TYPE_CHECKING:
    from workbench.trajectory import Trajectory, Tree

LESSON = """
roll a policy out on tasks and log everything

The policy thinks, searches, reads and answers, turn by turn; every turn is logged with its token ids and logprobs, its
calls and what they brought. Ctrl-C keeps the tasks that are finished. Afterwards `workbench score` pays for what was
logged and `workbench sql` asks about it.

examples:
  # the tiny policy on twenty questions of the embedded world, eight rollouts each
  workbench rollout --limit 20 --group-size 8

  # a small chat model on your own questions and pages
  workbench models get smollm2
  workbench rollout --policy models/smollm2 --chat --tasks questions.jsonl --corpus corpus.jsonl.gz --turn-tokens 128

  # the same pages indexed once, searched memory-mapped; another way of writing, the run named
  workbench corpus index corpus.jsonl.gz --out index
  workbench rollout --policy models/smollm2 --template tools --tasks questions.jsonl --corpus index --name tools1

  # a search server that speaks Search-R1's protocol
  workbench rollout --corpus http://127.0.0.1:8000/retrieve --limit 5
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "rollout", run, LESSON, kept="the tasks that are finished are kept in {lab}")
    add_material(parser, limit=50)
    how = parser.add_argument_group("how")
    how.add_argument("--group-size", type=whole(1), default=1, metavar="N", help="rollouts of each task (default: 1)")
    how.add_argument("--temperature", type=number(0), default=1.0, metavar="X", help="0 is greedy (default: 1)")
    how.add_argument("--seed", type=whole(0), default=0, metavar="N", help="same seed, same rollouts (default: 0)")
    how.add_argument("--name", metavar="RUN", help="of the run in the lab (default: the next free one: r1, r2 ...)")
    add_batch(how)
    add_lab(how)


def run(args: argparse.Namespace) -> int:
    from workbench.commands.labs import Told
    from workbench.commands.material import gather
    from workbench.sampling.group import GroupSampler
    from workbench.sampling.rollout import rollout
    from workbench.store import open_store

    material = gather(args)
    sampler = GroupSampler(args.group_size, args.batch or GroupSampler.batch)
    with open_store(args.lab) as store:
        told = Told(store, args.typed)
        started = time.perf_counter()
        trees = rollout(
            material.policy,
            material.tasks,
            material.environment,
            sampler=sampler,
            seed=args.seed,
            recorder=told,
            run=args.name,
        )
        seconds = time.perf_counter() - started
    print(summary(trees, seconds))
    print(f"\nLogged in {args.lab} as run {told.run}. Next:\n{next_steps(told.run, args.lab, bool(trees))}")
    return 0 if len(trees) == len(material.tasks) else 130


def summary(trees: Sequence[Tree], seconds: float) -> str:
    """Ends, steps, searches and speed in a few lines."""
    rollouts = [trajectory for tree in trees for trajectory in tree]
    steps = [step for trajectory in rollouts for step in trajectory.steps]
    calls = [call for step in steps for call in step.calls]
    ends = Counter(str(trajectory.end) for trajectory in rollouts)
    each, own = max(len(rollouts), 1), sum(step.own_tokens for step in steps)
    unreadable = sum(not step.valid for step in steps)
    failed = sum(call.error is not None for call in calls)
    lines = [
        f"{len(trees)} tasks, {len(rollouts)} rollouts in {seconds:.0f} s",
        f"speed     {own:,} own tokens, {own / seconds:,.0f} a second",
        f"ended     {', '.join(f'{count} {end}' for end, count in ends.most_common()) or 'none'}",
        f"turns     {len(steps) / each:.2f} a rollout; {unreadable} of {len(steps)} unreadable",
        f"searches  {len(calls) / each:.2f} a rollout; {failed} of {len(calls)} failed",
    ]
    if wanted := sum(len(trajectory.task.gold_pages) for trajectory in rollouts):
        lines.append(f"evidence  {sum(map(gold_found, rollouts)) / wanted:.0%} of the gold pages were brought")
    return "\n".join(lines)


def gold_found(trajectory: Trajectory) -> int:
    """How many gold pages its searches brought."""
    return len(trajectory.task.gold_pages & {hit.id for step in trajectory.steps for hit in step.hits})


def next_steps(run: str, lab: str, logged: bool) -> str:
    """What to type after a rollout."""
    from workbench.commands.labs import in_lab

    if not logged:
        return in_lab("sql \"select run, status, settings->>'command' as command from runs\"", lab)
    asked = f"select task, step, query, gold_hits, error from searches where run = '{run}' limit 20"
    return "\n".join(
        [
            in_lab(f'score {run} "ExactMatch() + 0.5 * CoverageGain()"', lab),
            in_lab(f'sql "{asked}"', lab),
            in_lab(f"sql \"select text, observation from steps where run = '{run}' limit 1\"", lab),
            "  workbench sql --tables      (everything that can be asked)",
        ]
    )
