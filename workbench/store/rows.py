"""Trees to rows and back, unchanged."""

from __future__ import annotations

import datetime
import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.errors import ShapeError
from workbench.plain import dumps, escape, is_plain, loads, nan_if_null, null_if_nan, pack, unescape, unpack
from workbench.store.schema import TABLE
from workbench.trajectory import Call, Context, End, Hit, Span, Step, SubQuestion, Task, Tokens, Trajectory, Tree

_clock = threading.Lock()
_last_tick = 0


def time_id() -> str:
    """A UUID that sorts by time (version 7, RFC 9562) and, inside this process, by order of calls."""
    global _last_tick
    with _clock:
        _last_tick = tick = max(time.time_ns() * 4096 // 1_000_000, _last_tick + 1)  # 1/4096 ms
    number = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def now() -> datetime.datetime:
    """The time as the store keeps it: UTC, without a zone."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


@dataclass
class Rows:
    """Rows on their way to the store, by table. Names are escaped as the store holds them."""

    run: str
    tables: dict[str, pa.Table]
    update: int = 0
    digests: dict[str, str] = field(default_factory=dict)  # of the trees these rows record, by tree
    scored: frozenset[str] = frozenset()  # trees that these rows score

    @property
    def trees(self) -> set[str]:
        """Trees that the rows record or score."""
        return {*self.scored, *self.digests}


def arrow(name: str, rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Rows of table `name` (every column, in order) as an Arrow table."""
    schema = TABLE[name].arrow
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([_array(column, f.type) for column, f in zip(columns, schema, strict=True)], schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        return _lists(values, kind)
    if pa.types.is_string(kind) and not is_plain("".join(value for value in values if value is not None)):
        values = [value if value is None else escape(value) for value in values]
    return pa.array(values, kind)


def _lists(arrays: Sequence[np.ndarray | None], kind: pa.ListType) -> pa.Array:
    """A column of lists from numpy arrays: every bit kept, NaN included."""
    lengths = [0 if array is None else len(array) for array in arrays]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    present = [array for array in arrays if array is not None]
    flat = np.concatenate(present) if present else np.zeros(0, kind.value_type.to_pandas_dtype())
    empty = pa.array([array is None for array in arrays], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, kind.value_type), mask=empty)


# ---------------------------------------------------------------- trees to rows


def group_ids(tree: Tree) -> list[str]:
    """One group id a trajectory: the tree's id for its first group, then with #1, #2 ..."""
    numbers: dict[tuple, int] = {}
    found = [numbers.setdefault(trajectory.group_key, len(numbers)) for trajectory in tree]
    return [f"{tree.id}#{number}" if number else tree.id for number in found]


def tree_rows(trees: Sequence[Tree], *, run: str, update: int) -> Rows:
    """All rows of `trees`.

    Raises:
        ShapeError: two trajectories of a tree share an id, or two different steps do.
        SettingError: extras hold what cannot be brought back.
    """
    rows: dict[str, list[tuple]] = {name: [] for name in _TREE_TABLES}
    digests = {}
    for tree in trees:
        writer = _TreeRows(tree, run, update)
        digests[escape(tree.id)] = writer.digest
        for name, made in writer.rows.items():
            rows[name] += made
    tables = {name: arrow(name, made) for name, made in rows.items() if made}
    return Rows(escape(run), tables, update, digests)


_TREE_TABLES = ("tasks", "trees", "trajectories", "step_rows", "shared_steps", "search_rows")


class _TreeRows:
    """The rows of one tree."""

    def __init__(self, tree: Tree, run: str, update: int) -> None:
        self.rows: dict[str, list[tuple]] = {name: [] for name in _TREE_TABLES}
        self._homes: dict[str, tuple[str, int, Step]] = {}  # step id -> where the step stands
        self._keys: dict[int, str] = {}  # id() of a task object -> its key
        _check_ids(tree)
        for number, (trajectory, group) in enumerate(zip(tree, group_ids(tree), strict=True)):
            place = (run, update, tree.task.id, tree.id, group, trajectory.id)
            searches = own_tokens = 0
            found: set[str] = set()
            for s, step in enumerate(trajectory.steps):
                made = _search_rows((*place, s), step, trajectory.task, found)
                searches += len(made)
                own_tokens += (own := step.own_tokens)
                if self._is_new((*place, s), step):
                    self.rows["step_rows"].append((*place, s, *_step_content(step, own)))
                    self.rows["search_rows"] += made
            key = self._task_key(trajectory.task)
            self.rows["trajectories"].append((*place, number, key, *_content(trajectory, searches, own_tokens)))
        extras = dumps(pack(tree.extras, "extras of the tree"))
        key = self._task_key(tree.task)
        self.digest = self._digest(len(tree), extras)
        entry = (run, update, tree.task.id, tree.id, key, len(tree), extras, self.digest, time_id(), now())
        self.rows["trees"].append(entry)

    def _is_new(self, place: tuple, step: Step) -> bool:
        """False for a step that stands already under an earlier trajectory (or earlier in this one)."""
        if step.id not in self._homes:
            self._homes[step.id] = (place[-2], place[-1], step)
            return True
        trajectory, s, first = self._homes[step.id]
        if first is not step and _fingerprint(_step_content(first, 0)) != _fingerprint(_step_content(step, 0)):
            raise ShapeError(
                f"two different steps of tree {place[3]!r} have the id {step.id!r} (step {s} of {trajectory!r} and "
                f"step {place[-1]} of {place[-2]!r}); only a step that is shared may stand twice"
            )
        self.rows["shared_steps"].append((*place, trajectory, s))
        return False

    def _task_key(self, task: Task) -> str:
        if id(task) not in self._keys:
            content = dumps(task_json(task))
            key = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
            golds, pages = dumps(list(task.golds)), dumps(sorted(task.gold_pages))
            self.rows["tasks"].append((key, task.id, task.question, task.kind, task.hops, golds, pages, content))
            self._keys[id(task)] = key
        return self._keys[id(task)]

    def _digest(self, *more: Any) -> str:
        """Hash of the tree, without where it was recorded (run and update)."""
        digest = hashlib.blake2b(repr((more, self.rows["tasks"])).encode(), digest_size=12)
        for row in self.rows["trajectories"] + self.rows["shared_steps"]:
            digest.update(repr(row[2:]).encode())
        for row in self.rows["step_rows"]:
            digest.update(_fingerprint(row[2:]))
        return digest.hexdigest()


def _check_ids(tree: Tree) -> None:
    seen: set[str] = set()
    for trajectory in tree:
        if trajectory.id in seen:
            raise ShapeError(f"tree {tree.id!r} holds two trajectories called {trajectory.id!r}; give each its own id")
        seen.add(trajectory.id)


def _fingerprint(step: Sequence[Any]) -> bytes:
    """Everything in a row that ends with the six columns of numbers of a step."""
    numbers = (b"-" if array is None else array.tobytes() for array in step[-6:])
    return repr(step[:-6]).encode() + b"|".join(numbers)


def _step_content(step: Step, own_tokens: int) -> tuple:
    context, context_tokens = (None, None) if step.context is None else (step.context.text, step.context.tokens)
    return (
        step.id,
        step.text,
        step.observation,
        dumps([_call_json(call) for call in step.calls]),
        dumps([vars(span) for span in step.spans]),
        context,
        step.role,
        step.policy,
        null_if_nan(step.native_reward),
        int(step.episode),
        bool(step.valid),
        null_if_nan(step.seconds),
        own_tokens,
        *_token_columns(step.tokens),
        *_token_columns(context_tokens),
    )


def _token_columns(tokens: Tokens | None) -> tuple:
    return (None, None, None) if tokens is None else (tokens.ids_T, tokens.logprobs_T, tokens.origins_T)


def _content(trajectory: Trajectory, searches: int, own_tokens: int) -> tuple:
    task, steps = trajectory.task, trajectory.steps
    return (
        task.kind,
        task.hops,
        trajectory.role,
        int(trajectory.fork),
        str(End(trajectory.end)),
        trajectory.end_reason,
        trajectory.answer,
        len(steps),
        searches,
        own_tokens,
        null_if_nan(sum(step.seconds for step in steps)),
        dumps(pack(trajectory.extras, "extras of the trajectory")),
    )


def _search_rows(place: tuple, step: Step, task: Task, found: set[str]) -> list[tuple]:
    """One row a call that searched; `found` gathers the gold pages brought so far."""
    rows = []
    for c, call in enumerate(step.calls):
        if not call.query and not call.hits:
            continue
        gold = {hit.id for hit in call.hits} & task.gold_pages
        ids = dumps([hit.id for hit in call.hits])
        counts = (len(call.hits), sum(hit.id in gold for hit in call.hits), len(gold - found))
        found |= gold
        spent = (null_if_nan(call.seconds), null_if_nan(call.cost))
        rows.append((*place, c, call.tool, call.query, *counts, ids, call.error, *spent))
    return rows


def _call_json(call: Call) -> dict:
    return {
        "tool": call.tool,
        "arguments": pack(call.arguments, f"arguments of a call to {call.tool}"),
        "hits": [_hit_json(hit) for hit in call.hits],
        "result": call.result,
        "error": call.error,
        "cost": pack(float(call.cost)),
        "seconds": pack(float(call.seconds)),
        "valid": bool(call.valid),
    }


def _hit_json(hit: Hit) -> dict:
    score = null_if_nan(hit.score)
    return {**vars(hit), "score": score if score is None else pack(score), "rank": int(hit.rank)}


def task_json(task: Task) -> dict:
    return {
        **vars(task),
        "golds": list(task.golds),
        "gold_pages": sorted(task.gold_pages),
        "sub_questions": [vars(sub_question) for sub_question in task.sub_questions],
        "rubrics": [pack(rubric, "rubrics of the task") for rubric in task.rubrics],
        "extras": pack(task.extras, f"extras of task {task.id!r}"),
    }


# ---------------------------------------------------------------- rows to trees


def column_lists(table: pa.Table) -> dict[str, list]:
    """The columns of an Arrow table as Python lists; lists of numbers as numpy arrays, texts as they were given."""
    return {name: _values(table.column(name)) for name in table.column_names}


def _values(column: pa.ChunkedArray) -> list:
    if pa.types.is_list(column.type):
        return [array for chunk in column.chunks for array in _numpy_arrays(chunk)]
    values = column.to_pylist()
    if pa.types.is_string(column.type):
        return [value if value is None else unescape(value) for value in values]
    return values


def _numpy_arrays(lists: pa.ListArray) -> list[np.ndarray | None]:
    flat, offsets = lists.values.to_numpy(zero_copy_only=False), lists.offsets.to_numpy()
    valid = lists.is_valid().to_pylist()
    return [flat[offsets[i] : offsets[i + 1]] if valid[i] else None for i in range(len(lists))]


def build_trees(columns: Mapping[str, dict[str, list]]) -> list[Tree]:
    """Trees from the columns of tasks, trees, trajectories, step_rows and shared_steps, in the order of `trees`."""
    tasks = {row["task_key"]: task_from_json(loads(row["content"])) for row in _records(columns["tasks"])}
    steps = {(row["tree"], row["trajectory"], row["step"]): _step(row) for row in _records(columns["step_rows"])}
    for row in _records(columns["shared_steps"]):
        home = (row["tree"], row["from_trajectory"], row["from_step"])
        steps[row["tree"], row["trajectory"], row["step"]] = steps[home]
    members: dict[str, list[dict]] = {}
    for row in _records(columns["trajectories"]):
        members.setdefault(row["tree"], []).append(row)
    trees = []
    for row in _records(columns["trees"]):
        ordered = sorted(members.get(row["tree"], []), key=lambda member: member["number"])
        trajectories = tuple(_trajectory(member, tasks[member["task_key"]], steps) for member in ordered)
        trees.append(Tree(row["tree"], tasks[row["task_key"]], trajectories, unpack(loads(row["extras"]))))
    return trees


def _records(columns: dict[str, list]) -> Iterable[dict[str, Any]]:
    names = list(columns)
    return (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))


