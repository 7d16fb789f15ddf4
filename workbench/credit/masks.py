"""Which rollouts join the baseline, and which are trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workbench.batch import FlatBatch
from workbench.errors import ShapeError


def sample_masks(
    batch: FlatBatch,
    *,
    baseline_N: np.ndarray | None = None,
    gradient_N: np.ndarray | None = None,
    smallest_group: int = 1,
) -> FlatBatch:
    """The batch with further rollouts taken out of baseline or gradient.

    Args:
        baseline_N: bool [N], False takes a rollout out of the baseline (a reward model that is not sure: MRMBench,
            arXiv:2511.12464).
        gradient_N: bool [N], False keeps a rollout from being trained on (repetitive, over-long: REDSearcher).
        smallest_group: groups with fewer scored rollouts than this in the baseline are skipped whole.

    Raises:
        ShapeError: a mask is not [N].
    """
    masks = {"in_baseline_N": baseline_N, "in_gradient_N": gradient_N}
    for name, mask_N in masks.items():
        if mask_N is not None and mask_N.shape != batch.group_N.shape:
            raise ShapeError(f"the mask for {name} must be {batch.group_N.shape}, got {mask_N.shape}")
    kept = {name: getattr(batch, name) & mask_N.astype(bool) for name, mask_N in masks.items() if mask_N is not None}
    masked = replace(batch, **kept)
    size_G = np.bincount(masked.group_N[masked.baseline_N], minlength=int(masked.group_N.max(initial=-1)) + 1)
    large_N = size_G[masked.group_N] >= smallest_group
    return replace(masked, in_baseline_N=masked.in_baseline_N & large_N, in_gradient_N=masked.in_gradient_N & large_N)
