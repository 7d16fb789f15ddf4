"""The pictures of the README and the notebooks, taken in a real JupyterLab and in the served app.

    python -m tests.browser.pictures

Writes notebooks/pictures/*.png. The rollouts, the lab and the training are those of the notebooks, seed 0.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import FLAGS, executable
from tests.browser.lab import ROOT, Lab, at_home, free_port, jupyter_lab, running

PICTURES = ROOT / "notebooks" / "pictures"

ROLL_OUT = """
import workbench as wb
from widgets import RunMonitor, StepThrough
store = wb.open("lab")
world = wb.demo()
trees = wb.rollout(world.policy, world.tasks[:8], world.environment, group_size=8, recorder=store, progress=False)
reward = wb.ExactMatch() + 0.5 * wb.CoverageGain() - 0.2 * wb.RepeatedDocuments()
scores = wb.score(trees, reward)
store.record_scores(trees, scores, run=trees[0].run)
"""
STEP = "StepThrough(trees, scores, recorder=store, height=560, at={'tree': trees[3].id, 'step': 1})"
TRAIN = """
reward = wb.ExactMatch() + 0.5 * wb.CoverageGain()
settings = dict(tasks_per_update=8, optimiser=wb.Optimiser(1e-4, warmup=3), checkpoint_every=4, recorder=store)
run = wb.train(world.policy, world.tasks, world.environment, reward, updates=16, **settings)
for report in run:
    if report.update == 8:
        run.plan = run.plan.replace(reward=wb.ExactMatch() + 0.2 * wb.CoverageGain())
    if report.update == 12:
        break
"""


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        browser = playwright.chromium.launch(executable_path=executable(playwright), args=list(FLAGS))
        with jupyter_lab(home) as address:
            notebooks(Lab(a_page(browser), address, home / "notebooks"))
        served(browser, home)
        browser.close()


def a_page(browser: Browser, height: int = 900) -> Page:
    return browser.new_context(viewport={"width": 1280, "height": height}).new_page()


def notebooks(lab: Lab) -> None:
    page = lab.page
    lab.open(ROLL_OUT, STEP, TRAIN, "RunMonitor(run)")
    lab.run_all()
    lab.output(3).locator(".wb").wait_for(timeout=600_000)
    lab.wait_idle()
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    shot(lab, 1, "step_through")
    page.set_viewport_size({"width": 1280, "height": 1500})  # all of it at once
    shot(lab, 3, "run_monitor")
    lab.theme("dark")
    lab.output(1).locator(".wb").focus()
    page.keyboard.press("c")
    shot(lab, 1, "compare")


def shot(lab: Lab, cell: int, name: str) -> None:
    component = lab.output(cell).locator(".wb").first
    component.scroll_into_view_if_needed()
    lab.page.wait_for_timeout(500)
    component.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


def served(browser: Browser, home: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "workbench.cli", "serve", str(home / "notebooks" / "lab"), "--port", str(port)]
    folder = home / "app"
    folder.mkdir()
    address = f"http://127.0.0.1:{port}"
    with running([*command, "--no-show"], folder, address, {**os.environ, **at_home(folder)}):
        page = a_page(browser, 640)
        page.goto(f"{address}/?run=r1")
        page.locator(".wb-rollout-table").first.wait_for(timeout=60_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=PICTURES / "browse.png", animations="disabled")


if __name__ == "__main__":
    main()
