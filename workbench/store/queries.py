"""SQL by name. Parameters are always passed (`$run`), never pasted in; the views are described in schema.py."""

from __future__ import annotations


def spread(of: str) -> str:
    """Population standard deviation; NULL where a value is infinite (DuckDB would raise)."""
    return f"case when bool_and(isfinite({of})) then stddev_pop(case when isfinite({of}) then {of} end) end"


# ---------------------------------------------------------------- what people ask

MEAN_RETURN_BY_UPDATE = """
    select update, part,
           avg(value)                                as mean_return,  -- NULL when nothing was scored
           count(*) filter (where value is not null) as scored,
           count(*) filter (where value is null)     as missing
    from scores where run = $run
    group by update, part order by update, part
"""

MEAN_BY_HOPS = """
    select s.update, t.hops,
           avg(s.value)              as mean,
           count(s.value)            as scored,
           count(*) - count(s.value) as missing
    from scores s join trajectories t using (run, tree, trajectory)
    where s.run = $run and s.part = $part
    group by s.update, t.hops order by s.update, t.hops
"""

SEARCHES_BY_UPDATE = """
    with asked as (
        select tree, trajectory,
               count(query) - count(distinct query) as repeated,
               sum(new_gold)                        as gold_found
        from searches where run = $run group by tree, trajectory
    )
    select t.update, t.hops,
           count(*)                      as trajectories,
           avg(t.searches)               as searches,
           avg(coalesce(repeated, 0))    as repeated,
           avg(coalesce(gold_found, 0))  as gold_found
    from trajectories t left join asked using (tree, trajectory)
    where t.run = $run
    group by t.update, t.hops order by t.update, t.hops
"""

ENDS_BY_UPDATE = """
    select update,
           count(*)                                      as trajectories,
           count(*) filter (where ended = 'answered')    as answered,
           count(*) filter (where ended = 'truncated')   as truncated,
           count(*) filter (where ended = 'failed')      as failed,
           count(*) filter (where ended = 'pruned')      as pruned,
           avg(own_tokens)                               as own_tokens,
           avg(steps)                                    as steps
    from trajectories where run = $run
    group by update order by update
"""

GROUPS_BY_SPREAD = f"""
    select r.update, r.group_id, r.task, any_value(k.question) as question,
           count(r.value)       as scored,
           avg(r.value)         as mean_return,
           {spread("r.value")} as spread
    from returns r
    join trajectories t using (run, tree, trajectory)
    join tasks k using (task_key)
    where r.run = $run
    group by r.update, r.group_id, r.task
    order by spread desc nulls last, r.update, r.group_id limit $limit
"""

# ---------------------------------------------------------------- reading back

RUNS = "select run from runs order by started, run"

TREES = """
    select tree, task_key, extras from trees
    where run = $run and ($update is null or update = $update) and ($task is null or task = $task)
    order by update, entry limit $limit
"""

RUNS_OF_TREE = "select run from trees where tree = $tree and ($run is null or run = $run)"

TREE_NAMES = "select distinct tree from trees where $run is null or run = $run"

TREE_LIST = """
    select update, tree, trajectories from trees where run = $run and ($update is null or update = $update)
    order by update, entry
"""

IN_FORCE_BY = """
    select tree from (
        select tree, reward from scorings where run = $run
        qualify row_number() over (partition by tree order by scorings.pass desc) = 1
    ) where reward = $version
"""

TREES_NAMED = """
    select tree, task_key, extras from trees where run = $run and tree in (select unnest($trees)) order by update, entry
"""

TRAJECTORIES = """
    select tree, update, group_id, trajectory, number, task_key, role, fork, ended, end_reason, steps, extras
    from trajectories where run = $run and tree in (select unnest($trees))
"""

STEPS = """
    select * exclude (run, update, task, group_id, own_tokens) from step_rows
    where run = $run and update between $earliest and $latest and group_id between $first and $last
        and tree in (select unnest($trees))
"""

SHARED_STEPS = """
    select tree, trajectory, step, from_trajectory, from_step from shared_steps
    where run = $run and tree in (select unnest($trees))
"""

TASKS = "select task_key, content from tasks where task_key in (select unnest($keys))"

SCORINGS = """
    select tree, pass::varchar as pass, shapes from scorings
    where run = $run and tree in (select unnest($trees)) and ($version is null or reward = $version)
    qualify row_number() over (partition by tree order by scorings.pass desc) = 1
"""

SCORES = """
    select tree, trajectory, node, step, value, status, why from scores_log
    where run = $run and group_id between $first and $last and pass in (select unnest($passes)::uuid)
"""

TOKEN_SCORES = """
    select tree, trajectory, node, token_values, token_statuses, token_whys from token_scores
    where run = $run and pass in (select unnest($passes)::uuid)
"""

VERSIONS = "select distinct reward from scorings where run = $run and tree = $tree"

REWARDS = "select reward, spec from rewards"

REPORTS = "select update, report from reports where run = $run order by update, recorded"

SCORE_IN_FORCE = """
    select node, reward, value from scores
    where run = $run and tree = $tree and trajectory = $trajectory and part = $part and step is not distinct from $step
"""

PARTS_OF = """
    select distinct part, step from scores
    where run = $run and tree = $tree and trajectory = $trajectory order by part, step
"""

# ---------------------------------------------------------------- who said what, and when

HISTORY = """
    with said as (select * from labels where run = $run and ($tree is null or tree = $tree))
    select recorded, what, who, tree, trajectory, step, part, old, new, why, reward from (
        select recorded, 'edit' as what, who, tree, trajectory, step, part, old, new, why, reward, edit as id
        from edits where run = $run and ($tree is null or tree = $tree)
        union all
        select recorded, 'label', who, tree, trajectory, step, name,
               lag(value) over (partition by who, tree, trajectory, step, name order by label), value, why, null, label
        from said
        union all
        select recorded, 'scored', null, tree, null, null, null, null, null, null, reward, scorings.pass
        from scorings where run = $run and ($tree is null or tree = $tree)
    )
    where $trajectory is null or trajectory is null or trajectory = $trajectory
    order by id
"""

# ---------------------------------------------------------------- before writing

RECORDED = """
    select run, tree, update, digest from trees
    where run in (select unnest($runs)) and tree in (select unnest($trees))
"""

RUN_NAMES = "select distinct run from run_events"

FOLDED = "select coalesce(max(position), 0) from journals where journal = $journal"
