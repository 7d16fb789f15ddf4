"""No text from a model, a page, a task or a run ever becomes code: 39 payloads in every field, in every host."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.bare import Bare
from tests.browser.chromium import Trap
from tests.browser.conftest import Serve, Shoot
from tests.browser.lab import Lab
from tests.browser.payloads import PAYLOADS, TOGETHER, form, monitor, poisoned_run, shown, stepper, table
from widgets.component import LATE, Component

NAMES = list(PAYLOADS)

# Everything a payload could have left behind below `root`, after events were sent to all that is there.
OFFENCES = """(root) => {
  const words = (text) => text.split(" ");
  const tags = new Set(words("script iframe frame object embed link base meta img video audio style math animate"));
  const events = words("mouseover pointerenter focus toggle animationstart begin load error");
  const leads = /^(href|src|srcset|action|formaction|data|xlink:href|ping|poster|background)$/i;
  const destination = (value) => {
    const url = new URL(value, location.href);
    return /^https?:$/.test(url.protocol) ? url.hostname : url.protocol;
  };
  const found = window.pwned === undefined ? [] : ["a payload ran"];
  for (const el of root.querySelectorAll("*")) {
    for (const type of events) el.dispatchEvent(new Event(type));
    if (tags.has(el.localName) && el.outerHTML !== OURS) found.push(`<${el.localName}>`);
    for (const { name, value } of el.attributes) {
      if (/^on|srcdoc/i.test(name)) found.push(`${el.localName} has ${name}`);
      if (leads.test(name) && /^(javascript|data|vbscript):|evil[.]test$/.test(destination(value)))
        found.push(`${el.localName} has ${name}=${value.slice(0, 80)}`);
      if (name === "style" && /url|expression|import/i.test(value)) found.push(`${el.localName} has style=${value}`);
    }
  }
  if (window.pwned !== undefined) found.push("a payload ran");
  if (Object.prototype.polluted !== undefined || {}.x !== undefined) found.push("the prototype of objects was changed");
  for (const el of document.querySelectorAll("script, link, iframe, img, base, meta"))
    if (/evil[.]test|pwned/.test(el.outerHTML)) found.push(el.outerHTML.slice(0, 120));
  return [...new Set(found)];
}""".replace("OURS", json.dumps(LATE))
HAS_TEXT = "(root, text) => root.textContent.includes(text)"


def walk(page: Page, root: Locator, names: list[str]) -> None:
    """Go through all trees of a StepThrough with its keys: every step, compared, unfolded."""
    chooser = root.get_by_label("tree", exact=True)
    expect(chooser.locator("option")).to_have_count(len(names), timeout=60_000)
    for number, name in enumerate(names):
        expect(chooser).to_have_value(str(number))
        expect(root.locator("h2")).to_have_text(shown(PAYLOADS[name]), use_inner_text=False, timeout=20_000)
        root.focus()
        for key in ("j", "j", "c", "k", "]", "c", "]", "[", "[", "d"):
            page.keyboard.press(key)
        assert root.evaluate(OFFENCES) == [], f"payload {name!r}"
        assert root.locator(".wb-detail").first.evaluate(HAS_TEXT, shown(PAYLOADS[name])), (
            f"payload {name!r} is not shown"
        )
        page.keyboard.press("}")


def watch(root: Locator, bait: str) -> None:
    """A RunMonitor of a poisoned run shows it as text, its newest groups too."""
    said = "([root, text]) => root.textContent.includes(text)"
    expect(root.get_by_role("heading").first).to_be_visible(timeout=20_000)
    root.page.wait_for_function(said, arg=[root.element_handle(), shown(bait)])
    assert root.evaluate(OFFENCES) == [], f"payload {bait[:80]!r}"


@pytest.mark.parametrize("name", ["script", "image", "image from elsewhere", "svg", "frame", "details", "attribute"])
def test_the_check_sees_a_payload_that_was_taken_for_html(bare: Bare, trap: Trap, name: str):
    trap.expect("")
    careless = "export default { render({ model, el }) { el.innerHTML = `<p title=\"${model.get('still')}\"></p>` } }"
    wrapped = PAYLOADS[name] if name == "attribute" else f'">{PAYLOADS[name]}'
    assert bare.mount_text(careless, still=wrapped).evaluate(OFFENCES) != []


# ---------------------------------------------------------------- in a bare page


def test_no_payload_runs_in_step_through(bare: Bare, shoot: Shoot):
    el = bare.attach(stepper())
    walk(bare.page, el.locator(".wb-step-through"), NAMES)
    shoot(el, "step through")


def test_no_payload_runs_in_run_monitor(bare: Bare, shoot: Shoot):
    component = monitor(TOGETHER)
    el = bare.attach(component)
    for bait in (TOGETHER, *PAYLOADS.values()):
        component.run = poisoned_run(bait)  # type: ignore[attr-defined]
        component.hear_hello()
        watch(el.locator(".wb-run-monitor"), bait)
    component.run = poisoned_run(TOGETHER)  # type: ignore[attr-defined]
    component.hear_hello()
    el.locator(".wb-question-cell button").click()
    watch(el.locator(".wb-step-through"), TOGETHER)
    shoot(el, "run monitor")
    component.close()


@pytest.mark.parametrize("link", ["", "step?x=1"], ids=["buttons", "links"])
def test_no_payload_runs_in_a_table(bare: Bare, shoot: Shoot, link: str):
    el = bare.attach(table(link))
    expect(el.locator("tbody tr")).to_have_count(len(NAMES))
    assert el.evaluate(OFFENCES) == []
    for name in NAMES:
        assert el.evaluate(HAS_TEXT, shown(PAYLOADS[name])), f"payload {name!r} is not shown"
    shoot(el, f"table {link and 'links'}")


def test_no_payload_runs_in_a_form(bare: Bare, shoot: Shoot):
    el = bare.attach(form())
    expect(el.locator("input")).to_have_count(len(NAMES))
    el.get_by_role("button", name=PAYLOADS["image"]).click()
    expect(el.locator(".wb-line")).to_have_text(PAYLOADS["image"])
    assert el.evaluate(OFFENCES) == []
    shoot(el, "form")


def test_a_payload_that_is_looked_for_is_found_as_text(bare: Bare):
    name = "pattern"
    el = bare.attach(stepper([name]))
    expect(el.locator("h2")).to_be_visible()
    el.get_by_label("find in text").fill(PAYLOADS[name])
    expect(el.locator("mark.wb-found").first).to_have_text(PAYLOADS[name])


@pytest.mark.parametrize("name", ["script", "image", "attribute"])
def test_an_error_about_a_payload_shows_it_as_text(bare: Bare, name: str):
    component = stepper(["script"])
    el = bare.attach(component)
    expect(el.locator("h2")).to_be_visible()
    bare.page.evaluate("(tree) => model.send({ kind: 'tree', tree })", f"no such {PAYLOADS[name]}")
    expect(el.locator(".wb-line")).to_contain_text(PAYLOADS[name])
    assert el.evaluate(OFFENCES) == []


def test_a_reason_that_is_a_payload_is_kept_and_shown_as_text(bare: Bare):
    component = stepper(["script"])
    el = bare.attach(component)
    expect(el.locator("h2")).to_be_visible()
    bait = PAYLOADS["script"]
    tree = component.trees[0]  # type: ignore[attr-defined]
    component.edit(tree.trajectories[0].id, bait, 0.25, PAYLOADS["image"], step=0)  # type: ignore[attr-defined]
    expect(el.locator(".wb-why").first).to_contain_text(PAYLOADS["image"])
    assert el.evaluate(OFFENCES) == []


# ---------------------------------------------------------------- where no kernel answers


class Seen(HTMLParser):
    """What HTML holds: its elements, the names of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


