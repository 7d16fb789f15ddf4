"""Spans of OpenTelemetry read from their JSON, and the trace they make. See otel.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from workbench.errors import FormatError
from workbench.formats.files import Row
from workbench.formats.paying import paid, summed
from workbench.formats.spans import ModelCall, Trace, call_of
from workbench.trajectory import Hit

Raw = Mapping[str, Any]
CHAT = ("chat", "text_completion", "generate_content")


@dataclass(frozen=True)
class Span:
    """One span, its attributes as plain values."""

    trace: str
    id: str
    parent: str
    name: str
    start: float  # seconds
    seconds: float
    attributes: Raw = field(repr=False)
    events: tuple[tuple[str, Raw], ...] = ()
    size: int = 0


# ---------------------------------------------------------------- reading


def spans_in(row: Row) -> Iterator[Span]:
    """All spans of an OTLP export, or the one that the row is."""
    value = row.value
    resources = value.get("resourceSpans", value.get("resource_spans"))
    if resources is None:
        yield _span(value, row.size)
        return
    found = [
        span
        for resource in resources
        for scope in resource.get("scopeSpans", resource.get("scope_spans", ()))
        for span in scope["spans"]
    ]
    for span in found:
        yield _span(span, row.size // len(found))


def _span(raw: Raw, size: int) -> Span:
    context = raw.get("context") or {}
    trace = raw.get("traceId") or raw.get("trace_id") or context.get("trace_id")
    if not trace:
        raise FormatError(f"a span needs a traceId; it has {sorted(raw)[:12]}")
    start = _time(_any(raw, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime"))
    end = _time(_any(raw, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"))
    events = tuple((str(one.get("name")), _attributes(one.get("attributes"))) for one in raw.get("events") or ())
    identity = str(_any(raw, "spanId", "span_id") or context.get("span_id") or "")
    parent = str(_any(raw, "parentSpanId", "parent_span_id", "parent_id") or "")
    attributes = _attributes(raw.get("attributes"))
    return Span(
        str(trace), identity, parent, str(raw.get("name")), start, max(0.0, end - start), attributes, events, size
    )


def _any(raw: Raw, *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name) not in (None, "")), None)


def _time(value: Any) -> float:
    """Seconds from nanoseconds (a number, or a text of digits) or from an ISO time."""
    if isinstance(value, str) and not value.isdigit():
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return 0.0
    return float(value or 0) / 1e9


def _attributes(given: Any) -> Raw:
    """A mapping, or OTLP's list of keys and typed values, as a mapping."""
    if isinstance(given, Mapping):
        return given
    return {str(one["key"]): _typed(one.get("value") or {}) for one in given or ()}


def _typed(value: Raw) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_typed(one) for one in value["arrayValue"].get("values", ())]
    if "kvlistValue" in value:
        return _attributes(value["kvlistValue"].get("values"))
    return next(iter(value.values()), None)


# ---------------------------------------------------------------- meaning


def trace_of(spans: Sequence[Span]) -> Trace:
    """The model calls, retrieved pages and evaluations of one trace's spans."""
    by_id = {span.id: span for span in spans}
    calls = tuple(_call(span, by_id) for span in spans if _is_model(span))
    terms = {}
    hits: dict[str, tuple[Hit, ...]] = {}
    for span in spans:
        if documents := nested(span.attributes, "retrieval.documents"):
            query = str(span.attributes.get("input.value", ""))
            hits[query] = tuple(_hit(one, rank, query) for rank, one in enumerate(documents))
        for name, told in span.events:
            if name == "gen_ai.evaluation.result":
                value = told.get("gen_ai.evaluation.score.value")
                why = str(told.get("gen_ai.evaluation.explanation") or told.get("gen_ai.evaluation.score.label") or "")
                terms[str(told.get("gen_ai.evaluation.name"))] = (1.0, paid(value, why))
    root = next((span for span in spans if not span.parent), spans[0])
    extras = {"name": root.name}
    return Trace(spans[0].trace, calls, hits=hits, scores=summed(terms) if terms else None, extras=extras)


