"""`workbench train`."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

from workbench.commands.options import (
    add_batch,
    add_command,
    add_lab,
    add_load,
    add_material,
    load,
    number,
    typed_again,
    whole,
)

if TYPE_CHECKING:
    from workbench.commands.labs import Told
    from workbench.commands.material import Material
    from workbench.training.report import Report
    from workbench.training.run import Run

LESSON = """
train a policy by a reward

Each update rolls the policy out on a few tasks, scores the rollouts, compares those of a task with each other and takes
one optimiser step. One line is printed an update; checks that do not hold are printed below it. Rollouts, scores,
plans and reports go to the lab, with checkpoints. Ctrl-C ends the run after the update under way (twice: at once), and
--resume goes on from any checkpoint to the same numbers.

examples:
  # the tiny policy on the embedded world
  workbench train --updates 20 --save mypolicy

  # another reward and method, in a run of your own name
  workbench train --reward "ExactMatch() + 0.3 * CoverageGain()" --method GRPO --group-size 8 --name grpo1

  # a chat model with low-rank adapters on your own questions and pages
  workbench train --policy models/smollm2 --template tools --lora 16 --tasks questions.jsonl --corpus corpus.jsonl.gz

  # go on from a checkpoint; policy and tasks as they were given then
  workbench train --resume lab/checkpoints/grpo1/update-00010
