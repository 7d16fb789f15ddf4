"""Langfuse's traces, as its export button gives them: ``{"trace": {...}, "observations": [...]}``; and observations.

Layout of langfuse (web's trace download; packages/shared/src/domain, `TraceDomain`, `Observation`, `ScoreDomain`): an
observation has type, startTime, endTime, model, input and output, the latter as values or as JSON text. GENERATIONs are
the model calls. A score made by a person (source ANNOTATION) is a label, others are scores of the whole trace, each a
term of weight 1. A trace is a tree (see spans.py). The API of langfuse 5 (langfuse.api, `ObservationsV2Response`) gives
observations alone, in pages ``{"data": [...]}``, its blob export one a row; those of one traceId are a trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.errors import FormatError
from workbench.formats.contract import BadRow, Format, Read, Record
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.paying import number, paid, summed
from workbench.formats.reading import each, gathered
from workbench.formats.spans import ModelCall, Trace, call_of, record_of

Raw = Mapping[str, Any]
FLAT = {"id", "traceId", "startTime", "type"}
"""What an observation that stands alone has."""


def sniff(head: Head) -> float:
    trace = head.row.get("trace", head.row)
    rows = head.row.get("observations", trace.get("observations") if isinstance(trace, dict) else None)
    typed = isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and "startTime" in rows[0]
    return 1.0 if typed or _stand_alone(head.row) else 0.0


def _stand_alone(row: Raw) -> bool:
    """True for an observation, or a page of them."""
    page = row.get("data", [row])
    return isinstance(page, list) and bool(page) and all(isinstance(one, dict) and one.keys() >= FLAT for one in page)


def read(path: Path) -> Iterator[Read]:
    if _stand_alone(Head.of(path).row):
        return _of_observations(path)
    return each(json_rows(path), lambda row: [_record(row.value)])


def _of_observations(path: Path) -> Iterator[Read]:
    """A trace for the observations of each traceId, within the window of `gathered`."""
    observations = each(json_rows(path), _observations)
    for members in gathered(observations, lambda one: str(one[1]["traceId"]), lambda one: one[0]):
        if isinstance(members, BadRow):
            yield members
            continue
        name = members[0][1]["traceId"]
        trace = {"trace": {"id": name}, "observations": [one for _, one in members]}
        yield from each([Row(0, f"trace {name}", trace)], lambda row: [_record(row.value)])


def _observations(row: Row) -> list[tuple[int, Raw]]:
    """The observations of a row, each with its size."""
    if not _stand_alone(row.value):
        raise FormatError(f"an observation needs {', '.join(sorted(FLAT))}; this has {sorted(row.value)[:12]}")
    page = row.value.get("data", [row.value])
    return [(row.size // len(page), one) for one in page]


def _record(value: Raw) -> Record:
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
        "steps calls call.hits call.result step.policy step.seconds task.question tree.id tree.extras trajectory.role "
        "trajectory.extras scores scores.parts scores.names scores.why labels"
    ),
)
