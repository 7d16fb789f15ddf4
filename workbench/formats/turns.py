"""Token ids of model calls, each with its whole prompt, as what every step adds to the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.trajectory import Context, Origin, Step, Tokens


@dataclass(frozen=True, eq=False)
class Drawn:
    """One model call: the ids it was given, the ids it sampled, and their logprobs (() where none are known)."""

    prompt: Sequence[int]
    sampled: Sequence[int]
    logprobs: Sequence[float | None] = ()

    @property
    def tokens(self) -> Tokens:
        known = len(self.logprobs) == len(self.sampled)
        logprobs_T = [np.nan if x is None else x for x in self.logprobs] if known else [np.nan] * len(self.sampled)
        return Tokens.sampled(np.array(self.sampled, np.int32), np.array(logprobs_T, np.float32))


def drawn_of(prompt: Any, sampled: Any, logprobs: Any) -> Drawn | None:
    """The call, or None where a file gives no ids."""
    return Drawn(prompt or (), sampled, logprobs or ()) if sampled else None


def with_tokens(steps: Sequence[Step], calls: Sequence[Drawn | None]) -> tuple[Step, ...]:
    """The steps with their ids: those sampled, then those that the next call's prompt adds behind them.

    Where a prompt does not extend what came before, its step names its own context. Steps stay text where any call
    lacks its ids: a trajectory has them whole or not at all.
    """
    known = [call for call in calls if call is not None]
    if len(known) != len(steps) or not steps or not all(len(call.prompt) for call in known):
        return tuple(steps)
    made = []
    before: list[int] = []
    for s, (step, call) in enumerate(zip(steps, known, strict=True)):
        prompt = list(call.prompt)
        extends = s > 0 and prompt[: len(before)] == before
        context = step.context
        if not extends:
            text = context.text if context is not None else ""
            context = Context(text, Tokens.foreign(np.array(prompt, np.int32)))
        before = prompt + list(call.sampled)
        after = list(known[s + 1].prompt) if s + 1 < len(known) else []
        added = after[len(before) :] if after[: len(before)] == before else []
        tokens = Tokens.join([call.tokens, Tokens.foreign(np.array(added, np.int32), Origin.ENVIRONMENT)])
        made.append(replace(step, tokens=tokens, context=context))
    return tuple(made)
