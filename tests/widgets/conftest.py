"""Labs to visit: copied, since making one takes half a second."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.widgets.visits import ENDS, filled
from workbench.store import Store, open_store


@pytest.fixture(scope="session")
def empty_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "lab"
    open_store(folder).close()
    return folder


@pytest.fixture(scope="session")
def full_lab(empty_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with the run "one", see `filled`."""
    folder = shutil.copytree(empty_lab, tmp_path_factory.mktemp("full") / "lab")
    with open_store(folder) as opened:
        filled(opened)
    return folder


@pytest.fixture
def store(empty_lab: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty lab."""
    with open_store(shutil.copytree(empty_lab, tmp_path / "a lab")) as opened:
        yield opened


@pytest.fixture
def full(full_lab: Path, tmp_path: Path) -> Iterator[Store]:
    """A lab of one's own with the run "one"."""
    with open_store(shutil.copytree(full_lab, tmp_path / "full")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """Visits end with the test."""
    ENDS.clear()
    yield
    for end in ENDS:
        end()
