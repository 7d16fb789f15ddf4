"""What a lab holds: every table with the meaning of its columns (views.py adds the views over them).

Rows are only ever added. Tables with lists of numbers go to Parquet at once (inlining them into the catalog corrupts
nested text in DuckDB 1.5.5), flat ones are inlined while a write is small. A column's type is never altered: add a
column instead. Times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

VERSION = 3
"""Goes up when a table changes shape; migrating.py says how a lab of the version before becomes one of this."""


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
    inline_rows: int = 500  # a write of at most so many rows goes into the catalog itself, not into a file
    row_group: int | None = None  # rows; small ones make reading one group fast

    @property
    def arrow(self) -> pa.Schema:
        """The table's columns as rows.py and scoring.py fill them."""
        return pa.schema([(column.name, _ARROW[column.type]) for column in self.columns])


_ARROW = {
    "VARCHAR": pa.string(),
    "UUID": pa.string(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
    "INTEGER[]": pa.list_(pa.int32()),
    "FLOAT[]": pa.list_(pa.float32()),
    "TINYINT[]": pa.list_(pa.int8()),
    "DOUBLE[]": pa.list_(pa.float64()),
}


def columns(*blocks: str) -> tuple[Column, ...]:
    """Columns from lines of name, type and meaning."""
    lines = [line for block in blocks for line in block.strip().splitlines()]
    return tuple(Column(*line.split(maxsplit=2)) for line in lines)


TREE = """
run         VARCHAR   name of the run
update      INTEGER   optimiser step the tree was drawn for; 0 outside a training
task        VARCHAR   id of the task
tree        VARCHAR   id of the tree (all trajectories of a task drawn together)
"""
PLACE = f"""{TREE.rstrip()}
group_id    VARCHAR   the siblings that are compared: same tree, task, role and prefix
trajectory  VARCHAR   id of the trajectory, unique within its tree
"""
STEP = f"""{PLACE.rstrip()}
step        INTEGER   index of the agent's step in its trajectory, from 0
"""
STEP_CONTENT = """
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
SEARCH_CONTENT = """
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
SCORE = """
part        VARCHAR   name of the reward's term; 'total' is a sum as the reward made it
"""
SCORE_VALUE = """
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
        "Starts and ends of runs (read the view runs), and what was asked of them from other processes.",
        columns(
            "run VARCHAR name of the run",
            "event VARCHAR start, end, asked or answered",
            "status VARCHAR how it ended; what was asked; what came of it",
            "settings VARCHAR JSON: what it was started with; id, who and what was told; id",
            _ROW,
        ),
    ),
    Relation(
        "tasks",
        "Every task, once for each content.",
        columns(
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
        columns(
            TREE,
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
        columns(
            PLACE,
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
        inline_rows=50,
    ),
    Relation(
        "step_rows",
        "Steps, each once, under the first trajectory that has it. Read the view steps.",
        columns(STEP, STEP_CONTENT),
        sorted_by="run ASC, group_id ASC",
        inline_rows=0,
        row_group=2048,
    ),
    Relation(
        "shared_steps",
        "Steps that a trajectory shares with an earlier one of its tree.",
        columns(
            STEP,
            "from_trajectory VARCHAR where the step stands in step_rows",
            "from_step INTEGER its index there",
        ),
        sorted_by="run ASC, group_id ASC",
        inline_rows=50,
    ),
    Relation(
        "search_rows",
        "Searches, each once. Read the view searches.",
        columns(STEP, SEARCH_CONTENT),
        sorted_by="run ASC, group_id ASC",
        inline_rows=50,
    ),
    Relation(
        "rewards",
        "Every reward that scored something, once for each setting and code version.",
        columns(
            "reward VARCHAR version: hash of settings and code version",
            "code VARCHAR code version of its classes",
            "spec VARCHAR JSON: its settings, see workbench.spec",
            _ROW,
        ),
    ),
    Relation(
        "scorings",
        "One row each time a tree was scored; the newest of a tree is in force.",
        columns(
            "pass UUID sorts by time of scoring",
            TREE,
            "reward VARCHAR version, see rewards",
            "shapes VARCHAR JSON: how its Scores are made of parts",
            _ROW,
        ),
        sorted_by="run ASC, tree ASC",
    ),
    Relation(
        "scores_log",
        "All scores of all versions as scored: one row a part and step (step NULL: the whole trajectory).",
        columns(
            "pass UUID see scorings",
            STEP,
            "node INTEGER number of the part in its reward, 0 the whole",
            SCORE,
            "term BOOLEAN true: one of the terms that credit adds up; false: a total, or a part of a part",
            SCORE_VALUE.replace("scored or missing", "scored, missing, or not applicable (where a reason was given)"),
            "reward VARCHAR version, see rewards",
        ),
        sorted_by="run ASC, reward ASC, pass ASC",
        inline_rows=50,
    ),
    Relation(
        "token_scores",
        "Scores of level token as given: one row a part and trajectory.",
        columns(
            "pass UUID see scorings",
            PLACE,
            "node INTEGER number of the part in its reward",
            "part VARCHAR name of the part",
            "token_values DOUBLE[] one value an own token, NaN where not scored",
            "token_statuses TINYINT[] 0 scored, 1 not applicable, 2 missing",
            "token_whys VARCHAR JSON list of reasons; NULL where there are none",
        ),
        sorted_by="run ASC, group_id ASC",
        inline_rows=0,
    ),
    Relation(
        "edits",
        "Scores that a person changed. The newest of a score is in force; undo is one more row.",
        columns(
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
            "new DOUBLE value in force from now on; NULL: the score as given again",
            "why VARCHAR the reason",
            _ROW,
        ),
    ),
    Relation(
        "labels",
        "What people said of steps and trajectories. Undo is one more row.",
        columns(
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
        columns(
            "run VARCHAR name of the run",
            "update INTEGER in force from this optimiser step on",
            "plan VARCHAR JSON: its spec",
            _ROW,
        ),
    ),
    Relation(
        "reports",
        "What each update of a run reported.",
        columns(
            "run VARCHAR name of the run",
            "update INTEGER optimiser step",
            "report VARCHAR JSON: names and numbers; ask with report->>'loss'",
            _ROW,
        ),
    ),
    Relation(
        "vectors",
        "Vectors that encoders made of texts, once for each encoder and text.",
        columns(
            "key VARCHAR hash of the encoder's settings, a dash, hash of the text",
            "vector FLOAT[] as the encoder gave it",
            _ROW,
        ),
        inline_rows=0,
    ),
    Relation(
        "journals",
        "How far each writer's journal is in these tables. The largest position of a journal counts.",
        columns("journal VARCHAR its file in the folder journal/", "position BIGINT bytes", _ROW),
    ),
    Relation("lab", "The version of this schema.", columns("version INTEGER goes up with the schema", _ROW)),
)

TABLE = {table.name: table for table in TABLES}
