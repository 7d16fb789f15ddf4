"""What moved between two versions of a reward: part by part, the biggest movers, and the order within groups.

Compared is what the rewards gave, on trees that both versions scored; people's edits belong to one version and stay
out. A sum over a trajectory may come out in another order, so that a difference below `ROUNDING` counts as none.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench.errors import SettingError, StoreError, UnknownName
from workbench.plain import escape, loads
from workbench.store import lake
from workbench.store.frames import frame_of, showable
from workbench.store.queries import spread
from workbench.store.reading import Reader
from workbench.store.rows import column_lists

ROUNDING = 1e-12
"""Relative: what adding up in another order may change."""

VERSIONS = """
    select s.reward as version, count(distinct (s.run, s.tree)) as trees,
           min(s.recorded) as first, max(s.recorded) as last, any_value(r.code) as code, any_value(r.spec) as settings
    from scorings s left join rewards r on r.reward = s.reward
    where $runs is null or s.run in (select unnest($runs))
    group by s.reward order by max(s.pass) desc
"""

_PASSES = """
    create or replace temp table passes as
    with newest as (
        select run, tree, any_value(update) as update, any_value(task) as task,
               max(scorings.pass) filter (reward = $before) as before,
               max(scorings.pass) filter (reward = $after)  as after
        from scorings
        where reward in ($before, $after) and ($runs is null or run in (select unnest($runs)))
        group by run, tree
    )
    select row_number() over (order by run, update, tree) as n, * from newest
"""
_PAIRS = """
    create or replace temp table pairs as
    with sides as (
        select n, before as pass, true as old from passes where before is not null and after is not null
        union all
        select n, after, false from passes where before is not null and after is not null
    ), given as (
        select s.n, s.old, l.group_id, l.trajectory, l.step, l.part, l.value, l.weight
        from scores_log l join sides s on s.pass = l.pass
        where l.term and l.status <> 'not applicable'
    ), counted as (
        select n, trajectory, step, part, any_value(group_id) as group_id,
               count(*) filter (old) as old_rows, count(value) filter (old) as old_scored,
               count(*) filter (not old) as new_rows, count(value) filter (not old) as new_scored,
               sum(value) filter (old) as old_value, sum(value) filter (not old) as new_value,
               max(weight) filter (old) as old_weight, max(weight) filter (not old) as new_weight
        from given group by n, trajectory, step, part
    )
    select n, group_id, trajectory, step, part, old_weight, new_weight,
           case when old_rows = old_scored then old_value end as before,
           case when new_rows = new_scored then new_value end as after,
           case when old_rows = 0 then 'none' when old_rows > old_scored then 'missing' else 'scored' end as was,
           case when new_rows = 0 then 'none' when new_rows > new_scored then 'missing' else 'scored' end as becomes
    from counted
"""
_TOTALS = """
    create or replace temp table totals as
    with summed as (
        select n, any_value(group_id) as group_id, trajectory,
               count(*) filter (was <> 'none')        as old_rows,  count(before) as old_scored,
               count(*) filter (becomes <> 'none')    as new_rows,  count(after)  as new_scored,
               sum(old_weight * before) as old_value, sum(new_weight * after) as new_value
        from pairs group by n, trajectory
    )
    select n, group_id, trajectory, null::integer as step, 'total' as part,
           null::double as old_weight, null::double as new_weight,
           case when old_rows = old_scored then old_value end as before,
           case when new_rows = new_scored then new_value end as after,
           case when old_rows = 0 then 'none' when old_rows > old_scored then 'missing' else 'scored' end as was,
           case when new_rows = 0 then 'none' when new_rows > new_scored then 'missing' else 'scored' end as becomes
    from summed
"""
_BOTH = "(from pairs union all by name from totals)"
_GAP = f"""
    case when after = before or abs(after - before) <= {ROUNDING} * greatest(abs(after), abs(before)) then 0
         else after - before end
"""

PARTS = f"""
    select part, max(old_weight) as weight_before, max(new_weight) as weight_after,
           count(before) as scored_before, count(after) as scored_after,
           avg(before) as mean_before, avg(after) as mean_after,
           count(*) filter (gap > 0)                                   as up,
           count(*) filter (gap < 0)                                   as down,
           count(*) filter (gap = 0)                                   as same,
           count(*) filter (was <> 'scored' and becomes = 'scored')    as newly_scored,
           count(*) filter (was <> 'missing' and becomes = 'missing')  as newly_missing,
           count(*) filter (was = 'scored' and becomes = 'none')       as no_longer_scored
    from (select *, {_GAP} as gap from {_BOTH}) group by part order by part = 'total', part
