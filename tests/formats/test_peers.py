"""Written with the peer's own package, read here, and the other way round. Skipped where the package is absent.

CONTRIBUTING names the environment that runs all of them. The small packages come with the extra ``test``.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.samples import ATIF, CHAT, EPISODE, PROMPT, SAID
from tests.formats.strategies import rich_record
from workbench.formats import Record, guess, read, write
from workbench.scores import Status

pytestmark = pytest.mark.filterwarnings("ignore")  # peers warn of many things


def peer(name: str) -> Any:
    return pytest.importorskip(name, reason=f"the peer package {name} is not installed", exc_type=ImportError)


def only(file: Path, format: str) -> Record:
    """The one record of a file that is guessed to be in this format."""
    assert guess(file).format.name == format and guess(file).sure
    [record] = read(file)
    assert isinstance(record, Record), record
    return record


# ---------------------------------------------------------------- Inspect


@pytest.mark.parametrize("ending", ["eval", "json"])
def test_a_log_that_inspect_wrote(ending: str, tmp_path: Path):
    log = peer("inspect_ai.log")
    model, scorer = peer("inspect_ai.model"), peer("inspect_ai.scorer")
    tool = peer("inspect_ai.tool")
    call = tool.ToolCall(id="c1", function="search", arguments={"query": "Ed Wood"})
    messages = [
        model.ChatMessageUser(content="Who directed Ed Wood?"),
        model.ChatMessageAssistant(content=[model.ContentReasoning(reasoning="hm")], tool_calls=[call]),
        model.ChatMessageTool(content="A film by Tim Burton.", tool_call_id="c1", function="search"),
        model.ChatMessageAssistant(content="Tim Burton"),
    ]
    samples = [
        log.EvalSample(
            id="q1",
            epoch=epoch,
            input="Who directed Ed Wood?",
            target="Tim Burton",
            messages=messages,
            output=model.ModelOutput.from_content("qwen", "Tim Burton"),
            scores={"match": scorer.Score(value=value, explanation="why")},
        )
        for epoch, value in ((1, "C"), (2, math.nan))
    ]
    spec = log.EvalSpec(
        created="2025-01-01T00:00:00+00:00", task="t", dataset=log.EvalDataset(), model="qwen", config={}
    )
    file = tmp_path / f"log.{ending}"
    log.write_eval_log(log.EvalLog(eval=spec, samples=samples, status="success"), str(file))
    record = only(file, "inspect")
    first = record.tree.trajectories[0]
    assert [step.span("think") for step in first.steps] == ["hm", None] and first.answer == "Tim Burton"
    assert first.steps[0].queries == ("Ed Wood",) and first.steps[0].observation == "A film by Tim Burton."
    assert record.scores[0].value == 1.0 and record.scores[1].status_S[0] == Status.MISSING


# ---------------------------------------------------------------- verifiers


def test_an_episode_that_verifiers_wrote(tmp_path: Path):
    store, episodes, traces = (peer(f"verifiers.v1.{name}") for name in ("utils.trace_store", "episode", "trace"))
    given = {**EPISODE, "traces": []}
    made = episodes.WireEpisode.model_validate(given)
    made.traces = [traces.WireTrace.model_validate({**t, "verifiers": {"version": "0"}}) for t in EPISODE["traces"]]
    store.write_episode(tmp_path, made)
    record = only(tmp_path / "traces.jsonl", "verifiers")
    one = record.tree.trajectories[0]
    assert (record.tree.id, record.update, one.answer) == ("g1", 5, "Tim Burton")
    [segment] = one.segments()
    assert segment.tokens.ids_T.tolist() == made.traces[0].branches[0].token_ids
    assert segment.tokens.own_T.tolist() == made.traces[0].branches[0].sampled_mask
    np.testing.assert_allclose(
        np.nan_to_num(segment.tokens.logprobs_T), made.traces[0].branches[0].logprobs, rtol=0, atol=1e-4
    )
    terms = {part.name: (part.weight, part.scores.total) for part in record.scores[0].parts}
    assert terms["correct"] == (0.5, 1.0)


def test_verifiers_reads_what_we_write(tmp_path: Path):
    store, traces = peer("verifiers.v1.utils.trace_store"), peer("verifiers.v1.trace")
    record = rich_record()
    write([record], tmp_path / "traces.jsonl", "verifiers")
    one, two = store.read_episodes(tmp_path, traces.WireTrace)
    assert (one.group.id, one.run.work.step, len(one.traces)) == ("tree", 7, 1)
    [trace] = one.traces
    [branch] = trace.branches
    trajectory = record.tree.trajectories[0]
    tokens = [t for step in trajectory.steps for t in (step.context and step.context.tokens, step.tokens) if t]
    assert branch.token_ids == [int(id) for t in tokens for id in t.ids_T]
    assert branch.sampled_mask == [bool(own) for t in tokens for own in t.own_T]
    known = [float(x) for t in tokens for x in t.logprobs_T[t.own_T]]
    assert [x for x, own in zip(branch.logprobs, branch.sampled_mask, strict=True) if own] == pytest.approx(known)
    # 1 * ExactMatch (1.0) + 0.5 * CoverageGain (1.0 + 0.5)
    assert trace.reward == pytest.approx(1.75) and trace.is_truncated is False and two.traces[0].id == "b"
    assert [m.content for m in trace.assistant_messages] == [step.text for step in trajectory.steps]


# ---------------------------------------------------------------- ATIF, OpenAI


def test_a_trajectory_that_atif_wrote(tmp_path: Path):
    atif = peer("atif")
    made = atif.Trajectory.model_validate(ATIF)
    (tmp_path / "trajectory.json").write_text(json.dumps(made.to_json_dict(), indent=2))
    record = only(tmp_path / "trajectory.json", "atif")
    one, two = record.tree.trajectories[0].steps
    assert one.queries == ("Ed Wood",) and one.span("think") == "hm" and one.policy == "qwen"
    assert one.tokens is not None and one.tokens.ids_T.tolist() == [3, 4] and two.own_tokens == 1


def test_openai_takes_the_messages_we_write(tmp_path: Path):
    chat = peer("openai.types.chat")
    pydantic = peer("pydantic")
    write([rich_record()], tmp_path / "chat.jsonl", "openai")
    adapter = pydantic.TypeAdapter(list[chat.ChatCompletionMessageParam])
    for line in (tmp_path / "chat.jsonl").read_text().splitlines():
        messages = adapter.validate_python(json.loads(line)["messages"])
        assert [m["role"] for m in messages][:3] == ["user", "assistant", "tool"]


def test_atif_takes_the_steps_we_read(tmp_path: Path):
    atif = peer("atif")
    (tmp_path / "trajectory.json").write_text(json.dumps(ATIF))
    record = only(tmp_path / "trajectory.json", "atif")
    made = atif.Trajectory.model_validate(ATIF)
    said = [step.message for step in made.steps if step.source == "agent"]
    assert [step.text.rpartition("</think>\n")[2] for step in record.tree.trajectories[0].steps] == said


# ---------------------------------------------------------------- Docent, Langfuse


def test_a_run_that_docent_wrote(tmp_path: Path):
    models, chat = peer("docent.data_models"), peer("docent.data_models.chat")
    call = {"id": "c1", "type": "function", "function": "search", "arguments": {"query": "Ed Wood"}}
    thought = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Tim Burton"}]
    given = [
        *CHAT[:2],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A film by Tim Burton."},
        {"role": "assistant", "content": thought},
    ]
    transcript = models.Transcript(messages=[chat.parse_chat_message(message) for message in given])
    metadata = {"scores": {"correct": True}, "task_id": "q1"}
    run = models.AgentRun(transcripts=[transcript], metadata=metadata)
    (tmp_path / "run.json").write_text(run.model_dump_json(indent=1))
    record = only(tmp_path / "run.json", "docent")
    one, two = record.tree.trajectories[0].steps
    assert (one.queries, one.observation) == (("Ed Wood",), "A film by Tim Burton.")
    assert two.span("think") == "hm" and record.tree.trajectories[0].answer == "Tim Burton"
    assert record.tree.task.id == "q1" and record.scores[0].value == 1.0


@pytest.mark.parametrize("page", [True, False])
def test_observations_that_langfuse_gave(page: bool, tmp_path: Path):
    api = peer("langfuse.api")
    start = datetime(2025, 1, 1, tzinfo=UTC)
    common = {"trace_id": "t", "project_id": "p", "type": "GENERATION", "model": "qwen"}
    rows = [
        api.ObservationV2(id="o1", start_time=start, input=CHAT[:2], output=CHAT[2], **common),
        api.ObservationV2(
            id="o2", start_time=start + timedelta(seconds=2), input=CHAT[:4], output=json.dumps(CHAT[4]), **common
        ),
    ]
    if page:
        told = api.ObservationsV2Response(data=rows, meta=api.ObservationsV2Meta()).json()
    else:
        told = "".join(row.json() + "\n" for row in rows)
    (tmp_path / "observations.jsonl").write_text(told)
    [trajectory] = only(tmp_path / "observations.jsonl", "langfuse").tree
    assert trajectory.id.startswith("t") and len(trajectory.steps) == 2 and trajectory.answer == "Tim Burton"
    assert trajectory.steps[0].queries == ("Ed Wood",) and trajectory.steps[0].policy == "qwen"


# ---------------------------------------------------------------- verl, TRL


@pytest.mark.parametrize("module", ["ray_trainer.py", "v1/trainer_base.py"])
def test_a_dump_that_verl_wrote(module: str, tmp_path: Path):
    # its function alone, from its source: importing the trainer would want ray and a GPU's libraries
    found = importlib.util.find_spec("verl")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the peer package verl is not installed")
    source = (Path(found.submodule_search_locations[0]) / "trainer/ppo" / module).read_text()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    [function] = [node for node in functions if node.name == "_write_generations"]
    function.decorator_list = []
    names: dict[str, Any] = {"os": os, "json": json, "np": np}
    exec(compile(ast.Module([function], []), module, "exec"), names)
    beside = {"acc": np.array([True, False]), "em": [1.0, 0.0]}
    golds = [{"target": np.array(["Tim Burton", "Tim O'Burton"], object)}] * 2
    names["_write_generations"]([PROMPT] * 2, [SAID] * 2, golds, [1.0, 0.0], beside, str(tmp_path), 7)
    record = only(tmp_path / "7.jsonl", "verl")
    assert record.update == 7 and [one.answer for one in record.tree] == ["Tim Burton"] * 2
    assert record.tree.task.golds == ("Tim Burton", "Tim O'Burton")
    assert [[part.scores.value for part in scores.parts] for scores in record.scores] == [[1, 1, 1], [0, 0, 0]]


@pytest.mark.slow
def test_completions_that_trl_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trl, datasets = peer("trl"), pytest.importorskip("datasets")
    from tests.tiny_model import tiny_engine

    monkeypatch.setenv("WANDB_MODE", "disabled")
    engine = tiny_engine()
    engine.tokenizer.pad_token = engine.tokenizer.eos_token
    prompts = [{"prompt": [{"role": "user", "content": f"Question: {n}?"}]} for n in range(2)]
    engine.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"

    def length(completions: list, **_: Any) -> list[float | None]:
        return [None if n == 0 else float(n) for n in range(len(completions))]

    sizes = {"per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 8, "max_steps": 1}
    logging = {"log_completions": True, "logging_steps": 1, "report_to": [], "use_cpu": True, "bf16": False}
    settings = trl.GRPOConfig(str(tmp_path), **sizes, **logging)
    trl.GRPOTrainer(
        engine.model,
        length,
        args=settings,
        train_dataset=datasets.Dataset.from_list(prompts),
        processing_class=engine.tokenizer,
    ).train()
    [file] = (tmp_path / "completions").glob("*.parquet")
    assert guess(file).format.name == "trl" and guess(file).sure
    records = [one for one in read(file) if isinstance(one, Record)]
    scores = [one for record in records for one in record.scores]
    assert sum(len(record.tree) for record in records) == 4 and {record.update for record in records} == {1}
    assert sorted(str(one.value) for one in scores) == ["1.0", "2.0", "3.0", "nan"]
    assert {record.tree.task.question for record in records} == {"0?", "1?"}


def test_trl_takes_the_completions_we_write(tmp_path: Path):
    data_utils, datasets = peer("trl.data_utils"), pytest.importorskip("datasets")
    write([rich_record()], tmp_path / "completions.parquet", "trl")
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "completions.parquet"), cache_dir=str(tmp_path))
    for row in rows["train"]:
        assert data_utils.is_conversational(row)
        assert [message["role"] for message in row["completion"]][0] == "assistant"


# ---------------------------------------------------------------- OpenTelemetry


def spans() -> list[Any]:
    """Two model calls of one conversation, by the GenAI conventions, as the SDK makes them."""
    sdk, export = peer("opentelemetry.sdk.trace"), peer("opentelemetry.sdk.trace.export")
    memory = peer("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    parts = [
        {"role": "user", "parts": [{"type": "text", "content": "Who directed Ed Wood?"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "Ed Wood"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "By Tim Burton."}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "Tim Burton"}]},
    ]
    with tracer.start_as_current_span("invoke_agent") as root:
        root.set_attribute("gen_ai.agent.name", "solver")
        for given, said in ((parts[:1], parts[1:2]), (parts[:3], parts[3:])):
            with tracer.start_as_current_span("chat qwen") as span:
                span.set_attribute("gen_ai.operation.name", "chat")
                span.set_attribute("gen_ai.request.model", "qwen")
                span.set_attribute("gen_ai.input.messages", json.dumps(given))
                span.set_attribute("gen_ai.output.messages", json.dumps(said))
    return list(exporter.get_finished_spans())


def asks_and_answers(record: Record) -> None:
    [trajectory] = record.tree
    one, two = trajectory.steps
    assert (one.queries, one.observation, trajectory.answer) == (("Ed Wood",), "By Tim Burton.", "Tim Burton")
    assert (one.policy, trajectory.role) == ("qwen", "solver")


def test_spans_as_the_sdk_prints_them(tmp_path: Path):
    (tmp_path / "spans.jsonl").write_text("".join(span.to_json(indent=None) + "\n" for span in spans()))
    asks_and_answers(only(tmp_path / "spans.jsonl", "otel"))


def test_spans_as_otlp_json(tmp_path: Path):
    encoder = peer("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    json_format = peer("google.protobuf.json_format")
    (tmp_path / "trace.json").write_text(json_format.MessageToJson(encoder.encode_spans(spans())))
    asks_and_answers(only(tmp_path / "trace.json", "otel"))


def test_the_names_of_openinference_are_those_we_read():
    trace = peer("openinference.semconv.trace")
    names = trace.SpanAttributes, trace.MessageAttributes, trace.ToolCallAttributes, trace.DocumentAttributes
    span, message, call, document = names
    assert (span.LLM_INPUT_MESSAGES, span.LLM_OUTPUT_MESSAGES) == ("llm.input_messages", "llm.output_messages")
    assert (span.OPENINFERENCE_SPAN_KIND, span.RETRIEVAL_DOCUMENTS) == (
        "openinference.span.kind",
        "retrieval.documents",
    )
    assert (message.MESSAGE_ROLE, message.MESSAGE_CONTENT) == ("message.role", "message.content")
    assert message.MESSAGE_TOOL_CALLS == "message.tool_calls" and message.MESSAGE_TOOL_CALL_ID == "message.tool_call_id"
    assert call.TOOL_CALL_FUNCTION_NAME == "tool_call.function.name"
    assert (document.DOCUMENT_CONTENT, document.DOCUMENT_SCORE) == ("document.content", "document.score")
