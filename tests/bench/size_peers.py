"""Peers that keep traces, on the first lines of the log: `python size_peers.py PEER LOG.jsonl FOLDER COUNT`.

Prints one JSON object. It needs the peer alone, so that it may run under a Python of the peer's own. A trajectory is a
sample (Inspect) or a trace with a span a step (MLflow, Phoenix); what was paid in force (the newest version) goes where
the peer keeps scores. Ids and logprobs have no place in these peers but metadata, and are left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

LOOKED_FOR = "airport elevation"
Figures = dict[str, Any]


def rows(log: Path, count: int) -> Iterator[dict[str, Any]]:
    """The first trajectories of the log."""
    with open(log) as file:
        for n, line in enumerate(file):
            if n == count:
                return
            yield json.loads(line)


def paid(row: dict[str, Any]) -> dict[str, float | None]:
    """What the newest version paid the trajectory, by part, summed over its steps."""
    newest, sums = row["scores"][-1]["version"], dict[str, float]()
    for score in row["scores"]:
        if score["version"] == newest and score["value"] is not None:
            sums[score["part"]] = sums.get(score["part"], 0.0) + score["value"]
    return sums


def timed(work: Callable[[], Any]) -> tuple[list[float], Any]:
    """Wall-clock and CPU seconds, and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return [time.perf_counter() - wall, time.process_time() - cpu], made


def size(path: Path) -> float:
    """Megabytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def peak() -> float:
    """Megabytes that this process held at most. (What getrusage says counts the parent, before the fork, too.)"""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


# ---------------------------------------------------------------- Inspect


def inspect(log: Path, folder: Path, count: int) -> Figures:
    """A log of samples in Inspect's .eval, asked through its data frames."""
    os.environ["INSPECT_DISABLE_MODEL_API"] = "1"
    from inspect_ai.analysis import samples_df
    from inspect_ai.log import read_eval_log_sample, read_eval_log_samples, write_eval_log

    file = folder / "log.eval"
    given = list(rows(log, count))
    write_s, _ = timed(lambda: write_eval_log(_eval_log(given), str(file), "eval"))
    last = given[-1]
    asked = {
        "mean by update and part": lambda: _means(samples_df(str(file), quiet=True), "score_"),
        "one trajectory": lambda: read_eval_log_sample(str(file), id=last["trajectory"], epoch=1),
        "text contains": lambda: sum(
            LOOKED_FOR in message.text for sample in read_eval_log_samples(str(file)) for message in sample.messages
        ),
    }
    return {
        "write": write_s,
        "megabytes": size(folder),
        "asked": {name: timed(work)[0] for name, work in asked.items()},
    }


def _eval_log(given: list[dict[str, Any]]) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec

    names = EvalDataset(samples=len(given), sample_ids=[row["trajectory"] for row in given])
    made = "2026-01-01T00:00:00+00:00"
    spec = EvalSpec(created=made, task="search", dataset=names, model="tiny", config=EvalConfig())
    samples = [
        EvalSample(
            id=row["trajectory"],
            epoch=1,
            input=row["question"],
            target=row["golds"],
            messages=_messages(row),
            scores=_inspect_scores(row),
            metadata={name: row[name] for name in ("run", "update", "task", "hops", "tree", "ended")},
        )
        for row in given
    ]
    return EvalLog(status="success", eval=spec, samples=samples)


def _messages(row: dict[str, Any]) -> list[Any]:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

    made: list[Any] = [ChatMessageUser(content=row["question"], id="question")]
    for s, step in enumerate(row["steps"]):
        made.append(ChatMessageAssistant(content=step["text"], id=f"{s}"))
        if step["observation"]:
            made.append(ChatMessageUser(content=step["observation"], id=f"{s}-shown"))
    return made


def _inspect_scores(row: dict[str, Any]) -> dict[str, Any]:
    from inspect_ai.scorer import Score

    return {part: Score(value=value) for part, value in paid(row).items()}


def _means(frame: Any, prefix: str) -> Any:
    parts = [name for name in frame.columns if name.startswith(prefix)]
    update = next(name for name in frame.columns if name in ("metadata_update", "update"))
    return frame.groupby(update)[parts].mean()


def _containing(texts: Any) -> int:
    return int(texts.astype(str).str.contains(LOOKED_FOR, regex=False).sum())


# ---------------------------------------------------------------- MLflow


