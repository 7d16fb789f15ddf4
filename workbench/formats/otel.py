"""OpenTelemetry's spans: OTLP as JSON (a document, or a line an export), or one span a line, by the conventions of
GenAI or of OpenInference.

Layouts: OTLP/JSON of opentelemetry-proto 1.x (resourceSpans, scopeSpans, spans); `ReadableSpan.to_json` of
opentelemetry-sdk 1.45; attributes of OpenTelemetry's GenAI conventions (gen_ai.input.messages, gen_ai.output.messages,
gen_ai.evaluation.result), of OpenInference 0.1.42 (openinference/semconv/trace: llm.input_messages.0.message.content,
retrieval.documents) and of OpenLLMetry (gen_ai.prompt.0.content). A trace is a tree (see spans.py); its spans may stand
apart in the file, within a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.errors import FormatError
from workbench.formats.contract import BadRow, Format, Read, Record
from workbench.formats.files import Head, Row, json_rows
from workbench.formats.losses import all_but
from workbench.formats.otel_spans import Span, spans_in, trace_of
from workbench.formats.reading import each, gathered
from workbench.formats.spans import record_of


def sniff(head: Head) -> float:
    if "resourceSpans" in head.row or "resource_spans" in head.row:
        return 1.0
    context = head.row.get("context")
    alone = isinstance(context, dict) and "trace_id" in context
    return 0.95 * (alone or (head.has("traceId", "spanId"))) * head.has("attributes")


def read(path: Path) -> Iterator[Read]:
    spans = each(json_rows(path), spans_in)
    for members in gathered(spans, lambda span: span.trace, lambda span: span.size):
        if isinstance(members, BadRow):
            yield members
        else:
            yield from each([Row(0, f"trace {members[0].trace}", members)], lambda row: [_record(row.value)])


def _record(spans: list[Span]) -> Record:
    record = record_of(trace_of(spans))
    if record is None:
        raise FormatError(f"no model was called in its {len(spans)} spans")
    return record


FORMAT = Format(
    "otel",
    "OpenTelemetry spans: GenAI, OpenInference",
    (".json", ".jsonl"),
    sniff,
    read,
    None,
    all_but(
        "steps calls call.hits call.result step.policy step.seconds task.question tree.id tree.extras "
        "trajectory.role scores scores.parts scores.names scores.why"
    ),
)
