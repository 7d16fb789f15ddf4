"""Fixtures of the browser tests: Chromium, a watched page, and the three hosts that a component lives in."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

LACKING = [name for name in ("playwright", "anywidget") if find_spec(name) is None]
if not LACKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

    from tests.browser.bare import Bare
    from tests.browser.chromium import FLAGS, Trap, executable
    from tests.browser.lab import Lab, jupyter_lab
    from tests.browser.served import panel_script, workbench_serve

    Shoot = Callable[[Page | Locator, str], Path]

SHOTS = Path(os.environ.get("WORKBENCH_SHOTS") or Path(__file__).with_name("shots"))
Serve = Callable[..., str]


class Lacking(pytest.Module):
    """A file of browser tests where something they need is not installed."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(f"{LACKING[0]} is not installed; pip install -e '.[test]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Lacking.from_parent(parent, path=module_path) if LACKING else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One Chromium for all browser tests; it ends with them, since playwright keeps an event loop running."""
    with sync_playwright() as playwright:
        path = executable(playwright)
        if path is None:
            pytest.skip("no Chromium here; install the system's package, or set WORKBENCH_CHROMIUM to one")
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    """Fails the test on requests that leave the machine, dialogs and errors; `trap.expect(pattern)` lets some pass."""
    trap = Trap()
    yield trap
    trap.check()


@pytest.fixture
def context(chromium: Browser, trap: Trap) -> Iterator[BrowserContext]:
    """A fresh browser profile, 1280 by 900."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    trap.watch(context)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty, watched page."""
    return context.new_page()


@pytest.fixture
def bare(page: Page) -> Bare:
    """Harness 1: one component alone in a page."""
    return Bare(page)


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab for all browser tests: its address, and the folder it serves."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed; pip install -e '.[test]'")
    home = tmp_path_factory.mktemp("lab")
    with jupyter_lab(home) as address:
        yield address, home / "notebooks"


@pytest.fixture
def lab(page: Page, lab_server: tuple[str, Path]) -> Iterator[Lab]:
    """Harness 2: a notebook in JupyterLab, with a kernel of its own."""
    lab = Lab(page, *lab_server)
    yield lab
    lab.shut_down()


@pytest.fixture
def serve_script(tmp_path: Path) -> Iterator[Serve]:
    """Harness 3: ``serve_script(text)`` serves a Panel script and returns the address of its page."""
    pytest.importorskip("panel", reason="panel is not installed; pip install -e '.[test]'")
    with ExitStack() as servers:
        yield lambda script: servers.enter_context(panel_script(script, tmp_path / "server"))


@pytest.fixture
def serve_lab(tmp_path: Path) -> Iterator[Serve]:
    """Harness 3: ``serve_lab(folder, *options)`` runs ``workbench serve`` and returns its address."""
    pytest.importorskip("panel", reason="panel is not installed; pip install -e '.[test]'")
    with ExitStack() as servers:
        yield lambda folder, *options: servers.enter_context(workbench_serve(folder, tmp_path / "server", *options))


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Shoot:
    """``shoot(page_or_locator, "state")`` keeps a picture as <test file>-<state>.png in shots/ or $WORKBENCH_SHOTS."""

    def shoot(target: Page | Locator, name: str) -> Path:
        SHOTS.mkdir(parents=True, exist_ok=True)
        room = request.path.stem.removeprefix("test_")
        path = SHOTS / f"{room}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png"
        target.screenshot(path=path, animations="disabled")
        return path

    return shoot
