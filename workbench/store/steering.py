"""What is asked of a run from another process, and what came of it: rows of run_events.

A request is an event "asked" whose settings hold its id, who asked and what was told with it. Whoever drives the run
answers with an event "answered" of the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench import spec
from workbench.errors import SettingError, UnknownName
from workbench.plain import dumps, loads
from workbench.protocols import Request
from workbench.store.rows import task_from_json, task_json
from workbench.trajectory import Task

OPEN = """
    select run, status as what, settings from run_events
    where event = 'asked' and run in (select unnest($runs)) and (settings->>'id') not in (
        select settings->>'id' from run_events where event = 'answered' and run in (select unnest($runs)))
    order by settings->>'id'
"""

ALL = """
    select a.recorded, a.run, a.settings->>'who' as who, a.status as what, a.settings->>'told' as told,
           b.status as answer, b.recorded as answered
    from run_events a
    left join run_events b on b.event = 'answered' and b.run = a.run and (b.settings->>'id') = (a.settings->>'id')
    where a.event = 'asked' and ($run is null or a.run = $run) order by a.settings->>'id'
"""

ALONE = ("pause", "resume", "stop")
"""Requests that are told nothing more."""


def asked(id: str, who: str, what: str, told: Mapping[str, Any]) -> str:
    """The settings of an event "asked".

    Raises:
        UnknownName: there is no such request.
        SettingError: too much or too little is told, or something that cannot be stored.
    """
    if what not in (*ALONE, "roll back", "change"):
        raise UnknownName.among("request", what, [*ALONE, "roll back", "change"])
    if what in ALONE and told:
        raise SettingError(f"'{what}' is asked alone, got {sorted(told)} with it")
    if what == "roll back" and (told.keys() != {"update"} or not isinstance(told["update"], int)):
        raise SettingError(f"say to which update: steer(run, 'roll back', update=10); got {dict(told)}")
    if what == "change" and not told:
        raise SettingError(
            "say what to change: steer(run, 'change', reward=..., weights={...}, credit=..., tasks=[...])"
        )
    return dumps({"id": id, "who": who, "told": {name: _packed(name, value) for name, value in told.items()}})


def _packed(name: str, value: Any) -> Any:
    if name != "tasks":
        return spec.to_spec(value)
    if not value or not all(isinstance(task, Task) for task in value):
        raise SettingError(f"tasks are a list of Task, at least one, got {value!r:.200}")
    return [task_json(task) for task in value]


def request(run: str, what: str, settings: str) -> Request:
    """A request as the run gets it, with its values made again, or what kept them from it."""
    found = loads(settings)
    try:
        told = {name: _unpacked(name, value) for name, value in found["told"].items()}
        return Request(found["id"], run, what, found["who"], told)
    except (UnknownName, SettingError) as error:
        return Request(found["id"], run, what, found["who"], {}, trouble=str(error))


def _unpacked(name: str, value: Any) -> Any:
    return tuple(map(task_from_json, value)) if name == "tasks" else spec.from_spec(value)
