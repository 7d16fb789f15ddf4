"""What the browser tests of RunMonitor are made of: rows as Python tells them, runs, pages that show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.bare import Bare
from tests.training.seekers import REWARD, seeking
from widgets.run_monitor import RunMonitor
from workbench.rewards.compose import reweighted
from workbench.training.run import Run


def a_row(update: int, **told: Any) -> dict[str, Any]:
    """An update as Python tells of it."""
    numbers = {"loss": 0.1, "grad_norm": 0.5, "clipped": 0.0, "kl": None, "entropy": 1.5, "lr": 0.1}
    row = {
        "update": update,
        "run": "r1",
        "mean_return": update / 10,
        "parts": {"ExactMatch": update / 20, "CoverageGain": None if update == 2 else 0.5},
        "rollouts": 32,
        "ends": {"answered": 24, "truncated": 8},
        "searches": 2.0,
        "equal_groups": 1,
        "groups": 4,
        "rollout_s": 2.0,
        "score_s": 0.5,
        "train_s": 1.5,
        "sampled_per_s": 1234.0,
        "trained_per_s": 2000.0,
        "alarms": [],
    }
    return {**row, **numbers, **told}


def news(*rows: dict[str, Any], **told: Any) -> dict[str, Any]:
    """What Python tells a page of a run in a thread."""
    done = rows[-1]["update"] if rows else 0
    state = {"name": "r1", "status": "running", "update": done, "updates": 20, "continues": None, "steers": True}
    steering = {"driven": True, "paused": False, "stopping": False, "returning": None, "error": "", "waiting": False}
    plan = {"reward": "ExactMatch() + 0.5 * CoverageGain()"}
    weights = [["ExactMatch", 1.0], ["CoverageGain", 0.5]]
    more = {
        "from": 0,
        "rows": list(rows),
        "checks": [],
        "marks": [],
        "checkpoints": [],
        "plan": plan,
        "weights": weights,
    }
    return {**state, **steering, **more, **told}


def told(bare: Bare, *rows: dict[str, Any], **more: Any) -> Locator:
    """A page that was told this; the test plays Python."""
    el = bare.mount("run_monitor")
    bare.say("run", news(*rows, **more))
    expect(el.get_by_role("heading", level=2)).to_have_text(more.get("name", "r1"))
    return el


def trained(updates: int, folder: Path | None = None) -> Run:
    """A run that was swapped once, after update 3, and left after `updates`."""
    run = seeking(20, checkpoints=folder, checkpoint_every=2 if folder else 0)
    for report in run:
        if report.update == 3:
            run.plan = run.plan.replace(reward=reweighted(REWARD, {"CoverageGain": 0.3}))
        if report.update == updates:
            break
    return run


def shown(bare: Bare, run: Any) -> tuple[RunMonitor, Locator]:
    monitor = RunMonitor(run)
    el = bare.attach(monitor)
    expect(el.locator(".wb-chart svg").first).to_be_visible()
    expect(el.locator(".wb-run-progress")).to_contain_text("update")
    return monitor, el


def until(page: Page, holds: Callable[[], object]) -> None:
    """Wait until Python has come so far; the page is let run meanwhile."""
    for _ in range(400):
        if holds():
            return
        page.wait_for_timeout(25)
    raise AssertionError("it did not come to that")


def asked(bare: Bare, kind: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k != "kind"} for one in bare.sent if one["kind"] == kind]


def alarm(name: str, says: str) -> dict[str, Any]:
    return {"name": name, "ok": False, "value": 0.9, "says": says}


def a_group(question: str, returns: tuple[float | None, ...] = (1.0, 0.0, None, 0.0)) -> dict[str, Any]:
    return {
        "tree": 0,
        "task": "t",
        "question": question,
        "returns": returns,
        "mean": 0.25,
        "spread": 0.4,
        "ends": {"answered": 4},
    }
