"""The ground of the components in a bare page: text stays text, numbers read rightly, keys, colours, long lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import traitlets
from playwright.sync_api import Page, expect

from tests.browser.bare import Bare
from tests.browser.counter import Counter
from widgets.component import Component

EMPTY = "export default { render() {} };"


class Holder(Component):
    """A trait that the page sets."""

    _esm = """export default { render({ model, el }) {
      el.textContent = model.get("words").join("+");
      model.on("change:words", () => (el.textContent = model.get("words").join("+")));
      model.set("words", [...model.get("words"), "page"]);
      model.save_changes();
    } };"""
    _css = ""
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)


def ground(bare: Bare, script: str, told: Any = None) -> Any:
    """What `script` returns, an expression over the ground's exports `g` and `told`, in an otherwise empty page."""
    bare.mount_text(EMPTY)
    return bare.page.evaluate(f"async (told) => {{ const g = await import('/ground.js'); return {script}; }}", told)


def no_kernel(bare: Bare, **state: Any) -> Any:
    """A counter whose Python never answers, on a page whose clock the test winds."""
    bare.page.clock.install(time=0)
    bare.page.clock.pause_at(1)
    return bare.mount_text(str(Counter._esm), **state)


# ---------------------------------------------------------------- the two sides together


def test_a_click_reaches_python_and_its_answer_the_page(bare: Bare):
    counter = Counter()
    el = bare.attach(counter)
    expect(el.locator("output")).to_have_text("0")
    el.get_by_role("button", name="More").click()
    expect(el.locator("output")).to_have_text("1")
    assert counter.count == 1


def test_a_reloaded_page_shows_what_python_has(bare: Bare):
    counter = Counter()
    el = bare.attach(counter)
    expect(el.locator("output")).to_have_text("0")
    counter.count = 7
    bare.again()
    expect(el.locator("output")).to_have_text("7")


def test_what_python_says_unasked_is_shown(bare: Bare):
    counter = Counter()
    el = bare.attach(counter)
    expect(el.locator("output")).to_have_text("0")
    counter.hear_bump(3)
    expect(el.locator("output")).to_have_text("3")


def test_traits_travel_both_ways(bare: Bare):
    holder = Holder(words=["python"])
    el = bare.attach(holder)
    expect(el).to_have_text("python+page")
    assert holder.words == ["python", "page"]
    holder.words = ["again"]
    expect(el).to_have_text("again")


def test_what_fails_in_python_is_said_on_the_page(bare: Bare, shoot):
    el = bare.attach(Counter())
    el.get_by_role("button", name="Wrong").click()
    expect(el.locator(".wb-line")).to_contain_text("unexpected keyword argument 'off'")
    expect(el.locator(".wb-line")).to_have_attribute("data-kind", "trouble")
    shoot(el, "trouble")


def test_the_component_in_contributing_works(bare: Bare):
    told = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    [script] = re.findall(r"^```js\n(.*?)^```", told, re.MULTILINE | re.DOTALL)
    el = bare.mount_text(script)
    el.locator("section").focus()
    bare.page.keyboard.press("g")
    assert bare.sent == [{"kind": "hello"}, {"kind": "greet", "name": "Ann"}]
    bare.say("greeted", {"text": "Hello <b>Ann</b>"})
    expect(el.locator("p")).to_have_text("Hello <b>Ann</b>")
    bare.close()
    assert bare.listeners == 0


# ---------------------------------------------------------------- text is text


def test_text_never_becomes_html(bare: Bare):
    bait = "<img src=x onerror='window.pwned = 1'><b>&lt;</b>"
    made = """(() => { const el = g.h("p", { title: told, "data-x": told }, told, [told, ["!"]]);
        document.body.append(el);
        return [el.childElementCount, el.textContent, el.title, el.dataset.x]; })()"""
    assert ground(bare, made, bait) == [0, f"{bait}{bait}!", bait, bait]
    assert bare.page.evaluate("() => window.pwned") is None


def test_what_is_not_there_leaves_no_trace_and_zero_does(bare: Bare):
    made = '[g.h("i", { id: null, hidden: false, title: undefined }, null, undefined, false, 0, "").outerHTML, 0]'
    assert ground(bare, made)[0] == "<i>0</i>"


def test_a_listener_cannot_be_a_text(bare: Bare):
    made = '(() => { try { const el = g.h("b", { onclick: "window.pwned = 1" }); el.click(); } catch { return 1; } })()'
    ground(bare, made)
    assert bare.page.evaluate("() => window.pwned") is None


def test_refilled_is_emptied_first(bare: Bare):
    assert ground(bare, 'g.refill(g.h("p", {}, "old", g.h("i")), "new", 1).outerHTML') == "<p>new1</p>"


# ---------------------------------------------------------------- numbers


