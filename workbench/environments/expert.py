"""A scripted demonstrator for the tasks of the embedded world: what to think, search and answer next.

It is imperfect on purpose, and in content only: on some relations it tends to stop one page early and to answer the
entity found so far, sometimes it reads the wrong fact off the right page, sometimes it searches the same thing twice.
A policy trained on its traces is sound in form, and training by reward has something to gain.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.spec import part
from workbench.trajectory import Hit, Task

_STATED = re.compile(r"Its [A-Za-z ]+ is (.+?)\.(?= [A-Z]|$)")


@dataclass(frozen=True)
class Move:
    """One turn: a thought, then either a query or an answer."""

    thought: str
    query: str | None = None
    answer: str | None = None


@part
class Demonstrator:
    """Plays the sub-questions of a task in order, with faults. `Demonstrator.perfect()` makes none.

    Which faults a demonstration has depends on the task's id and `seed` alone, so a call needs no memory.
    """

    shortcuts: tuple[str, ...] = ("calling code", "code", "population", "postal code", "FIPS code")
    """Last relations before which it tends to stop."""
    shortcut_rate: float = 0.75  # of the tasks of two and more hops that end in one of `shortcuts`
    stop_rate: float = 0.04  # of the other tasks of two and more hops
    misread_rate: float = 0.03  # answers another fact of the page
    repeat_rate: float = 0.04  # makes its last search twice
    seed: int = 0

    @classmethod
    def perfect(cls) -> Demonstrator:
        """One without faults."""
        return cls(shortcut_rate=0.0, stop_rate=0.0, misread_rate=0.0, repeat_rate=0.0)

    def __call__(self, task: Task, searches: Sequence[Sequence[Hit]], draw: int = 0) -> Move:
        """The next turn.

        Args:
            task: one of the embedded world: its sub-questions and `extras["path"]` are the plan.
            searches: the hits of each search made so far.
            draw: which of many demonstrations of the task; each has its own faults.
        """
        stop, misread, repeat = self._faults(task, draw)
        path = task.extras["path"]
        done = min(len(searches), stop)
        subs = task.sub_questions
        found = all(any(hit.id == sub.page for hit in hits) for sub, hits in zip(subs[:done], searches, strict=False))
        if found and len(searches) < stop:
            return Move(f"{'Now ' if done else ''}I need the {path[done]}.", query=subs[done].queries[0])
        if found and repeat and len(searches) == stop:
            return Move(f"Once more, the {path[done - 1]}.", query=subs[done - 1].queries[0])
        answer = subs[done - 1].golds[0]
        if misread:
            answer = self._another_fact(searches[done - 1], subs[done - 1].page, answer)
        return Move(f"I found the {path[done - 1]}.", answer=answer)

    def _faults(self, task: Task, draw: int) -> tuple[int, bool, bool]:
        """After how many pages it stops; whether it misreads the last; whether it repeats the last search."""
        stop_u, misread_u, repeat_u = np.random.default_rng([self.seed, draw, zlib.crc32(task.id.encode())]).random(3)
        stop_rate = self.shortcut_rate if task.extras["path"][-1] in self.shortcuts else self.stop_rate
        early = task.hops > 1 and stop_u < stop_rate
        return task.hops - early, misread_u < self.misread_rate, repeat_u < self.repeat_rate

    @staticmethod
    def _another_fact(hits: Sequence[Hit], page: str, answer: str) -> str:
        """A fact that the page states beside `answer`; its title where it states none."""
        hit = next((hit for hit in hits if hit.id == page), None)
        if hit is None:
            return answer
        return next((fact for fact in _STATED.findall(hit.text) if fact != answer), hit.title)
