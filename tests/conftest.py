"""What all tests share: where the shared data sets lie, and that nothing reaches the network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--team", action="store_true", help="tests/store on labs in PostgreSQL and an S3 stand-in")


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: a connection that leaves this machine is an error, whatever library asks for it."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        if host not in ("localhost", "::1") and not host.startswith("127."):
            raise OSError(f"a test asked to connect to {host!r}; tests reach nothing but this machine")


sys.addaudithook(_stay_here)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: $WORKBENCH_SHARED/data, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("WORKBENCH_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data sets at {folder}; set WORKBENCH_SHARED to the folder that holds data/")
    return folder