"""

PLANNED = ("reward", "method", "group_size", "tasks_per_update", "lr", "seed", "batch", "temperature", "name")
"""Options that a checkpoint answers."""

MATERIAL: tuple[str, ...] = ("policy", "engine", "bf16", "template", "chat", "instruction", "turn_tokens")
MATERIAL += ("tasks", "limit", "corpus", "k", "turns", "observation_tokens")


def add(commands: Any) -> None:
    parser = add_command(
        commands, "train", run, LESSON, kept="what the run did so far is kept in {lab}, with its checkpoints"
    )
    add_material(parser, limit=None)
    how = parser.add_argument_group("how")
    how.add_argument("--reward", metavar="REWARD", help="as `workbench score` takes it (default: ExactMatch())")
    add_load(how)
    how.add_argument(
        "--method", metavar="NAME", help="DrGRPO, GRPO, DAPO, RLOO, GSPO, ReinforcePP or PPO (default: DrGRPO)"
    )
    how.add_argument("--group-size", type=whole(1), metavar="N", help="rollouts of a task (default: the method's)")
    how.add_argument("--tasks-per-update", type=whole(1), metavar="N", help="(default: as `workbench demo`)")
    how.add_argument("--updates", type=whole(1), metavar="N", help="optimiser updates in all (default: 50)")
    how.add_argument(
        "--lr",
        type=number(0, above=True),
        metavar="X",
        help="learning rate (default: 1e-4 with --lora; demo: as `workbench demo`; else 1e-6, Search-R1's)",
    )
    how.add_argument("--lora", type=whole(1), metavar="RANK", help="train adapters of this rank instead of all weights")
    how.add_argument(
        "--temperature", type=number(0, above=True), metavar="X", help="of the rollouts trained on (default: 1)"
    )
    how.add_argument("--seed", type=whole(0), metavar="N", help="of everything random (default: 0)")
    add_batch(how)
    keeping = parser.add_argument_group("what is kept")
    add_lab(keeping)
    keeping.add_argument("--name", metavar="RUN", help="of the run in the lab (default: the next free one)")
    keeping.add_argument(
        "--checkpoint-every",
        type=whole(0),
        default=10,
        metavar="N",
        help="updates between checkpoints, one is made at the end; 0: only that one (default: 10)",
    )
    keeping.add_argument("--save", metavar="FOLDER", help="keep the trained policy there, for --policy FOLDER")
    keeping.add_argument(
        "--resume", metavar="CHECKPOINT", help="go on from this folder, with the plan it was made with"
    )


def run(args: argparse.Namespace) -> int:
    from workbench.commands.labs import Told
    from workbench.commands.material import check_free, gather, save_policy
    from workbench.store import open_store

    _check(args)
    if args.save:
        check_free(args.save)
    material = gather(args)
    if args.lora:
        _add_lora(material, args.lora)
    with open_store(args.lab) as store:
        told = Told(store, args.typed)
        training = _resumed(args, material, told) if args.resume else _fresh(args, material, told)
        print(f"run {training.name}: to update {training.updates}, logged in {args.lab}", flush=True)
        code = drive(training)
    if args.save and training.update:
        saved = save_policy(material.engine, material.habits, args.save)
        print(f"trained policy saved; use it with --policy {shlex.quote(str(saved))}")
    print(_epilogue(training, args, code))
    return code


def _check(args: argparse.Namespace) -> None:
    """Refuse what a checkpoint has decided already, and a reward that cannot be read: before a model is loaded."""
    import workbench.retrieval.encoders  # noqa: F401  a reward may name one
    from workbench.errors import SettingError
    from workbench.rewards.expression import read_reward

    load(args.load)
    read_reward(args.reward or "ExactMatch()")
    given = [f"--{name.replace('_', '-')}" for name in PLANNED if getattr(args, name) is not None]
    if args.resume and given:
        raise SettingError(f"--resume goes on with the plan of the checkpoint; leave out {', '.join(given)}")


def _add_lora(material: Material, rank: int) -> None:
    import torch

    from workbench.training.lora import add_lora

    torch.manual_seed(0)  # a run that goes on from a checkpoint must begin with the same adapters
    add_lora(material.engine, rank=rank)


def _fresh(args: argparse.Namespace, material: Material, told: Told) -> Run:
    from dataclasses import replace

    from workbench.errors import UnknownName
    from workbench.main_job import SETTINGS
    from workbench.rewards.expression import read_reward
    from workbench.training.method import METHODS
    from workbench.training.train import train

    name = args.method or "DrGRPO"
    if name not in METHODS:
        raise UnknownName.among("method", name, METHODS)
    method = METHODS[name](args.group_size) if args.group_size else METHODS[name]()
    if args.batch:
        method = replace(method, sampler=replace(method.sampler, batch=args.batch))
    return train(
        material.policy,
        material.tasks,
        material.environment,
        read_reward(args.reward or "ExactMatch()"),
        method=method,
        updates=args.updates or 50,
        tasks_per_update=args.tasks_per_update or SETTINGS["tasks_per_update"],
        optimiser=replace(SETTINGS["optimiser"], lr=args.lr or _usual_lr(args)),
        seed=args.seed or 0,
        recorder=told,
        name=args.name,
        checkpoint_every=args.checkpoint_every,
    )


def _usual_lr(args: argparse.Namespace) -> float:
    if args.lora:
        return 1e-4
    from workbench.main_job import SETTINGS

    return SETTINGS["optimiser"].lr if args.policy == "demo" else 1e-6


def _resumed(args: argparse.Namespace, material: Material, told: Told) -> Run:
    from workbench.training.train import resume

    return resume(
        args.resume,
        material.policy,
        material.tasks,
        material.environment,
        updates=args.updates,
        recorder=told,
        checkpoint_every=args.checkpoint_every,
    )


def drive(run: Run) -> int:
    """Do the updates that are left, a line each. Ctrl-C ends the run after the update under way, again: at once."""
    with _stopping(run), contextlib.closing(cast("Generator[Report]", iter(run))) as reports:
        for report in reports:
            print(report, flush=True)
    return 130 if run.update < run.updates else 0


@contextlib.contextmanager
def _stopping(run: Run) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        print("stopping after this update; Ctrl-C again stops at once", flush=True)
        run.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _epilogue(run: Run, args: argparse.Namespace, code: int) -> str:
    """Where everything is, and what to type next."""
    from workbench.commands.labs import in_lab

    asked = f"select update, avg(value) as paid from returns where run = '{run.name}' group by update order by update"
    lines = [f"{run.status} after update {run.update} of {run.updates}. Next:", in_lab(f'sql "{asked}"', args.lab)]
    if code and run.folder is not None and run.update:
        checkpoint = run.folder / f"update-{run.update:05d}"
        words = ["train", *typed_again(args, (*MATERIAL, "lora", "load")), "--resume", str(checkpoint)]
        lines.append(f"{in_lab(shlex.join(words), args.lab)}      (goes on)")
    return "\n".join(lines)
