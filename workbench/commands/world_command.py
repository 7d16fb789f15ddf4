"""`workbench world`."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_family, number, whole

if TYPE_CHECKING:
    from workbench.agents.language_policy import LanguagePolicy
    from workbench.embedded import Demo
    from workbench.environments.tool_environment import ToolEnvironment
    from workbench.protocols import Recorder
    from workbench.sampling.evaluate import Evaluation
    from workbench.trajectory import Task

LESSON = """
the embedded world: look at it, make it again, make its tiny policy, measure

Short pages of real facts, questions of one to three hops over them, a fictional twin in which every name is invented,
and a tiny policy that can already answer about half.

examples:
  workbench world show
  workbench world evaluate --tasks 100
"""

SHOW = """
count pages and tasks, and show some tasks with their pages

The tasks shown are held out: never trained on, about other entities.

examples:
  workbench world show

  # ten tasks of the fictional twin
  workbench world show --twin --tasks 10
"""

BUILD = """
make the world again from the packages that ship its facts

Gathers and cleans the facts, draws the tasks, invents the twin, and writes all files; some 20 seconds. Needs the
packages of the extra [world] (pip install 'reward-workbench[world]'). With the same versions of those, the same bytes.

examples:
  # in a checkout: what `workbench demo` reads
  workbench world build --out data/world

  # a world of your own draw
  workbench world build --out myworld --seed 7
"""

TRAIN_POLICY = """
make the tiny policy from demonstrations

Makes a tokenizer, has a scripted demonstrator play thousands of tasks (most of them in fictional twins, so that the
policy learns to search and copy rather than to remember; some with mistakes, so that training by reward has something
to gain), trains a small Llama on them, saves it and measures it. Up to an hour on two cores with the defaults.

examples:
  # the policy that ships (in a checkout: what `workbench demo` uses)
  workbench world train-policy --out data/world/policy-tags

  # the same for chat with tool calls
  workbench world train-policy --template tools --out data/world/policy-tools

  # a quick and poor one
  workbench world train-policy --updates 100 --demonstrations 1000 --out quickpolicy --tasks 50
"""

EVALUATE = """
measure a policy on the held-out tasks

Exact match greedy and sampled, by hops, with 95 % intervals over tasks; and closed-book on the fictional twin, where a
policy that may not search can know nothing.

examples:
  workbench world evaluate --tasks 100

  # a policy that was trained here, its rollouts kept in the lab
  workbench world evaluate --policy mypolicy --lab lab