def test_numbers_read_as_people_write_them(bare: Bare):
    read = {
        0: "0",
        1: "1",
        0.5: "0.5",
        -0.25: "−0.25",
        0.1 + 0.2: "0.3",
        12.345: "12.3",
        1234.5: "1235",
        0.000123456: "0.000123",
        0.00001: "1.0e-5",
        2_500_000: "2.5e+6",
        -2_500_000: "−2.5e+6",
    }
    assert ground(bare, "told.map((value) => g.num(value))", list(read)) == list(read.values())
    assert ground(bare, "[g.num(null), g.num(undefined), g.signed(0), g.signed(2), g.signed(-2)]") == [
        "–", "–", "0", "+2", "−2",
    ]  # fmt: skip


def test_zero_null_missing_and_not_applicable_look_different(bare: Bare, shoot):
    made = """(() => { const chips = told.map(([value, status]) => g.chip(value, { status }));
        const box = g.h("div", { class: "wb", id: "chips" }, chips); document.body.append(box);
        return chips.map((one) => [one.textContent, one.className.trim(), one.title.slice(0, 14)]); })()"""
    told = [[0, 0], [0.5, 0], [-0.5, 0], [None, 1], [None, 2]]
    shown = ground(bare, made, told)
    assert shown == [
        ["0", "wb-chip wb-zero", ""],
        ["+0.5", "wb-chip wb-plus", ""],
        ["−0.5", "wb-chip wb-minus", ""],
        ["n/a", "wb-chip wb-not-applicable", "not applicable"],
        ["missing", "wb-chip wb-missing", "missing: it co"],
    ]
    shoot(bare.page.locator("#chips"), "chips")


# ---------------------------------------------------------------- keys


def test_a_key_acts_and_typing_in_a_field_does_not(bare: Bare):
    counter = Counter()
    el = bare.attach(counter)
    el.locator("section").focus()
    bare.page.keyboard.press("j")
    bare.page.keyboard.press("ArrowDown")
    expect(el.locator("output")).to_have_text("2")
    for field in ("field", "text"):
        el.get_by_label(field).click()
        bare.page.keyboard.type("jj?j")
        expect(el.get_by_label(field)).to_have_value("jj?j")
    el.get_by_label("choice").focus()
    bare.page.keyboard.press("j")
    expect(el.get_by_label("choice")).to_have_value("j")
    assert counter.count == 2 and el.get_by_role("dialog").count() == 0


def test_escape_acts_in_a_field_too(bare: Bare):
    bare.mount_text(str(Counter._esm)).get_by_label("field").focus()
    bare.page.keyboard.press("Escape")
    assert bare.sent[-1] == {"kind": "bump", "by": 0}


def test_keys_with_control_or_alt_stay_the_browsers(bare: Bare):
    bare.mount_text(str(Counter._esm)).locator("section").focus()
    for key in ("Control+j", "Alt+j", "Meta+j"):
        bare.page.keyboard.press(key)
    assert bare.sent == [{"kind": "hello"}]


def test_an_act_that_declines_leaves_the_key_to_the_page(bare: Bare):
    el = bare.mount_text(str(Counter._esm))
    bare.page.evaluate("() => document.addEventListener('keydown', (event) => (window.passed = event.key))")
    el.locator("section").focus()
    bare.page.keyboard.press("j")
    assert bare.page.evaluate("() => window.passed") is None
    bare.page.keyboard.press("x")
    assert bare.page.evaluate("() => window.passed") == "x"


def test_the_question_mark_shows_every_key_and_escape_hides_them(bare: Bare, shoot):
    el = bare.mount_text(str(Counter._esm))
    more = el.get_by_role("button", name="More")
    more.focus()
    bare.page.keyboard.press("?")
    overlay = el.get_by_role("dialog", name="Keyboard")
    expect(overlay).to_contain_text("one more")
    expect(overlay.locator("kbd")).to_have_text(["j", "↓", "Escape", "x", "?"])
    expect(overlay.get_by_role("button", name="Close")).to_be_focused()
    bare.page.keyboard.press("Tab")
    bare.page.keyboard.press("Tab")
    assert bare.page.evaluate("() => document.activeElement.matches('dialog *, body')"), "Tab leaves the list"
    shoot(bare.page, "keyboard")
    bare.page.keyboard.press("Escape")
    expect(overlay).to_have_count(0)
    expect(more).to_be_focused()
    assert bare.sent == [{"kind": "hello"}], "Escape closed the list and did nothing else"
    for _ in range(2):
        bare.page.keyboard.press("?")
    expect(overlay).to_have_count(0)


# ---------------------------------------------------------------- colours


def theme_of(el: Any) -> str | None:
    return el.locator("section").get_attribute("data-theme")


def test_colours_follow_the_browser_where_the_page_says_nothing(bare: Bare):
    bare.page.emulate_media(color_scheme="dark")
    el = bare.mount_text(str(Counter._esm))
    assert theme_of(el) == "dark"
    bare.page.emulate_media(color_scheme="light")
    expect(el.locator("section")).to_have_attribute("data-theme", "light")


