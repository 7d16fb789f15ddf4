"""Random streams that were spawned elsewhere, for a sampler that wants one a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.errors import SettingError


class Streams:
    """Stands for the generator that a sampler spawns from: gives out streams that were spawned elsewhere."""

    def __init__(self, streams: Sequence[np.random.Generator]) -> None:
        self.streams = list(streams)

    def spawn(self, count: int) -> list[np.random.Generator]:
        """The streams.

        Raises:
            SettingError: the sampler asks for another number than one a task.
        """
        if count != len(self.streams):
            raise SettingError(
                "a sampler that works inside another spawns one stream a task, once; this one wants "
                f"{count} for {len(self.streams)} tasks"
            )
        streams, self.streams = self.streams, []
        return streams
