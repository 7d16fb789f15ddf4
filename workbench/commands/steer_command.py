"""`workbench steer`."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_lab, number

if TYPE_CHECKING:
    from workbench.store import Store

LESSON = """
steer a training that goes on in another process

The request is a row of the lab; the run obeys before its next update and answers. What was asked of a run, by whom and
what came of it stays on record.

examples:
  workbench steer grpo1 pause
  workbench steer grpo1 resume

  # other weights of its reward, another reward, another learning rate, from the next update on
  workbench steer grpo1 change --weight CoverageGain=0.2
  workbench steer grpo1 change --reward "ExactMatch() + 0.5 * CoverageGain()" --lr 1e-4

  # back to a checkpoint; the run goes on from there under a name of its own
  workbench steer grpo1 roll-back --update 20

  # what was asked so far
  workbench steer grpo1 asked
"""

WHATS = ("pause", "resume", "stop", "change", "roll-back", "asked")


def add(commands: Any) -> None:
    parser = add_command(commands, "steer", run, LESSON, kept="the request is kept and will be obeyed")
    parser.add_argument("run_name", metavar="RUN", help="the run")
    parser.add_argument("what", metavar="WHAT", choices=WHATS, help=", ".join(WHATS))
    parser.add_argument("--weight", action="append", default=[], metavar="TERM=W", help="weight of a term; repeatable")
    parser.add_argument("--reward", metavar="REWARD", help="another reward")
    parser.add_argument("--lr", type=float, metavar="LR", help="another learning rate")
    parser.add_argument("--update", type=int, metavar="N", help="the checkpoint to roll back to")
    parser.add_argument(
        "--wait", type=number(0), default=60.0, metavar="S", help="seconds to wait for the answer (default: 60)"
    )
    add_lab(parser)


def run(args: argparse.Namespace) -> None:
    from workbench.commands.labs import existing_lab
    from workbench.commands.tables import text_table

    with existing_lab(args.lab) as store:
        if args.what == "asked":
            asked = store.steered(args.run_name)
            print(text_table([*map(str, asked.columns)], [*asked.itertuples(index=False, name=None)]))
            return
        what = args.what.replace("-", " ")
        store.steer(args.run_name, what, **_told(args, store))
        store.flush()
        print(_answer(store, args.run_name, args.wait))


def _told(args: argparse.Namespace, store: Store) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if args.update is not None:
        told["update"] = args.update
    if args.reward is not None:
        import workbench.retrieval.encoders  # noqa: F401  a reward may name one
        from workbench.rewards.expression import read_reward

        told["reward"] = read_reward(args.reward)
    if args.weight:
        told["weights"] = dict(map(_weight, args.weight))
    if args.lr is not None:
        told["optimiser"] = _optimiser(store, args.run_name, args.lr)
    return told


def _weight(text: str) -> tuple[str, float]:
    from workbench.errors import SettingError

    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise SettingError(f"--weight is written TERM=W, such as CoverageGain=0.2; got {text!r}") from error


def _optimiser(store: Store, run: str, lr: float) -> Any:
    """The optimiser of the newest plan with another learning rate."""
    from dataclasses import replace

    from workbench.plain import loads
    from workbench.spec import from_spec
    from workbench.training.plan import Optimiser

    plans = store.sql("select plan from plans where run = $run order by update desc, recorded desc limit 1", run=run)
    now = from_spec(loads(plans.plan[0])["optimiser"]) if len(plans) else Optimiser()
    return replace(now, lr=lr)


def _answer(store: Store, run: str, wait_s: float) -> str:
    give_up = time.monotonic() + wait_s
    while True:
        last = store.steered(run).iloc[-1]
        if isinstance(last.answer, str):
            return str(last.answer)
        if time.monotonic() > give_up:
            return "asked; no answer yet: the run obeys before its next update (workbench steer RUN asked shows it)"
        time.sleep(0.5)
