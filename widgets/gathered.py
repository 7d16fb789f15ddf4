"""Many calls in a short time become one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Gathered:
    """Calling it calls `act` `wait_s` later, once for all calls until then, on a thread of its own."""

    def __init__(self, act: Callable[[], object], wait_s: float) -> None:
        self._act, self._wait_s = act, wait_s
        self._lock = threading.Lock()
        self._coming = False

    def __call__(self) -> None:
        with self._lock:
            if self._coming:
                return
            self._coming = True
        timer = threading.Timer(self._wait_s, self._due)
        timer.daemon = True
        timer.start()

    def _due(self) -> None:
        with self._lock:
            self._coming = False
        try:
            self._act()
        except Exception:  # nobody waits for this thread
            log.exception("%r failed", self._act)
