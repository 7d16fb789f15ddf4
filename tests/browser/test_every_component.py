"""What holds for every component: it comes back after a reload, goes without a trace, and says when it is alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.bare import Bare
from tests.browser.samples import MAKERS, shown

each = pytest.mark.parametrize("name", MAKERS)


@each
def test_it_goes_without_a_trace(bare: Bare, name: str):
    el = shown(bare, name)
    assert bare.listeners >= 2 and bare.outside > 0
    bare.close()
    assert bare.listeners == 0 and bare.outside == 0
    expect(el).to_be_empty()


@each
def test_it_shows_the_same_after_the_page_is_reloaded(bare: Bare, name: str):
    el = shown(bare, name)
    before = el.inner_text()
    assert before.strip()
    bare.again()
    expect(el).to_have_text(before, use_inner_text=True)


@each
def test_it_says_when_no_kernel_answers_and_what_it_would_show(bare: Bare, name: str):
    component = MAKERS[name]()
    still = component.still
    bare.page.clock.install(time=0)
    bare.page.clock.pause_at(1)
    names = [trait for trait in component.keys if not trait.startswith("_") and trait not in ("layout", "tabbable")]
    told = {trait: value for trait, value in component.get_state(names).items()}
    el = bare.mount_page(str(component._esm), str(component._css), **told)
    bare.page.clock.fast_forward(4100)
    expect(el.get_by_role("alert").first).to_contain_text("No kernel answers.")
    for line in still.splitlines():
        expect(el.locator(".wb-notice").first).to_contain_text(line.strip())


@each
def test_it_passes_over_what_it_does_not_know(bare: Bare, name: str):
    el = shown(bare, name)
    before = el.inner_text()
    bare.say("from a newer version", {"rows": []})
    expect(el).to_have_text(before, use_inner_text=True)


@each
def test_its_picture_and_repr_say_something(name: str):
    component = MAKERS[name]()
    assert len(component.picture()) > 20 and "object at 0x" not in repr(component)
