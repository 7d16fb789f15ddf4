"""Harness 3: components served by Panel, each server a process of its own on a free port."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.browser.lab import at_home, free_port, running


@contextlib.contextmanager
def panel_script(script: str, home: Path) -> Iterator[str]:
    """`panel serve` of a script in `home`. Yields the address of its page."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "page.py").write_text(script, encoding="utf-8")
    port = free_port()
    options = ["--address", "127.0.0.1", "--port", str(port), "--allow-websocket-origin", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "panel", "serve", "page.py", *options]
    address = f"http://127.0.0.1:{port}/page"
    with running(command, home, address, at_home(home)):
        yield address


@contextlib.contextmanager
def workbench_serve(lab: Path, home: Path, *options: str) -> Iterator[str]:
    """``workbench serve LAB`` with further options. Yields its address."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "workbench.cli", "serve", str(lab), "--port", str(port), *options]
    address = f"http://127.0.0.1:{port}"
    with running(command, home, address, at_home(home)):
        yield address
