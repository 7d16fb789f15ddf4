"""A lab of one's own for every test: copied, since making one takes half a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from workbench.store import open_store


@pytest.fixture(scope="session")
def empty_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "lab"
    open_store(folder).close()
    return folder


@pytest.fixture
def lab(empty_lab: Path, tmp_path: Path) -> Path:
    """An empty lab folder."""
    return shutil.copytree(empty_lab, tmp_path / "lab")
