"""A component in Panel, without a browser: traits and messages both ways, from any thread, until the visit ends."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import panel as pn
import pytest
import traitlets
from bokeh.client import pull_session
from bokeh.document import Document
from bokeh.document.events import MessageSentEvent
from panel.io.server import get_server

from tests.widgets.serving import serving
from widgets.component import Component
from widgets.in_panel import in_panel


class Kinds(Component):
    """One trait of each kind."""

    _esm = "export default { render() {} }"
    _css = ""
    flag = traitlets.Bool(False).tag(sync=True)
    amount = traitlets.Float(0.5).tag(sync=True)
    items = traitlets.List(traitlets.Float(allow_none=True), [1.0, None]).tag(sync=True)
    choice = traitlets.Enum(["a", "b"], "a").tag(sync=True)
    table = traitlets.Dict({"x": {"y": [1]}}).tag(sync=True)
    text = traitlets.Unicode("<b>\u2028 é").tag(sync=True)
    raw = traitlets.Bytes(b"\x00\x01").tag(sync=True, from_json=lambda value, _: bytes(value))
    width = traitlets.Int(3).tag(sync=True)  # a name that Panel's own components have too
    hidden = traitlets.Int(0)  # does not travel

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.threads: set[str] = set()

    def hear_echo(self, **told: Any) -> None:
        self.heard.append(told)
        self.threads.add(threading.current_thread().name)
        self.say("echo", told)

    def hear_slow(self, number: int) -> None:
        time.sleep(0.05 / number)  # the later, the quicker
        self.heard.append(number)


class Page:
    """What a browser would have: the model's properties, and the messages that came."""

    def __init__(self, widget: Component) -> None:
        self.host = in_panel(widget)
        self.document = Document()
        self.model = self.host.get_root(self.document)
        self.document.add_root(self.model)
        self.messages: list[tuple[Any, list[bytes]]] = []
        self.document.on_change(self._came)

    def _came(self, event: Any) -> None:
        if isinstance(event, MessageSentEvent):
            data = event.msg_data.data
            self.messages.append((json.loads(data["content"]), data["buffers"]))

    def send(self, content: Any, buffers: list[bytes] | None = None) -> None:
        self.host._handle_msg({"content": json.dumps(content), "buffers": buffers or []})

    def set(self, **traits: Any) -> None:
        told = {f"t_{name}": value if isinstance(value, bytes) else json.dumps(value) for name, value in traits.items()}
        self.host.param.update(**told)

    def shows(self, name: str) -> Any:
        value = getattr(self.model.data, f"t_{name}")
        return value if isinstance(value, bytes) else json.loads(value)

    def settled(self) -> Page:
        """Everything that the page asked so far is answered."""
        self.host._link._answers.submit(lambda: None).result(10)
        return self


@pytest.fixture
def widget() -> Iterator[Kinds]:
    made = Kinds()
    yield made
    made.close()


@pytest.fixture
def page(widget: Kinds) -> Iterator[Page]:
    shown = Page(widget)
    yield shown
    shown.settled()
    shown.host._link._answers.shutdown()


CHANGED = {
    "flag": True,
    "amount": 2.25,
    "items": [None, 3.0],
    "choice": "b",
    "table": {"z": None, "é": {}},
    "text": "changed \U0001f986",
    "raw": b"\xff\xfe",
    "width": 9,
}


def test_a_page_begins_with_every_trait_that_travels(page: Page, widget: Kinds):
    assert {name: page.shows(name) for name in CHANGED} == {name: getattr(widget, name) for name in CHANGED}
    assert not hasattr(page.model.data, "t_hidden") and not hasattr(page.model.data, "t_layout")
    assert page.shows("theme") == "auto"


@pytest.mark.parametrize("name", CHANGED)
def test_a_trait_set_in_python_reaches_the_page(page: Page, widget: Kinds, name: str):
    setattr(widget, name, CHANGED[name])
    assert page.shows(name) == CHANGED[name]


@pytest.mark.parametrize("name", CHANGED)
def test_a_trait_set_by_the_page_reaches_python(page: Page, widget: Kinds, name: str):
    page.set(**{name: CHANGED[name]})
    page.settled()
    assert getattr(widget, name) == CHANGED[name]
    assert page.shows(name) == CHANGED[name]


