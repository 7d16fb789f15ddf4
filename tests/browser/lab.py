"""Harness 2: a real JupyterLab, started once for all browser tests; each test has its own notebook and kernel."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "tests"
START_S = 120.0
QUIET: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
KERNEL_IDLE = """() => { const kernel = jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel && kernel.connectionStatus === "connected" && kernel.status === "idle" }"""
LAB_UP = "() => window.jupyterapp && !document.querySelector('#jupyterlab-splash')"


def free_port() -> int:
    """A port of loopback that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when `url` answers; fail with the end of the log where the process ends or takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} did not come up; the end of {log.name}:\n{log.read_text('utf-8')[-3000:]}")


@contextlib.contextmanager
def running(command: Sequence[str], home: Path, url: str, environment: Mapping[str, str]) -> Iterator[None]:
    """A server process that answers at `url`, ended afterwards; its log is server.log in `home`."""
    log = home / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=home, env=dict(environment), stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_until_up(url, process, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            print(log.read_text("utf-8")[-3000:])  # pytest shows it where the test failed


def at_home(home: Path) -> dict[str, str]:
    """Environment variables with which Jupyter reads and writes nothing outside `home`, and finds this checkout."""
    folders = {"HOME": "", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    own = {name: str(home / folder) for name, folder in {**folders, "IPYTHONDIR": "ipython"}.items()}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "JPY_"))}
    return {**inherited, **own, "PYTHONPATH": paths, "NO_PROXY": "127.0.0.1,localhost"}


@contextlib.contextmanager
def jupyter_lab(home: Path) -> Iterator[str]:
    """A JupyterLab with its own settings in `home`, serving home/notebooks. Yields its address."""
    overrides = home / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(QUIET))
    for folder in ("notebooks", "workspaces", "settings"):
        (home / folder).mkdir()
    port = free_port()
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={home / 'notebooks'}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        f"--LabApp.workspaces_dir={home / 'workspaces'}",
        f"--LabApp.user_settings_dir={home / 'settings'}",
    ]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", *options]
    with running(command, home, f"{address}/api/status?token={TOKEN}", at_home(home)):
        yield address


class Lab:
    """One notebook at a time in a running JupyterLab, in a page of the test."""

    def __init__(self, page: Page, address: str, folder: Path) -> None:
        self.page = page
        self.address = address
        self.folder = folder
        page.set_default_timeout(30_000)

    def open(self, *cells: str, name: str = "test.ipynb") -> Locator:
        """Write a notebook of these cells (a cell that starts with # and a space is Markdown), open it, wait for the
        kernel. Returns the notebook's panel."""
        made = [new_markdown_cell(text) if text.startswith("# ") else new_code_cell(text) for text in cells]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(new_notebook(cells=made, metadata={"kernelspec": kernel}), self.folder / name)
        return self.visit(name)

    def visit(self, name: str) -> Locator:
        """Open a notebook that is in the folder already."""
        self.page.goto(f"{self.address}/lab/tree/{name}?reset&token={TOKEN}")
        self._ready()
        return self.panel

    def reload(self) -> None:
        """Reload the page; the kernel lives on."""
        self.page.reload()
        self._ready()

    @property
    def panel(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def run(self, number: int) -> None:
        """Start a cell (from 0), without waiting for its end."""
        script = """(i) => { const notebook = jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = i; notebook.deselectAll(); jupyterapp.commands.execute("notebook:run-cell") }"""
        self.page.evaluate(script, number)

    def run_all(self) -> None:
        """Run all cells and wait until the kernel is idle."""
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until the kernel has done all it was asked."""
        self.page.wait_for_function(KERNEL_IDLE, timeout=60_000)

    def output(self, number: int) -> Locator:
        """What the person sees under a cell."""
        return self.panel.locator(".jp-Cell").nth(number).locator(".jp-Cell-outputArea")

    def outputs(self, number: int) -> list[dict[str, Any]]:
        """The outputs of a cell as the notebook holds them."""
        script = "(i) => jupyterapp.shell.currentWidget.content.widgets[i].model.outputs.toJSON()"
        return self.page.evaluate(script, number)

    def printed(self, number: int) -> str:
        """What a cell printed, and the text of its error where it failed."""
        outputs = self.outputs(number)
        return "".join(["".join(one.get("text", "")) or one.get("evalue", "") for one in outputs])

    def cells(self) -> int:
        """How many cells the notebook has."""
        return self.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets.length")

    def save(self) -> dict[str, Any]:
        """Save the notebook; returns it as it is on disk."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
        name = self.page.evaluate("() => jupyterapp.shell.currentWidget.context.path")
        return json.loads((self.folder / name).read_text("utf-8"))

    def theme(self, name: str) -> None:
        """Switch JupyterLab to its "light" or "dark" colours."""
        told = {"theme": f"JupyterLab {name.capitalize()}"}
        self.page.evaluate("(told) => jupyterapp.commands.execute('apputils:change-theme', told)", told)
        wanted = str(name == "light").lower()
        self.page.wait_for_function("(wanted) => document.body.dataset.jpThemeLight === wanted", arg=wanted)
        self.page.wait_for_function(LAB_UP)  # a change of theme shows the splash again

    def shut_down(self) -> None:
        """End all kernels, so that no test meets another's."""
        for session in self._api("sessions"):
            self._api(f"sessions/{session['id']}", "DELETE")

    def _ready(self) -> None:
        self.page.wait_for_function(LAB_UP, timeout=60_000)
        self.panel.locator(".jp-Cell").first.wait_for()
        self.wait_idle()

    def _api(self, path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.address}/api/{path}", headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None
