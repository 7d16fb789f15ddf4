"""Training sets made of what a lab holds, in the layouts of TRL, for the package `datasets`.

Each is a folder: train.jsonl, test.jsonl (split by task) and a README that says what it was made of and what was left
out. The same lab and the same arguments write the same bytes.
"""

from __future__ import annotations

from workbench.handing_on.dpo import write_dpo
from workbench.handing_on.folder import TrainingSet
from workbench.handing_on.prm import write_prm
from workbench.handing_on.sft import write_sft

__all__ = ["TrainingSet", "write_dpo", "write_prm", "write_sft"]
