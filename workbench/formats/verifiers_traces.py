"""Traces of verifiers 0.4: a graph of messages with the tokens that each adds. See verifiers.py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.formats.contract import Record
from workbench.formats.files import Row
from workbench.formats.messages import Chat, end_of, prompt_messages, read_chat, step_messages, written
from workbench.formats.paying import paid, summed, total_of, unpaid
from workbench.formats.reading import Rollout, first_of, task_named, texts
from workbench.scores import Scores, Status
from workbench.trajectory import Context, End, Origin, Step, Task, Tokens, Trajectory

Raw = Mapping[str, Any]
GOLDS = ("golds", "answers", "answer", "expected_answer", "target", "ground_truth")
HELD = ("id", "idx", "name", "prompt", "question", "system_prompt", *GOLDS)
CUT = ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed")


# ---------------------------------------------------------------- reading


def rollouts(row: Row) -> Iterator[Rollout]:
    """The trajectories of an episode: a path each from the root of a trace to one of its leaves."""
    episode = row.value
    group = str((episode.get("group") or {}).get("id") or "")
    work = (episode.get("run") or {}).get("work") or {}
    update = int(work.get("step") or 0)
    for trace in episode["traces"]:
        paths = _paths(trace["nodes"])
        data = (trace.get("task") or episode["task"])["data"]
        for b, path in enumerate(paths):
            name = str(trace["id"]) if len(paths) == 1 else f"{trace['id']}.{b}"
            trajectory = _trajectory(trace, path, name, data)
            tree = group or (f"{trajectory.task.id}@{update}" if update else trajectory.task.id)
            scores = _scores(trace)
            yield Rollout(tree, trajectory, scores, (), update, row.size // len(paths), tree)


def _paths(nodes: Sequence[Raw]) -> list[list[int]]:
    """Node numbers from root to leaf, one list a leaf."""
    parents = {node.get("parent") for node in nodes}
    paths = []
    for leaf in (n for n in range(len(nodes)) if n not in parents):
        path, at = [leaf], nodes[leaf].get("parent")
        while at is not None and len(path) <= len(nodes):
            path.append(at)
            at = nodes[at].get("parent")
        paths.append(path[::-1])
    return paths


def _trajectory(trace: Raw, path: Sequence[int], name: str, data: Raw) -> Trajectory:
    nodes = [trace["nodes"][n] for n in path]
    raws = [node["message"] for node in nodes]
    given = next((n for n, node in enumerate(nodes) if node.get("sampled")), len(nodes))
    chat = read_chat(raws, str(trace["id"]), prompt=given)
    calls = {call.get("node"): call for call in trace.get("calls", ())}
    turns = sorted(chat.step_of)
    steps = []
    for s, number in enumerate(turns):
        stop = turns[s + 1] if s + 1 < len(turns) else len(nodes)
        step = _with_tokens(chat.steps[s], nodes[number:stop], nodes[:given] if s == 0 else None)
        call = calls.get(path[number]) or {}
        spent = call.get("time") or {}
        seconds = max(0.0, float(spent.get("end") or 0.0) - float(spent.get("start") or 0.0))
        policy = str(call.get("model") or step.policy)
        steps.append(replace(step, id=f"{trace['id']}.{path[number]}", policy=policy, seconds=seconds))
    end, reason = _end(trace, steps)
    role = str((trace.get("agent") or {}).get("name") or "agent")
    extras = {key: trace[key] for key in ("stop_condition", "tools", "root_reply") if trace.get(key)}
    info = {key: value for key, value in (trace.get("info") or {}).items() if key != "workbench"}
    prompt = prompt_messages(raws, chat)
    extras |= {**({"info": info} if info else {}), **({"prompt": prompt} if prompt else {})}
    return Trajectory(name, _task(data, chat), tuple(steps), end, reason, role, extras=extras)


def _task(data: Raw, chat: Chat) -> Task:
    prompt = data.get("prompt")
    question = data.get("question") or (prompt if isinstance(prompt, str) else chat.question)
    golds = tuple(data["golds"]) if "golds" in data else texts(first_of(data, *GOLDS))
    extras = {key: value for key, value in data.items() if key not in HELD and value not in (None, [], {})}
    return task_named(str(question), first_of(data, "id", "name", "idx"), golds=golds, extras=extras)


def _with_tokens(step: Step, nodes: Sequence[Raw], prompt: Sequence[Raw] | None) -> Step:
    """The step with the ids of its turn and of what followed, and, for the first, those of the prompt."""
    tokens = Tokens.join([_tokens(node) for node in nodes])
    context = step.context
    if prompt is not None and context is not None:
        before = Tokens.join([_tokens(node) for node in prompt])
        context = Context(context.text, before if len(before) else None)
    return replace(step, tokens=tokens if len(tokens) else None, context=context)


def _tokens(node: Raw) -> Tokens:
    ids_T = np.array(node.get("token_ids") or [], np.int32)
    own_T = np.array(node.get("mask") or [False] * len(ids_T), bool)
    logprobs_T = np.full(len(ids_T), np.nan, np.float32)
    if len(given := node.get("logprobs") or []) == own_T.sum():
        logprobs_T[own_T] = given
    return Tokens(ids_T, logprobs_T, np.where(own_T, Origin.SAMPLED, Origin.ENVIRONMENT))


def _end(trace: Raw, steps: Sequence[Step]) -> tuple[End, str]:
    ours = (trace.get("info") or {}).get("workbench") or {}
    if "end" in ours:
        return End(ours["end"]), str(ours.get("end_reason", ""))
    stop = str(trace.get("stop_condition") or "")
    if errors := trace.get("errors"):
        return End.FAILED, f"{errors[-1].get('type')}: {errors[-1].get('message')}"
    if trace.get("is_timeout") or stop in CUT:
        return End.TRUNCATED, stop
    return end_of(steps)


def _scores(trace: Raw) -> Scores | None:
    terms = {}
    for name, reward in (trace.get("rewards") or {}).items():
        weight = float(reward.get("weight", 1.0)) if reward else 1.0
        terms[name] = (weight, paid(reward["score"]) if reward else Scores.missing("scoring did not run"))
    for name, value in (trace.get("metrics") or {}).items():
        terms.setdefault(name, (0.0, unpaid() if value is None else paid(value)))
    return summed(terms) if terms else None


# ---------------------------------------------------------------- writing


def episode(record: Record, n: int) -> dict[str, Any]:
    """Trajectory `n` of the record as an episode of one trace."""
    trajectory = record.tree.trajectories[n]
    task = {"type": "Task", "data": _data(trajectory.task), "key": trajectory.task.id}
    ok = trajectory.end is not End.FAILED
    nodes, calls = _graph(trajectory)
    told = {"end": str(trajectory.end), "end_reason": trajectory.end_reason}
    trace: dict[str, Any] = {
        "version": 1,
        "id": trajectory.id,
        "verifiers": {"version": "0.4.0"},
        "task": task,
        "agent": {"config": {}, "name": trajectory.role},
        "nodes": nodes,
        "calls": calls,
        "rewards": _rewards(record.scores[n]) if record.scores else {},
        "info": {"workbench": told},
        "is_completed": True,
        "ok": ok,
        "errors": [] if ok else [{"type": "Failed", "message": trajectory.end_reason}],
    }
    group = {"id": record.tree.id}
    row = {"id": f"{record.tree.id}.{n}", "task": task, "group": group, "ok": ok, "traces": [trace]}
    if record.update:
        work = {"type": "train", "step": record.update}
        row["run"] = {"type": "train", "id": record.tree.run or "workbench", "work": work}
    return row


def _data(task: Task) -> dict[str, Any]:
    return {"id": task.id, "prompt": task.question, "golds": list(task.golds)}


def _graph(trajectory: Trajectory) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Nodes and model calls. A step's ids up to its last sampled one go to its turn, the rest to what followed."""
    nodes: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []

    def add(message: dict[str, Any], tokens: Tokens | None, sampled: bool) -> None:
        node = {"parent": len(nodes) - 1 if nodes else None, "message": _flat(message), "sampled": sampled}
        nodes.append({**node, "timestamp": 0.0, **_token_fields(tokens)})

    prompt, _ = written(trajectory)
    first = trajectory.steps[0].context if trajectory.steps else None
    for message in prompt[:-1]:
        add(message, None, False)
    add(prompt[-1], first.tokens if first else None, False)
    for s, step in enumerate(trajectory.steps):
        turn, *after = step_messages(step, s)
        own, rest = _parted(step.tokens, bool(after))
        calls.append({"node": len(nodes), "model": step.policy, "time": {"start": 0.0, "end": step.seconds}})
        add(turn, own, True)
        for message in after:
            add(message, rest if message is after[-1] else None, False)
    return nodes, calls


