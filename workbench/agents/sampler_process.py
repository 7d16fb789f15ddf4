"""A program in a process of its own that answers frames, as its parent sees it: asked, waited for, killed."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.agents.vllm_process import Frame, packed, read_frame
from workbench.errors import EngineError

SEND_S = 60.0
"""Seconds within which the process must take a question off the pipe."""

CLOSING_S = 2.0
"""Seconds within which a process that closed its pipe must end."""


class SamplerProcess:
    """Starts `command` with two pipes, whose numbers it is told as its last two arguments.

    It leads a process group, and `kill` ends the group: memory of the GPU comes back at once, whatever it was doing.
    It ends itself when this process goes.

    Args:
        environment: of the program.
        what: how errors name it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, what: str) -> None:
        self.what = what
        self._asking = threading.Lock()
        self._number = 0
        self._log, path = tempfile.mkstemp(prefix="workbench-", suffix=".log")
        os.unlink(path)
        weakref.finalize(self, os.close, self._log)
        heard, self._told = os.pipe()
        answers, told = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(heard), str(told)],
                pass_fds=(heard, told),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=dict(environment),
                start_new_session=True,  # a group of its own; Ctrl-C in a terminal is for the parent
            )
        except OSError as error:
            os.close(answers)
            os.close(self._told)
            raise EngineError(f"{what} could not be started: {error}. Is {command[0]!r} a Python?") from error
        finally:
            os.close(heard)
            os.close(told)
        os.set_blocking(self._told, False)
        self._inbox: queue.Queue[Frame | None] = queue.Queue()
        threading.Thread(target=_read, args=(answers, self._inbox), daemon=True).start()
        weakref.finalize(self, os.close, self._told)  # not by `kill`: another thread may be writing to it
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._end.alive and not self._exited()

    def ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None, *, silent_s: float
    ) -> Frame:
        """The answer to one question. An exception from outside (Ctrl-C) leaves the process as it is: the next
        question tells it that nobody waits for the answer to this one.

        Args:
            silent_s: seconds without a sign of life after which it counts as hung and is killed.

        Raises:
            EngineError: it died, went silent, or answered with an error.
        """
        with self._asking:
            self._number += 1
            self._send(packed({**header, "number": self._number}, arrays), header["ask"])
            while True:
                try:
                    frame = self._inbox.get(timeout=silent_s)
                except queue.Empty:
                    self.kill()
                    silence = f"gave no sign of life for {silent_s:g} s"
                    raise self._error(f"{self.what} {silence} when asked to {header['ask']}, and was killed") from None
                if frame is None:
                    self._inbox.put(None)  # whoever asks next shall see it too
                    raise self._error(f"{self.what} {self._gone()} when asked to {header['ask']}")
                reply, out = frame
                if reply["number"] != self._number or "beat" in reply:
                    continue
                if "error" in reply:
                    raise EngineError(f"{self.what} could not {header['ask']}: {reply['error']}: {reply['says']}")
                return reply, out

    def kill(self) -> None:
        """End it and all it started. From any thread; whoever waits for its answer gets an EngineError."""
        self._end()

    def said(self, lines: int = 12, width: int = 300) -> str:
        """The last lines that it wrote to its log, each cut to `width` characters."""
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, 20_000, max(0, size - 20_000)).decode(errors="replace")
        return "\n".join(line[:width] for line in text.strip().splitlines()[-lines:])

    def _send(self, data: bytes, asked: str) -> None:
        """Write it all: the pipe holds little, and a process that hangs takes nothing off it."""
        left, deadline = memoryview(data), time.monotonic() + SEND_S
        try:
            while left:
                if not select.select([], [self._told], [], max(0.0, deadline - time.monotonic()))[1]:
                    self.kill()
                    raise self._error(f"{self.what} took no question for {SEND_S:g} s and was killed")
                left = left[os.write(self._told, left) :]
        except (OSError, ValueError):  # the pipe is broken, or was closed by `kill`
            raise self._error(f"{self.what} {self._gone()} when asked to {asked}") from None
        except BaseException:
            self.kill()  # half a question can not be taken back
            raise

    def _exited(self) -> bool:
        """Whether it has ended, leaving it for `kill` to collect: until then nobody else gets its number."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _gone(self) -> str:
        """How it ended, once its pipe is closed."""
        deadline = time.monotonic() + CLOSING_S
        while self.lives and time.monotonic() < deadline:
            time.sleep(0.01)
        hung = self.lives
        self.kill()
        code = self._process.wait()  # where another thread killed it, that may still be under way
        if hung:
            return "closed its pipe, and was killed,"
        if code >= 0:
            return f"ended with exit code {code}"
        why = ": was it out of memory?" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{why}"

    def _error(self, text: str) -> EngineError:
        said = self.said()
        return EngineError(text + (f". Its last lines:\n{said}" if said else ""))


def _read(pipe: int, inbox: queue.Queue[Frame | None]) -> None:
    """Take answers off the pipe until it ends; what is no frame ends it too."""
    with os.fdopen(pipe, "rb") as answers, contextlib.suppress(ValueError, OSError):
        while frame := read_frame(answers):
            inbox.put(frame)
    inbox.put(None)


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
