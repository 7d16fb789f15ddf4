"""A training in a process of its own, to be killed: `python -m tests.training.training_process FOLDER [CHECKPOINT]`.

Says "update N" after each update and at the end "weights DIGEST".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.training.critic import Critic
from workbench.training.method import PPO
from workbench.training.plan import Optimiser
from workbench.training.train import resume, train

UPDATES = 8


def main(folder: Path, checkpoint: Path | None) -> None:
    if checkpoint is None:
        run = train(
            speaker(),
            TASKS,
            Quiet(),
            Letter(),
            method=PPO(4, critic=Critic(lr=1e-3)),
            optimiser=Optimiser(1e-2),
            tasks_per_update=2,
            updates=UPDATES,
            checkpoints=folder,
            checkpoint_every=1,
        )
    else:
        run = resume(checkpoint, speaker(), TASKS, Quiet(), checkpoint_every=1)
    for report in run:
        print(f"update {report.update}", flush=True)
        time.sleep(0.02)
    print(f"weights {run.weights.digest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
