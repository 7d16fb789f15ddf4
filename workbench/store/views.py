"""The views over the tables: what people ask, and what a lab tells of itself."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.store.schema import (
    PLACE,
    SCORE,
    SCORE_VALUE,
    SEARCH_CONTENT,
    STEP,
    STEP_CONTENT,
    TABLES,
    Relation,
    columns,
)

_SHARED = "shared BOOLEAN true: counted already under an earlier trajectory of the tree"


def _shared(rows: str, content: str) -> str:
    """Rows under the trajectory that holds the step, then again under those that share it."""
    names = [line.split()[0] for line in content.strip().splitlines()]
    own, borrowed = ", ".join(names), ", ".join(f"r.{name}" for name in names)
    return f"""
    select run, update, task, tree, group_id, trajectory, step, {own}, false as shared from {rows}
    union all
    select s.run, s.update, s.task, s.tree, s.group_id, s.trajectory, s.step, {borrowed}, true as shared
    from shared_steps s join {rows} r
      on r.run = s.run and r.tree = s.tree and r.trajectory = s.from_trajectory and r.step = s.from_step
"""


# Each tree's newest scoring with the newest edit of each score. The rewards in force are named once more, beside the
# passes: DuckDB then leaves out the parts of a file that hold other versions only (scores_log is sorted by reward).
_IN_FORCE = """
    from scores_log s
    semi join (select max(pass) as pass from scorings group by run, tree) newest on newest.pass = s.pass
    left join (
        from edits qualify row_number() over (
            partition by run, tree, trajectory, step, node, reward order by edit desc) = 1
    ) e on e.tree = s.tree and e.trajectory = s.trajectory and e.node = s.node and e.run = s.run
       and e.reward = s.reward and e.step is not distinct from s.step
    where s.term and s.status <> 'not applicable'
      and s.reward in (select arg_max(reward, scorings.pass) from scorings group by run, tree)
"""

VIEWS = (
    Relation(
        "runs",
        "One row a run.",
        columns(
            "run VARCHAR its name",
            "started TIMESTAMP UTC",
            "finished TIMESTAMP UTC; NULL while it goes on (or was killed)",
            "status VARCHAR how it ended; running where it did not",
            "settings VARCHAR JSON: what it was started with",
        ),
        """
    select run,
           min(recorded) filter (where event = 'start')                                  as started,
           max(recorded) filter (where event = 'end')                                    as finished,
           coalesce(arg_max(status, recorded) filter (where event = 'end'), 'running')   as status,
           any_value(settings) filter (where event = 'start')                            as settings
    from run_events group by run
""",
    ),
    Relation(
        "steps",
        "One row a trajectory and step.",
        columns(STEP, STEP_CONTENT, _SHARED),
        _shared("step_rows", STEP_CONTENT),
    ),
    Relation(
        "searches",
        "One row a search.",
        columns(STEP, SEARCH_CONTENT, _SHARED),
        _shared("search_rows", SEARCH_CONTENT),
    ),
    Relation(
        "scores",
        "The scores in force: each tree's newest scoring, with people's edits laid over it. One row a part and step.",
        columns(
            STEP.replace("from 0", "from 0; NULL: one number for the whole trajectory"),
            SCORE.replace("; 'total' is a sum as the reward made it", ""),
            SCORE_VALUE,
            "reward VARCHAR version, see rewards",
            "node INTEGER number of the part in its reward",
            "edited BOOLEAN true: a person changed it, see edits",
        ),
        f"""
    select s.run, s.update, s.task, s.tree, s.group_id, s.trajectory, s.step, s.part,
           coalesce(e.new, s.value)                                     as value,
           case when e.new is null then s.status else 'scored' end      as status,
           case when e.new is null then s.why else e.why end            as why,
           s.weight, s.level, s.place, s.reward, s.node, e.new is not null as edited
    {_IN_FORCE}
""",
    ),
    Relation(
        "returns",
        "The scores in force, added up: one row a trajectory.",
        columns(
            PLACE,
            "value DOUBLE sum of weight times value over terms and steps; NULL where one is missing",
            "missing INTEGER how many scores are missing",
            "reward VARCHAR version, see rewards",
        ),
        f"""
    select scorings.run, scorings.update, scorings.task, scorings.tree, added.group_id, added.trajectory,
           case when added.missing = 0 then added.value end             as value,
           added.missing,
           scorings.reward
    from (
        select s.pass, any_value(s.group_id) as group_id, s.trajectory,
               sum(s.weight * coalesce(e.new, s.value))                 as value,
               (count(*) - count(coalesce(e.new, s.value)))::integer    as missing
        {_IN_FORCE}
        group by s.pass, s.trajectory
    ) added join scorings using (pass)
""",
    ),
)

RELATIONS = (*VIEWS, *TABLES)
"""Everything that can be asked, the most asked first."""


class Listing(str):
    """Text that shows itself as it is at a prompt."""

    def __repr__(self) -> str:
        return str(self)


def described(name: str | None = None) -> Listing:
    """Tables and views with columns, types and meanings."""
    shown = [relation for relation in RELATIONS if name in (None, relation.name)]
    return Listing("\n\n".join("\n".join(_lines(relation)) for relation in shown))


def _lines(relation: Relation) -> Iterator[str]:
    yield f"{relation.name}  ({'view' if relation.sql else 'table'})  {relation.meaning}"
    for column in relation.columns:
        yield f"    {column.name:<16} {column.type.lower():<10} {column.meaning}"


def statements() -> tuple[list[str], list[str]]:
    """SQL that makes a lab: what goes in one transaction, then settings, which need the tables committed."""
    create = [f"create table if not exists {table.name} ({_ddl(table)})" for table in TABLES]
    views = [f"create or replace view {view.name} as {view.sql}" for view in VIEWS]
    settings = ["call lake.set_option('parquet_compression', 'zstd')"]
    for table in TABLES:
        if table.sorted_by:
            settings.append(f"alter table {table.name} set sorted by ({table.sorted_by})")
        settings += _first_figures(table)
    return create + views, settings + table_settings()


def table_settings() -> list[str]:
    """SQL that sets how each table is written; the tables are there."""
    settings = []
    for table in TABLES:
        target = f"table_name => '{table.name}'"
        settings.append(f"call lake.set_option('data_inlining_row_limit', {table.inline_rows}, {target})")
        if table.row_group:
            settings.append(f"call lake.set_option('parquet_row_group_size', {table.row_group}, {target})")
    return settings


def _first_figures(table: Relation) -> list[str]:
    """A row put in and taken out at once: DuckLake then has figures about the table.

    Without them every question about a table that is still empty costs some 50 ms: DuckLake 1.5.5 looks for them anew,
    column by column. (Before the table's own limit of inlining: a row that went to a file leaves no figures.)
    """
    first = table.columns[0].name
    return [f"insert into {table.name} ({first}) values (null)", f"delete from {table.name} where {first} is null"]


def _ddl(table: Relation) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in table.columns)
