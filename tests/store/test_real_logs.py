"""Real search agents' logs go in and come out unchanged, and SQL counts what the logs say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.store.trees import facts
from workbench.scores import Scores
from workbench.store import open_store
from workbench.trajectory import Call, End, Span, Step, Task, Trajectory, Tree


def tree_of(row: dict[str, Any]) -> Tree:
    """A logged run of R1-Searcher; what it was shown is the result of its call."""
    task = Task(row["id"], row["question"], tuple(row["answers"]), extras={"judge": row["judge_raw"]})
    steps: list[Step] = []
    said, spans = "", []
    for piece in row["steps"]:
        if piece["type"] == "information":
            query = next((span.text for span in reversed(spans) if span.name == "search"), "")
            call = Call("search", {"query": query}, result=piece["text"])
            steps.append(Step(f"{row['id']}.{len(steps)}", said, (call,), tuple(spans), piece["text"]))
            said, spans = "", []
        else:
            said += piece["text"]
            spans.append(Span(piece["type"], piece["text"]))
    steps.append(Step(f"{row['id']}.{len(steps)}", said, spans=tuple(spans)))
    end = End.ANSWERED if any(span.name == "answer" for span in spans) else End.TRUNCATED
    return Tree(row["id"], task, (Trajectory(row["id"], task, tuple(steps), end, row["stop_reason"] or ""),))


def test_real_logs_come_back_and_add_up(lab: Path, shared_data: Path):
    file = shared_data / "search_trajectories" / "r1_searcher_2wiki_qwen.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    rows = [json.loads(line) for line in lines if line]
    trees = [tree_of(row) for row in rows]
    verdicts = [[Scores.trajectory(float(row["judge_correct"]), row["judge_raw"])] for row in rows]
    with open_store(lab) as store:
        run = store.start_run({"file": file.name})
        store.record_trees(trees, run=run)
        store.record_scores(trees, verdicts, run=run)
        assert facts(store.trees(run)) == facts(trees)
        asked = store.sql("select count(*) as n from searches where query <> ''").n[0]
        assert asked == sum(
            bool(call.query) for tree in trees for step in tree.trajectories[0].steps for call in step.calls
        )
        mean = store.mean_return_by_update(run).mean_return[0]
        assert mean == sum(row["judge_correct"] for row in rows) / len(rows)
        found = store.sql("select count(*) as n from tasks where question like '%director%'").n[0]
        assert found == sum("director" in row["question"] for row in rows)
