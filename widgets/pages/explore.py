"""SQL: ask the lab in a box. What an address brings along waits there until the person runs it."""

from __future__ import annotations

from typing import Any

from widgets.explore import Explore
from widgets.pages.visit import Shown, Visit, address

LONGEST_ADDRESS = 2000
"""Characters of a question that are shown in the address; servers and people lose patience with longer ones."""


def explore(visit: Visit) -> Shown:
    """The box, filled with `?sql=`."""
    given = visit.asked.get("sql", "")
    view = Explore(visit.store, given, link="step")
    visit.at_end(view.hear_cancel)

    def follow(change: Any) -> None:
        asked = change["new"]
        visit.follow(address("", sql=asked if len(asked) <= LONGEST_ADDRESS else ""))

    view.observe(follow, "asked")
    says = "The question in the box came with the address. It has not run: read it, then press Run." if given else ""
    return Shown("SQL", [view], says=says)
