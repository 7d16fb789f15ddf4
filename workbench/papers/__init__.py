"""Published methods, each composed from parts that live in their own rooms, each with a proof that runs in seconds.

`CATALOGUE` lists all of them; `built` says which are here, `load` brings one.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from workbench.errors import SettingError, UnknownName
from workbench.papers.catalogue import CATALOGUE, Entry
from workbench.papers.paper import Check, Paper, Proof

__all__ = ["CATALOGUE", "Check", "Entry", "Paper", "Proof", "built", "claim", "entry", "load"]


def entry(name: str) -> Entry:
    """The row of a method, by its name or the number of its card.

    Raises:
        UnknownName: there is none.
    """
    for one in CATALOGUE:
        if name in (one.name, one.number):
            return one
    raise UnknownName.among("paper", name, [one.name for one in CATALOGUE])


def built() -> tuple[Entry, ...]:
    """Those that are here, in the order of their cards."""
    here = {module.name for module in pkgutil.iter_modules(__path__)}
    return tuple(one for one in CATALOGUE if one.name in here)


def load(name: str) -> Paper:
    """The method, by its name or the number of its card.

    Raises:
        UnknownName: the catalogue has no such name.
        SettingError: it is in the catalogue and not built.
    """
    one = entry(name)
    if one not in built():
        there = ", ".join(other.name for other in built())
        raise SettingError(f"{one.title} ({one.source}) is not built yet; built are: {there}")
    paper: Paper = importlib.import_module(f"{__name__}.{one.name}").PAPER
    return paper


def claim(name: str) -> str:
    """What the module of a method says of it."""
    return inspect.cleandoc(importlib.import_module(f"{__name__}.{entry(name).name}").__doc__ or "")
