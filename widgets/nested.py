"""A component inside another's page: what it says and hears goes over the other's wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from widgets.component import Component

OWN = ("layout", "tabbable", "tooltip")  # what the host sets, not the component


class Nested:
    """Shows `inner` in the page of `outer`, which passes on what the page says to it (messages of kind "inner").

    Each has a number, so that what was meant for one that is gone reaches nobody.
    """

    def __init__(self, outer: Component, inner: Component, number: int) -> None:
        self.outer, self.inner, self.number = outer, inner, number
        self._names = [name for name in inner.keys if not name.startswith("_") and name not in OWN]
        inner.send = self._send
        inner.observe(self._changed, self._names)

    def open(self, **told: Any) -> None:
        """Tell the page to show it."""
        self.outer.say("open", number=self.number, traits=self.inner.get_state(self._names), **told)

    def hear(self, content: Any, state: Mapping[str, Any] | None) -> None:
        """The page sent the inner component a message, or traits."""
        if state:
            self.inner.set_state(dict(state))
        if content is not None:
            self.inner._handle_custom_msg(content, [])

    def close(self) -> None:
        self.inner.unobserve(self._changed, self._names)
        self.inner.close()

    def _send(self, content: Any, buffers: Any = None) -> None:
        self.outer.send({"kind": "inner", "number": self.number, "content": content}, buffers)

    def _changed(self, change: Any) -> None:
        self.outer.say("inner", number=self.number, trait=change["name"], value=change["new"])
