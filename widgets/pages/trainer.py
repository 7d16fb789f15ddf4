"""The training of a served lab: one at a time, in a thread of the server's own process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import workbench.retrieval.encoders  # noqa: F401  a reward may name one
from widgets.pages.visit import Signing
from workbench.errors import SettingError, UnknownName
from workbench.rewards.expression import read_reward
from workbench.store import Store
from workbench.training.method import METHODS
from workbench.training.run import Run

Begin = Callable[..., Run]
"""``begin(reward, method=..., updates=..., tasks_per_update=..., seed=..., recorder=...)`` makes a run, not started."""

MOST = {"updates": 10_000, "tasks_per_update": 200, "group_size": 64, "seed": 2**31 - 1}
LEAST = {"updates": 1, "tasks_per_update": 1, "group_size": 2, "seed": 0}


@dataclass(frozen=True)
class Training:
    """A run of this server, and who started it: that person steers it, the others watch."""

    run: Run
    who: str | None  # None where nobody logs in


class Trainer:
    """Starts trainings and knows the newest."""

    def __init__(self, store: Store, begin: Begin) -> None:
        self.store, self._begin = store, begin
        self._lock = threading.Lock()
        self.training: Training | None = None

    def start(self, answers: dict[str, Any], who: str | None) -> Run:
        """Begin a training in a thread.

        Args:
            answers: reward (as text), method (its name), updates, tasks_per_update, group_size, seed.

        Raises:
            SettingError: one is under way, or an answer is outside what is allowed.
            UnknownName: no such reward or method.
        """
        settings = {name: _whole(name, answers) for name in MOST}
        reward, method = read_reward(str(answers["reward"])), str(answers["method"])
        if method not in METHODS:
            raise UnknownName.among("method", method, METHODS)
        if not self._lock.acquire(blocking=False):
            raise SettingError("a training is just being started here; one runs at a time")
        try:
            self._check_free()
            made = METHODS[method](settings.pop("group_size"))
            run = self._begin(reward, method=made, recorder=Signing(self.store, who), **settings)
            self.training = Training(run.start(), who)
            return run
        finally:
            self._lock.release()

    def _check_free(self) -> None:
        if self.training is not None and self.under_way:
            by = f", started by {self.training.who}" if self.training.who else ""
            raise SettingError(f"run {self.under_way} is under way here{by}; one runs at a time: stop it, or wait")

    @property
    def under_way(self) -> str:
        """The name of the run that goes on here, "" where none does."""
        return self.training.run.name if self.training is not None and self.training.run.driven else ""

    def end(self, timeout_s: float) -> None:
        """The server is going: end the training after the update under way, waiting so long at most."""
        until = time.monotonic() + timeout_s
        if self.training is not None:
            self.training.run.stop()
        while self.under_way and time.monotonic() < until:
            time.sleep(0.05)


def _whole(name: str, answers: dict[str, Any]) -> int:
    value = answers.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not LEAST[name] <= value <= MOST[name]:
        raise SettingError(
            f"{name.replace('_', ' ')} is a whole number from {LEAST[name]} to {MOST[name]}, got {value!r}"
        )
    return value
