"""`workbench demo`: the main job on the embedded world, from rollouts to SQL."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from workbench.embedded import Demo, demo
from workbench.protocols import Recorder
from workbench.rewards import ExactMatch
from workbench.sampling.evaluate import Evaluation, evaluate
from workbench.training.plan import Optimiser
from workbench.training.report import Report
from workbench.training.run import Run
from workbench.training.train import train

SETTINGS: dict[str, Any] = {"tasks_per_update": 12, "optimiser": Optimiser(1e-4, warmup=3)}
"""What the demo and the learning benchmark train with; group size 8."""


def train_demo(
    world: Demo, reward: Any, *, updates: int, seed: int, recorder: Recorder | None = None, **settings: Any
) -> Run:
    """The demo's training run on a world, not yet started."""
    made = {**SETTINGS, **settings}
    return train(
        world.policy, world.tasks, world.environment, reward, updates=updates, seed=seed, recorder=recorder, **made
    )


def measure(
    world: Demo, when: str, *, seed: int, tasks: int, recorder: Recorder | None = None, progress: bool = True
) -> dict[str, Evaluation]:
    """Exact match on held-out tasks, greedy and sampled."""
    held_out = world.test_tasks[:tasks]
    return {
        kind: evaluate(
            world.policy,
            held_out,
            world.environment,
            temperature=temperature,
            seed=1000 + seed,
            recorder=recorder,
            name=None if recorder is None else f"{when}-{kind}",
            progress=progress,
        )
        for kind, temperature in (("greedy", 0.0), ("sampled", 1.0))
    }


def main_job(lab: str | Path = "lab", *, updates: int = 40, seed: int = 0, tasks: int = 400) -> None:
    """Roll out, train, log, ask: prints a table, saves a plot into the lab, says what to type next."""
    from workbench.store import open_store

    with open_store(lab) as store:
        world = demo()
        print(f"{len(world.pages)} pages, {len(world.tasks)} train and {len(world.test_tasks)} held-out tasks\n")
        job = _free_name(store.runs())
        before = measure(world, f"{job}-before", seed=seed, tasks=tasks, recorder=store)
        run = train_demo(world, ExactMatch(), updates=updates, seed=seed, recorder=store, name=f"{job}-train")
        started = time.perf_counter()
        reports = []
        for report in run:
            print(report, flush=True)
            reports.append(report)
        seconds = time.perf_counter() - started
        after = measure(world, f"{job}-after", seed=seed, tasks=tasks, recorder=store)
        print("\n" + table(before, after) + "\n")
        print(speed(reports, seconds))
        picture = plot(reports, before, after, Path(lab) / "plots" / f"{job}.png")
        print(f"Plot: {picture}\nEverything is logged in {lab}. Ask it:\n")
        if shutil.which("workbench") is None:  # run through make, outside its environment
            print(f"  source {Path(sys.prefix) / 'bin' / 'activate'}")
        by_update = (
            f"select update, avg(value) as exact_match from scores where run = '{run.name}' group by all order by 1"
        )
        print(f'  workbench sql --lab {lab} "{by_update}"')
        print(f"  workbench sql --lab {lab} \"select * from searches where run = '{job}-after-greedy' limit 5\"")
        print("  workbench train --help       (other rewards, methods and policies)")
        print("  make lab                     (JupyterLab)")


def _free_name(taken: list[str]) -> str:
    number = 1
    while any(name.startswith(f"demo{number}-") for name in taken):
        number += 1
    return f"demo{number}"


def table(before: dict[str, Evaluation], after: dict[str, Evaluation]) -> str:
    """Exact match before and after, with 95 % bootstrap intervals over tasks, by hops, and searches a task."""
    lines = [f"{'exact match, held-out tasks':<30}{'before':>24}{'after':>24}{'gain':>8}"]
    for kind in before:
        cells = [
            f"{one.mean:.3f} [{one.interval()[0]:.3f}, {one.interval()[1]:.3f}]" for one in (before[kind], after[kind])
        ]
        lines.append(f"{kind:<30}{cells[0]:>24}{cells[1]:>24}{after[kind].mean - before[kind].mean:>+8.3f}")
        for hops, value in before[kind].by_hops().items():
            now = after[kind].by_hops()[hops]
            lines.append(f"{f'  {hops} hop':<30}{value:>24.3f}{now:>24.3f}{now - value:>+8.3f}")
        lines.append(f"{'  searches a task':<30}{before[kind].searches:>24.2f}{after[kind].searches:>24.2f}")
    return "\n".join(lines)


def speed(reports: list[Report], seconds: float) -> str:
    """Tokens and updates a second."""
    sampled = sum(report.sampled_tokens for report in reports)
    rollout_s = sum(report.rollout_s for report in reports)
    train_s = sum(report.train_s for report in reports)
    alarms = sum(len(report.alarms) for report in reports)
    return (
        f"{len(reports)} updates of {reports[0].rollouts} rollouts in {seconds:.0f} s: "
        f"{len(reports) / seconds:.2f} updates/s, {sampled / rollout_s:,.0f} own tokens/s sampled, "
        f"{sum(r.trained_tokens for r in reports) / train_s:,.0f} own tokens/s trained; {alarms} training checks lit up"
    )


def plot(reports: list[Report], before: dict[str, Evaluation], after: dict[str, Evaluation], path: Path) -> Path:
    """Mean return by update, and exact match by hops before and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    returns = np.array([report.mean_return for report in reports])
    updates = [report.update for report in reports]
    smooth = [returns[max(0, n - 4) : n + 1].mean() for n in range(len(returns))]
    left.plot(updates, returns, color="tab:blue", alpha=0.3, label="each update")
    left.plot(updates, smooth, color="tab:blue", label="mean of the last five")
    left.legend(loc="lower right")
    left.set(xlabel="update", ylabel="mean return (exact match of samples)", ylim=(0, 1), title="training")
    hops = sorted(before["greedy"].by_hops())
    for offset, (label, one, color) in enumerate(
        [("before", before["greedy"], "tab:gray"), ("after", after["greedy"], "tab:green")]
    ):
        heights = [one.mean, *(one.by_hops()[h] for h in hops)]
        bars = right.bar([x + 0.4 * offset for x in range(len(heights))], heights, 0.4, label=label, color=color)
        right.bar_label(bars, fmt="%.2f", fontsize=8)
    right.set_xticks([x + 0.2 for x in range(len(hops) + 1)], ["all", *(f"{h} hop" for h in hops)])
    right.set(ylabel="exact match, greedy", ylim=(0, 1), title="held-out tasks")
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
