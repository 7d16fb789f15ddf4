"""A run of the lab as RunMonitor watches it, whichever process drives it: read from the store, again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from workbench.errors import UnknownName, UnknownRun, WorkbenchError
from workbench.plain import loads, unpack
from workbench.protocols import Credit
from workbench.scores import Scores
from workbench.spec import from_spec
from workbench.store import Store
from workbench.trajectory import Tree

log = logging.getLogger(__name__)

Told = Mapping[str, Any]

NEWS = """
    select status, settings,
           (select count(*) from reports where run = $run) as reports,
           (select count(*) from plans where run = $run)   as plans
    from runs where run = $run
"""
REPORTS = "select report from reports where run = $run order by update, recorded offset $have"
PLANS = "select update, plan from plans where run = $run order by update, recorded"
CREDIT = """
    select plan->>'credit' as credit from plans
    where run = $run and update <= $update order by update desc, recorded desc limit 1
"""


@dataclass(frozen=True, eq=False)
class StoredUpdate:
    """The newest update of a stored run; its trees are read when somebody looks."""

    store: Store
    run: str
    update: int
    advantages: None = None

    @cached_property
    def trees(self) -> Sequence[Tree]:
        return self.store.trees(self.run, update=self.update)

    @cached_property
    def scores(self) -> Sequence[Sequence[Scores]]:
        return self.store.scores(self.run, self.trees)

    @property
    def plan(self) -> Any:
        """What is known of the plan: how rollouts were compared."""
        credit = credit_at(self.store, self.run, self.update)
        return None if credit is None else SimpleNamespace(credit=credit)


class StoredRun:
    """A run read from a lab. `read` looks for news."""

    steers = False

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name
        self.status, self.updates = "running", 0
        self.continues: Told | None = None
        self.reports: list[Told] = []
        self.plans: list[tuple[int, Told]] = []
        self.latest: StoredUpdate | None = None
        self._known: tuple[Any, ...] = ()
        self.read()

    @property
    def update(self) -> int:
        """How many updates are reported."""
        return int(self.reports[-1]["update"]) if self.reports else 0

    def read(self) -> bool:
        """Take over what is new; True where something was.

        Raises:
            UnknownRun: the lab holds no such run.
        """
        found = self.store.sql(NEWS, run=self.name)
        if not len(found):
            raise UnknownRun.among("run", self.name, self.store.runs(), where="this lab")
        status, settings, reports, plans = next(found.itertuples(index=False))
        if (status, reports, plans) == self._known:
            return False
        told = _told(settings)
        self.updates, self.continues = int(told.get("updates") or reports), told.get("continues")
        if plans != len(self.plans):
            rows = self.store.sql(PLANS, run=self.name).itertuples(index=False)
            self.plans = [(int(update), _told(plan)) for update, plan in rows]
        if reports > len(self.reports):
            rows = self.store.sql(REPORTS, run=self.name, have=len(self.reports))
            self.reports = [*self.reports, *map(_told, rows["report"])]
            self.latest = StoredUpdate(self.store, self.name, self.update)
        self.status, self._known = status, (status, reports, plans)
        return True


def keep_reading(
    run: StoredRun, refresh: Callable[[], None], trouble: Callable[[str], None], every_s: float = 1.0
) -> Callable[[], None]:
    """Read while the run goes on, and call `refresh` where something was new. Returns a function that ends it."""
    over = threading.Event()

    def reading() -> None:
        while run.status == "running" and not over.wait(every_s):
            try:
                if run.read():
                    refresh()
            except WorkbenchError as error:  # the person at the page shall know; the next try may go well
                log.warning("run %r cannot be read: %s", run.name, error)
                trouble(str(error))

    threading.Thread(target=reading, name=f"watching {run.name}", daemon=True).start()
    return over.set


def credit_at(store: Store, run: str, update: int) -> Credit | None:
    """How the plan in force at this update compared rollouts; None where no plan is recorded, or not so that it could
    be made again."""
    found = store.sql(CREDIT, run=run, update=update)
    if not len(found) or not isinstance(found["credit"][0], str):
        return None
    try:
        return from_spec(_told(found["credit"][0]))
    except (UnknownName, TypeError, ValueError) as error:
        log.warning("the credit of run %r at update %d cannot be made again: %s", run, update, error)
        return None


def _told(text: str | None) -> Any:
    return unpack(loads(text)) if text else {}
