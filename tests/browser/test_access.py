"""Everyone can use it: axe finds nothing at WCAG 2 level A and AA, and the Tab key reaches all that can be used."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.bare import Bare
from tests.browser.conftest import Shoot
from tests.browser.samples import MAKERS, shown

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}
each = pytest.mark.parametrize("name", MAKERS)


def violations(page: Page) -> list[str]:
    """What axe finds wrong: rule, element, what to do."""
    page.evaluate(axe.Axe().axe_script)
    found: Any = page.evaluate("(rules) => axe.run('#el', rules)", RULES)
    return [
        f"{rule['id']}: {node['html'][:160]} {' '.join(node['failureSummary'].split())[:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def test_the_check_sees_what_it_should(bare: Bare):
    pale = "export default { render({ el }) { el.innerHTML = '<p style=\"color:#eee\">pale</p><input>' } }"
    bare.mount_text(pale)
    assert {line.split(":")[0] for line in violations(bare.page)} == {"color-contrast", "label"}


@each
def test_axe_finds_nothing_wrong_in_light_and_dark_on_a_screen_and_a_phone(bare: Bare, name: str, shoot: Shoot):
    el = shown(bare, name)
    for theme in ("light", "dark"):
        bare.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        expect(el.locator(".wb").first).to_have_attribute("data-theme", theme)
        for width in (1280, 390):
            bare.page.set_viewport_size({"width": width, "height": 900})
            assert not violations(bare.page), f"{theme}, {width} pixels wide"
            sticking_out = bare.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            assert sticking_out <= 0, f"{sticking_out} pixels stick out of {width}"
            shoot(el, f"{name} {theme} {width}")


@each
def test_axe_finds_nothing_wrong_in_the_list_of_keys(bare: Bare, name: str):
    el = shown(bare, name)
    el.locator(".wb").first.focus()
    bare.page.keyboard.press("?")
    expect(el.get_by_role("dialog", name="Keyboard")).to_be_visible()
    assert not violations(bare.page)


USABLE = """(el) => [...el.querySelectorAll("button, input, select, textarea, summary, a[href]")]
  .filter((one) => !one.disabled && one.checkVisibility() && one.tabIndex >= 0 && one.closest("[hidden]") === null)"""
NAME_OF = "(one) => one.getAttribute('aria-label') || one.textContent.trim() || one.placeholder || one.localName"


@each
def test_the_tab_key_reaches_everything_that_can_be_used(bare: Bare, name: str):
    el = shown(bare, name)
    wanted = el.evaluate(f"(el) => ({USABLE})(el).map((one, n) => ((one.dataset.usable = n), ({NAME_OF})(one)))")
    bare.page.evaluate("() => document.activeElement.blur()")
    reached = set()
    for _ in range(3 * len(wanted) + 20):
        bare.page.keyboard.press("Tab")
        reached.add(bare.page.evaluate("() => document.activeElement?.dataset.usable"))
    missed = [label for n, label in enumerate(wanted) if str(n) not in reached]
    assert wanted and not missed, f"Tab does not reach {missed}"


@each
def test_everything_that_can_be_used_has_a_name(bare: Bare, name: str):
    el = shown(bare, name)
    unnamed = "(one) => !one.getAttribute('aria-label') && !one.textContent.trim() && !one.labels?.length && !one.title"
    assert el.evaluate(f"(el) => ({USABLE})(el).filter({unnamed}).map((one) => one.outerHTML.slice(0, 120))") == []
