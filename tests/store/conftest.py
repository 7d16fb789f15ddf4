"""A lab of one's own for every test: copied, since making one takes half a second.

With ``pytest --team tests/store`` all of them are labs of a team, in PostgreSQL and an S3 stand-in. Tests marked
`embedded` are about the files of a lab that is all in its folder, and are left out then.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.store.servers import Servers, Unavailable, started
from workbench.store import join_team, open_store
from workbench.store.team import Team

NewLab = Callable[[], Path]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and S3, with their keys in the environment."""
    try:
        with started() as both:
            yield both
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def new_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewLab:
    """Makes the folder of another empty lab."""
    if request.config.getoption("--team"):
        return _team_labs(request.getfixturevalue("servers"), tmp_path_factory)
    empty = tmp_path_factory.mktemp("empty") / "lab"
    open_store(empty).close()
    return lambda: shutil.copytree(empty, tmp_path_factory.mktemp("new") / "lab")


def _team_labs(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> NewLab:
    first = join_team(tmp_path_factory.mktemp("empty") / "lab", **servers.settings("empty")).place

    def make() -> Path:
        schema = servers.new_schema()
        first.copy_catalog(schema)
        place = Team(tmp_path_factory.mktemp("new") / "lab", **{**servers.settings("empty"), "schema": schema})
        place.write()
        return place.lab

    return make


@pytest.fixture
def lab(new_lab: NewLab) -> Path:
    """An empty lab's folder."""
    return new_lab()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--team"):
        for item in items:
            if mark := item.get_closest_marker("embedded"):
                item.add_marker(pytest.mark.skip(reason=f"of a lab in one folder: {mark.args[0]}"))
