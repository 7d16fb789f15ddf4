"""StepThrough in a real JupyterLab: how long a step takes on screen, how a long list scrolls, what is left behind.

    python tests/bench/bench_hands.py [--steps 500] [--presses 100]

* first picture: from running the cell to the step on screen
* step change: from the key to the frame after it is painted, kernel idle, then while a run trains in a thread
* scrolling: frames while the list of a 1,000-step trajectory is scrolled from end to end
* left behind: page heap (after garbage collection) and resident memory of the kernel, before and after the steps

Needs Chromium, as the browser tests do. Aims: 3 s; p95 100 ms, 300 ms while training; p95 frame 50 ms; flat.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.browser.chromium import FLAGS, executable
from tests.browser.lab import Lab, jupyter_lab

WORLD = """
import os
import workbench as wb
from tests.builders import a_trajectory, a_tree
from widgets import StepThrough
world = wb.demo()
trees = wb.rollout(world.policy, world.tasks[:4], world.environment, group_size=8, progress=False)
reward = wb.ExactMatch() + 0.5 * wb.CoverageGain() - 0.2 * wb.RepeatedDocuments()
scores = wb.score(trees, reward)
pages = {f"p{n}": "Rouen is a city on the Seine, known for its cathedral. " * 8 for n in range(6)}
long = a_tree(a_trajectory(*[(f"p{n % 6}", f"p{(n + 1) % 6}") for n in range(999)], answer="Paris", texts=pages))
print("ready")
"""
TRAIN = """
run = wb.train(world.policy, world.tasks, world.environment, wb.ExactMatch(), updates=1000, recorder=None)
run.start()
"""
RSS = "print(int(open(f'/proc/{os.getpid()}/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))"

WATCH_KEYS = """() => { window.waits = []; addEventListener("keydown", (event) => {
  const began = event.timeStamp;
  requestAnimationFrame(() => { const channel = new MessageChannel();
    channel.port1.onmessage = () => waits.push(performance.now() - began);
    channel.port2.postMessage(0); }); }, true) }"""
SCROLL = """async (list) => { const frames = []; let last = performance.now();
  const far = list.scrollHeight - list.clientHeight;
  for (let i = 0; i <= 240; i++) { list.scrollTop = far * i / 240;
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now(); frames.push(now - last); last = now; }
  return frames }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--presses", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        with jupyter_lab(home) as address:
            browser = playwright.chromium.launch(executable_path=executable(playwright), args=list(FLAGS))
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            measure(page, Lab(page, address, home / "notebooks"), asked.steps, asked.presses)
            browser.close()


def measure(page: Page, lab: Lab, steps: int, presses: int) -> None:
    lab.open(WORLD, "StepThrough(trees, scores)", "StepThrough(long, wb.score([long], reward))", RSS, TRAIN, RSS)
    lab.run(0)
    while "ready" not in lab.printed(0):
        page.wait_for_timeout(200)
    first_pictures(page, lab)
    page.evaluate(WATCH_KEYS)
    print(f"step change, kernel idle        {spread(walk(page, lab, 1, presses))}")
    left_behind(page, lab, steps)
    frames = np.array(lab.output(2).locator(".wb-list").nth(1).evaluate(SCROLL))
    print(f"frames scrolling 1,000 steps    {spread(frames)}")
    lab.run(4)
    lab.wait_idle()
    time.sleep(3.0)
    print(f"step change, training in thread {spread(walk(page, lab, 1, presses))}")


def first_pictures(page: Page, lab: Lab) -> None:
    for cell, what in ((1, "32 trajectories"), (2, "one of 1,000 steps")):
        began = time.perf_counter()
        lab.run(cell)
        lab.output(cell).locator(".wb-detail").first.wait_for()
        print(f"first picture, {what:<17}{time.perf_counter() - began:6.2f} s")
        lab.wait_idle()


def walk(page: Page, lab: Lab, cell: int, presses: int) -> np.ndarray:
    """Milliseconds of each of `presses` steps, half forward and half to other trajectories."""
    lab.output(cell).locator(".wb").focus()
    page.evaluate("() => (window.waits.length = 0)")
    for n in range(presses):
        page.keyboard.press("]" if n % 4 == 3 else "k" if n % 4 == 2 else "j")
        page.wait_for_function("(n) => window.waits.length > n", arg=n)
    return np.array(page.evaluate("() => window.waits"))


def left_behind(page: Page, lab: Lab, steps: int) -> None:
    """Heap and memory before, in the middle and after: a leak grows twice, a cache once."""
    protocol = page.context.new_cdp_session(page)
    rows = [weighed(protocol, page, lab)]
    for _ in range(2):
        lab.output(2).locator(".wb").focus()
        for _ in range(steps // 2):
            page.keyboard.press("j")
        page.wait_for_timeout(500)
        rows.append(weighed(protocol, page, lab))
    for (heap, nodes, rss), when in zip(rows, ("before", f"{steps // 2} steps", f"{steps} steps"), strict=True):
        print(f"left behind, {when:<19} heap {heap / 2**20:6.1f} MiB  nodes {nodes:>6}  kernel {rss / 2**20:6.1f} MiB")


def weighed(protocol: CDPSession, page: Page, lab: Lab) -> tuple[float, int, int]:
    lab.run(3)
    lab.wait_idle()
    page.wait_for_timeout(300)
    rss = int(lab.printed(3).split()[-1])
    protocol.send("HeapProfiler.collectGarbage")
    protocol.send("Performance.enable")
    found = {one["name"]: one["value"] for one in protocol.send("Performance.getMetrics")["metrics"]}
    return found["JSHeapUsedSize"], int(found["Nodes"]), rss


def spread(values: np.ndarray) -> str:
    half, high = np.percentile(values, [50, 95])
    return f"median {half:6.1f} ms  p95 {high:6.1f} ms  worst {values.max():6.1f} ms  n {len(values)}"


if __name__ == "__main__":
    main()
