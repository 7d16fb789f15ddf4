"""`workbench bench`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workbench.commands.options import add_command, add_family, whole

if TYPE_CHECKING:
    from workbench.agents.language_policy import LanguagePolicy
    from workbench.training.machine_report import MachineReport

LESSON = """
measure what this machine does

Needs no network: the tiny policy is part of the package, larger models are made with random weights.

examples:
  workbench bench gpu
  workbench bench gpu --device cpu --small
"""

GPU = """
engines, trainer, agreement and speed on a GPU, as a report

Trains a few updates with each engine and precision, and writes what they took, whether trainer and sampler agreed,
which checks did not hold, and what was not run and why: report.json and report.md. The tiny policy, and a model of
random weights in the shape of Qwen2.5-0.5B. The vllm engine takes part where WORKBENCH_VLLM_PYTHON names a Python that
has vLLM, or this one has it. What is measured is written case by case, so Ctrl-C keeps it.

examples:
  workbench bench gpu --out gpu-report

  # a part of it
  workbench bench gpu --engines transformers --models 0.5B

  # the same at a size for trying, where there is no GPU
  workbench bench gpu --device cpu --small
"""

MODELS = ("tiny", "0.5B")
ENGINES = ("transformers", "vllm")


def add(commands: Any) -> None:
    family = add_family(commands, "bench", LESSON).add_subparsers(title="commands", metavar="COMMAND")
    parser = add_command(family, "gpu", run, GPU, kept="what was measured is in {out}")
    parser.add_argument("--out", default="gpu-report", metavar="FOLDER", help="for the report (default: gpu-report)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cuda or cpu (default: cuda)")
    parser.add_argument("--small", action="store_true", help="sizes for a try: seconds, and speeds that mean nothing")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="tiny, 0.5B (default: both)")
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=ENGINES, help="transformers, vllm (default: both)"
    )
    parser.add_argument("--updates", type=whole(1), default=3, metavar="N", help="measured a case (default: 3)")


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    import torch

    from workbench.errors import SettingError
    from workbench.training.machine_report import MachineReport, machine

    if args.device == "cuda" and not torch.cuda.is_available():
        raise SettingError(
            "torch sees no GPU here (torch.cuda.is_available() is False); to try the command without one: "
            "workbench bench gpu --device cpu --small"
        )
    report = MachineReport(machine(args.device), args.typed, args.device, args.small)
    if args.device == "cpu":
        report.not_run["anything on a GPU, and memory"] = "asked for the CPU"
    for what in measured(args, report):
        print(what, flush=True)
        report.write(Path(args.out))
    print(f"report: {Path(args.out) / 'report.md'} and report.json beside it")


def measured(args: argparse.Namespace, report: MachineReport) -> Iterator[str]:
    """Fill the report, yielding what was found after each piece."""
    from workbench.commands.material import demo_world
    from workbench.training.machine_bench import Load, cases, gradient_parity, measure_case

    world, small = demo_world(), args.small
    load = Load(2, 2, args.updates) if small else Load(updates=args.updates)
    on = (world.tasks, world.environment, args.device)
    with _tried(report, "gradients"):
        report.parity = gradient_parity(lambda: _policy("tiny", small), *on, Load(2, 4) if small else load)
        yield f"gradients: {report.parity['gradient_off']:.1e} apart"
    for case in cases(args.models, _usable(args.engines, report)):
        with _tried(report, case.name):
            found = report.cases[case.name] = measure_case(case, _policy(case.model, small), *on, load)
            report.machine |= {"vllm": found["vllm"]["version"]} if "vllm" in found else {}
            sampled, trained = found["rollout_tokens_per_s"], found["trained_tokens_per_s"]
            yield f"{case.name}: {sampled:,.0f} tokens/s sampled, {trained:,.0f} trained"
        if case.name in report.not_run:
            yield f"{case.name}: not run ({report.not_run[case.name]})"


@contextmanager
def _tried(report: MachineReport, what: str) -> Iterator[None]:
    """What one piece cannot do shall not cost the others."""
    try:
        yield
    except Exception as error:
        report.not_run[what] = f"{type(error).__name__}: {error}"


def _usable(engines: Sequence[str], report: MachineReport) -> list[str]:
    from workbench.agents.vllm_engine import python_with_vllm
    from workbench.errors import WorkbenchError

    usable = list(engines)
    if "vllm" in usable:
        try:
            python_with_vllm()
        except WorkbenchError as error:
            report.not_run["vllm"] = str(error)
            usable.remove("vllm")
    return usable


def _policy(model: str, small: bool) -> LanguagePolicy:
    """A policy in float32 on the CPU, loaded or made anew: the one before was trained and moved."""
    from workbench.agents.language_policy import LanguagePolicy
    from workbench.agents.templates import TagTemplate
    from workbench.agents.transformers_engine import TransformersEngine
    from workbench.embedded import demo
    from workbench.training.random_models import qwen_half_billion

    if model == "tiny":
        policy = demo().policy
        policy.engine.model.cpu()  # type: ignore[attr-defined]
        return policy
    engine = TransformersEngine(*qwen_half_billion(small=small), name=model)
    return LanguagePolicy(engine, TagTemplate(), turn_tokens=16 if small else 128)
