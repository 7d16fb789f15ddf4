"""RunMonitor steers a run: from its page, and in JupyterLab while a cell or a thread drives it."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.bare import Bare
from tests.browser.conftest import Shoot
from tests.browser.lab import Lab
from tests.browser.monitored import a_row, asked, news, shown, told, trained, until
from tests.training.seekers import seeking

# ---------------------------------------------------------------- steering


def test_space_pauses_and_goes_on(bare: Bare, page: Page):
    el = told(bare, a_row(1))
    el.locator(".wb").focus()
    page.keyboard.press(" ")
    assert asked(bare, "pause") == [{}]
    bare.say("run", news(a_row(1), paused=True))
    expect(el.locator(".wb-pill")).to_have_text("pausing")
    expect(el.locator(".wb-run-note")).to_have_text("Pauses after the update under way.")
    bare.say("run", news(a_row(1), paused=True, status="paused"))
    expect(el.locator(".wb-pill")).to_have_text("paused")
    el.get_by_role("button", name="Resume").focus()
    page.keyboard.press(" ")  # the button's own key, and not that of the monitor too
    assert asked(bare, "resume") == [{}]


def test_a_run_that_nothing_drives_can_be_started(bare: Bare):
    el = told(bare, a_row(1), status="interrupted", driven=False)
    expect(el.get_by_role("button", name="Stop")).to_be_disabled()
    el.get_by_role("button", name="Start").click()
    assert asked(bare, "resume") == [{}]


def test_stop_asks_once_more(bare: Bare, page: Page, shoot: Shoot):
    el = told(bare, a_row(1))
    el.locator(".wb").focus()
    page.keyboard.press("s")
    expect(el.get_by_role("alertdialog")).to_be_visible()
    shoot(el, "stop confirm")
    page.keyboard.press("Escape")
    expect(el.get_by_role("alertdialog")).to_be_hidden()
    assert asked(bare, "stop") == []
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    assert asked(bare, "stop") == [{}]


def test_weights_are_edited_and_swapped_together(bare: Bare, page: Page, shoot: Shoot):
    el = told(bare, a_row(1))
    el.locator(".wb").focus()
    page.keyboard.press("w")
    expect(el.get_by_label("ExactMatch")).to_be_focused()
    swap = el.get_by_role("button", name="Swap weights")
    expect(swap).to_be_disabled()
    el.get_by_label("CoverageGain", exact=True).fill("0,3")
    shoot(el, "weights")
    bare.say("run", news(a_row(1), a_row(2)))  # news while someone types changes nothing that was typed
    page.keyboard.press("Enter")
    assert asked(bare, "swap") == [{"weights": {"CoverageGain": 0.3}}]
    el.get_by_label("CoverageGain", exact=True).fill("much")
    swap.click()
    expect(el.locator(".wb-trouble")).to_have_text("CoverageGain: “much” is not a number; write for example 0.5")
    assert len(asked(bare, "swap")) == 1


def test_a_swap_is_told_of_and_shown_by_the_real_run(bare: Bare, page: Page):
    monitor, el = shown(bare, trained(5))
    el.get_by_label("RepeatedDocuments").fill("-0.4")
    el.get_by_role("button", name="Swap weights").click()
    expect(el.locator(".wb-line")).to_have_text("From the next update on: RepeatedDocuments: weight -0.2 → -0.4")
    expect(el.locator(".wb-formula")).to_have_text("ExactMatch() + 0.3 * CoverageGain() - 0.4 * RepeatedDocuments()")
    expect(el.get_by_role("button", name="Swap weights")).to_be_disabled()
    assert repr(monitor.run.plan.reward).endswith("0.4 * RepeatedDocuments()")  # type: ignore[attr-defined]


def test_a_new_reward_that_cannot_be_read_says_why_as_python_says_it(bare: Bare, page: Page, shoot: Shoot):
    monitor, el = shown(bare, trained(2))
    before = monitor.run.plan  # type: ignore[attr-defined]
    el.get_by_text("A whole new reward").click()
    el.get_by_label("a whole new reward").fill("ExactMach() + 1")
    el.get_by_role("button", name="Swap reward").click()
    expect(el.locator(".wb-trouble")).to_contain_text("no reward 'ExactMach'; known: ")
    expect(el.locator(".wb-trouble")).to_contain_text("Did you mean 'ExactMatch'?")
    shoot(el, "reward trouble")
    assert monitor.run.plan is before  # type: ignore[attr-defined]
    el.get_by_label("a whole new reward").fill("ExactMatch()")
    el.get_by_role("button", name="Swap reward").click()
    expect(el.locator(".wb-trouble")).to_be_hidden()
    expect(el.locator(".wb-formula")).to_have_text("ExactMatch()")


def test_rolling_back_asks_once_more_and_shows_the_branch(bare: Bare, page: Page, tmp_path: Path, shoot: Shoot):
    monitor, el = shown(bare, trained(7, tmp_path))
    el.get_by_label("checkpoint to go back to").select_option("4")
    el.get_by_role("button", name="Roll back…").click()
    expect(el.get_by_role("alertdialog")).to_contain_text(
        "Go back to the checkpoint after update 4? The 3 updates since stay recorded"
    )
    shoot(el, "roll back confirm")
    el.get_by_role("button", name="Roll back to 4").click()
    expect(el.get_by_role("heading", level=2)).to_have_text("run.2")
    expect(el.locator(".wb-run-note")).to_have_text("Goes on from update 4 of run.")
    expect(el.locator(".wb-chart-reading")).to_have_text("update 4, the newest")
    expect(el.get_by_role("button", name="run.2 goes on from update 4 of run")).to_be_visible()
    assert monitor.run.update == 4


def test_a_thread_is_paused_and_goes_on_from_the_page(bare: Bare, page: Page):
    run = seeking(100_000)
    _, el = shown(bare, run)
    el.get_by_role("button", name="Start").click()
    until(page, lambda: run.update > 2)
    el.get_by_role("button", name="Pause").click()
    expect(el.locator(".wb-pill")).to_have_text("paused")
    held = run.update
    expect(el.locator(".wb-chart-reading")).to_have_text(f"update {held}, the newest")
    el.get_by_role("button", name="Resume").click()
    until(page, lambda: run.update > held)
    el.get_by_role("button", name="Stop").click()
    el.get_by_role("alertdialog").get_by_role("button", name="Stop").click()
    expect(el.locator(".wb-pill")).to_have_text("stopped")
    run.wait(20)


# ---------------------------------------------------------------- in JupyterLab

MADE = """
from tests.training.seekers import seeking
from widgets import RunMonitor
run = seeking(1000)
monitor = RunMonitor(run)
monitor
"""
LOOP = """
import time
for report in run:
    time.sleep(0.05)
    if report.update % 20 == 0: print(report.update)
