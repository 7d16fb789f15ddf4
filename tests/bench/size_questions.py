"""Ten questions about a log of any size, in SQL over the same names: views of a lab, of Parquet files, or of JSONL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tests.bench.big_lab import LABEL, VERSIONS
from workbench.store import Store
from workbench.trajectory import Tokens, Tree

NEEDLE = "airport elevation"
ABOVE = 1.5  # reward units
BEFORE, AFTER = VERSIONS

MEAN = "select run, update, part, avg(value) as mean, count(value) as scored from scores group by all order by all"

SPREAD = """
    select run, update, group_id, round(var_pop(value), 9) as variance from returns
    group by all order by variance desc nulls last, run, group_id limit 100
"""
NO_GOLD = """
    select r.run, r.tree, r.trajectory, round(r.value, 9) as value from returns r
    anti join (select distinct run, tree, trajectory from searches where gold_hits > 0) g using (run, tree, trajectory)
    where round(r.value, 9) > $above order by value desc, r.run, r.tree, r.trajectory limit 1000
"""
TRAJECTORY = """
    select step, text, observation from steps
    where run = $run and tree = $tree and trajectory = $trajectory order by step
"""
GROUP = """
    select trajectory, step, text, observation, ids, logprobs from steps
    where run = $run and tree = $tree order by trajectory, step
"""
HOPS = """
    select t.hops, count(*) as trajectories, avg(t.searches) as searches, avg(coalesce(g.gold, 0)) as gold
    from trajectories t
    left join (select run, tree, trajectory, sum(gold_hits) as gold from searches group by all) g
    using (run, tree, trajectory)
    group by t.hops order by t.hops
"""
REPEATED = """
    select run, update, avg(repeated) as repeated, max(repeated) as most from (
        select run, update, tree, trajectory, count(query) - count(distinct query) as repeated
        from searches group by all
    )
    group by all order by all
"""
LABELS = """
    with said as (
        from labels where name = $name
        qualify row_number() over (partition by run, tree, trajectory, step, who order by label desc) = 1
    )
    select l.who, count(*) as compared, avg(((g.value >= 0.5) = (l.value >= 0.5))::integer) as agreement
    from said l join given g on g.run = l.run and g.tree = l.tree and g.trajectory = l.trajectory and g.step = l.step
    where g.version = $before and g.part = 'Process' and g.value is not null and l.value is not null
    group by l.who order by l.who
"""
MOVED = """
    select a.part, count(*) as compared, count(*) filter (b.value <> a.value) as moved, avg(b.value - a.value) as change
    from given a join given b on b.run = a.run and b.tree = a.tree and b.trajectory = a.trajectory
        and b.part = a.part and b.step is not distinct from a.step
    where a.version = $before and b.version = $after
    group by a.part order by a.part
"""
MOVED_IN_A_LAB = """
    with pairs as (
        select row_number() over () as n, max(pass) filter (reward = $before) as before,
               max(pass) filter (reward = $after) as after
        from scorings group by run, tree
    )
    select a.part, count(*) as compared, count(*) filter (b.value <> a.value) as moved, avg(b.value - a.value) as change
    from (
        select p.n, l.trajectory, l.node, l.part, coalesce(l.step, -1) as step, l.value
        from scores_log l join pairs p on p.before = l.pass
        where l.reward = $before and l.term and l.status <> 'not applicable'
    ) a join (
        select p.n, l.trajectory, l.node, coalesce(l.step, -1) as step, l.value
        from scores_log l join pairs p on p.after = l.pass
        where l.reward = $after and l.term and l.status <> 'not applicable'
    ) b using (n, trajectory, node, step)
    group by a.part order by a.part
