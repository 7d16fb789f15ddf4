"""DuckDB's extensions, from packages: nothing is fetched from the network."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from workbench.errors import MissingPackage

Connection = duckdb.DuckDBPyConnection

_NAMED = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}
"""Where DuckDB's name of an extension is not its package's."""

_EXTRA = {"postgres": "reward-workbench[postgres]", "httpfs": "reward-workbench[postgres]"}
"""What brings the packages that not every lab needs."""


def instance(extensions: Sequence[str], *, threads: int | None = None) -> Connection:
    """A DuckDB of its own, empty, with extensions loaded.

    Raises:
        MissingPackage: a package is missing or made for another duckdb.
    """
    config: dict[str, Any] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",  # a table name never means a Python variable
    }
    if threads:
        config["threads"] = threads
    connection = duckdb.connect(config=config)
    load(connection, extensions)
    return connection


def load(connection: Connection, extensions: Sequence[str]) -> None:
    """Load extensions into a DuckDB.

    Raises:
        MissingPackage: a package is missing or made for another duckdb.
    """
    files = {_NAMED.get(name, name): extension_file(name) for name in extensions}
    # LOAD by path derives the entry point from the file's name, and some packages name their file differently
    with tempfile.TemporaryDirectory() as folder:
        for name, file in files.items():
            link = Path(folder) / f"{name}.duckdb_extension"
            link.symlink_to(file)
            connection.execute(f"load {quoted(str(link))}")


def extension_file(name: str) -> Path:
    """The file of an extension in its package.

    Raises:
        MissingPackage: the package is missing or made for another duckdb.
    """
    package = f"duckdb-extension-{name}"
    wanted = f"{_EXTRA[name]!r}" if name in _EXTRA else f"{package}=={duckdb.__version__}"
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is None or not found.submodule_search_locations:
        raise MissingPackage(f"the store needs the package {package}; run: pip install {wanted}")
    folder = Path(found.submodule_search_locations[0]) / "extensions"
    file = folder / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.exists():
        held = ", ".join(sorted(path.name for path in folder.glob("v*"))) or "no version"
        raise MissingPackage(
            f"duckdb {duckdb.__version__} is installed, but {package} is made for {held}; run: "
            f"pip install duckdb==1.5.5 {package}==1.5.5"
        )
    return file


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
