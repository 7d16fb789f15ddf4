"""The turn loop: many trajectories at once, one batch a turn.

Search-R1's loop (arXiv:2503.09516, Algorithm 1): up to `Limits.turns` turns in which tools answer, then, with
`Limits.final_turn`, one last turn with tools off. A turn without call or answer gets the template's notice and the
loop goes on; one that breaks a rule of its grammar may end the rollout, *truncated* for that reason. An environment or
tool that breaks ends its own trajectory as *failed*; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench.protocols import Environment, Observed, Outcome, Policy, Prefix, Turn
from workbench.trajectory import Call, Context, End, Step, Task, Tokens, Trajectory


@dataclass(eq=False)
class Live:
    """A trajectory under way."""

    id: str
    task: Task
    rng: np.random.Generator
    context: Context
    state: Any = None
    observation: str = ""
    role: str = "agent"
    steps: list[Step] = field(default_factory=list)
    fork: int = 0
    end: End | None = None
    end_reason: str = ""

    def finish(self, end: End, reason: str = "") -> None:
        self.end, self.end_reason = end, reason

    def prefix(self, tools_off: bool) -> Prefix:
        return Prefix(self.id, self.task, tuple(self.steps), self.observation, self.context, tools_off, self.role)

    def extend(self, step: Step, observation: Context | None, added: Tokens | None) -> None:
        """Append a step, and its tokens to the running context."""
        self.steps.append(step)
        before = self.context if step.context is None else step.context
        text = before.text + step.text + ("" if observation is None else observation.text)
        tokens = None if added is None or before.tokens is None else Tokens.join([before.tokens, added])
        self.context = Context(text, tokens)

    def done(self) -> Trajectory:
        assert self.end is not None
        steps = tuple(self.steps)
        return Trajectory(self.id, self.task, steps, self.end, self.end_reason, role=self.role, fork=self.fork)


def begin(policy: Policy, environment: Environment, task: Task, rng: np.random.Generator) -> Live:
    """A fresh trajectory of `task`."""
    key = rng.bytes(6).hex()
    state, observation = environment.reset(task, rng)
    context = policy.start(task, observation, environment)
    return Live(key, task, rng, context, state, observation, getattr(policy, "role", "agent"))


def run_to_end(policy: Policy, environment: Environment, live: Sequence[Live]) -> Iterator[Live]:
    """Play all trajectories to their ends, yielding each as it ends."""
    limits = environment.limits
    turns = limits.turns + limits.final_turn
    going = list(live)
    while going:
        play_turn(policy, environment, going)
        for one in going:
            if one.end is None and len(one.steps) - one.fork >= turns:
                one.finish(End.TRUNCATED, f"no answer after {turns} turns")
            if one.end is not None:
                yield one
        going = [one for one in going if one.end is None]


def play_turn(policy: Policy, environment: Environment, live: Sequence[Live]) -> None:
    """One turn of every trajectory: sample, let the environment answer, append the step."""
    started = time.perf_counter()
    limits = environment.limits
    off = [limits.final_turn and len(one.steps) >= limits.turns for one in live]
    prefixes = [one.prefix(tools_off) for one, tools_off in zip(live, off, strict=True)]
    turns = policy.act(prefixes, [int(one.rng.integers(2**63)) for one in live])
    calling = [i for i, turn in enumerate(turns) if _to_answer(turn) and not off[i]]
    answers = _answer(environment, [live[i].state for i in calling], [turns[i].calls for i in calling])
    outcomes = dict(zip(calling, answers, strict=True))
    seconds = (time.perf_counter() - started) / len(live)
    for i, (one, turn) in enumerate(zip(live, turns, strict=True)):
        _close_turn(policy, limits, one, turn, outcomes.get(i), off[i], seconds)


def _to_answer(turn: Turn) -> bool:
    """Whether the turn calls for an answer of the environment."""
    return bool(turn.calls) and turn.valid and not turn.answered and not turn.broken


def _answer(environment: Environment, states: list[Any], calls: list[tuple]) -> list[Outcome | Exception]:
    """The environment's outcomes, in one batch where it can, an exception in place of those that broke."""
    if step_all := getattr(environment, "step_all", None):
        return step_all(states, calls)
    outcomes: list[Outcome | Exception] = []
    for state, some in zip(states, calls, strict=True):
        try:
            outcomes.append(environment.step(state, some))
        except Exception as error:  # anything an environment raises is data: this rollout failed, the others go on
            outcomes.append(error)
    return outcomes


def _close_turn(
    policy: Policy, limits: Any, one: Live, turn: Turn, outcome: Outcome | Exception | None, off: bool, seconds: float
) -> None:
    broke = isinstance(outcome, Exception)
    if broke:
        one.finish(End.FAILED, f"{type(outcome).__name__}: {outcome}")
    elif turn.broken:
        one.finish(End.TRUNCATED, turn.broken)
    elif turn.answered:
        one.finish(End.ANSWERED)
    elif isinstance(outcome, Outcome):
        one.state = outcome.state
        if outcome.end is not None:
            one.finish(outcome.end, "the environment ended it")
    elif off:
        one.finish(End.TRUNCATED, "no answer in the last turn, tools off")
    answered = outcome if isinstance(outcome, Outcome) else None
    observed = None
    more = limits.turns + limits.final_turn - len(one.steps) - 1
    if one.end is None and more > 0:
        tools_off_next = limits.final_turn and more == 1
        observed = policy.observe(turn, answered, limits.observation_tokens, tools_off_next=tools_off_next)
    _append(policy, one, turn, outcome, observed, seconds)


def _calls(turn: Turn, outcome: Outcome | Exception | None, observed: Observed | None) -> tuple[Call, ...]:
    """The calls as they are recorded: answered and as far as shown, failed, or not made at all."""
    if isinstance(outcome, Exception):
        return tuple(replace(call, error=f"{type(outcome).__name__}: {outcome}") for call in turn.calls)
    if outcome is None:
        why = turn.broken or ("tools are off in this turn" if turn.valid else "the turn could not be read")
        return tuple(replace(call, valid=False, error=f"not called: {why}") for call in turn.calls)
    return outcome.calls if observed is None else observed.calls


def _append(
    policy: Policy,
    one: Live,
    turn: Turn,
    outcome: Outcome | Exception | None,
    observed: Observed | None,
    seconds: float,
) -> None:
    observation = None if observed is None else observed.context
    pieces = [turn.tokens, observation.tokens if observation else None]
    added = None if turn.tokens is None else Tokens.join([piece for piece in pieces if piece is not None])
    context = turn.context if turn.context is not None else (one.context if not one.steps else None)
    step = Step(
        id=f"{one.id}.{len(one.steps)}",
        text=turn.text,
        calls=_calls(turn, outcome, observed),
        spans=turn.spans,
        observation="" if observation is None else observation.text,
        tokens=added,
        context=context,
        role=one.role,
        policy=policy.name,
        native_reward=outcome.reward if isinstance(outcome, Outcome) else float("nan"),
        valid=turn.valid,
        seconds=seconds,
    )
    one.extend(step, observation, added)
    one.observation = step.observation