def test_colours_follow_jupyterlab_whatever_the_browser_likes(bare: Bare):
    bare.page.emulate_media(color_scheme="dark")
    el = bare.mount_text(str(Counter._esm), lab_theme="light")
    assert theme_of(el) == "light"
    bare.page.evaluate("() => (document.body.dataset.jpThemeLight = 'false')")
    expect(el.locator("section")).to_have_attribute("data-theme", "dark")


def test_a_theme_that_was_asked_for_wins(bare: Bare):
    el = bare.mount_text(str(Counter._esm), lab_theme="light", theme="dark")
    assert theme_of(el) == "dark"
    bare.push("theme", "light")
    assert theme_of(el) == "light"


# ---------------------------------------------------------------- no kernel


def test_a_component_that_nobody_answers_says_so_and_shows_its_still(bare: Bare, shoot):
    el = no_kernel(bare, still="a tree of 4")
    notice = el.get_by_role("alert")
    bare.page.clock.fast_forward(3900)
    expect(notice).to_be_hidden()
    bare.page.clock.fast_forward(200)
    expect(notice).to_contain_text("No kernel answers.")
    expect(notice).to_contain_text("a tree of 4")
    shoot(el, "no kernel")


def test_the_notice_goes_when_the_kernel_answers_late(bare: Bare):
    el = no_kernel(bare)
    bare.page.clock.fast_forward(4100)
    expect(el.get_by_role("alert")).to_be_visible()
    bare.say("count", {"count": 3})
    expect(el.get_by_role("alert")).to_be_hidden()
    expect(el.locator("output")).to_have_text("3")


def test_a_message_of_an_unknown_kind_is_passed_over(bare: Bare):
    el = bare.mount_text(str(Counter._esm))
    bare.say("from a newer version", [1, 2])
    bare.say("count", {"count": 3})
    expect(el.locator("output")).to_have_text("3")


# ---------------------------------------------------------------- leaving nothing behind


def test_a_closed_component_leaves_no_listener_and_no_element(bare: Bare):
    el = bare.mount_text(str(Counter._esm))
    assert bare.listeners >= 2 and bare.outside >= 2
    bare.close()
    assert bare.listeners == 0 and bare.outside == 0
    expect(el).to_be_empty()


# ---------------------------------------------------------------- long lists

LIST = """(() => {
  const row = (i) => g.h("div", {}, `row ${i}`);
  window.list = g.virtualList({ rowHeight: 24, label: "rows", row, pick: (i) => (window.picked = i) });
  document.body.append(g.h("div", { class: "wb" }, list.el));
  list.el.style.height = "400px";
  list.show(told);
})()"""


@pytest.fixture
def rows(bare: Bare) -> Page:
    """A page with a list of 100,000 rows."""
    ground(bare, LIST, 100_000)
    return bare.page


def test_of_a_hundred_thousand_rows_only_those_in_sight_exist(rows: Page):
    shown = rows.get_by_role("option")
    expect(shown.first).to_have_text("row 0")
    assert shown.count() < 100
    rows.get_by_role("listbox").evaluate("(el) => el.scrollTo(0, 1_200_000)")  # 24 pixels a row
    expect(rows.get_by_text("row 50000", exact=True)).to_be_visible()
    assert shown.count() < 100


def test_the_end_key_shows_the_last_row(rows: Page):
    rows.get_by_role("listbox").focus()
    rows.keyboard.press("End")
    last = rows.get_by_text("row 99999", exact=True)
    expect(last).to_be_visible()
    expect(last).to_have_attribute("aria-posinset", "100000")
    expect(last).to_have_attribute("aria-setsize", "100000")
    assert rows.get_by_role("option").count() < 100


def test_a_selected_row_comes_into_sight_and_is_told_to_screen_readers(rows: Page):
    rows.evaluate("() => list.select(77777)")
    chosen = rows.get_by_text("row 77777", exact=True)
    expect(chosen).to_be_in_viewport()
    expect(chosen).to_have_attribute("aria-selected", "true")
    active = rows.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert active == chosen.get_attribute("id")
    rows.evaluate("() => list.select(77778)")
    expect(chosen).to_have_attribute("aria-selected", "false")


def test_a_click_on_a_row_is_told_with_its_number(rows: Page):
    rows.get_by_text("row 7", exact=True).click()
    assert rows.evaluate("() => window.picked") == 7


def test_a_shorter_list_forgets_the_rows_it_lost(rows: Page):
    rows.get_by_role("listbox").evaluate("(el) => el.scrollTo(0, 1e9)")
    expect(rows.get_by_text("row 99999", exact=True)).to_be_visible()
    rows.evaluate("() => list.show(3)")
    expect(rows.get_by_role("option")).to_have_text(["row 0", "row 1", "row 2"])
    rows.evaluate("() => list.show(0)")
    expect(rows.get_by_role("option")).to_have_count(0)