SAFE_TAGS = "b br caption code details div em h3 h4 li ol p pre span strong summary table tbody td tfoot th thead tr ul"
SAFE_DRAWING = "svg g path polyline line rect circle text title"


def one_tree(name: str) -> Component:
    return stepper([name])


def one_monitor(name: str) -> Component:
    return monitor(PAYLOADS[name])


def one_table(_: str) -> Component:
    made = table()
    made.hear_hello()
    return made


@pytest.mark.parametrize("make", [one_tree, one_monitor, one_table], ids=["StepThrough", "RunMonitor", "RolloutTable"])
def test_no_payload_gets_into_the_picture_that_a_notebook_keeps(bare: Bare, make):
    pictures = []
    for name in NAMES:
        component: Component = make(name)
        pictures.append(component._repr_mimebundle_()[0]["text/html"])
        component.close()
        seen = Seen(pictures[-1])
        assert seen.tags <= {*SAFE_TAGS.split(), *SAFE_DRAWING.split()}, name
        assert not [one for one in seen.attributes if one.startswith("on") or one in ("href", "src", "xlink:href")], (
            name
        )
    bare.page.set_content(shown("<!doctype html><main>" + "".join(pictures) + "</main>"))
    assert bare.page.locator("main").evaluate(OFFENCES) == []


# ---------------------------------------------------------------- in both hosts

SOME = NAMES[::4]  # of which StepThrough has a tree each; the other components carry all at once
MAKE = "from tests.browser.payloads import form, monitor, stepper, table"


@pytest.mark.slow
def test_no_payload_runs_in_jupyterlab(lab: Lab, shoot: Shoot):
    lab.open(f"{MAKE}\nstepper({SOME})", "monitor()", "table()", "form()")
    lab.run_all()
    walk(lab.page, lab.output(0).locator(".wb-step-through"), SOME)
    shoot(lab.page, "jupyterlab")
    watch(lab.output(1).locator(".wb-run-monitor"), TOGETHER)
    expect(lab.output(2).locator("tbody tr")).to_have_count(len(NAMES))
    expect(lab.output(3).locator("input")).to_have_count(len(NAMES))
    assert lab.panel.evaluate(OFFENCES) == []


SERVED = f"""
import panel as pn
{MAKE}
from widgets.in_panel import in_panel

pn.Column(*[in_panel(one) for one in (stepper({SOME}), monitor(), table(), form())]).servable()
"""


@pytest.mark.slow
def test_no_payload_runs_in_the_served_app(page: Page, serve_script: Serve, shoot: Shoot):
    page.goto(serve_script(SERVED))
    walk(page, page.locator(".wb-step-through"), SOME)
    shoot(page, "served")
    watch(page.locator(".wb-run-monitor"), TOGETHER)
    for component, line in (("rollout-table", "tbody tr"), ("form", "input")):
        found = page.locator(f".wb-{component}")
        expect(found.locator(line)).to_have_count(len(NAMES))
        assert found.evaluate(OFFENCES) == []
