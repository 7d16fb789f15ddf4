"""`workbench bench gpu`, at the size for trying."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.agents.vllm_engine import PYTHON
from workbench.cli import main
from workbench.training.machine_bench import Case, cases

SMALL = ["bench", "gpu", "--device", "cpu", "--small", "--updates", "1"]


@pytest.mark.slow
def test_the_report_says_what_was_measured_and_what_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*SMALL, "--models", "0.5B", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["cases"]) == {case.name for case in cases(["0.5B"], ["transformers"])}
    for case in report["cases"].values():
        assert case["rollout_tokens_per_s"] > 0 < case["trained_tokens_per_s"] and case["updates"] == 1
        assert all("truncated" in alarm for alarm in case["alarms"])  # random weights never answer
    assert report["cases"]["0.5B, transformers, trainer float32, sampler float32"]["sampler_gap"] < 1e-5
    assert report["parity"]["gradient_off"] == 0 < report["parity"]["tokens"]  # the CPU beside itself
    assert "pip install" in report["not_run"]["vllm"] and "anything on a GPU, and memory" in report["not_run"]
    page = (tmp_path / "report.md").read_text()
    assert "## Speed" in page and "## Agreement" in page and "- vllm: vLLM is not installed" in page


def test_what_one_case_cannot_do_does_not_cost_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def measure(case, *rest):
        if case.trainer != "bfloat16":
            raise RuntimeError("out of memory")
        return {"rollout_tokens_per_s": 1.0, "trained_tokens_per_s": 2.0}

    def parity(*rest):
        raise ValueError("no such device")

    monkeypatch.setattr("workbench.training.machine_bench.measure_case", measure)
    monkeypatch.setattr("workbench.training.machine_bench.gradient_parity", parity)
    assert main([*SMALL, "--models", "tiny", "--engines", "transformers", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["cases"]) == [Case("tiny", "transformers", "bfloat16", "bfloat16").name]
    assert report["not_run"]["gradients"] == "ValueError: no such device"
    assert report["not_run"][Case("tiny", "transformers").name] == "RuntimeError: out of memory"


def test_without_a_gpu_the_command_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["bench", "gpu", "--out", str(tmp_path / "report")]) == 2
    assert "workbench bench gpu --device cpu --small" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