"""
MOVED = f"""
    with movers as (
        select * from (select *, {_GAP} as change from {_BOTH})
        where change <> 0 or was <> becomes
        qualify row_number() over (
            partition by part order by abs(change) desc nulls last, n, trajectory, step) <= $limit
    ), sides as (  -- a join on either pass would compare every score with every pass
        select n, before as pass, true as old from passes where n in (select n from movers)
        union all
        select n, after, false from passes where n in (select n from movers)
    ), reasons as (
        select p.n, l.trajectory, l.step, l.part,
               string_agg(l.why, '; ') filter (p.old)     as why_before,
               string_agg(l.why, '; ') filter (not p.old) as why_after
        from scores_log l join sides p on l.pass = p.pass
        where l.term and (p.n, l.trajectory, l.part) in (select (n, trajectory, part) from movers)
        group by all
    )
    select p.run, p.update, p.tree, m.trajectory, m.step, m.part, m.before, m.after, m.change, m.was, m.becomes,
           coalesce(r.why_before, '') as why_before, coalesce(r.why_after, '') as why_after
    from movers m join passes p on p.n = m.n
    left join reasons r on r.n = m.n and r.trajectory = m.trajectory and r.part = m.part
        and r.step is not distinct from m.step
    order by m.part = 'total' desc, m.part, abs(m.change) desc nulls last, m.n, m.trajectory, m.step
"""
_SIDE = "case when top_{s} - low_{s} > {r} * greatest(abs(top_{s}), abs(low_{s})) then sign({s} - mean_{s}) else 0 end"

GROUPS = f"""
    with compared as (
        select n, group_id, trajectory, before, after,
               max(before) over g as top_before, min(before) over g as low_before, avg(before) over g as mean_before,
               max(after) over g as top_after, min(after) over g as low_after, avg(after) over g as mean_after
        from totals where before is not null and after is not null window g as (partition by n, group_id)
    ), judged as (
        select *,
               before = top_before or top_before - before <= {ROUNDING} * abs(top_before) as best_then,
               after = top_after or top_after - after <= {ROUNDING} * abs(top_after) as best_now,
               {_SIDE.format(s="before", r=ROUNDING)} as side_before,
               {_SIDE.format(s="after", r=ROUNDING)} as side_after
        from compared
    ), told as (
        select n, group_id, count(*) as trajectories,
               min(trajectory) filter (best_then) as best_before, min(trajectory) filter (best_now) as best_after,
               not bool_or(best_then and best_now) as best_changed,
               count(*) filter (side_before * side_after < 0) as flipped,
               {spread("before")} as spread_before, {spread("after")} as spread_after,
               bool_and(side_before = 0) as equal_before, bool_and(side_after = 0) as equal_after
        from judged group by n, group_id
    )
    select p.run, p.update, t.group_id, p.task, t.* exclude (n, group_id)
    from told t join passes p using (n) order by p.n, t.group_id
"""

_COUNTS = """
    select count(*) filter (before is not null and after is not null), count(*) filter (after is null),
           count(*) filter (before is null)
    from passes
