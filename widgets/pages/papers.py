"""Papers: the gallery of methods; their rewards can be tried on the runs of the lab."""

from __future__ import annotations

from typing import Any

from widgets.pages.visit import Shown, Visit, address
from widgets.papers import Papers


def papers(visit: Visit) -> Shown:
    """The gallery, at the method that `?paper=` names."""
    view = Papers(visit.store, visit.asked.get("paper", ""))

    def follow(change: Any) -> None:
        visit.follow(address("", paper=change["new"]))

    view.observe(follow, "chosen")
    return Shown("Papers", [view])
