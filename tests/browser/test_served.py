"""A component in the served app: the same page behaves as in a notebook."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Serve, Shoot

pytestmark = pytest.mark.slow

PAGE = """
from tests.browser.counter import Counter
from widgets.in_panel import in_panel

in_panel(Counter()).servable()
"""


def test_a_click_reaches_python_and_its_answer_the_page(page: Page, serve_script: Serve, shoot: Shoot):
    page.goto(serve_script(PAGE))
    count = page.locator("output")
    expect(count).to_have_text("0", timeout=30_000)
    page.get_by_role("button", name="More").click()
    expect(count).to_have_text("1")
    page.locator(".wb-counter").focus()
    page.keyboard.press("j")
    expect(count).to_have_text("2")
    page.get_by_role("button", name="Wrong").click()
    expect(page.locator(".wb-line")).to_contain_text("unexpected keyword argument 'off'")
    shoot(page, "counter")


def test_a_page_that_is_visited_anew_starts_anew(page: Page, serve_script: Serve):
    address = serve_script(PAGE)
    page.goto(address)
    page.get_by_role("button", name="More").click(timeout=30_000)
    expect(page.locator("output")).to_have_text("1")
    page.goto(address)
    expect(page.locator("output")).to_have_text("0")