def mlflow(log: Path, folder: Path, count: int) -> Figures:
    """Traces in MLflow's SQLite store, asked through search_traces."""
    os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
    import logging

    import mlflow as flow

    logging.getLogger("alembic").setLevel(logging.ERROR)
    flow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment = flow.create_experiment("search", artifact_location=str(folder / "artifacts"))
    flow.set_experiment(experiment_id=experiment)
    given = list(rows(log, count))
    write_s, ids = timed(lambda: [_mlflow_trace(flow, row) for row in given])

    def means() -> Any:
        import pandas as pd

        found = flow.search_traces(locations=[experiment], max_results=count, return_type="list", include_spans=False)
        told = [{"update": one.info.tags["update"]} | {a.name: a.value for a in one.info.assessments} for one in found]
        return pd.DataFrame(told).groupby("update").mean()

    def contains() -> int:
        found = flow.search_traces(locations=[experiment], max_results=count, return_type="list")
        return sum(LOOKED_FOR in str(span.outputs) for one in found for span in one.data.spans)

    asked = {
        "mean by update and part": means,
        "one trajectory": lambda: flow.get_trace(ids[-1]),
        "text contains": contains,
    }
    return {
        "write": write_s,
        "megabytes": size(folder),
        "asked": {name: timed(work)[0] for name, work in asked.items()},
    }


def _mlflow_trace(flow: Any, row: dict[str, Any]) -> str:
    tags = {name: str(row[name]) for name in ("run", "update", "task", "tree", "trajectory", "ended")}
    root = flow.start_span_no_context("trajectory", inputs=row["question"], tags=tags)
    for step in row["steps"]:
        span = flow.start_span_no_context("step", parent_span=root, inputs=step["query"])
        span.set_outputs({"text": step["text"], "observation": step["observation"]})
        span.end()
    root.set_outputs(row["answer"])
    root.end()
    for part, value in paid(row).items():
        flow.log_feedback(trace_id=root.trace_id, name=part, value=value)
    return root.trace_id


# ---------------------------------------------------------------- Phoenix


def phoenix(log: Path, folder: Path, count: int) -> Figures:
    """Traces sent to a Phoenix server of this machine (SQLite), asked through its client."""
    with _phoenix_server(folder) as url:
        from phoenix.client import Client
        from phoenix.client.types.spans import SpanQuery

        client = Client(base_url=url)
        given = list(rows(log, count))
        spans = sum(len(row["steps"]) + 1 for row in given)
        write_s, _ = timed(lambda: _send(url, client, given, spans))
        told = {"project_identifier": "default", "limit": 10 * spans, "timeout": 3600}

        def means() -> Any:
            frame = client.spans.get_spans_dataframe(query=SpanQuery().where("name == 'trajectory'"), **told)
            parts = [name for name in frame.columns if name.startswith("attributes.metadata")]
            return frame[parts]

        def contains() -> int:
            return _containing(client.spans.get_spans_dataframe(**told)["attributes.output.value"])

        asked = {"mean by update and part": means, "text contains": contains}
        figures = {name: timed(work)[0] for name, work in asked.items()}
    return {"write": write_s, "megabytes": size(folder), "asked": figures}


@contextlib.contextmanager
def _phoenix_server(folder: Path) -> Iterator[str]:
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_PORT": str(port),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_GRPC_PORT": "0",
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    with open(folder / "server.log", "w") as out:
        command = [sys.executable, "-m", "phoenix.server.main", "serve"]
        server = subprocess.Popen(command, env=os.environ | told, stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/healthz", timeout=1)
                break
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait()


def _send(url: str, client: Any, given: list[dict[str, Any]], spans: int) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{url}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * spans, max_export_batch_size=512))
    tracer = provider.get_tracer("bench")
    from opentelemetry import trace

    for row in given:
        told = json.dumps({name: row[name] for name in ("run", "update", "task", "tree")} | paid(row))
        root = tracer.start_span("trajectory", attributes={"input.value": row["question"], "metadata": told})
        context = trace.set_span_in_context(root)
        for step in row["steps"]:
            shown = {"input.value": step["query"] or "", "output.value": step["text"] + step["observation"]}
            tracer.start_span("step", context, attributes=shown).end()
        root.end()
    provider.force_flush(3_600_000)
    provider.shutdown()
    _wait_until_stored(client, len(given))


def _wait_until_stored(client: Any, count: int) -> None:
    """The server answers before it has written: wait for the last trajectory."""
    from phoenix.client.types.spans import SpanQuery

    query = SpanQuery().where("name == 'trajectory'").select("name")
    for _ in range(3600):
        with contextlib.suppress(Exception):
            found = client.spans.get_spans_dataframe(query=query, project_identifier="default", limit=2 * count)
            if len(found) >= count:
                return
        time.sleep(0.5)


PEERS = {"inspect": inspect, "mlflow": mlflow, "phoenix": phoenix}
PACKAGES = {"inspect": "inspect_ai", "mlflow": "mlflow", "phoenix": "arize-phoenix"}


def main() -> None:
    peer, log, folder, count = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True)
    figures = PEERS[peer](log, folder, count) | {"version": version(PACKAGES[peer]), "peak": peak()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
