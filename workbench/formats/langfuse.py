"""Langfuse's traces, as its API and its export button give them: ``{"trace": {...}, "observations": [...]}``.

Layout of langfuse (web's trace download; packages/shared/src/domain, `TraceDomain`, `Observation`, `ScoreDomain`): an
observation has type, startTime, endTime, model, input and output, the latter as values or as JSON text. GENERATIONs are
the model calls. A score made by a person (source ANNOTATION) is a label, others are scores of the whole trace, each a
term of weight 1. A trace is a tree (see spans.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.errors import FormatError
from workbench.formats.contract import Format, Read, Record
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.paying import number, paid, summed
from workbench.formats.reading import each
from workbench.formats.spans import ModelCall, Trace, call_of, record_of

Raw = Mapping[str, Any]


def sniff(head: Head) -> float:
    trace = head.row.get("trace", head.row)
    rows = head.row.get("observations", trace.get("observations") if isinstance(trace, dict) else None)
    typed = isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and "startTime" in rows[0]
    return 1.0 if typed else 0.0


def read(path: Path) -> Iterator[Read]:
    return each(json_rows(path), lambda row: [_record(row)])


def _record(row: Row) -> Record:
    value: Raw = row.value
    trace: Raw = value.get("trace", value)
    observations = value.get("observations") or trace.get("observations") or []
    by_id = {one["id"]: one for one in observations}
    calls = tuple(_call(one, by_id) for one in observations if one.get("type") == "GENERATION")
    terms, labels = {}, []
    for score in trace.get("scores") or ():
        told = score.get("value")
        if score.get("source") == "ANNOTATION" and number(told) == number(told):
            who = str(score.get("authorUserId") or "annotator")
            labels.append((str(score["name"]), number(told), who, str(score.get("comment") or "")))
        else:
            why = str(score.get("comment") or score.get("stringValue") or "")
            terms[str(score["name"])] = (1.0, paid(told, why))
    extras = {key: trace[key] for key in ("name", "timestamp", "userId", "sessionId", "tags") if trace.get(key)}
    scores = summed(terms) if terms else None
    made = record_of(Trace(str(trace["id"]), calls, scores=scores, labels=tuple(labels), extras=extras))
    if made is None:
        raise FormatError(f"trace {trace.get('id')!r} holds no GENERATION: no model was called in it")
    return made


def _call(one: Raw, by_id: Mapping[str, Raw]) -> ModelCall:
    start, end = _time(one.get("startTime")), _time(one.get("endTime"))
    seconds = max(0.0, end - start) if end else 0.0
    given, said = _value(one.get("input")), _value(one.get("output"))
    return call_of(str(one["id"]), start, seconds, one.get("model"), _agent(one, by_id), given, said)


def _value(held: Any) -> Any:
    """Input and output may be JSON inside JSON text."""
    if isinstance(held, str):
        try:
            return json.loads(held)
        except (ValueError, RecursionError):
            return held
    return held


def _agent(one: Raw, by_id: Mapping[str, Raw]) -> str:
    """The nearest agent above: an AGENT's name, or a span named "... run"."""
    for _ in range(100):
        above = by_id.get(str(one.get("parentObservationId")))
        if above is None:
            return ""
        name = str(above.get("name") or "")
        if above.get("type") == "AGENT" or name.endswith(" run"):
            return name.removesuffix(" run")
        one = above
    return ""


def _time(text: Any) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


FORMAT = Format(
    "langfuse",
    "Langfuse's traces",
    (".json", ".jsonl"),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.result step.policy step.seconds task.question tree.id tree.extras trajectory.role "
        "scores scores.parts scores.names scores.why labels"
    ),
)
