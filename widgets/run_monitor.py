"""RunMonitor: watch a training while it goes on, and steer it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import workbench.retrieval.encoders  # noqa: F401  a reward may name one
from widgets.component import Component
from widgets.gathered import Gathered
from widgets.nested import Nested
from widgets.run_picture import run_picture, run_text
from widgets.run_rows import AnyPlan, AnyReport, Newest, PlanWords, Row, group_rows, plain_report, report_row
from widgets.step_through import StepThrough
from workbench.errors import SettingError
from workbench.rewards.compose import reweighted, weights_of
from workbench.rewards.expression import read_reward
from workbench.rewards.score import score
from workbench.training.branches import Saved
from workbench.training.changes import plan_changes
from workbench.training.plan import Plan

log = logging.getLogger(__name__)

EVERY_S = 0.1  # a host manages about twenty messages a second
GROUPS_EVERY_S = 1.0  # a person reads these; they are the bulk of what is sent
STILL_EVERY_S = 5.0


class Watched(Protocol):
    """What a RunMonitor reads of a run. A stored run that has these attributes is watched like one of this kernel;
    call `RunMonitor.refresh` where they have new values.

    What `steers` can be paused, swapped and rolled back too: it is a `Steered`.
    """

    steers: bool

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str:
        """new, running, paused, or how it ended."""
        ...

    @property
    def update(self) -> int:
        """How many updates are done."""
        ...

    @property
    def updates(self) -> int:
        """How many there shall be."""
        ...

    @property
    def reports(self) -> Sequence[AnyReport]:
        """Of every update, oldest first: `Report`s, or the same as plain data."""
        ...

    @property
    def plans(self) -> Sequence[tuple[int, AnyPlan]]:
        """The plans that were in force, each with its first update: `Plan`s, or their specs."""
        ...

    @property
    def latest(self) -> Newest | None:
        """Trees of the newest update; None where they are not at hand."""
        ...

    @property
    def continues(self) -> Mapping[str, Any] | None:
        """The run and update it goes on from."""
        ...


class Steered(Watched, Protocol):
    """A run of this kernel. `workbench.Run` is one."""

    plan: Plan
    error: BaseException | None

    @property
    def driven(self) -> bool: ...
    @property
    def paused(self) -> bool: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def returning(self) -> int | None: ...
    def listen(self, callback: Callable[[Any], object]) -> Callable[[], None]: ...
    def start(self) -> Any: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...
    def roll_back(self, update: int) -> None: ...
    def checkpoints(self) -> Sequence[Saved]: ...


class RunMonitor(Component):
    """Watch a run and steer it: Space pauses and goes on, S stops, W weighs the reward anew, ? lists the keys.

    Args:
        run: of this kernel, driven by a cell (``for report in run``) or a thread (``run.start()``); or anything that
            is `Watched`.
        recorder: a store, where edits made in an opened group are kept; default that of the run.
        who: author of those edits; default the login name.
    """

    def __init__(self, run: Watched, *, recorder: Any = None, who: str | None = None, **traits: Any) -> None:
        self.run, self.who = run, who
        kept = getattr(run, "recorder", None) if recorder is None else recorder
        self.recorder = kept if hasattr(kept, "edit") else None
        self._words = PlanWords()
        self._lock = threading.RLock()  # updates, people and pages come on threads of their own
        self._pages = 0
        self._told: list[tuple[Any, Any] | None] = []  # run and update of each row that the page has
        self._groups: Newest | None = None  # whose groups the page shows
        self._groups_at, self._holding, self._still_at = 0.0, False, time.monotonic()
        self._nested: Nested | None = None
        self._opened = 0
        super().__init__(**traits)
        self._gathered = Gathered(self._tell, EVERY_S)
        self._deaf = self._steered().listen(lambda _: self._gathered()) if run.steers else lambda: None
        self.still = run_text(run)

    def refresh(self) -> None:
        """Show what is new, within a tenth of a second: needed for a run that cannot be listened to."""
        self._gathered()

    def close(self) -> None:
        """Let go of the run."""
        self._deaf()
        super().close()

    # ------------------------------------------------------------ what the page is told

    def hear_hello(self) -> None:
        """A page was drawn: everything it shows."""
        with self._lock:
            self._pages += 1
            self._told, self._groups, self._holding, self._groups_at = [], None, False, 0.0
            self._tell()
            if self._nested is not None:
                self._say_open(self._nested)

    def hear_bye(self) -> None:
        """A page was taken away."""
        self._pages = max(0, self._pages - 1)

    def _tell(self) -> None:
        with self._lock:
            if self.run.status != "running" or time.monotonic() - self._still_at > STILL_EVERY_S:
                self.still, self._still_at = run_text(self.run), time.monotonic()
            if self._pages:
                self.say("run", self._news())

    def _news(self) -> Row:
        """The rows that the page lacks, and all that is small."""
        run = self.run
        reports = list(run.reports)
        keys = [_key(report) for report in reports]
        have = len(self._told) if keys[: len(self._told)] == self._told else 0
        self._told = keys
        news: Row = {
            "name": run.name,
            "status": run.status,
            "update": run.update,
            "updates": run.updates,
            "continues": run.continues,
            "steers": run.steers,
            "from": have,
            "rows": [report_row(report) for report in reports[have:]],
            "checks": (plain_report(reports[-1]).get("checks") or []) if reports else [],
            "marks": [*self._words.marks(run.plans), *_begun(run)],
        }
        if self._groups_due():
            news["groups"] = self._groups_told()
        return {**news, **(self._steering() if run.steers else self._in_force())}

    def _steering(self) -> Row:
        run = self._steered()
        reward = run.plan.reward
        return {
            "driven": run.driven,
            "paused": run.paused,
            "stopping": run.stopping,
            "returning": run.returning,
            "error": "" if run.error is None else f"{type(run.error).__name__}: {run.error}",
            "plan": self._words.row(run.plan),
            "waiting": bool(run.plans) and run.plans[-1][1] is not run.plan,
            "weights": [[name, weight] for name, weight in weights_of(reward).items()],
            "checkpoints": [saved.update for saved in run.checkpoints()],
        }

    def _in_force(self) -> Row:
        plans = self.run.plans
        return {"plan": self._words.row(plans[-1][1])} if plans else {}

    def _groups_due(self) -> bool:
        latest = self.run.latest
        if _key(latest) == _key(self._groups):
            return False
        waited = time.monotonic() - self._groups_at > GROUPS_EVERY_S
        return not self._holding and (waited or self.run.status != "running")

    def _groups_told(self) -> Row | None:
        latest = self._groups = self.run.latest
        self._groups_at = time.monotonic()
        if latest is None:
            return {"update": None, "rows": []}
        return {"update": latest.update, "run": latest.run, "rows": group_rows(latest)}

    # ------------------------------------------------------------ what a person asks

    def _steered(self) -> Steered:
        if not self.run.steers:
            raise SettingError(f"run {self.run.name!r} is driven elsewhere: here it can be watched, and not steered")
        return cast(Steered, self.run)

    def hear_pause(self) -> None:
        """Hold before the next update."""
        self._steered().pause()

    def hear_resume(self) -> None:
        """Go on; in a thread where nothing drives the run."""
        run = self._steered()
        run.resume()
        if not run.driven:
            run.start()

    def hear_stop(self) -> None:
        """End after the update under way."""
        run = self._steered()
        if not run.driven:
            raise SettingError(f"nothing drives run {run.name!r} (it is {run.status}), so there is nothing to stop")
        run.stop()

    def hear_swap(self, reward: str | None = None, weights: Mapping[str, float] | None = None) -> None:
        """Pay otherwise from the next update on: a whole new reward, or other weights of this one."""
        run = self._steered()
        old = run.plan
        paid = read_reward(reward) if reward is not None else reweighted(old.reward, weights or {})
        changes = plan_changes(old.spec(), old.replace(reward=paid).spec())
        if not changes:
            self.say("done", says="That is the reward already.", swapped=True)
            return
        if run.latest is not None:
            score(run.latest.trees[:1], paid)  # what cannot score them would end the run
        run.plan = old.replace(reward=paid)
        self.say("done", says=f"From the next update on: {'; '.join(changes)}", swapped=True)

    def hear_roll_back(self, update: int) -> None:
        """Go back to a checkpoint."""
        run = self._steered()
        run.roll_back(update)
        after = "" if run.returning is None else " after the update under way"
        self.say("done", says=f"Back to update {update}{after}. What was done so far is kept.")

    def hear_hold(self, on: bool) -> None:
        """Someone looks at the groups: keep them as they are, or no longer."""
        self._holding = on
        if not on:
            self._gathered()

    def hear_open(self, group: int) -> None:
        """Show a group of the page's list in a StepThrough."""
        with self._lock:
            latest = self._groups
            if latest is None:
                raise SettingError("there is no update whose groups could be opened yet")
            tree = group_rows(latest)[group]["tree"]
            credit = None if latest.plan is None else latest.plan.credit
            view = StepThrough(
                latest.trees[tree],
                [latest.scores[tree]],
                credit=credit,
                recorder=self.recorder,
                run=latest.run if self.recorder is not None else None,
                who=self.who,
                theme=self.theme,
            )
            self.hear_shut()
            self._opened += 1
            self._nested = Nested(self, view, self._opened)
            self._nested_of = {"update": latest.update, "question": latest.trees[tree].task.question}
            self._say_open(self._nested)

    def _say_open(self, nested: Nested) -> None:
        nested.open(**self._nested_of)

    def hear_shut(self) -> None:
        """The opened group is closed."""
        if self._nested is not None:
            self._nested.close()
            self._nested = None

    def hear_inner(self, number: int, content: Any = None, state: Mapping[str, Any] | None = None) -> None:
        """The page of the opened group says something."""
        if self._nested is not None and self._nested.number == number:
            self._nested.hear(content, state)

    @property
    def opened(self) -> StepThrough | None:
        """The group that is open, None where none is."""
        return None if self._nested is None else cast(StepThrough, self._nested.inner)

    # ------------------------------------------------------------ without a page

    def __repr__(self) -> str:
        return f"RunMonitor({run_text(self.run).splitlines()[0]})"

    def picture(self) -> str:
        """The curves, the newest numbers and the checks that did not hold, as HTML without scripts."""
        return run_picture(self.run)


def _key(of: AnyReport | Newest | None) -> tuple[Any, Any] | None:
    """Run and update: a branch does the updates of the run it left once more."""
    if isinstance(of, Mapping):
        return of.get("run"), of.get("update")
    return None if of is None else (of.run, of.update)


def _begun(run: Watched) -> list[Row]:
    """Where it left the run that it continues."""
    if not run.continues:
        return []
    update, origin = int(run.continues["update"]), run.continues["run"]
    return [{"update": update, "kind": "back", "lines": [f"{run.name} goes on from update {update} of {origin}"]}]
