"""In JupyterLab: the page is heard while a cell runs, comes back after a reload, and keeps its keys to itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab

MAKE = "from tests.browser.counter import Counter\ncounter = Counter()\ncounter"

# The loop ends when it sees the click, or after half a minute: what it prints says which.
LOOP = """
import time
from IPython.display import display
from tests.browser.counter import Counter

counter = Counter()
display(counter)
for tick in range(1, 301):
    counter.tick = tick
    time.sleep(0.1)
    if counter.count:
        break
print("heard", counter.count, "at a tick of the loop:", 0 < counter.heard_at <= tick < 300)
"""

pytestmark = pytest.mark.slow


def test_a_click_is_heard_while_the_cell_runs_that_made_the_component(lab: Lab):
    lab.open(LOOP)
    lab.run(0)
    expect(lab.output(0)).to_contain_text("tick")  # the loop runs and its ticks reach the page
    lab.output(0).get_by_role("button", name="More").click()
    expect(lab.output(0)).to_contain_text("heard", timeout=60_000)
    assert lab.printed(0) == "heard 1 at a tick of the loop: True\n"
    expect(lab.output(0).locator("output")).to_have_text("1")


def test_a_component_comes_back_when_the_page_is_reloaded(lab: Lab, shoot):
    lab.open(MAKE, "counter.count")
    lab.run_all()
    lab.output(0).get_by_role("button", name="More").click()
    expect(lab.output(0).locator("output")).to_have_text("1")
    lab.save()
    lab.reload()
    expect(lab.output(0).locator("output")).to_have_text("1")
    lab.output(0).get_by_role("button", name="More").click()
    expect(lab.output(0).locator("output")).to_have_text("2")
    shoot(lab.page, "lab reloaded")


def test_the_notebooks_shortcuts_do_not_fire_inside_a_component(lab: Lab):
    lab.open(MAKE, "1 + 1")
    lab.run_all()
    more = lab.output(0).get_by_role("button", name="More")
    more.click()
    expect(lab.output(0).locator("output")).to_have_text("1")
    for key in ("d", "d", "a", "b", "x", "j", "k", "m", "0", "0"):  # each does something to a notebook
        lab.page.keyboard.press(key)
    expect(lab.output(0).locator("output")).to_have_text("2")  # j is the component's own
    lab.output(0).get_by_label("field").click()
    lab.page.keyboard.type("ddaab")
    assert lab.cells() == 2
    more.focus()
    lab.page.keyboard.press("Control+s")  # saving works from everywhere
    lab.page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    lab.panel.locator(".jp-Cell").nth(1).locator(".jp-InputPrompt").click()
    lab.page.keyboard.press("b")
    lab.page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets.length === 3")


def test_colours_follow_the_theme_of_jupyterlab(lab: Lab, shoot):
    lab.open(MAKE)
    lab.run_all()
    section = lab.output(0).locator("section")
    expect(section).to_have_attribute("data-theme", "light")
    lab.theme("dark")
    expect(section).to_have_attribute("data-theme", "dark")
    shoot(lab.page, "lab dark")
    lab.theme("light")
    expect(section).to_have_attribute("data-theme", "light")
