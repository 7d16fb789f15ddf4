"""Learners: logprobs with gradient for the tokens that a policy drew.

A learner stands between the loss and a policy, so that a language model and a table train through the same code.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.split_model import SplitModel
from workbench.agents.tabular import TabularPolicy
from workbench.errors import CapabilityError
from workbench.training.reading import Reading, logits_before_trained, reading_of, states_before_trained
from workbench.training.rows import Row, padded

LOGITS = 2**26
"""Numbers held at once, 256 MB. More of them are made in pieces and not kept: the gradient makes each piece again."""


@dataclass(frozen=True, eq=False)
class Likelihood:
    """logp_T and, where asked for, entropy_T (nats) of the trained tokens of some rows, rows in order."""

    logp_T: torch.Tensor
    entropy_T: torch.Tensor | None = None


class Learner(Protocol):
    """What a run needs of a policy."""

    def parameters(self) -> list[torch.nn.Parameter]: ...

    def likelihood(self, rows: Sequence[Row], *, entropy: bool = False) -> Likelihood: ...

    def tokens(self, rows: Sequence[Row]) -> int:
        """Tokens computed when `rows` are read in one go, padding among them."""
        ...

    @property
    def width(self) -> int:
        """D, numbers of a state."""
        ...

    def states(self, rows: Sequence[Row], body: Any = None) -> torch.Tensor:
        """float32 [T, D]: what is known before each trained token. `body`: of such a copy, not of the policy."""
        ...

    def body(self) -> torch.nn.Module:
        """A copy of what makes the states, to be trained apart.

        Raises:
            CapabilityError: there is nothing to copy.
        """
        ...

    def reference(self, batches: Sequence[Sequence[Row]]) -> list[torch.Tensor]:
        """logp_T of each micro-batch under the reference weights, no gradient."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """The trained tensors by name."""
        ...

    def load_state(self, state: dict[str, torch.Tensor]) -> None: ...

    def notes(self) -> dict[str, Any]:
        """What else must be kept to load the state: plain JSON data."""
        ...

    def load_notes(self, notes: dict[str, Any]) -> None: ...

    def updated(self) -> None:
        """Tell the sampler that the weights changed."""
        ...


def learner_for(policy: Any, *, keep_reference: bool = False) -> Learner:
    """The learner of a policy.

    Raises:
        CapabilityError: the policy's weights are not in this process (a script, a remote model).
    """
    if isinstance(policy, TabularPolicy):
        return TabularLearner(policy, keep_reference)
    if isinstance(policy, LanguagePolicy) and policy.engine.capabilities.trainable:
        return LanguageLearner(policy, keep_reference)
    raise CapabilityError(
        f"{type(policy).__name__} {getattr(policy, 'name', '')!r} cannot be trained here: its weights are not in this "
        "process. Trainable are TabularPolicy, and LanguagePolicy over a TransformersEngine, or over a VllmEngine that "
        "was given a model"
    )


class LanguageLearner:
    """A causal language model. Only the hidden states of trained tokens go through the language-model head, in fp32."""

    def __init__(self, policy: LanguagePolicy, keep_reference: bool) -> None:
        self.engine = cast(Any, policy.engine)
        self.model: Any = self.engine.model
        self.temperature = policy.temperature or 1.0
        self.adapter = hasattr(self.model, "disable_adapter")  # a peft model: the reference is the bare model
        self.split = SplitModel(self.model, self.engine.compute)
        self._reference: dict[str, torch.Tensor] | None = None
        if keep_reference and not self.adapter:
            self._reference = {name: tensor.clone() for name, tensor in self.state().items()}

    def parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def likelihood(self, rows: Sequence[Row], *, entropy: bool = False) -> Likelihood:
        reading = self._reading(rows)
        ids = np.concatenate([row.tokens.ids_T[1:][row.train_T[1:]] for row in rows])
        ids_T = torch.from_numpy(ids).long().to(self.model.device)
        if not self.split.apart:
            return self._of_logits(logits_before_trained(self.split, reading), ids_T, entropy)
        states_TD = states_before_trained(self.split, reading)
        size = max(1, LOGITS // self.split.bare.config.get_text_config().vocab_size)
        if len(ids_T) <= size:
            return self._of_states(states_TD, ids_T, entropy)
        pieces = [
            checkpoint(self._of_states, *piece, entropy, use_reentrant=False)
            for piece in zip(states_TD.split(size), ids_T.split(size), strict=True)
        ]
        entropy_T = torch.cat([piece.entropy_T for piece in pieces]) if entropy else None
        return Likelihood(torch.cat([piece.logp_T for piece in pieces]), entropy_T)

    def _of_states(self, states_TD: torch.Tensor, ids_T: torch.Tensor, entropy: bool) -> Likelihood:
        return self._of_logits(self.split.head(states_TD), ids_T, entropy)

    def _of_logits(self, logits_TV: torch.Tensor, ids_T: torch.Tensor, entropy: bool) -> Likelihood:
        logprobs_TV = (logits_TV / self.temperature).log_softmax(-1)
        logp_T = logprobs_TV.gather(1, ids_T[:, None])[:, 0]
        return Likelihood(logp_T, -(logprobs_TV.exp() * logprobs_TV).sum(-1) if entropy else None)

    def tokens(self, rows: Sequence[Row]) -> int:
        return self._reading(rows).tokens

    @property
    def width(self) -> int:
        return int(self.split.bare.config.get_text_config().hidden_size)

    def states(self, rows: Sequence[Row], body: Any = None) -> torch.Tensor:
        return states_before_trained(self.split, self._reading(rows), body).float()

    def _reading(self, rows: Sequence[Row]) -> Reading:
        return reading_of(rows, shared=self.split.apart and self.split.full_attention)

    def body(self) -> torch.nn.Module:
        return copy.deepcopy(self.split.bare.get_decoder())

    @torch.no_grad()
    def reference(self, batches: Sequence[Sequence[Row]]) -> list[torch.Tensor]:
        with self._as_reference():
            return [self.likelihood(rows).logp_T for rows in batches]

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        if self.adapter:
            with self.model.disable_adapter():
                yield
            return
        if self._reference is None:
            raise CapabilityError("this run keeps no reference weights; its loss has no KL term")
        now = {name: tensor.clone() for name, tensor in self.state().items()}
        self.load_state(self._reference)
        try:
            yield
        finally:
            self.load_state(now)

    def state(self) -> dict[str, torch.Tensor]:
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(state[name])

    def notes(self) -> dict[str, Any]:
        return {}

    def load_notes(self, notes: dict[str, Any]) -> None:
        pass

    def updated(self) -> None:
        self.engine.weights_changed()


class TabularLearner:
    """A table of logits. Its own tokens are one a step, so a row's trained tokens are its trained steps."""

    def __init__(self, policy: TabularPolicy, keep_reference: bool) -> None:
        self.policy = policy
        self._reference = policy.table.detach().clone() if keep_reference else None

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.policy.table]

    def likelihood(self, rows: Sequence[Row], *, entropy: bool = False) -> Likelihood:
        logits = [self.policy.trajectory_logits(row.trajectory)[row.step_T[row.train_T].tolist()] for row in rows]
        logprobs_TA = torch.cat(logits).log_softmax(-1)
        taken_T = torch.tensor(np.concatenate([row.tokens.ids_T[row.train_T] for row in rows])).long()
        entropy_T = -(logprobs_TA.exp() * logprobs_TA).sum(-1) if entropy else None
        return Likelihood(logprobs_TA.gather(1, taken_T[:, None])[:, 0], entropy_T)

    def tokens(self, rows: Sequence[Row]) -> int:
        return padded(rows)

    @property
    def width(self) -> int:
        return len(self.policy.table)

    def states(self, rows: Sequence[Row], body: Any = None) -> torch.Tensor:
        states = [self.policy.trajectory_states(row.trajectory)[row.step_T[row.train_T].tolist()] for row in rows]
        return torch.cat(states)

    def body(self) -> torch.nn.Module:
        raise CapabilityError("a table has no model to copy; give it Critic('head'), a value for every feature")

    @torch.no_grad()
    def reference(self, batches: Sequence[Sequence[Row]]) -> list[torch.Tensor]:
        if self._reference is None:
            raise CapabilityError("this run keeps no reference weights; its loss has no KL term")
        now = self.policy.table.detach().clone()
        self.policy.table.copy_(self._reference)
        logps = [self.likelihood(rows).logp_T for rows in batches]
        self.policy.table.copy_(now)
        return logps

    def state(self) -> dict[str, torch.Tensor]:
        return {"table": self.policy.table.detach()}

    @torch.no_grad()
    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.policy.table.copy_(state["table"])

    def notes(self) -> dict[str, Any]:
        return {"features": [list(f) if isinstance(f, tuple) else f for f in self.policy.row_of]}

    def load_notes(self, notes: dict[str, Any]) -> None:
        features = [tuple(f) if isinstance(f, list) else f for f in notes["features"]]
        self.policy.row_of.clear()
        self.policy.row_of.update({feature: row for row, feature in enumerate(features)})

    def updated(self) -> None:
        self.policy.weights_changed()
