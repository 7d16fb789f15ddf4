"""Time of each credit on a million steps. Run: python tests/bench/bench_credit.py [steps]"""

from __future__ import annotations

import sys
import time

import numpy as np

from workbench.batch import FlatBatch
from workbench.credit import BatchBaseline, GroupAdvantage, LeaveOneOut, return_to_go
from workbench.trajectory import End

GROUP_SIZE, PATH = 8, 5  # rollouts a group, steps a rollout


def a_large_batch(steps: int) -> FlatBatch:
    """Groups of independent rollouts with three terms; a tenth of the step scores is not applicable."""
    trajectories = steps // PATH
    steps = trajectories * PATH
    rng = np.random.default_rng(0)
    terms_RS = rng.normal(size=(3, steps))
    terms_RS[rng.random((3, steps)) < 0.1] = np.nan
    parent_S = np.arange(steps) - 1
    parent_S[::PATH] = -1
    return FlatBatch(
        names_R=("a", "b", "c"),
        weights_R=np.array([1.0, 0.5, -0.2]),
        terms_RS=terms_RS,
        status_RS=np.isnan(terms_RS).astype(np.int8),
        parent_S=parent_S,
        tokens_S=np.full(steps, 50),
        leaf_N=np.arange(PATH - 1, steps, PATH),
        group_N=np.arange(trajectories) // GROUP_SIZE,
        end_N=np.full(trajectories, End.ANSWERED, dtype=object),
        in_baseline_N=np.ones(trajectories, dtype=bool),
        in_gradient_N=np.ones(trajectories, dtype=bool),
        discount_S=np.full(steps, 0.99),
        values_S=np.full(steps, np.nan),
    )


def main(steps: int) -> None:
    work = {
        "GroupAdvantage()": GroupAdvantage(),
        "GroupAdvantage(scale='std')": GroupAdvantage(scale="std"),
        "GroupAdvantage(returns='to_go')": GroupAdvantage(returns="to_go"),
        "LeaveOneOut()": LeaveOneOut(),
        "BatchBaseline()": BatchBaseline(),
        "BatchBaseline(scale='std', per='token')": BatchBaseline(scale="std", per="token"),
        "return_to_go": return_to_go,
    }
    print(f"{steps:,} steps, groups of {GROUP_SIZE}, {PATH} steps a rollout; a fresh batch each time")
    for name, credit in work.items():
        batch = a_large_batch(steps)
        started = time.perf_counter()
        credit(batch)
        print(f"{name:42} {time.perf_counter() - started:6.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
