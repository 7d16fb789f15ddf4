"""Driving: work done update by update, in a loop that a notebook owns or in a thread, steered from any other thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from workbench.errors import TrainingError
from workbench.training.report import Report

log = logging.getLogger(__name__)


class Driven:
    """Something that goes on in updates. Subclasses do one (`_one_update`), look at what was asked before the next
    (`_between_updates`) and tidy up after the last (`_close`).

    `pause`, `resume` and `stop` may be called from any thread and take effect between two updates.
    """

    name: str
    updates: int  # how many there shall be
    update: int  # how many are done
    looks_every_s: float | None = None  # seconds; while paused, for what is asked elsewhere

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.error: BaseException | None = None
        self._status = "new"
        self._listeners: tuple[Callable[[Any], object], ...] = ()
        self._stop, self._go, self._woken = threading.Event(), threading.Event(), threading.Event()
        self._go.set()
        self._driving = threading.Lock()
        self._thread: threading.Thread | None = None

    def _one_update(self) -> Report:
        raise NotImplementedError

    def _between_updates(self) -> None:
        """Do what was asked while an update was under way. Called by whoever drives, also while paused."""

    def _settle(self) -> None:
        """Do it now, where nobody drives."""

    def _close(self, status: str) -> None:
        """The driving has come to an end, for now."""
        raise NotImplementedError

    # ------------------------------------------------------------ driving

    def __iter__(self) -> Iterator[Report]:
        """Do the updates that are left, yielding a report after each. Leaving the loop early loses nothing: iterate
        again to go on."""
        self._take()
        yield from self._updates_left()

    def _take(self) -> None:
        if not self._driving.acquire(blocking=False):
            raise TrainingError(f"run {self.name!r} is already being driven, by a thread or another loop")

    def _updates_left(self) -> Iterator[Report]:
        """The updates; whoever iterates has taken the run, and it is free again at the end."""
        ended, self.error = "interrupted", None
        try:
            while self._goes_on():
                report = self._one_update()
                self._tell()
                yield report
            ended = "stopped" if self._stop.is_set() else "finished"
        except Exception as error:
            self.error, ended = error, "failed"
            raise
        finally:
            self._stop.clear()  # it has been obeyed
            try:
                self._close(ended)
            finally:
                self._driving.release()
                self._settle()
                self._tell()

    def finish(self, *, show: bool = True) -> list[Report]:
        """Do all updates that are left; Ctrl-C keeps what is done, and never an update by half."""
        try:
            for report in self:
                if show:
                    print(report, flush=True)
        except KeyboardInterrupt:
            print(f"interrupted after update {self.update} of {self.updates}; run.finish() goes on from there")
        return self.reports

    def start(self) -> Self:
        """Drive the run from a background thread."""
        self._take()
        self._stop.clear()
        self._thread = threading.Thread(target=self._drive, name=f"run-{self.name}", daemon=True)
        self._thread.start()
        return self

    def _drive(self) -> None:
        try:
            for _ in self._updates_left():
                pass
        except Exception as error:  # `error` holds it; `wait` raises it
            log.info("run %r failed in its thread: %s", self.name, error)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait for the thread, seconds at most. Raises what it failed with."""
        if self._thread is not None:
            self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        return self

    @property
    def driven(self) -> bool:
        """True while a loop or a thread drives it (also where it is paused)."""
        return self._driving.locked()

    # ------------------------------------------------------------ steering

    def pause(self) -> None:
        """Hold before the next update."""
        self._steer(self._go.is_set(), self._go.clear)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._steer(not self._go.is_set(), self._go.set)

    def stop(self) -> None:
        """End after the update under way."""
        self._steer(not self._stop.is_set(), self._stop.set)

    @property
    def paused(self) -> bool:
        """True where `pause` was asked for: it holds, or will after the update under way."""
        return not self._go.is_set()

    @property
    def stopping(self) -> bool:
        """True where `stop` was asked for and the update under way is not over yet."""
        return self._stop.is_set()

    def _steer(self, new: bool, act: Callable[[], None]) -> None:
        act()
        self._woken.set()
        if new:  # a listener may ask the same again
            self._tell()

    def _goes_on(self) -> bool:
        """True where another update is due; waits for as long as the run is paused."""
        while True:
            self._woken.clear()  # before looking: what is asked from here on is seen in the next round
            self._between_updates()
            if self._stop.is_set() or self.update >= self.updates:
                return False
            if self._go.is_set():
                self.status = "running"
                return True
            self.status = "paused"
            self._woken.wait(self.looks_every_s)

    # ------------------------------------------------------------ listening

    @property
    def status(self) -> str:
        """new, running, paused, or how it ended: finished, stopped, interrupted, failed, rolled back."""
        return self._status

    @status.setter
    def status(self, status: str) -> None:
        changed, self._status = status != self._status, status
        if changed:
            self._tell()

    def listen(self, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Call `callback(run)` after each update, and when status, plan, name or what was asked of it change.

        It is called by the thread in which that happens, so it should be quick. An error in it goes to the log, and
        the run goes on.

        Returns:
            A function that ends the listening.
        """
        self._listeners = (*self._listeners, callback)

        def stop() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not callback)

        return stop

    def _tell(self) -> None:
        for callback in self._listeners:
            try:
                callback(self)
            except Exception:
                log.exception("a listener of run %r failed; the run goes on", self.name)
