"""A visit: what a page is asked, by whom, and what it may use. Every visit has objects of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from widgets.component import Component
from workbench.store import Store

if TYPE_CHECKING:
    from widgets.pages.trainer import Trainer


@dataclass(frozen=True)
class Visit:
    """One page of one person."""

    store: Store
    trainer: Trainer
    who: str | None = None  # login name; None where nobody logs in
    asked: Mapping[str, str] = field(default_factory=dict)  # the query string
    follow: Callable[[str], None] = lambda address: None  # shows a query string in the address bar
    at_end: Callable[[Callable[[], None]], None] = lambda act: None  # `act` is called when the visit ends

    def number(self, name: str) -> int | None:
        """A whole number of the query string; None where it is not given, or none."""
        text = self.asked.get(name, "")
        return int(text) if text.isdecimal() and len(text) < 10 else None


@dataclass(frozen=True)
class Shown:
    """What a page shows, from top to bottom."""

    title: str
    parts: Sequence[Component] = ()
    trail: Sequence[tuple[str, str]] = ()  # (what, address) of the pages above this one
    says: str = ""  # a sentence or two for the person
    trouble: bool = False  # `says` is an error


class Signing:
    """A store in which everything is signed by one person, whatever name comes along."""

    def __init__(self, store: Store, who: str | None) -> None:
        self._store, self.who = store, who

    def edit(self, *place: Any, who: str | None = None, **told: Any) -> str:
        return self._store.edit(*place, who=self.who or who, **told)

    def start_run(self, settings: Mapping[str, Any], *, name: str | None = None) -> str:
        signed = {**settings, "who": self.who} if self.who else settings
        return self._store.start_run(signed, name=name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def address(page: str, **asked: Any) -> str:
    """The address of a page; what is None or "" is left out."""
    query = urlencode({name: value for name, value in asked.items() if value not in (None, "")})
    return f"{page}?{query}" if query else page
