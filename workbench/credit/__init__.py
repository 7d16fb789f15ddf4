"""Credit: from the rewards of groups to an advantage per step. Flat arrays in, flat arrays out, numpy only."""

from workbench.credit.batch_baseline import BatchBaseline
from workbench.credit.gae import GAE
from workbench.credit.group import GroupAdvantage, LeaveOneOut, group_advantages, leave_one_out
from workbench.credit.masks import sample_masks
from workbench.credit.returns import return_to_go

__all__ = [
    "BatchBaseline",
    "GAE",
    "GroupAdvantage",
    "LeaveOneOut",
    "group_advantages",
    "leave_one_out",
    "return_to_go",
    "sample_masks",
]
