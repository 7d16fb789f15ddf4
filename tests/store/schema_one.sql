-- A lab of schema 1 as the first workbench made it: tables, views, then settings.

create table if not exists run_events (run VARCHAR, event VARCHAR, status VARCHAR, settings VARCHAR, recorded
    TIMESTAMP);

create table if not exists tasks (task_key VARCHAR, task VARCHAR, question VARCHAR, kind VARCHAR, hops INTEGER, golds
    VARCHAR, gold_pages VARCHAR, content VARCHAR);

create table if not exists trees (run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, task_key VARCHAR,
    trajectories INTEGER, extras VARCHAR, digest VARCHAR, entry UUID, recorded TIMESTAMP);

create table if not exists trajectories (run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, group_id VARCHAR,
    trajectory VARCHAR, number INTEGER, task_key VARCHAR, kind VARCHAR, hops INTEGER, role VARCHAR, fork INTEGER,
    ended VARCHAR, end_reason VARCHAR, answer VARCHAR, steps INTEGER, searches INTEGER, own_tokens INTEGER, seconds
    DOUBLE, extras VARCHAR);

create table if not exists step_rows (run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, group_id VARCHAR,
    trajectory VARCHAR, step INTEGER, id VARCHAR, text VARCHAR, observation VARCHAR, calls VARCHAR, spans VARCHAR,
    context VARCHAR, role VARCHAR, policy VARCHAR, native_reward DOUBLE, episode INTEGER, valid BOOLEAN, seconds
    DOUBLE, own_tokens INTEGER, ids INTEGER[], logprobs FLOAT[], origins TINYINT[], context_ids INTEGER[],
    context_logprobs FLOAT[], context_origins TINYINT[]);

create table if not exists shared_steps (run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, group_id VARCHAR,
    trajectory VARCHAR, step INTEGER, from_trajectory VARCHAR, from_step INTEGER);

create table if not exists search_rows (run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, group_id VARCHAR,
    trajectory VARCHAR, step INTEGER, call INTEGER, tool VARCHAR, query VARCHAR, hits INTEGER, gold_hits INTEGER,
    new_gold INTEGER, hit_ids VARCHAR, error VARCHAR, seconds DOUBLE, cost DOUBLE);

create table if not exists rewards (reward VARCHAR, code VARCHAR, spec VARCHAR, recorded TIMESTAMP);

create table if not exists scorings (pass UUID, run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, reward
    VARCHAR, shapes VARCHAR, recorded TIMESTAMP);

create table if not exists scores_log (pass UUID, run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, group_id
    VARCHAR, trajectory VARCHAR, step INTEGER, node INTEGER, part VARCHAR, term BOOLEAN, value DOUBLE, status VARCHAR,
    why VARCHAR, weight DOUBLE, level VARCHAR, place VARCHAR, reward VARCHAR);

create table if not exists token_scores (pass UUID, run VARCHAR, update INTEGER, task VARCHAR, tree VARCHAR, group_id
    VARCHAR, trajectory VARCHAR, node INTEGER, part VARCHAR, token_values DOUBLE[], token_statuses TINYINT[],
    token_whys VARCHAR);

create table if not exists edits (edit UUID, who VARCHAR, run VARCHAR, tree VARCHAR, trajectory VARCHAR, step INTEGER,
    part VARCHAR, node INTEGER, reward VARCHAR, old DOUBLE, new DOUBLE, why VARCHAR, recorded TIMESTAMP);

create table if not exists labels (label UUID, who VARCHAR, run VARCHAR, tree VARCHAR, trajectory VARCHAR, step
    INTEGER, name VARCHAR, value DOUBLE, why VARCHAR, recorded TIMESTAMP);

create table if not exists plans (run VARCHAR, update INTEGER, plan VARCHAR, recorded TIMESTAMP);

create table if not exists reports (run VARCHAR, update INTEGER, report VARCHAR, recorded TIMESTAMP);

create table if not exists lab (version INTEGER, recorded TIMESTAMP);

create or replace view runs as
    select run,
           min(recorded) filter (where event = 'start')                                  as started,
           max(recorded) filter (where event = 'end')                                    as finished,
           coalesce(arg_max(status, recorded) filter (where event = 'end'), 'running')   as status,
           any_value(settings) filter (where event = 'start')                            as settings
    from run_events group by run;