def _flat(message: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's message with tool calls laid flat, as verifiers has them."""
    flat = [{"id": c["id"], "type": "function", **c["function"]} for c in message.get("tool_calls", ())]
    return {**message, "tool_calls": flat} if flat else message


def _parted(tokens: Tokens | None, more: bool) -> tuple[Tokens | None, Tokens | None]:
    if tokens is None or not more:
        return tokens, None
    own = np.flatnonzero(tokens.own_T)
    cut = int(own[-1]) + 1 if len(own) else 0
    arrays = (tokens.ids_T, tokens.logprobs_T, tokens.origins_T)
    return Tokens(*(array[:cut] for array in arrays)), Tokens(*(array[cut:] for array in arrays))


def _token_fields(tokens: Tokens | None) -> dict[str, Any]:
    if tokens is None:
        return {}
    logprobs = tokens.logprobs_T[tokens.own_T]
    known = [float(f"{x:.9g}") for x in logprobs] if np.isfinite(logprobs).all() else []
    return {"token_ids": tokens.ids_T.tolist(), "mask": tokens.own_T.tolist(), "logprobs": known}


def _rewards(scores: Scores) -> dict[str, Any]:
    """Named rewards with their weights; null where one is missing, left out where it is not applicable."""
    terms = [(p.name, p.weight, p.scores) for p in scores.parts] or [(scores.name, 1.0, scores)]
    made: dict[str, Any] = {}
    for name, weight, term in terms:
        total = total_of(term)
        if total is not None and math.isfinite(weight):
            made[name] = {"score": total, "weight": float(weight)}
        elif (term.status_S == Status.MISSING).any():
            made[name] = None
    return made