"""
CONTAINS = "select count(*) as steps from steps where contains(text, $needle) or contains(observation, $needle)"

QUESTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mean by update and part": (MEAN, ()),
    "top 100 groups by variance": (SPREAD, ()),
    "reward above x, no gold page": (NO_GOLD, ("above",)),
    "one trajectory": (TRAJECTORY, ("run", "tree", "trajectory")),
    "one group with its ids": (GROUP, ("run", "tree")),
    "searches by hops": (HOPS, ()),
    "repeated queries per trajectory": (REPEATED, ()),
    "labels against a version": (LABELS, ("name", "before")),
    "what moved between versions": (MOVED, ("before", "after")),
    "text contains": (CONTAINS, ("needle",)),
}
"""SQL of each question with the names of its parameters."""


def parameters(run: str, tree: str, trajectory: str) -> dict[str, Any]:
    """What the questions are asked about."""
    told = {"above": ABOVE, "name": LABEL, "before": BEFORE, "after": AFTER, "needle": NEEDLE}
    return {**told, "run": run, "tree": tree, "trajectory": trajectory}


Asked = dict[str, Callable[[], pd.DataFrame]]


def asked_of(sql: Callable[[str, Mapping[str, Any]], pd.DataFrame], told: Mapping[str, Any]) -> Asked:
    """Each question, ready to be asked."""
    return {
        name: lambda query=query, names=names: sql(query, {key: told[key] for key in names})
        for name, (query, names) in QUESTIONS.items()
    }


# ---------------------------------------------------------------- who is asked


def ours(store: Store, told: Mapping[str, Any], task: str, update: int) -> Asked:
    """A lab, through what the store offers: its views, and trees as objects."""
    asked = asked_of(lambda query, known: store.sql(query, **known), told)
    for name, query in (
        ("labels against a version", _LABELS_IN_A_LAB),
        ("what moved between versions", MOVED_IN_A_LAB),
    ):
        known = {key: told[key] for key in QUESTIONS[name][1]}
        asked[name] = lambda query=query, known=known: store.sql(query, **known)
    asked["one group with its ids"] = lambda: group_frame(store.trees(told["run"], update, task))
    return asked


_LABELS_IN_A_LAB = LABELS.replace(
    "with said",
    """
    with given as (
        select l.*, l.reward as version from scores_log l
        semi join (select max(pass) as pass from scorings group by run, tree, reward) newest on newest.pass = l.pass
        where l.term and l.status <> 'not applicable'
    ), said""",
)


def group_frame(trees: list[Tree]) -> pd.DataFrame:
    """The steps of a group as GROUP gives them."""
    [tree] = trees
    rows = [
        (
            trajectory.id,
            s,
            step.text,
            step.observation,
            step.tokens and step.tokens.ids_T,
            step.tokens and step.tokens.logprobs_T,
        )
        for trajectory in tree
        for s, step in enumerate(trajectory.steps)
    ]
    return pd.DataFrame(rows, columns=["trajectory", "step", "text", "observation", "ids", "logprobs"])


def _numbers(tokens: Tokens | None) -> tuple:
    return (None, None) if tokens is None else (tokens.ids_T, tokens.logprobs_T)


def plain_parquet(folder: Path, told: Mapping[str, Any]) -> Asked:
    """Parquet files laid out by hand, and views by someone who knows which version is the newest."""
    connection = duckdb.connect()
    given = f"from '{folder}/scores_log.parquet' where term and status <> 'not applicable'"
    views = {
        "scores": f"{given} and reward = '{AFTER}'",
        "given": f"select *, reward as version {given}",
        "returns": _RETURNS,
        "searches": f"from '{folder}/search_rows.parquet'",
        "steps": f"from '{folder}/step_rows.parquet'",
        "trajectories": f"from '{folder}/trajectories.parquet'",
        "labels": f"from '{folder}/labels.parquet'",
    }
    for name, query in views.items():
        connection.execute(f"create view {name} as {query}")
    return asked_of(lambda query, known: connection.execute(query, dict(known)).df(), told)


_RETURNS = """
    select run, update, task, tree, group_id, trajectory,
           case when count(*) = count(value) then sum(weight * value) end as value
    from scores group by all
"""


def jsonl(file: Path, told: Mapping[str, Any]) -> Asked:
    """A trajectory a line, and views that take it apart."""
    connection = duckdb.connect()
    connection.execute("load json")
    place = "run, update, task, tree, tree as group_id, trajectory"
    scores = f"from (select {place}, unnest(scores, recursive := true) from log)"
    views = {
        "log": f"from read_json('{file}', format = 'newline_delimited', columns = {_COLUMNS})",
        "given": scores,
        "scores": f"{scores} where version = '{AFTER}'",
        "returns": _RETURNS,
        "turns": f"select {place}, gold_pages, unnest(steps) as s, generate_subscripts(steps, 1) - 1 as step from log",
        "steps": "select * exclude s, s.text, s.observation, s.ids, s.logprobs from turns",
        "searches": "select * exclude s, s.query, len(list_filter(s.hits, h -> h.id in gold_pages)) as gold_hits "
        "from turns where s.query is not null",
        "trajectories": "select *, len(list_filter(steps, s -> s.query is not null)) as searches from log",
        "labels": "select run, tree, trajectory, 0 as label, unnest(labels, recursive := true) from log",
    }
    for name, query in views.items():
        connection.execute(f"create view {name} as {query}")
    return asked_of(lambda query, known: connection.execute(query, dict(known)).df(), told)


_COLUMNS = """{
    run: 'varchar', update: 'integer', task: 'varchar', hops: 'integer', gold_pages: 'varchar[]', tree: 'varchar',
    trajectory: 'varchar',
    steps: 'struct(
        text varchar, observation varchar, query varchar, hits struct(id varchar)[], ids integer[], logprobs float[]
    )[]',
    scores: 'struct(version varchar, part varchar, step integer, value double, weight double)[]',
    labels: 'struct(step integer, name varchar, value double, who varchar)[]'
}"""


# ---------------------------------------------------------------- equal answers


def told_by(frame: pd.DataFrame) -> list[list]:
    """The answer as plain rows; lists by length and sum (logprobs are left out: JSONL rounds them)."""
    columns = [name for name in frame.columns if name != "logprobs"]
    return [[_plain(value) for value in row] for row in frame[columns].itertuples(index=False)]


def _plain(value: Any) -> Any:
    if hasattr(value, "__len__") and not isinstance(value, str):
        return [len(value), int(sum(value))]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def difference(mine: Sequence[list], others: Sequence[list]) -> str:
    """Where two answers differ; "" where they are the same but for the order in which numbers were added up."""
    if len(mine) != len(others):
        return f"{len(mine)} rows and {len(others)}"
    for n, (one, other) in enumerate(zip(mine, others, strict=True)):
        if len(one) != len(other) or not all(map(_same, one, other)):
            return f"row {n}: {one} and {other}"
    return ""


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-8, abs_tol=1e-9)
    return bool(one == other)