"""


@dataclass(frozen=True, eq=False)
class Version:
    """One version of a reward: its settings under the code of its time."""

    id: str
    code: str  # version of its classes
    settings: str  # its spec as JSON; "{}" where what was scored came without

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, eq=False)
class Comparison:
    """What moved between two reward versions. It shows itself; the frames hold the figures.

    `parts`: one row a part, the last one the totals of trajectories: part, weight_before, weight_after, scored_before,
    scored_after [places], mean_before, mean_after [reward units before weighting], and how many places went up, down,
    stayed the same, are newly_scored, newly_missing, no_longer_scored (neither scored nor missing any more).

    `moved`: the biggest movers of the totals and of each part: run, update, tree, trajectory, step, part, before,
    after, change, was, becomes (scored, missing or none), why_before, why_after.

    `groups`: one row a group: run, update, group_id, task, trajectories (that both versions scored), best_before and
    best_after (a trajectory of the highest return), best_changed (none of the best before is among the best after),
    flipped (trajectories whose advantage over the group's mean changed its sign), spread_before and spread_after
    (population standard deviation), equal_before and equal_after (all returns the same: nothing to learn).
    """

    before: Version
    after: Version
    trees: int  # scored by both
    only_before: int  # trees
    only_after: int  # trees
    settings: tuple[str, ...]  # what differs in settings and code
    parts: pd.DataFrame
    moved: pd.DataFrame
    groups: pd.DataFrame

    @property
    def best_changed(self) -> int:
        """Groups whose best trajectory is another."""
        return int(self.groups.best_changed.sum())

    @property
    def flipped(self) -> int:
        """Trajectories whose advantage over their group's mean changed its sign."""
        return int(self.groups.flipped.sum())

    def __repr__(self) -> str:
        blocks = [*self._lines(), "", self.parts.to_string(index=False, na_rep="-")]
        if len(self.moved):
            blocks += ["", "biggest movers", _short(self.moved).to_string(index=False, na_rep="-")]
        return "\n".join(blocks)

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{html.escape(line)}</p>" for line in self._lines())
        tables = self.parts.to_html(index=False, na_rep="-", escape=True)
        if len(self.moved):
            tables += "<p>biggest movers</p>" + showable(self.moved).to_html(index=False, na_rep="-", escape=True)
        return f"<div>{told}{tables}</div>"

    def _lines(self) -> Iterator[str]:
        beside = [f"{n} {which}" for n, which in ((self.only_before, "before"), (self.only_after, "after")) if n]
        also = f" ({' and '.join(beside)} only)" if beside else ""
        yield f"reward {self.before} -> {self.after} on {self.trees} trees that both scored{also}"
        yield from (f"  {line}" for line in self.settings)
        groups, quiet = len(self.groups), self.groups.equal_before
        flipped_in = int((self.groups.flipped > 0).sum())
        yield (
            f"order: another best trajectory in {self.best_changed} of {groups} groups; {self.flipped} advantages "
            f"changed sign, in {flipped_in} groups; groups with equal returns: {int(quiet.sum())} -> "
            f"{int(self.groups.equal_after.sum())}"
        )


def versions(reader: Reader, runs: Sequence[str] | None) -> pd.DataFrame:
    """The reward versions that scored something, the last used first."""
    return frame_of(reader.columns(VERSIONS, runs=runs))


def compare(reader: Reader, before: str, after: str, runs: Sequence[str] | None, *, limit: int) -> Comparison:
    """What moved from version `before` to version `after`."""
    if limit < 1:
        raise SettingError(f"limit is at least 1, got {limit}")
    held = reader.rows(VERSIONS, runs=runs)
    known = {version: Version(version, code or "", spec or "{}") for version, _, _, _, code, spec in held}
    old, new = (known[_named(name, list(known))] for name in (before, after))
    if old.id == new.id:
        raise SettingError(f"{before!r} and {after!r} are the same version, {old.id}; compare() needs two")
    given = {"before": escape(old.id), "after": escape(new.id), "runs": runs and [escape(run) for run in runs]}
    found = reader.work(lambda cursor: _measured(cursor, given, limit))
    [(trees, only_before, only_after)] = found.pop("counts").itertuples(index=False)
    if not trees:
        raise StoreError(f"no tree was scored by both {old} and {new}; score again by one: wb.rescore(store, reward)")
    differing = tuple(differences(old, new))
    return Comparison(old, new, int(trees), int(only_before), int(only_after), differing, **found)


def _named(name: str, known: Sequence[str]) -> str:
    """The version that a name means; `known` has the last used first."""
    places = {"newest": 0, "previous": 1}
    if name in places and name not in known:
        if len(known) <= places[name]:
            raise StoreError(
                f"there is no {name} version: {len(known)} scored something here. Score again by another "
                "reward, wb.rescore(store, reward), then compare"
            )
        return known[places[name]]
    starting = [version for version in known if version.startswith(name)] if name else []
    if name in known or len(starting) == 1:
        return name if name in known else starting[0]
    if starting:
        raise UnknownName(f"{name!r} begins several reward versions: {', '.join(starting)}; write more of it")
    raise UnknownName.among("reward version", name, [*known, *places], where="what was scored (see versions())")


def _measured(cursor: lake.Connection, given: Mapping[str, Any], limit: int) -> dict[str, pd.DataFrame]:
    cursor.execute(_PASSES, given)
    cursor.execute(_PAIRS)
    cursor.execute(_TOTALS)
    asked = {"counts": (_COUNTS, {}), "parts": (PARTS, {}), "moved": (MOVED, {"limit": limit}), "groups": (GROUPS, {})}
    return {name: _frame(cursor.execute(query, more)) for name, (query, more) in asked.items()}


def _frame(answer: lake.Connection) -> pd.DataFrame:
    """The answer with texts as they were given, and NaN for NULL."""
    frame = frame_of(column_lists(answer.to_arrow_table()))
    numbers = [c for c in frame if c in _NUMBERS]
    return frame.astype({**dict.fromkeys(numbers, float), **({"step": "Int64"} if "step" in frame else {})})


_NUMBERS = {"before", "after", "change", "mean_before", "mean_after", "weight_before", "weight_after"}
_NUMBERS |= {"spread_before", "spread_after"}


def _short(frame: pd.DataFrame) -> pd.DataFrame:
    """The movers as a terminal can show them."""
    cut = showable(frame.head(10).drop(columns=["update"]))
    for column in ("why_before", "why_after"):
        cut[column] = [why if len(why) <= 40 else why[:39] + "…" for why in cut[column]]
    return cut


def differences(before: Version, after: Version) -> Iterator[str]:
    """What differs in settings and code, a line each: "terms.1.0: 0.5 -> 0.8"."""
    old, new = dict(_flat(loads(before.settings))), dict(_flat(loads(after.settings)))
    for path in dict.fromkeys([*old, *new]):
        then, now = old.get(path, "nothing"), new.get(path, "nothing")
        if then != now:
            yield f"{path}: {then} -> {now}"
    if before.code != after.code and _classes(old) == _classes(new):  # of other classes it says nothing
        yield f"code: {before.code or 'unknown'} -> {after.code or 'unknown'}"


def _classes(settings: Mapping[str, Any]) -> set[Any]:
    return {value for path, value in settings.items() if path.split(".")[-1] == "part"}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _flat(item, f"{path}.{key}" if path else str(key))
    if not isinstance(value, dict | list):
        yield path, value
