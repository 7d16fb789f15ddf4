"""The embedded world: real facts to search, tasks over them, and a tiny policy that can already do half of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.environments.tool_environment import ToolEnvironment
from workbench.environments.twin import fictional_twin
from workbench.environments.world import Page, World, read_world
from workbench.errors import StoreError
from workbench.trajectory import Task

if TYPE_CHECKING:
    from workbench.agents.language_policy import LanguagePolicy


@dataclass(frozen=True)
class Demo:
    """A world to try things on: offline, in seconds.

    `policy` is loaded anew for every Demo, so training one leaves the next untouched.
    """

    world: World
    template: str = "tags"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """To train on."""
        return self.world.tasks

    @property
    def test_tasks(self) -> tuple[Task, ...]:
        """Held out: about other entities than the train tasks."""
        return self.world.test_tasks

    @property
    def pages(self) -> tuple[Page, ...]:
        return self.world.pages

    @cached_property
    def environment(self) -> ToolEnvironment:
        from workbench.training.tiny_policy import world_environment

        return world_environment(self.world)

    @cached_property
    def policy(self) -> LanguagePolicy:
        from workbench.agents.transformers_engine import TransformersEngine
        from workbench.training.tiny_policy import TEMPLATES, tiny_policy

        with _no_bar():
            engine = TransformersEngine.load(data_folder() / "world" / f"policy-{self.template}", name="tiny")
        return tiny_policy(engine, TEMPLATES[self.template])

    def twin(self, seed: int = 0) -> Demo:
        """The same world with every name invented: nothing in it can be known by heart."""
        return Demo(fictional_twin(self.world, seed), self.template)

    def __repr__(self) -> str:
        return f"Demo({self.world!r}, template {self.template!r})"


@contextmanager
def _no_bar() -> Iterator[None]:
    """Load without a progress bar: four megabytes are there at once."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def demo(template: str = "tags") -> Demo:
    """The embedded world. `template` names the tiny policy's way of writing."""
    return Demo(read_world(data_folder() / "world"), template)


def data_folder() -> Path:
    """Where the embedded data lies: inside the installed package, or at the top of a checkout.

    Raises:
        StoreError: neither is there; the installation is broken.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "_data", here.parent / "data"):
        if (folder / "world").is_dir():
            return folder
    raise StoreError(f"the embedded data is missing: neither {here / '_data'} nor {here.parent / 'data'} holds world/")
