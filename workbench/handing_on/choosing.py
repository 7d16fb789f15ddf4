"""Which trajectories go into a training set, by what they were paid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from workbench.errors import StoreError, UnknownName
from workbench.plain import unescape
from workbench.store.asking import Asking
from workbench.trajectory import End, Trajectory

RETURNS = """
    select t.run, t.update, t.task, t.tree, t.group_id, t.trajectory, t.ended, r.value, r.reward
    from trajectories t join trees e using (run, tree)
    left join (select * from returns where run = $run) r on r.tree = t.tree and r.trajectory = t.trajectory
    where t.run = $run order by t.update, e.entry, t.number
"""
PART = """
    select t.run, t.update, t.task, t.tree, t.group_id, t.trajectory, t.ended, r.value, r.reward
    from trajectories t join trees e using (run, tree)
    left join (
        select tree, trajectory, case when count(*) = count(value) then sum(value) end as value,
               any_value(reward) as reward
        from scores where run = $run and part = $part group by tree, trajectory
    ) r on r.tree = t.tree and r.trajectory = t.trajectory
    where t.run = $run order by t.update, e.entry, t.number
"""


@dataclass(frozen=True)
class Paid:
    """A trajectory and what it was paid: in all, or by one part."""

    run: str
    update: int
    task: str
    tree: str
    group: str
    trajectory: str
    answered: bool
    value: float  # reward units; NaN: not scored
    reward: str  # version in force; "" where nothing scored it

    @property
    def place(self) -> tuple[str, str, str]:
        return self.run, self.tree, self.trajectory


def runs_of(store: Asking, run: str | Sequence[str] | None) -> list[str]:
    """One run, several, or (None) all."""
    return store.runs() if run is None else [run] if isinstance(run, str) else list(dict.fromkeys(run))


def all_paid(store: Asking, runs: Sequence[str], part: str | None) -> list[Paid]:
    """Every trajectory of the runs, in order of recording.

    Raises:
        UnknownName: no such run, or no scores of such a part in any of them.
        StoreError: the runs hold no trajectories.
    """
    found = [paid for run in runs for paid in _paid(store, run, part)]
    if not found:
        raise StoreError(f"{', '.join(runs) or 'the lab'} holds no trajectories; there is nothing to hand on")
    if part is not None and not any(paid.reward for paid in found):
        known = {name for run in runs for name in store.browsing.parts(run)}
        raise UnknownName.among("part", part, known, where=f"the scores in force of {', '.join(runs)}")
    return found


def _paid(store: Asking, run: str, part: str | None) -> Iterator[Paid]:
    store.trees(run, limit=1)  # an unknown run is told
    given = {"run": run} if part is None else {"run": run, "part": part}
    for row in frame_of(store, RETURNS if part is None else PART, **given).itertuples(index=False):
        ended, reward = row.ended == End.ANSWERED, row.reward if isinstance(row.reward, str) else ""
        yield Paid(row.run, row.update, row.task, row.tree, row.group_id, row.trajectory, ended, row.value, reward)


def frame_of(store: Asking, query: str, **given: Any) -> pd.DataFrame:
    """The answer with texts as they were recorded, and NaN for NULL in `value`."""
    frame = store.sql(query, **given)
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = [unescape(value) if isinstance(value, str) else value for value in frame[name]]
    return frame.astype({"value": float}) if "value" in frame else frame


def scored(paid: Iterable[Paid], left_out: Counter[str]) -> list[Paid]:
    """Those that something scored."""
    kept = [one for one in paid if not math.isnan(one.value)]
    left_out["not scored, or a score is missing"] += len(list(paid)) - len(kept)
    return kept


def read(
    store: Asking, places: Collection[tuple[str, str, str]], *, progress: bool
) -> Iterator[tuple[str, str, dict[str, Trajectory]]]:
    """Run and tree of the chosen trajectories with these by id, in order of recording; a batch in memory at a time."""
    chosen: dict[str, dict[str, set[str]]] = {}
    for run, name, trajectory in places:
        chosen.setdefault(run, {}).setdefault(name, set()).add(trajectory)
    with tqdm(total=sum(map(len, chosen.values())), desc="write", unit="tree", disable=not progress) as bar:
        for run, wanted in chosen.items():
            for trees in store.batches(run, only=wanted.keys()):
                for tree in trees:
                    yield run, tree.id, {one.id: one for one in tree if one.id in wanted[tree.id]}
                    bar.update()