print("ended", run.status, flush=True)
"""


def pill(lab: Lab) -> Locator:
    return lab.output(0).locator(".wb-pill")


def updates_done(lab: Lab) -> int:
    said = lab.output(0).locator(".wb-run-progress").inner_text()
    return int(re.findall(r"update (\d+) of", said)[0])


def test_in_jupyterlab_a_run_driven_by_a_cell_is_paused_swapped_and_stopped_while_the_cell_runs(lab: Lab, shoot: Shoot):
    lab.open(MADE, LOOP)
    lab.run(0)
    expect(pill(lab)).to_have_text("new", timeout=60_000)
    lab.run(1)
    expect(pill(lab)).to_have_text("running")
    until(lab.page, lambda: updates_done(lab) > 3)
    out = lab.output(0)
    out.get_by_role("button", name="Pause").click()
    expect(pill(lab)).to_have_text("paused")
    held = updates_done(lab)
    out.get_by_label("CoverageGain").fill("0.25")
    out.get_by_role("button", name="Swap weights").click()
    expect(out.locator(".wb-formula")).to_contain_text("0.25 * CoverageGain()")
    out.locator(".wb-groups button").first.click()
    expect(out.locator(".wb-step-through .wb-pane")).to_have_count(1)
    shoot(lab.page, "lab paused in a cell")
    assert updates_done(lab) == held
    out.get_by_role("button", name="Resume").click()
    until(lab.page, lambda: updates_done(lab) > held + 2)
    expect(out.locator(".wb-chart-flag")).to_have_count(1)
    out.get_by_role("button", name="Stop").click()
    out.get_by_role("alertdialog").get_by_role("button", name="Stop").click()
    expect(pill(lab)).to_have_text("stopped")
    lab.wait_idle()
    assert "ended stopped" in lab.printed(1)


def test_in_jupyterlab_a_run_in_a_thread_is_steered_and_found_again_after_a_reload(lab: Lab, shoot: Shoot):
    lab.open(MADE, "run.start(); print('started')")
    lab.run_all()
    out = lab.output(0)
    expect(pill(lab)).to_have_text("running", timeout=60_000)
    until(lab.page, lambda: updates_done(lab) > 3)
    lab.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    lab.page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    lab.reload()
    expect(pill(lab)).to_have_text(re.compile("running"), timeout=60_000)
    seen = updates_done(lab)
    until(lab.page, lambda: updates_done(lab) > seen)
    out.locator(".wb").first.focus()
    lab.page.keyboard.press(" ")
    expect(pill(lab)).to_have_text("paused")
    shoot(lab.page, "lab thread paused")
    lab.page.keyboard.press(" ")
    expect(pill(lab)).to_have_text("running")
    out.get_by_role("button", name="Stop").click()
    out.get_by_role("alertdialog").get_by_role("button", name="Stop").click()
    expect(pill(lab)).to_have_text("stopped")