def test_nan_reaches_the_page_as_null(page: Page, widget: Kinds):
    widget.amount = float("nan")
    assert page.shows("amount") is None


def test_a_value_that_the_trait_refuses_is_told_and_taken_back(page: Page, widget: Kinds):
    page.set(choice="c")
    page.settled()
    assert widget.choice == page.shows("choice") == "a"
    [(message, _)] = page.messages
    assert message["kind"] == "trouble" and "'a', 'b'" in message["says"]


def test_the_last_of_quick_changes_wins(page: Page, widget: Kinds):
    for value in (1, 2, 3):
        page.set(width=value)  # 3 is what Python had at first
    page.settled()
    assert widget.width == page.shows("width") == 3


def test_messages_go_both_ways_with_their_bytes(page: Page, widget: Kinds):
    page.send({"kind": "echo", "a": [1, None], "b": "é\u2028"})
    page.settled()
    assert widget.heard == [{"a": [1, None], "b": "é\u2028"}]
    [(message, buffers)] = page.messages
    assert message == {"kind": "echo"} and json.loads(buffers[0]) == widget.heard[0]


def test_answers_come_in_order_on_a_thread_of_the_widgets_own(page: Page, widget: Kinds):
    for number in (1, 2, 3):
        page.send({"kind": "slow", "number": number})
    page.send({"kind": "echo"})
    page.settled()
    assert widget.heard == [1, 2, 3, {}]
    assert widget.threads == {"Kinds page_0"}


def test_what_another_thread_says_arrives_whole_and_in_order(page: Page, widget: Kinds):
    def speak() -> None:
        for number in range(200):
            widget.say("tick", number=number)
            widget.width = number

    thread = threading.Thread(target=speak)
    thread.start()
    thread.join()
    assert [message["number"] for message, _ in page.messages] == list(range(200))
    assert page.shows("width") == 199


def test_a_message_that_fails_leaves_the_next_one_heard(page: Page, widget: Kinds):
    page.host._handle_msg({"content": json.dumps({"kind": "echo", "self": 1}), "buffers": []})
    page.send({"kind": "echo", "after": True})
    page.settled()
    assert widget.heard == [{"after": True}]
    assert page.messages[0][0]["kind"] == "trouble"


def test_two_widgets_of_one_class_are_apart(page: Page, widget: Kinds):
    other = Kinds()
    second = Page(other)
    other.width = 77
    second.send({"kind": "echo"})
    second.settled()
    assert (page.shows("width"), second.shows("width")) == (3, 77)
    assert widget.heard == [] and page.messages == []
    other.close()


# ---------------------------------------------------------------- served


def served(view: Callable[[], Any]) -> Any:
    """A server that forgets a visit a moment after its page is closed."""
    quick = {"check_unused_sessions_milliseconds": 50, "unused_session_lifetime_milliseconds": 50}
    return serving(lambda: get_server({"/": view}, port=0, address="127.0.0.1", **quick))


def test_when_a_visit_ends_its_widget_is_let_go_of():
    made: list[weakref.ref] = []
    threads: list[threading.Thread] = []

    def view() -> pn.viewable.Viewable:
        widget = Kinds()
        made.append(weakref.ref(widget))
        shown = in_panel(widget)
        shown._link._answers.submit(lambda: threads.append(threading.current_thread()))
        return shown

    with served(view) as address:
        for _ in range(2):
            visit = pull_session(url=address + "/")
            assert visit.document.roots
            visit.close()
        assert len(made) == 2
        assert within(20, lambda: gc.collect() is not None and not any(one() for one in made))
        assert within(20, lambda: not any(thread.is_alive() for thread in threads))


def test_a_thread_may_speak_on_when_the_visit_is_over():
    made: list[Kinds] = []

    def view() -> pn.viewable.Viewable:
        made.append(Kinds())
        return in_panel(made[-1])

    with served(view) as address:
        pull_session(url=address + "/").close()
        assert within(20, lambda: "send" not in vars(made[0]))
        made[0].width = 12
        made[0].say("tick")  # nobody is there, and nothing breaks


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """True as soon as it holds."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