create or replace view steps as
    select run, update, task, tree, group_id, trajectory, step, id, text, observation, calls, spans, context, role, policy, native_reward, episode, valid, seconds, own_tokens, ids, logprobs, origins, context_ids, context_logprobs, context_origins, false as shared from step_rows
    union all
    select s.run, s.update, s.task, s.tree, s.group_id, s.trajectory, s.step, r.id, r.text, r.observation, r.calls, r.spans, r.context, r.role, r.policy, r.native_reward, r.episode, r.valid, r.seconds, r.own_tokens, r.ids, r.logprobs, r.origins, r.context_ids, r.context_logprobs, r.context_origins, true as shared
    from shared_steps s join step_rows r
      on r.run = s.run and r.tree = s.tree and r.trajectory = s.from_trajectory and r.step = s.from_step;

create or replace view searches as
    select run, update, task, tree, group_id, trajectory, step, call, tool, query, hits, gold_hits, new_gold, hit_ids, error, seconds, cost, false as shared from search_rows
    union all
    select s.run, s.update, s.task, s.tree, s.group_id, s.trajectory, s.step, r.call, r.tool, r.query, r.hits, r.gold_hits, r.new_gold, r.hit_ids, r.error, r.seconds, r.cost, true as shared
    from shared_steps s join search_rows r
      on r.run = s.run and r.tree = s.tree and r.trajectory = s.from_trajectory and r.step = s.from_step;

create or replace view scores as
    select s.run, s.update, s.task, s.tree, s.group_id, s.trajectory, s.step, s.part,
           coalesce(e.new, s.value)                                     as value,
           case when e.new is null then s.status else 'scored' end      as status,
           case when e.new is null then s.why else e.why end            as why,
           s.weight, s.level, s.place, s.reward, s.node, e.new is not null as edited
    from scores_log s
    anti join (
        select pass from scorings qualify row_number() over (partition by run, tree order by pass desc) > 1
    ) older on older.pass = s.pass
    left join (
        from edits qualify row_number() over (
            partition by run, tree, trajectory, step, node, reward order by edit desc) = 1
    ) e on e.tree = s.tree and e.trajectory = s.trajectory and e.node = s.node and e.run = s.run
       and e.reward = s.reward and e.step is not distinct from s.step
    where s.term and s.status <> 'not applicable';

create or replace view returns as
    select run, update, task, tree, group_id, trajectory,
           case when count(*) = count(value) then sum(weight * value) end    as value,
           (count(*) - count(value))::integer                                as missing,
           reward
    from scores group by all;

call lake.set_option('parquet_compression', 'zstd');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'run_events');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'tasks');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'trees');
alter table trees set sorted by (run ASC, tree ASC);
call lake.set_option('data_inlining_row_limit', 50, table_name => 'trajectories');
alter table trajectories set sorted by (run ASC, group_id ASC);
call lake.set_option('data_inlining_row_limit', 0, table_name => 'step_rows');
call lake.set_option('parquet_row_group_size', 8192, table_name => 'step_rows');
alter table step_rows set sorted by (run ASC, group_id ASC);
call lake.set_option('data_inlining_row_limit', 50, table_name => 'shared_steps');
alter table shared_steps set sorted by (run ASC, group_id ASC);
call lake.set_option('data_inlining_row_limit', 50, table_name => 'search_rows');
alter table search_rows set sorted by (run ASC, group_id ASC);
call lake.set_option('data_inlining_row_limit', 500, table_name => 'rewards');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'scorings');
alter table scorings set sorted by (run ASC, tree ASC);
call lake.set_option('data_inlining_row_limit', 50, table_name => 'scores_log');
alter table scores_log set sorted by (run ASC, group_id ASC);
call lake.set_option('data_inlining_row_limit', 0, table_name => 'token_scores');
alter table token_scores set sorted by (run ASC, group_id ASC);
call lake.set_option('data_inlining_row_limit', 500, table_name => 'edits');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'labels');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'plans');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'reports');
call lake.set_option('data_inlining_row_limit', 500, table_name => 'lab');