"""


def add(commands: Any) -> None:
    family = add_family(commands, "world", LESSON).add_subparsers(title="commands", metavar="COMMAND")
    show = add_command(family, "show", run_show, SHOW)
    show.add_argument("--tasks", type=whole(0), default=3, metavar="N", help="how many are shown (default: 3)")
    show.add_argument("--twin", action="store_true", help="the fictional twin instead")
    build = add_command(family, "build", run_build, BUILD, kept="files that were written already stay in {out}")
    build.add_argument("--out", default="data/world", metavar="FOLDER", help="(default: data/world)")
    build.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the draw of tasks (default: 0)")
    _add_train_policy(family)
    evaluate = add_command(
        family, "evaluate", run_evaluate, EVALUATE, kept="rollouts that are finished are kept, with --lab"
    )
    evaluate.add_argument("--policy", default="demo", metavar="NAME", help="as for `workbench rollout` (default: demo)")
    evaluate.add_argument("--template", metavar="NAME", help="as for `workbench rollout`")
    evaluate.add_argument("--temperature", type=number(0, above=True), default=1.0, metavar="X", help="(default: 1)")
    evaluate.add_argument("--lab", metavar="FOLDER", help="log the rollouts there (default: they are not logged)")
    _add_measuring(evaluate)


def _add_train_policy(family: Any) -> None:
    from_scratch = add_command(
        family, "train-policy", run_train_policy, TRAIN_POLICY, kept="a policy is kept only once it is whole, in {out}"
    )
    add = from_scratch.add_argument
    add("--template", default="tags", metavar="NAME", help="how it writes: tags or tools (default: tags)")
    add("--out", metavar="FOLDER", help="(default: data/world/policy-TEMPLATE)")
    add("--updates", type=whole(1), metavar="N", help="of the training (default: the recipe's)")
    add("--demonstrations", type=whole(1), metavar="N", help="to learn from (default: the recipe's)")
    _add_measuring(from_scratch)


def _add_measuring(parser: Any) -> None:
    parser.add_argument("--tasks", type=whole(1), default=400, metavar="N", help="held-out tasks (default: 400)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of everything random (default: 0)")


# ---------------------------------------------------------------- show and build


def run_show(args: argparse.Namespace) -> None:
    from workbench.embedded import demo

    world = demo().twin() if args.twin else demo()
    pages = {page.id: page for page in world.pages}
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(page.kind for page in world.pages).most_common())
    print(f"{len(pages):,} pages: {kinds}")
    for name, tasks in (("train", world.tasks), ("held-out", world.test_tasks)):
        counts = sorted(Counter(task.hops for task in tasks).items())
        hops = ", ".join(f"{count:,} of {hops} hop{'s' * (hops > 1)}" for hops, count in counts)
        print(f"{len(tasks):,} {name} tasks: {hops}")
    for task in world.test_tasks[: args.tasks]:
        print(f"\n{task.question}  ->  {task.golds[0]}   ({task.id})")
        for sub in task.sub_questions:
            print(f"  {sub.golds[0]:<24} {pages[sub.page].title}: {pages[sub.page].text}")


def run_build(args: argparse.Namespace) -> None:
    from workbench.environments.twin import fictional_twin
    from workbench.environments.world import build_world, write_world

    Path(args.out).mkdir(parents=True, exist_ok=True)  # better now than after the work
    world = build_world(args.seed)
    write_world(world, args.out)
    write_world(fictional_twin(world, 0), args.out, "twin_")
    print(f"{world!r} and its twin, written to {args.out}")


# ---------------------------------------------------------------- policy


def run_train_policy(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from workbench.commands.material import check_free, habits_of_tiny, save_policy
    from workbench.embedded import demo
    from workbench.errors import UnknownName
    from workbench.training.tiny_policy import TEMPLATES, Recipe, make_tiny_engine, tiny_policy

    if args.template not in TEMPLATES:
        raise UnknownName.among("template", args.template, TEMPLATES, where="those of tiny policies")
    args.out = args.out or f"data/world/policy-{args.template}"
    check_free(args.out)
    given = {name: getattr(args, name) for name in ("updates", "demonstrations") if getattr(args, name) is not None}
    world = demo(args.template)
    recipe = replace(Recipe(seed=args.seed), **given)
    engine = make_tiny_engine(world.world, TEMPLATES[args.template], recipe)
    policy = tiny_policy(engine, TEMPLATES[args.template])
    print(f"saved in {save_policy(engine, habits_of_tiny(policy, world.environment), args.out)}\n", flush=True)
    print(measured(policy, world, world.environment, args))


def run_evaluate(args: argparse.Namespace) -> None:
    from workbench.agents.language_policy import LanguagePolicy
    from workbench.commands.labs import Told
    from workbench.commands.material import engine_of
    from workbench.commands.sources import searcher
    from workbench.embedded import demo
    from workbench.store import open_store

    engine, habits = engine_of(args.policy, args.template)
    policy = LanguagePolicy(engine, habits.template, args.temperature, habits.turn_tokens)
    environment = habits.environment(searcher(["demo"]))
    if args.lab is None:
        print(measured(policy, demo(), environment, args))
        return
    with open_store(args.lab) as store:
        print(measured(policy, demo(), environment, args, Told(store, args.typed)))


def measured(
    policy: LanguagePolicy,
    world: Demo,
    environment: ToolEnvironment,
    args: argparse.Namespace,
    recorder: Recorder | None = None,
) -> str:
    """Exact match on held-out tasks, and closed-book on the twin, as a table."""
    from dataclasses import replace

    from workbench.commands.tables import text_table

    shut = replace(environment, limits=replace(environment.limits, turns=0))
    held_out, twin = world.test_tasks[: args.tasks], world.twin().test_tasks[: args.tasks]
    rows: list[list[Any]] = []
    for name, tasks, where, temperature in (
        ("greedy", held_out, environment, 0.0),
        ("sampled", held_out, environment, policy.temperature),
        ("closed-book on the twin, greedy", twin, shut, 0.0),
    ):
        rows += _rows(name, _evaluation(policy, tasks, where, temperature, args.seed, recorder))
    return text_table(["held-out tasks", "tasks", "exact match", "95 % interval", "searches"], rows)


def _evaluation(
    policy: LanguagePolicy,
    tasks: tuple[Task, ...],
    environment: ToolEnvironment,
    temperature: float,
    seed: int,
    recorder: Recorder | None,
) -> Evaluation:
    from workbench.sampling.evaluate import evaluate

    found = evaluate(policy, tasks, environment, temperature=temperature, seed=1000 + seed, recorder=recorder)
    if len(found.trees) < len(tasks):  # Ctrl-C: a part of the tasks is no measurement
        raise KeyboardInterrupt
    return found


def _rows(name: str, found: Evaluation) -> list[list[Any]]:
    rows = [[name, *_cells(found.values_PG.mean(axis=1)), f"{found.searches:.2f}"]]
    for hops in sorted(set(found.hops_P.tolist())):
        rows.append([f"  {hops} hop", *_cells(found.values_PG[found.hops_P == hops].mean(axis=1)), ""])
    return rows


def _cells(values_P: Any) -> list[str]:
    from workbench.evaluation import bootstrap_interval

    interval = bootstrap_interval(values_P)
    return [str(len(values_P)), f"{interval.mean:.3f}", f"{interval.low:.3f} to {interval.high:.3f}"]
