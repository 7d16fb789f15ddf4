"""Questions that visitors type, each answered by a process of its own that may only read the lab."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from workbench.errors import StoreBusy, StoreError, UnknownName
from workbench.store.places import place_of
from workbench.store.visitor_process import read, write

# -I: neither the environment nor the folder decides what is imported
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from workbench.store.visitor_process import serve; serve(sys.argv[2], json.loads(sys.argv[3]))"
)
_START_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much one question may take."""

    rows: int = 5_000
    bytes: int = 8 * 2**20  # of the answer
    seconds: float = 20.0
    memory: int = 512 * 2**20  # bytes that DuckDB holds; the process may have 1 GB of address space more
    at_once: int = 3  # questions of all visitors together


@dataclass(frozen=True)
class Answer:
    """What came of a question."""

    table: pa.Table
    cut: str  # "rows" or "bytes": which limit left the rest out; "": nothing is left out
    seconds: float


class Visitors:
    """Answers questions about a lab, several at once. What a question does wrong ends its process and nothing else.

    One process is kept ready; it takes about a second to start one.

    Args:
        lab: the folder.
        before: is called ahead of every question, as to write what is queued.
    """

    def __init__(self, lab: Path, limits: Limits | None = None, before: Callable[[], object] = lambda: None) -> None:
        self.lab, self.limits, self._before = lab, limits or Limits(), before
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._questions: set[Question] = set()
        self._starting = 0
        self._closed = False
        weakref.finalize(self, _close_all, self._idle)

    def ask(self, sql: str) -> Question:
        """A question, asked; `answer` waits for what comes of it.

        Raises:
            StoreBusy: as many questions as may be are being answered.
            StoreError: the lab is closed, or no process can be started.
        """
        self._before()
        with self._lock:
            self._check_open()
            if len(self._questions) >= self.limits.at_once:
                raise StoreBusy(
                    f"{len(self._questions)} questions are being answered, as many as may be at once; each takes at "
                    f"most {self.limits.seconds:g} s: ask again in a moment"
                )
            question = Question(self, sql)
            self._questions.add(question)
        return question

    def make_ready(self) -> None:
        """Start a process for the next question, in the background, where none is there."""
        with self._lock:
            if self._idle or self._starting or self._questions or self._closed:
                return
            self._starting += 1
        threading.Thread(target=self._start, name="workbench visitors", daemon=True).start()

    def _start(self) -> None:
        child = None
        try:
            child = _Child(self.lab, self.limits)
        except StoreError as error:  # whoever asks is told
            log.warning("%s", error)
        with self._lock:
            self._starting -= 1
        self._give_back(child)

    def close(self) -> None:
        """End all processes; questions under way come to nothing."""
        with self._lock:
            self._closed = True
            questions = list(self._questions)
        _close_all(self._idle)
        for question in questions:
            question.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("this lab is closed; open it again to ask")

    def _take(self) -> _Child:
        """A process that is ready, or a new one."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.lives:
                    return child
                child.close()
        return _Child(self.lab, self.limits)

    def _give_back(self, child: _Child | None, question: Question | None = None) -> None:
        """A question is over; its process, where it is still good, may be kept for the next."""
        with self._lock:
            if question is not None:
                self._questions.discard(question)
            keep = child is not None and not self._idle and not self._closed
            if keep and child is not None:
                self._idle.append(child)
        if child is not None and not keep:
            child.close()


def _close_all(children: list[_Child]) -> None:
    while children:
        children.pop().close()


class Question:
    """A question, asked."""

    def __init__(self, visitors: Visitors, sql: str) -> None:
        self.sql = sql
        self._visitors = visitors
        self._child: _Child | None = None
        self._ended_by = ""  # "time" or "cancel"
        self._change = threading.Lock()

    def cancel(self) -> None:
        """End it; `answer` raises."""
        self._end("cancel")

    def _end(self, why: str) -> None:
        with self._change:
            self._ended_by = self._ended_by or why
            child = self._child
        if child is not None:
            child.kill()

    def answer(self) -> Answer:
        """What comes of it. To be called once.

        Raises:
            UnknownName: it asks for a table or function that is not there; says the nearest.
            StoreError: it cannot be asked here, DuckDB cannot answer it, it took too long or too much, or `cancel`.
        """
        kept, clock = None, threading.Timer(self._visitors.limits.seconds, self._end, ["time"])
        clock.daemon = True
        try:
            child = self._visitors._take()
            with self._change:
                self._child = child
            began = time.monotonic()
            clock.start()
            header, body = (None, b"") if self._ended_by else child.asked(self.sql)
            if header is None:
                raise self._lost()
            kept = None if self._ended_by or header["over"] else child
            return self._told(header, body, time.monotonic() - began)
        finally:
            clock.cancel()
            self._visitors._give_back(kept, self)
            if kept is None and self._child is not None:
                self._child.close()

    def _told(self, header: dict[str, Any], body: bytes, seconds: float) -> Answer:
        kind = header.get("error")
        if kind == "memory":
            raise StoreError(self._too_much())
        if kind is not None:
            raise (UnknownName if kind == "UnknownName" else StoreError)(header["says"])
        with pa.ipc.open_stream(body) as stream:
            return Answer(stream.read_all(), header["cut"], seconds)

    def _lost(self) -> StoreError:
        if self._ended_by == "cancel":
            return StoreError("cancelled")
        if self._ended_by == "time":
            return StoreError(
                f"this took longer than {self._visitors.limits.seconds:g} s and was ended; ask for less: one run, one "
                "update, fewer columns"
            )
        return StoreError(f"{self._too_much()} (the process that answered was ended for it, or failed)")

    def _too_much(self) -> str:
        memory = self._visitors.limits.memory / 2**20
        return (
            f"this needs more than the {memory:g} MB of memory that a question may take; ask for fewer rows at a time"
        )


class _Child:
    """A process that answers."""

    def __init__(self, lab: Path, limits: Limits) -> None:
        command = [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path), str(lab), json.dumps(asdict(limits))]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # the default pool reserves 1 GB at once
            env={"LC_ALL": "C.UTF-8", "ARROW_DEFAULT_MEMORY_POOL": "system", **place_of(lab).environment},
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal is for the parent
        )
        clock = threading.Timer(_START_S, self.kill)
        clock.daemon = True
        clock.start()
        assert self._process.stdout is not None
        ready = read(self._process.stdout)
        clock.cancel()
        if not ready:
            self.close()
            raise StoreError("no process could be started to answer questions; is the lab still readable?")

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def asked(self, sql: str) -> tuple[dict[str, Any] | None, bytes]:
        """The header of the answer and its table; None where the process was gone before all of it was here."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            write(self._process.stdin, sql.encode("utf-8", "replace") or b" ")
        except OSError:  # it was ended meanwhile
            return None, b""
        header = json.loads(read(self._process.stdout) or b"null")
        body = read(self._process.stdout) if header else b""
        whole = header and (body or "error" in header)  # an error comes without a table
        return (header, body) if whole else (None, b"")

    def kill(self) -> None:
        """End it; whoever waits for its answer gets none. From any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it and let go of its pipes. Only where nobody waits for its answer."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    pipe.close()
