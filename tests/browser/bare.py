"""Harness 1: a component alone in a page that answers at an invented address. A test takes well under a second."""

from __future__ import annotations

import base64
from collections import deque
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route

from widgets.component import HERE as WIDGETS
from widgets.component import Component, module_text, style_text

ADDRESS = "http://widget.test"
SHELL = Path(__file__).with_name("bare.html")
SCRIPT, STYLE = "text/javascript", "text/css"

# In the page outside() says how many listeners the scripts of a component hold outside their own elements.
COUNT_OUTSIDE = """{
const held = [];
window.outside = () => held.length;
for (const kind of [Window, Document, MediaQueryList]) {
  const add = EventTarget.prototype.addEventListener, remove = EventTarget.prototype.removeEventListener;
  kind.prototype.addEventListener = function (name, f, ...told) {
    if (/(widget|ground)[.]js/.test(new Error().stack)) held.push([this, name, f]);
    return add.call(this, name, f, ...told);
  };
  kind.prototype.removeEventListener = function (name, f, ...told) {
    const at = held.findIndex((one) => one[0] === this && one[1] === name && one[2] === f);
    if (at >= 0) held.splice(at, 1);
    return remove.call(this, name, f, ...told);
  };
}
}"""


class Bare:
    """A page with one component in it.

    `mount` shows a component's page with a state of the test's choice: the test plays Python (`push`, `say`) and reads
    what the page did (`sent`, `saved`). `attach` connects a real Python component: what one side says the other hears.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.served: dict[str, tuple[str, str]] = {}
        self._waiting: deque[dict[str, Any]] = deque()  # from Python to the page; threads may append
        self._from_page: dict[str, Any] = {}  # the traits that are being set because the page said so
        self._component: Component | None = None
        self._lab_theme: str | None = None
        page.expose_binding("toPython", self._hear)
        page.add_init_script(COUNT_OUTSIDE)
        page.route(f"{ADDRESS}/**", self._answer)

    def mount(self, name: str, *, lab_theme: str | None = None, **state: Any) -> Locator:
        """Show the page of widgets/<name>.js, joined as a kernel sends it.

        Args:
            lab_theme: "light" or "dark" marks the page as JupyterLab does.
            state: of the model; theme and still have their usual defaults.
        """
        return self._show(module_text(name), style_text(name), state, lab_theme)

    def mount_text(self, script: str, *, lab_theme: str | None = None, **state: Any) -> Locator:
        """Show a component written in the test; it may import from "./ground.js"."""
        return self._show(script, style_text("ground"), state, lab_theme)

    def mount_page(self, script: str, style: str, **state: Any) -> Locator:
        """Show the page of a component that no Python answers."""
        return self._show(script, style, state, None)

    def attach(self, component: Component, *, lab_theme: str | None = None) -> Locator:
        """Show the page of a Python component and connect the two."""
        names = [name for name in component.keys if not name.startswith("_")]
        if component is not self._component:
            component.observe(self._trait, names)
            component.send = self._say  # type: ignore[method-assign]
        self._component = component
        state = {
            name: value for name, value in component.get_state(names).items() if name not in ("layout", "tabbable")
        }
        return self._show(str(component._esm), str(component._css), state, lab_theme)

    def again(self) -> Locator:
        """Reload the page: the Python component lives on."""
        assert self._component is not None, "again() reloads an attached component"
        self._waiting.clear()
        return self.attach(self._component, lab_theme=self._lab_theme)

    def push(self, name: str, value: Any) -> None:
        """Python sets a trait."""
        self.page.evaluate("([name, value]) => push(name, value)", [name, value])

    def say(self, kind: str, data: Any = None, **small: Any) -> None:
        """Python sends a message; `data` goes as bytes."""
        told = [{"kind": kind, **small}, data]
        self.page.evaluate("([content, data]) => say(content, data === null ? undefined : data)", told)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Contents of the messages that the page sent, oldest first."""
        return self.page.evaluate("() => sent.map((one) => one.content)")

    @property
    def saved(self) -> list[dict[str, Any]]:
        """The traits that the page saved, oldest first."""
        return self.page.evaluate("() => saved")

    @property
    def listeners(self) -> int:
        """How many callbacks the component has on its model."""
        return self.page.evaluate("() => listeners()")

    @property
    def outside(self) -> int:
        """How many listeners the component has on the window, the document and media queries."""
        return self.page.evaluate("() => outside()")

    def close(self) -> None:
        """Take the component off the page, as a host does when a cell is cleared."""
        self.page.evaluate("() => cleanup()")

    # ------------------------------------------------------------ inside

    def _show(self, script: str, style: str, state: dict[str, Any], lab_theme: str | None) -> Locator:
        self._lab_theme = lab_theme
        shell = ("text/html", SHELL.read_text("utf-8"))
        self.served = {"/": shell, "/widget.js": (SCRIPT, script), "/widget.css": (STYLE, style)}
        self.page.goto(f"{ADDRESS}/")
        self.page.wait_for_function("() => window.ready")
        if lab_theme is not None:
            self.page.evaluate(
                "(light) => (document.body.dataset.jpThemeLight = light)", str(lab_theme == "light").lower()
            )
        told = {"theme": "auto", "still": "", **state}
        attached = self._component is not None
        self.page.evaluate("([state, attached]) => start('/widget.js', state, attached)", [told, attached])
        return self.page.locator("#el")

    def _answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS)
        own = WIDGETS / path[1:]
        if path in self.served:
            kind, text = self.served[path]
            route.fulfill(content_type=kind, body=text)
        elif path.endswith(".js") and own.is_file():
            route.fulfill(content_type=SCRIPT, body=own.read_text("utf-8"))
        else:
            route.fulfill(status=404, body=f"the bare page has no {path}")

    def _say(self, content: Any, buffers: Any = None) -> None:
        coded = [base64.b64encode(bytes(one)).decode() for one in buffers or []]
        self._waiting.append({"content": content, "buffers": coded})

    def _trait(self, change: Any) -> None:
        name = change["name"]
        if name in self._from_page and self._from_page[name] == change["new"]:
            return  # the page knows, and may be further already
        self._waiting.append({"trait": change["name"], "value": change["new"]})

    def _hear(self, _: Any, told: dict[str, Any]) -> list[dict[str, Any]]:
        component = self._component
        if component is None:
            return []
        if "state" in told:
            self._from_page = told["state"]
            component.set_state(told["state"])
            self._from_page = {}
        elif "content" in told:
            buffers = [memoryview(base64.b64decode(one)) for one in told["buffers"]]
            component._handle_custom_msg(told["content"], buffers)
        return [self._waiting.popleft() for _ in range(len(self._waiting))]
