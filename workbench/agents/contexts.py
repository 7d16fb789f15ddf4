"""What a turn is sampled from, where that is not simply everything so far.

Without a context policy a context only grows: the one before, the turn, the observation.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Protocol

from workbench.protocols import Prefix
from workbench.spec import part
from workbench.text import normalize_answer
from workbench.trajectory import Context, Origin, Step, Tokens


class ContextPolicy(Protocol):
    """Decides what the next turn is sampled from."""

    def __call__(self, prefix: Prefix) -> Context | None:
        """A context to go on from, its tokens none of the policy's own; None: everything so far."""
        ...


@part
class HideRejected:
    """Leaves a search result that the agent has judged useless out of all that it sees from then on.

    What stays is the search and the judgement: C_t = tau_(t-1) + [judged not useless] * o_t, ReSeek's first version
    (arXiv:2510.00568v1); its later ones hide nothing. The trajectory then is one append-only segment for each result
    that was hidden, and one.
    """

    _: KW_ONLY
    span: str = "judge"
    no: tuple[str, ...] = ("no",)  # labels that reject, after normalising

    def __call__(self, prefix: Prefix) -> Context | None:
        """The context without the result, right after the turn that rejects it."""
        if not prefix.steps or not self._rejects(prefix.steps[-1]):
            return None
        after: list[Step] = []
        for step in reversed(prefix.steps):
            if step.calls and step.observation:
                return without_observation(prefix.context, step, after[::-1])
            if step.context is not None:
                return None  # what it rejects is hidden already
            after.append(step)
        return None

    def _rejects(self, step: Step) -> bool:
        label = step.span(self.span)
        return step.valid and label is not None and normalize_answer(label) in self.no


def without_observation(context: Context, step: Step, after: list[Step]) -> Context:
    """`context`, which ends with `step` and the steps `after` it, without what was observed in `step`."""
    text_after = "".join(one.text + one.observation for one in after)
    text = context.text[: len(context.text) - len(text_after) - len(step.observation)] + text_after
    if context.tokens is None or step.tokens is None:
        return Context(text)
    ids_T = context.tokens.ids_T
    end = len(ids_T) - sum(len(one.tokens) for one in after if one.tokens is not None)
    start = end - int((step.tokens.origins_T == Origin.ENVIRONMENT).sum())
    return Context(text, Tokens.foreign([*ids_T[:start], *ids_T[end:]]))
