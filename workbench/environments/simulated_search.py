"""ZeroSearch's simulated engine: documents are written for the query, good ones or bad ones as a draw decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment, ToolState, mismatch
from workbench.errors import SettingError
from workbench.protocols import Limits, Outcome, Tool
from workbench.trajectory import Call, Hit, Task

USEFUL, NOISY = "useful", "noisy"


@dataclass(frozen=True)
class Asked:
    """One query, with all that a writer of documents may look at: question and golds are those of its own rollout."""

    query: str
    task: Task
    useful: bool  # the documents shall help to answer; else they shall not
    seed: int


class DocumentWriter(Protocol):
    """Writes documents for queries."""

    def __call__(self, asked: Sequence[Asked]) -> list[tuple[Hit, ...] | str]:
        """The documents of each query; a text says why there are none, and fails that call alone."""
        ...


@dataclass(frozen=True)
class SimulatedState(ToolState):
    """Where a trajectory is, and the random stream of its draws."""

    seed: int = 0


@dataclass(frozen=True)
class SimulatedSearch:
    """A search engine that is none: `writer` writes the documents, noisy ones with probability `noise`.

    One draw a query: all its documents are useful or all are noisy. The draw comes from the rollout's own random
    stream, so that it depends on no other rollout; a fork draws what its sibling drew in that turn. `Call.result` says
    ``"useful"`` or ``"noisy"``: the truth about the documents, which the agent is not shown. A writer that fails is a
    failed call.

    A task may carry its own probability in ``extras["noise"]``, and so can be made harder as a training goes on::

        fold=TaskSchedule({"noise": Ramp(0.0, 0.5, 203, shape="exponential", base=4)})

    Source: ZeroSearch (arXiv:2505.04588), ``generation.py``. Its batched search mixed up queries and questions once a
    rollout had ended; here they travel together.
    """

    writer: DocumentWriter
    noise: float = 0.5
    limits: Limits = field(default_factory=lambda: Limits(turns=5, observation_tokens=2048))
    name: str = "search"

    def __post_init__(self) -> None:
        _check_noise(self.noise, "SimulatedSearch(noise=...)")

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (_Simulator(self.writer, {}, self.name),)

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[SimulatedState, str]:
        """A fresh state; the question says all there is to see.

        Raises:
            SettingError: the noise of the task is no probability.
        """
        _check_noise(self._noise(task), f"extras['noise'] of task {task.id!r}")
        return SimulatedState(task, seed=int(rng.integers(2**63))), ""

    def step(self, state: SimulatedState, calls: Sequence[Call]) -> Outcome:
        return self.step_all([state], [calls])[0]

    def step_all(self, states: Sequence[SimulatedState], calls: Sequence[Sequence[Call]]) -> list[Outcome]:
        """One turn of many trajectories; the writer is asked once for all of them."""
        asked: dict[int, Asked] = {}
        known: list[list[Call]] = []
        for state, some in zip(states, calls, strict=True):
            drawn = [self._draw(state, number, call) for number, call in enumerate(some)]
            known.append([call for call, _ in drawn])
            asked |= {id(call): one for call, one in drawn}
        return ToolEnvironment((_Simulator(self.writer, asked, self.name),), self.limits).step_all(states, known)

    def _draw(self, state: SimulatedState, number: int, call: Call) -> tuple[Call, Asked]:
        """The call, a fresh object that says what was drawn for it, and what the writer is told."""
        rng = np.random.default_rng([state.seed, state.turns, number])
        useful = bool(rng.random() > self._noise(state.task))  # as published: a draw at the probability is noisy
        made = call.valid and call.tool == self.name and not mismatch(call.arguments, SearchTool.parameters)
        told = replace(call, result=(USEFUL if useful else NOISY) if made else call.result)
        return told, Asked(call.query, state.task, useful, int(rng.integers(2**63)))

    def _noise(self, task: Task) -> float:
        return task.extras.get("noise", self.noise)


@dataclass(frozen=True)
class _Simulator:
    """The tool that the agent sees, knowing what belongs to the calls of one turn by their identity."""

    writer: DocumentWriter
    asked: Mapping[int, Asked]
    name: str

    description: ClassVar[str] = SearchTool.description
    parameters: ClassVar[Mapping[str, Any]] = SearchTool.parameters

    def __call__(self, calls: Sequence[Call]) -> list[Call]:
        written = self.writer([self.asked[id(call)] for call in calls])
        return [
            replace(call, error=documents) if isinstance(documents, str) else replace(call, hits=documents)
            for call, documents in zip(calls, written, strict=True)
        ]

    def render(self, call: Call) -> str:
        titles = [f"(Title: {hit.title}) " if hit.title else ": " for hit in call.hits]
        rows = enumerate(zip(titles, call.hits, strict=True), start=1)
        return "".join(f"Doc {i}{title}{hit.text}\n" for i, (title, hit) in rows)


def _check_noise(noise: float, where: str) -> None:
    if not 0 <= noise <= 1:
        raise SettingError(f"{where} is a probability from 0 to 1, got {noise!r}")