def _is_model(span: Span) -> bool:
    kind = str(span.attributes.get("openinference.span.kind", "")).upper()
    operation = span.attributes.get("gen_ai.operation.name")
    told = any(key.startswith(("gen_ai.prompt.", "gen_ai.completion.")) for key in span.attributes)
    return kind == "LLM" or operation in CHAT or (told and operation is None)


def _call(span: Span, by_id: Mapping[str, Span]) -> ModelCall:
    has = span.attributes
    model = _any(has, "gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
    given = has.get("gen_ai.input.messages")
    said = has.get("gen_ai.output.messages")
    if given is None and said is None:
        given = [_openinference(m) for m in nested(has, "llm.input_messages")] or nested(has, "gen_ai.prompt")
        said = [_openinference(m) for m in nested(has, "llm.output_messages")] or nested(has, "gen_ai.completion")
    if not given and not said:
        given = [
            _event(name, told) for name, told in span.events if name.startswith("gen_ai.") and "choice" not in name
        ]
        said = [_event(name, told) for name, told in span.events if name == "gen_ai.choice"]
    given = given or has.get("input.value") or []
    said = said or has.get("output.value") or []
    made = call_of(span.id, span.start, span.seconds, model, _agent(span, by_id), given, said)
    if not (system := has.get("gen_ai.system_instructions")):
        return made
    return replace(made, messages=(*call_of("", 0, 0, "", "", _system(system), []).messages, *made.messages))


def _system(instructions: Any) -> Any:
    parts = json.loads(instructions) if isinstance(instructions, str) and instructions[:1] == "[" else instructions
    return [{"role": "system", "parts": parts} if isinstance(parts, list) else {"role": "system", "content": parts}]


def _event(name: str, told: Raw) -> Raw:
    """A message logged as an event: gen_ai.user.message, gen_ai.choice."""
    role = name.removeprefix("gen_ai.").removesuffix(".message")
    inner = told.get("message")
    message = inner if isinstance(inner, Mapping) else told
    content = message.get("content", told.get("gen_ai.prompt", ""))
    return {"role": "assistant" if role == "choice" else role, "content": content, **dict(message)}


def _openinference(message: Any) -> Raw:
    """``{"message": {"role", "content", "tool_calls": [{"tool_call": {...}}]}}`` as a chat message."""
    inner = dict(message.get("message", message))
    if isinstance(inner.get("contents"), list):
        parts = [one.get("message_content", one) for one in inner["contents"]]
        inner["content"] = "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in parts)
    if inner.get("tool_calls"):
        inner["tool_calls"] = [one.get("tool_call", one) for one in inner["tool_calls"]]
    return inner


def _agent(span: Span, by_id: Mapping[str, Span]) -> str:
    """The name of the nearest agent above."""
    for _ in range(100):
        name = _any(span.attributes, "gen_ai.agent.name", "agent.name")
        kind = str(span.attributes.get("openinference.span.kind", "")).upper()
        if name or kind == "AGENT":
            return str(name or span.name)
        if span.parent not in by_id:
            return ""
        span = by_id[span.parent]
    return ""


def _hit(one: Raw, rank: int, query: str) -> Hit:
    document = one.get("document", one)
    text, score = str(document.get("content", "")), document.get("score")
    metadata = document.get("metadata")
    title = str(metadata.get("title", "")) if isinstance(metadata, Mapping) else ""
    identity = str(document.get("id", "") or text[:40])
    return Hit(identity, title, text, float("nan") if score is None else float(score), rank, query)


def nested(attributes: Raw, prefix: str) -> list[Any]:
    """The list that attributes like ``prefix.0.message.role`` spell out; or the value itself, where it is a list."""
    if isinstance(whole := attributes.get(prefix), list):
        return whole
    made: dict[str, Any] = {}
    for key, value in attributes.items():
        if key.startswith(f"{prefix}."):
            *path, last = key[len(prefix) + 1 :].split(".")
            inner = made
            for part in path:
                inner = inner.setdefault(part, {})
                if not isinstance(inner, dict):
                    break
            if isinstance(inner, dict):
                inner[last] = value
    return _listed(made) if made else []


def _listed(value: Any) -> Any:
    """Mappings whose keys are 0, 1, 2 ... as lists."""
    if not isinstance(value, dict):
        return value
    inner = {key: _listed(item) for key, item in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
