"""Any component in Panel: the same Python object and the same page, without Jupyter.

Panel's own model of an anywidget has neither messages from the page nor binary data. The page of a component runs here
behind a small shim (in_panel.js) that adds both. Small state travels as JSON text, so that every kind of trait arrives
as it would in Jupyter.
"""

from __future__ import annotations

import base64
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import anywidget
import panel as pn
import param
import traitlets
from panel.models.esm import ESMEvent

from widgets.component import HERE, Component, plain

log = logging.getLogger(__name__)

_PREFIX = "t_"  # before a trait's name: traits may be called as Panel's own parameters are


def in_panel(widget: Component) -> pn.viewable.Viewable:
    """`widget` as something that Panel shows.

    In a served app call it in the function that builds a visitor's page: the widget lives as long as the visit. What
    the page asks is answered on a thread of the widget's own, one thing after the other, so that a slow answer holds up
    no other visitor; Python may set traits and say things from any thread.
    """
    names = _synced(type(widget))
    host = _host_class(str(widget._esm), str(widget._css), tuple(names.items()))
    shown = host(sizing_mode="stretch_width", **{_PREFIX + name: _told(widget, name) for name in names})
    _Link(widget, shown, list(names))
    return shown


def _synced(cls: type[Component]) -> dict[str, bool]:
    """Names of the traits that travel, and whether each holds bytes."""
    own = set(cls.class_traits(sync=True)) - set(anywidget.AnyWidget.class_traits(sync=True))
    traits = cls.class_traits()
    return {name: isinstance(traits[name], traitlets.Bytes) for name in sorted(own) if not name.startswith("_")}


@cache
def _host_class(esm: str, css: str, names: tuple[tuple[str, bool], ...]) -> type[_Host]:
    """A Panel component that runs this page and carries these traits."""
    code = base64.b64encode(esm.encode()).decode()
    shim = (HERE / "in_panel.js").read_text(encoding="utf-8").replace("PAGE", f"data:text/javascript;base64,{code}", 1)
    traits = {
        _PREFIX + name: param.Bytes(allow_None=True) if binary else param.String("null") for name, binary in names
    }
    return type("ComponentInPanel", (_Host,), {"_esm": shim, "_stylesheets": [css], **traits})


class _Host(pn.custom.AnyWidgetComponent):
    """A component on a page; `_link` holds what connects it."""

    _link: _Link | None = None

    def _handle_msg(self, data: Any) -> None:
        if self._link is not None:
            self._link.hear(data)


class _Link:
    """Connects a widget to its place on a visitor's page, until the visit ends."""

    def __init__(self, widget: Component, host: _Host, names: Sequence[str]) -> None:
        self.widget, self.host, self.names = widget, host, list(names)
        self._document = pn.state.curdoc
        self._answers = ThreadPoolExecutor(1, thread_name_prefix=f"{type(widget).__name__} page")
        self._out: deque[Callable[[], None]] = deque()
        self._from_page: dict[str, Any] = {}  # the trait that is being set because the page said so
        self._showing = False  # a value is on its way to the page
        host._link = self
        self._watcher = host.param.watch(self._page_set, [_PREFIX + name for name in names])
        widget.observe(self._python_set, self.names)
        widget.send = self._say
        if self._document is not None and self._document.session_context is not None:
            self._document.on_session_destroyed(lambda _: self.close())

    def close(self) -> None:
        """The visit is over: the widget is let go of, with everything that held it."""
        self.host.param.unwatch(self._watcher)
        self.host._link = None
        self.widget.unobserve(self._python_set, self.names)
        del self.widget.send  # the class's own is there again
        self._answers.shutdown(wait=False, cancel_futures=True)
        self.widget.close()

    # ------------------------------------------------------------ from the page

    def hear(self, message: dict[str, Any]) -> None:
        """A message: {"content": JSON text, "buffers": [bytes]}."""
        buffers = [memoryview(one) for one in message.get("buffers", [])]
        self._answer(self.widget._handle_custom_msg, json.loads(message["content"]), buffers)

    def _page_set(self, *events: param.parameterized.Event) -> None:
        for event in () if self._showing else events:
            self._answer(self._take, event.name.removeprefix(_PREFIX), event.new)

    def _take(self, name: str, told: str | bytes) -> None:
        trait = self.widget.traits()[name]
        value = told if isinstance(told, bytes) else json.loads(told)
        read = trait.metadata.get("from_json", lambda given, _: given)
        self._from_page = {name: value}
        try:
            setattr(self.widget, name, read(value, self.widget))
        except traitlets.TraitError as error:
            self.widget.say("trouble", says=str(error))
            self._show(name)
        finally:
            self._from_page = {}

    def _answer(self, act: Callable[..., None], *told: Any) -> None:
        def answered() -> None:
            try:
                act(*told)
            except Exception:  # nobody waits for the future: say it here
                log.exception("%s failed at %.200r", type(self.widget).__name__, told)

        self._answers.submit(answered)

    # ------------------------------------------------------------ to the page

    def _say(self, content: Any, buffers: Sequence[Any] | None = None) -> None:
        told = {"content": json.dumps(plain(content)), "buffers": [bytes(one) for one in buffers or ()]}
        self._on_document(partial(self._send, told))

    def _send(self, told: dict[str, Any]) -> None:
        """Send a message while the document is locked.

        Panel's own `_send_msg` writes past the lock; where the page says something at the same moment, its message is
        lost (Panel 1.9.4). With the lock Bokeh's own way is the sure one.
        """
        document = self._document
        if document is None or document.session_context is None:
            self.host._send_msg(told)
            return
        for model, _ in self.host._models.copy().values():
            document.callbacks.send_event(ESMEvent(model=model, data=told))

    def _python_set(self, change: Any) -> None:
        told = _told(self.widget, change["name"])
        value = told if isinstance(told, bytes) else json.loads(told)
        if self._from_page != {change["name"]: value}:  # else the page knows, and may be further already
            self._show(change["name"])

    def _show(self, name: str) -> None:
        """Tell the page the trait's value."""

        def show() -> None:
            self._showing = True
            try:
                self.host.param.update(**{_PREFIX + name: _told(self.widget, name)})
            finally:
                self._showing = False

        self._on_document(show)

    def _on_document(self, act: Callable[[], None]) -> None:
        """Do it where the visitor's document may be touched, in order. Callable from any thread."""
        self._out.append(act)
        if self._document is None or self._document.session_context is None:
            self._drain()
        else:
            self._document.add_next_tick_callback(self._drain)

    def _drain(self) -> None:
        while self._out and self.host._link is self:
            self._out.popleft()()


def _told(widget: Component, name: str) -> str | bytes:
    """A trait's value as it travels."""
    value = widget.get_state([name])[name]
    return bytes(value) if isinstance(value, bytes | memoryview) else json.dumps(plain(value))
