"""`WordLlama`: static word vectors out of a language model (the package wordllama, 19 MB, weights in the wheel)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from workbench.errors import MissingPackage, SettingError
from workbench.retrieval.encoders import unit_rows
from workbench.spec import part


@part
class WordLlama:
    """Mean of the tokens' vectors: knows synonyms, not word order. Tens of thousands of short texts a second.

    The model is loaded on first use, once a process, from the installed package; nothing is downloaded.

    Raises:
        MissingPackage: (when used) wordllama is not installed.
    """

    width: Literal[64, 128, 256] = 256  # the first so many numbers of each vector, which were trained to stand alone

    remember: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.width not in (64, 128, 256):
            raise SettingError(f"width is 64, 128 or 256, got {self.width}")

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width]; a row of zeros for an empty text."""
        rows = np.zeros((len(texts), self.width), dtype=np.float32)
        said = [n for n, text in enumerate(texts) if text.strip()]
        if said:
            rows[said] = _model(self.width).embed([texts[n] for n in said])
        return unit_rows(rows)


@lru_cache(maxsize=3)
def _model(width: int) -> Any:
    try:
        import wordllama
    except ImportError as error:
        raise MissingPackage(
            "WordLlama needs the package wordllama: pip install 'reward-workbench[encoders]'"
        ) from error
    here = Path(wordllama.__file__).parent  # 0.4.0 looks for the wheel's own tokeniser in its cache folder alone
    trunc = None if width == 256 else width
    return wordllama.WordLlama.load(trunc_dim=trunc, cache_dir=here, disable_download=True)
