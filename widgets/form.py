"""Form: a few questions and a button."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import traitlets

from widgets.component import Component


@dataclass(frozen=True)
class Field:
    """One question. With `choices` it is answered by one of them, with a number as `value` by a whole number."""

    name: str
    label: str
    value: str | int = ""
    choices: tuple[str, ...] = ()
    says: str = ""  # what it means, under the field
    wide: bool = False  # takes a line of its own


class Form(Component):
    """Asks `fields` and hands the answers over.

    Args:
        fields: the questions.
        act: is given the answers by name, and returns the address to go to. What it raises is shown.
        link: instead of `act`: the address that the answers lead to, as a query string, as soon as one changes.
        send: what the button says.
        label: what the form is for, for those who do not see it.
        folded: what to press to see the form at all; "": it is there.
    """

    link = traitlets.Unicode(help="kernel to page: address that the answers lead to").tag(sync=True)
    send_label = traitlets.Unicode("Go").tag(sync=True)
    label = traitlets.Unicode("Form").tag(sync=True)
    folded = traitlets.Unicode(help="kernel to page: what to press to see the form").tag(sync=True)

    def __init__(
        self, fields: Sequence[Field], act: Callable[[dict[str, Any]], str] | None = None, **traits: Any
    ) -> None:
        self.fields, self.act = list(fields), act
        super().__init__(**traits)

    def hear_hello(self) -> None:
        self.say("fields", [asdict(field) for field in self.fields])

    def hear_answers(self, answers: dict[str, Any]) -> None:
        """The button was pressed."""
        if self.act is not None:
            self.say("done", go=self.act(answers))

    def __repr__(self) -> str:
        return f"Form({self.label!r}: {', '.join(field.label for field in self.fields)})"