def task_from_json(content: dict) -> Task:
    """The task that `task_json` described."""
    fields = {
        "golds": tuple(content["golds"]),
        "gold_pages": frozenset(content["gold_pages"]),
        "sub_questions": tuple(_sub_question(item) for item in content["sub_questions"]),
        "rubrics": tuple(unpack(rubric) for rubric in content["rubrics"]),
        "extras": unpack(content["extras"]),
    }
    return Task(**{**content, **fields})


def _sub_question(content: dict) -> SubQuestion:
    return SubQuestion(**{**content, "golds": tuple(content["golds"]), "queries": tuple(content["queries"])})


def _trajectory(row: dict, task: Task, steps: Mapping[tuple, Step]) -> Trajectory:
    return Trajectory(
        id=row["trajectory"],
        task=task,
        steps=tuple(steps[row["tree"], row["trajectory"], s] for s in range(row["steps"])),
        end=End(row["ended"]),
        end_reason=row["end_reason"],
        role=row["role"],
        fork=row["fork"],
        extras=unpack(loads(row["extras"])),
    )


def _step(row: dict) -> Step:
    context = None
    if row["context"] is not None:
        context = Context(row["context"], _tokens(row, "context_"))
    return Step(
        id=row["id"],
        text=row["text"],
        calls=tuple(_call(call) for call in loads(row["calls"])),
        spans=tuple(Span(**span) for span in loads(row["spans"])),
        observation=row["observation"],
        tokens=_tokens(row, ""),
        context=context,
        role=row["role"],
        policy=row["policy"],
        native_reward=nan_if_null(row["native_reward"]),
        episode=row["episode"],
        valid=row["valid"],
        seconds=nan_if_null(row["seconds"]),
    )


def _tokens(row: dict, prefix: str) -> Tokens | None:
    if row[f"{prefix}ids"] is None:
        return None
    return Tokens(row[f"{prefix}ids"], row[f"{prefix}logprobs"], row[f"{prefix}origins"])


def _call(content: dict) -> Call:
    fields = {
        "arguments": unpack(content["arguments"]),
        "hits": tuple(Hit(**{**hit, "score": nan_if_null(unpack(hit["score"]))}) for hit in content["hits"]),
        "cost": unpack(content["cost"]),
        "seconds": unpack(content["seconds"]),
    }
    return Call(**{**content, **fields})
