"""What a lab holds: every table and view with the meaning of its columns, in one place.

Rows are only ever added. Tables with lists of numbers go to Parquet at once (inlining them into the catalog corrupts
nested text in DuckDB 1.5.5), flat ones are inlined while a write is small. A column's type is never altered: add a
column instead. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

VERSION = 1
"""Goes up when a table changes shape."""


@dataclass(frozen=True)
class Column:
    name: str
    type: str  # as DuckDB names it
    meaning: str


@dataclass(frozen=True)
class Relation:
    """A table, or a view where `sql` is given."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    sql: str = ""
    sorted_by: str = ""
    inline_rows: int = 500  # a write of at most so many rows goes into the catalog itself
    row_group: int | None = None  # rows; small ones make reading one group fast

    @property
    def arrow(self) -> pa.Schema:
        """The table's columns as rows.py and scoring.py fill them."""
        return pa.schema([(column.name, _ARROW[column.type]) for column in self.columns])


_ARROW = {
    "VARCHAR": pa.string(),
    "UUID": pa.string(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
    "INTEGER[]": pa.list_(pa.int32()),
    "FLOAT[]": pa.list_(pa.float32()),
    "TINYINT[]": pa.list_(pa.int8()),
    "DOUBLE[]": pa.list_(pa.float64()),
}


def _columns(*blocks: str) -> tuple[Column, ...]:
    lines = [line for block in blocks for line in block.strip().splitlines()]
    return tuple(Column(*line.split(maxsplit=2)) for line in lines)


_TREE = """
run         VARCHAR   name of the run
update      INTEGER   optimiser step the tree was drawn for; 0 outside a training
task        VARCHAR   id of the task
tree        VARCHAR   id of the tree (all trajectories of a task drawn together)
"""
_PLACE = f"""{_TREE.rstrip()}
group_id    VARCHAR   the siblings that are compared: same tree, task, role and prefix
trajectory  VARCHAR   id of the trajectory, unique within its tree
"""
_STEP = f"""{_PLACE.rstrip()}
step        INTEGER   index of the agent's step in its trajectory, from 0
"""
_STEP_CONTENT = """
id          VARCHAR   id of the step
text        VARCHAR   the turn as sampled
observation VARCHAR   what the environment answered, as the agent saw it
calls       VARCHAR   JSON: tool calls with arguments, hits, result, error, cost, seconds, valid (score null = NaN)
spans       VARCHAR   JSON: named stretches of the turn (think, search, answer ...)
context     VARCHAR   text the step was sampled from; NULL where it extends the step before
role        VARCHAR   role that sampled it
policy      VARCHAR   name and weights version of who sampled it
native_reward DOUBLE  the environment's own reward; NULL where it pays none
episode     INTEGER   episode number
valid       BOOLEAN   false: the turn held neither an answer nor a call that could be read
seconds     DOUBLE    wall time of the turn, seconds
own_tokens  INTEGER   tokens that the policy drew
ids         INTEGER[] token ids the step adds (turn, then observation); NULL for text-only steps
logprobs    FLOAT[]   natural log under the sampler; NaN where not sampled
origins     TINYINT[] 0 sampled, 1 written by another model, 2 forced, 3 environment
context_ids INTEGER[] token ids of the context, like ids
context_logprobs FLOAT[] like logprobs
context_origins TINYINT[] like origins
"""
_SEARCH_CONTENT = """
call        INTEGER   index of the call in its step
tool        VARCHAR   name of the tool
query       VARCHAR   the search query
hits        INTEGER   pages that came back
gold_hits   INTEGER   of these, gold pages of the task
new_gold    INTEGER   of these, gold pages that no earlier call of the trajectory had brought
hit_ids     VARCHAR   JSON list of page ids, best first
error       VARCHAR   why the call failed; NULL where it did not
seconds     DOUBLE    wall time of the call, seconds
cost        DOUBLE    in the unit of the tool's price list
"""
_SCORE = """
part        VARCHAR   name of the reward's term; 'total' is a sum as the reward made it
"""
_SCORE_VALUE = """
value       DOUBLE    reward units before weighting; NULL = missing (a judge failed); no row = not applicable
status      VARCHAR   scored or missing
why         VARCHAR   the reason, a short sentence
weight      DOUBLE    weight of the term in the sum
level       VARCHAR   token (value: sum over the step's own tokens), step, trajectory or group
place       VARCHAR   where the value lands among the tokens
"""
_ROW = """
recorded    TIMESTAMP when, UTC
"""

TABLES = (
    Relation(
        "run_events",
        "Starts and ends of runs. Read the view runs.",
        _columns(
            "run VARCHAR name of the run",
            "event VARCHAR start or end",
            "status VARCHAR how it ended",
            "settings VARCHAR JSON: what it was started with",
            _ROW,
        ),
    ),
    Relation(
        "tasks",
        "Every task, once for each content.",
        _columns(
            "task_key VARCHAR hash of the content",
            "task VARCHAR id of the task",
            "question VARCHAR the question",
            "kind VARCHAR comparison, bridge, open ...",
            "hops INTEGER sub-questions, at least 1",
            "golds VARCHAR JSON list of accepted answers",
            "gold_pages VARCHAR JSON list of page ids",
            "content VARCHAR JSON: the whole task",
        ),
    ),
    Relation(
        "trees",
        "One row a recorded tree.",
        _columns(
            _TREE,
            "task_key VARCHAR see tasks",
            "trajectories INTEGER how many it holds",
            "extras VARCHAR JSON",
            "digest VARCHAR hash of everything in it: recording it again adds nothing",
            "entry UUID sorts by time of recording",
            _ROW,
        ),
        sorted_by="run ASC, tree ASC",
    ),
    Relation(
        "trajectories",
        "One row a trajectory.",
        _columns(
            _PLACE,
            "number INTEGER position in its tree, from 0",
            "task_key VARCHAR see tasks",
            "kind VARCHAR kind of its task",
            "hops INTEGER hops of its task",
            "role VARCHAR role that it is compared in",
            "fork INTEGER how many first steps were given",
            "ended VARCHAR answered, truncated, failed or pruned",
            "end_reason VARCHAR what failed or cut it off",
            "answer VARCHAR the final answer; NULL where it gave none",
            "steps INTEGER steps, shared ones included",
            "searches INTEGER searches, those of shared steps included",
            "own_tokens INTEGER tokens that the policy drew, shared steps included",
            "seconds DOUBLE wall time of its steps",
            "extras VARCHAR JSON",
        ),
        sorted_by="run ASC, group_id ASC",
    ),
    Relation(
        "step_rows",
        "Steps, each once, under the first trajectory that has it. Read the view steps.",
        _columns(_STEP, _STEP_CONTENT),
        sorted_by="run ASC, group_id ASC",
        inline_rows=0,
        row_group=8192,
    ),
    Relation(
        "shared_steps",
        "Steps that a trajectory shares with an earlier one of its tree.",
        _columns(
            _STEP,
            "from_trajectory VARCHAR where the step stands in step_rows",
            "from_step INTEGER its index there",
        ),
        sorted_by="run ASC, group_id ASC",
    ),
    Relation(
        "search_rows",
        "Searches, each once. Read the view searches.",
        _columns(_STEP, _SEARCH_CONTENT),
        sorted_by="run ASC, group_id ASC",
    ),
    Relation(
        "rewards",
        "Every reward that scored something, once for each setting and code version.",
        _columns(
            "reward VARCHAR version: hash of settings and code version",
            "code VARCHAR code version of its classes",
            "spec VARCHAR JSON: its settings, see workbench.spec",
            _ROW,
        ),
    ),
    Relation(
        "scorings",
        "One row each time a tree was scored; the newest of a tree is in force.",
        _columns(
            "pass UUID sorts by time of scoring",
            _TREE,
            "reward VARCHAR version, see rewards",
            "shapes VARCHAR JSON: how its Scores are made of parts",
            _ROW,
        ),
        sorted_by="run ASC, tree ASC",
    ),
    Relation(
        "scores_log",
        "All scores of all versions as scored: one row a part and step (step NULL: the whole trajectory).",
        _columns(
            "pass UUID see scorings",
            _STEP,
            "node INTEGER number of the part in its reward, 0 the whole",
            _SCORE,
            "term BOOLEAN true: one of the terms that credit adds up; false: a total, or a part of a part",
            _SCORE_VALUE.replace("scored or missing", "scored, missing, or not applicable (only where a reason was given)"),
            "reward VARCHAR version, see rewards",
        ),
        sorted_by="run ASC, group_id ASC",
    ),
    Relation(
        "token_scores",
        "Scores of level token as given: one row a part and trajectory.",
        _columns(
            "pass UUID see scorings",
            _PLACE,
            "node INTEGER number of the part in its reward",
            "part VARCHAR name of the part",
            "values DOUBLE[] one value an own token, NaN where not scored",
            "statuses TINYINT[] 0 scored, 1 not applicable, 2 missing",
            "whys VARCHAR JSON list of reasons; NULL where there are none",
        ),
        sorted_by="run ASC, group_id ASC",
        inline_rows=0,
    ),
    Relation(
        "edits",
        "Scores that a person changed. The newest of a score is in force; undo is one more row.",
        _columns(
            "edit UUID sorts by time",
            "who VARCHAR author",
            "run VARCHAR name of the run",
            "tree VARCHAR id of the tree",
            "trajectory VARCHAR id of the trajectory",
            "step INTEGER index of the step; NULL: the trajectory's one number",
            "part VARCHAR name of the term",
            "node INTEGER number of the part in its reward",
            "reward VARCHAR version that the edit corrects",
            "old DOUBLE value in force before; NULL = missing",
            "new DOUBLE value in force from now on",
            "why VARCHAR the reason",
            _ROW,
        ),
    ),
    Relation(
        "labels",
        "What people said of steps and trajectories. Undo is one more row.",
        _columns(
            "label UUID sorts by time",
            "who VARCHAR author",
            "run VARCHAR name of the run",
            "tree VARCHAR id of the tree",
            "trajectory VARCHAR id of the trajectory",
            "step INTEGER index of the step; NULL: the whole trajectory",
            "name VARCHAR what is judged: correct, helpful ...",
            "value DOUBLE the judgement; NULL withdraws it",
            "why VARCHAR the reason",
            _ROW,
        ),
    ),
    Relation(
        "plans",
        "Plans of a run: tasks, environment, reward, sampler, credit and loss in force from an update on.",
        _columns(
            "run VARCHAR name of the run",
            "update INTEGER in force from this optimiser step on",
            "plan VARCHAR JSON: its spec",
            _ROW,
        ),
    ),
    Relation(
        "reports",
        "What each update of a run reported.",
        _columns(
            "run VARCHAR name of the run",
            "update INTEGER optimiser step",
            "report VARCHAR JSON: names and numbers; ask with report->>'loss'",
            _ROW,
        ),
    ),
    Relation("lab", "The version of this schema.", _columns("version INTEGER goes up with the schema", _ROW)),
)


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


VIEWS = (
    Relation(
        "runs",
        "One row a run.",
        _columns(
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
        _columns(_STEP, _STEP_CONTENT, "shared BOOLEAN true: counted already under an earlier trajectory of the tree"),
        _shared("step_rows", _STEP_CONTENT),
    ),
    Relation(
        "searches",
        "One row a search.",
        _columns(_STEP, _SEARCH_CONTENT, "shared BOOLEAN true: counted already under an earlier trajectory of the tree"),
        _shared("search_rows", _SEARCH_CONTENT),
    ),
    Relation(
        "scores",
        "The scores in force: each tree's newest scoring, with people's edits laid over it. One row a part and step.",
        _columns(
            _STEP.replace("from 0", "from 0; NULL: one number for the whole trajectory"),
            _SCORE.replace("; 'total' is a sum as the reward made it", ""),
            _SCORE_VALUE,
            "reward VARCHAR version, see rewards",
            "node INTEGER number of the part in its reward",
            "edited BOOLEAN true: a person changed it, see edits",
        ),
        """
    select s.run, s.update, s.task, s.tree, s.group_id, s.trajectory, s.step, s.part,
           coalesce(e.new, s.value)                                     as value,
           case when e.edit is null then s.status else 'scored' end     as status,
           case when e.edit is null then s.why else e.why end           as why,
           s.weight, s.level, s.place, s.reward, s.node, e.edit is not null as edited
    from scores_log s
    anti join (
        select pass from scorings qualify row_number() over (partition by run, tree order by pass desc) > 1
    ) older on older.pass = s.pass
    left join (
        from edits qualify row_number() over (
            partition by run, tree, trajectory, step, node, reward order by edit desc) = 1
    ) e on e.tree = s.tree and e.trajectory = s.trajectory and e.node = s.node and e.run = s.run
       and e.reward = s.reward and e.step is not distinct from s.step
    where s.term and s.status <> 'not applicable'
""",
    ),
    Relation(
        "returns",
        "The scores in force, added up: one row a trajectory.",
        _columns(
            _PLACE,
            "value DOUBLE sum of weight times value over terms and steps; NULL where one is missing",
            "missing INTEGER how many scores are missing",
            "reward VARCHAR version, see rewards",
        ),
        """
    select run, update, task, tree, group_id, trajectory,
           case when count(*) = count(value) then sum(weight * value) end    as value,
           (count(*) - count(value))::integer                                as missing,
           reward
    from scores group by all
""",
    ),
)

TABLE = {table.name: table for table in TABLES}


class Listing(str):
    """Text that shows itself as it is at a prompt."""

    def __repr__(self) -> str:
        return str(self)


def described(name: str | None = None) -> Listing:
    """Tables and views with columns, types and meanings; those that people ask most come first."""
    shown = [relation for relation in (*VIEWS, *TABLES) if name in (None, relation.name)]
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
        target = f"table_name => '{table.name}'"
        settings.append(f"call lake.set_option('data_inlining_row_limit', {table.inline_rows}, {target})")
        if table.row_group:
            settings.append(f"call lake.set_option('parquet_row_group_size', {table.row_group}, {target})")
        if table.sorted_by:
            settings.append(f"alter table {table.name} set sorted by ({table.sorted_by})")
    return create + views, settings


def _ddl(table: Relation) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in table.columns)
