"""A Panel server in a thread of the test, for what needs no browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from panel.io.server import Server
from tornado.ioloop import IOLoop


@contextmanager
def serving(make: Callable[[], Server]) -> Iterator[str]:
    """Run the server that `make` gives until the block ends. Yields its address, without a slash."""
    up = threading.Event()
    made: dict[str, Any] = {}

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        loop = made["loop"] = IOLoop.current()
        try:
            server = made["server"] = make()
            server.start()
        except Exception as error:
            made["error"] = error
            up.set()
            return
        loop.add_callback(up.set)
        loop.start()
        server.stop(wait=False)
        server.unlisten()
        loop.add_callback(loop.stop)
        loop.start()  # what the closing left to do
        loop.close(all_fds=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert up.wait(60), "the server did not come up"
    if "error" in made:
        raise made["error"]
    try:
        yield f"http://127.0.0.1:{made['server'].port}"
    finally:
        made["loop"].add_callback(made["loop"].stop)
        thread.join(30)
