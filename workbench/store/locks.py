"""Files that one process at a time holds locked. The kernel lets go of them when it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

_guard = threading.Lock()
_open: set[int] = set()


class LockedFile:
    """An open file that this process alone holds locked, until `close` or its end."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, make: bool) -> LockedFile | None:
        """The file, with `make` made where it is missing; None where another process holds it or just deleted it.

        Raises:
            OSError: it is missing, or cannot be opened for writing.
        """
        with _guard:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if make else 0), 0o666)
            _open.add(descriptor)
        file = cls(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return file
        except BlockingIOError:
            pass
        file.close()
        return None

    def close(self) -> None:
        """Let go. Said to the kernel outright: a forked process may hold a copy of the descriptor."""
        with _guard:
            _open.discard(self.descriptor)
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            os.close(self.descriptor)


def _close_copies() -> None:
    """In a forked process: else it would keep every lock of its parent, after the parent's death too."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_close_copies)
