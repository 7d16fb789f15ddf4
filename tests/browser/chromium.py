"""Chromium with the network off, and the trap that every page of a test is watched by."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Playwright, Request, WebError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    # The network is off: loopback needs no proxy, and for all else there is one at which nobody listens.
    "--proxy-server=http://127.0.0.1:9",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)
HERE = {"127.0.0.1", "localhost", "[::1]", "widget.test"}  # widget.test: the bare page, answered inside the browser
LOCAL = ("data", "blob", "about", "chrome-extension")


def executable(playwright: Playwright) -> str | None:
    """The browser to drive: $WORKBENCH_CHROMIUM, the system's, or the one playwright installed; None: there is none."""
    own = playwright.chromium.executable_path
    found = os.environ.get("WORKBENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return found or (own if Path(own).exists() else None)


def leaves(url: str) -> bool:
    """True where a request for `url` would leave this machine."""
    parts = urlsplit(url)
    return parts.scheme not in LOCAL and parts.netloc.rpartition("@")[2].partition(":")[0] not in HERE


@dataclass
class Trap:
    """What must not happen on a page: requests that leave the machine, dialogs, errors. `check` fails the test."""

    caught: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Let pass what matches this regular expression; the test is about it."""
        self.expected.append(pattern)

    def watch(self, context: BrowserContext) -> None:
        context.on("request", self._request)
        context.on("dialog", self._dialog)
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("page", self._page)

    def check(self) -> None:
        left = [line for line in self.caught if not any(re.search(pattern, line) for pattern in self.expected)]
        assert not left, "\n".join(["the page did what no page may do:", *left[:20]])

    def _page(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._address(socket.url))
        page.on("crash", lambda _: self.caught.append("the page crashed"))

    def _request(self, request: Request) -> None:
        self._address(request.url)

    def _address(self, url: str) -> None:
        if leaves(url):
            self.caught.append(f"request that leaves the machine: {url}")

    def _dialog(self, dialog: Dialog) -> None:
        self.caught.append(f"dialog: {dialog.type} {dialog.message!r}")
        dialog.dismiss()

    def _error(self, event: WebError) -> None:
        self.caught.append(f"error on the page: {getattr(event.error, 'stack', None) or event.error}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.caught.append(f"console error: {message.text}")
