"""Scripted agents: the same engine and policy contracts, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from workbench.agents.contexts import ContextPolicy
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.templates import Template
from workbench.errors import CapabilityError
from workbench.protocols import Capabilities, Environment, Generation, Observed, Outcome, Prefix, Turn
from workbench.trajectory import Context, Task

Script = Callable[[str, np.random.Generator], str]
"""From the text so far (prompt and all turns) to the next turn's text."""


class ScriptedEngine:
    """Answers with what `script` says, tokenised by `tokenizer`; every logprob is 0 (it never had a choice).

    Args:
        script: text so far and an rng (from the row's seed) to the turn's text.
        tokenizer: any tokenizer of transformers; the one of the model that is to learn from the turns.
    """

    capabilities = Capabilities(score=False)
    weights_version = 0

    def __init__(self, script: Script, tokenizer: Any, *, name: str = "script") -> None:
        self.script, self.tokenizer, self.name = script, tokenizer, name

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        *,
        max_tokens: int,
        temperature: float,
        stop: Sequence[str],
        seeds: Sequence[int],
        keys: Sequence[str] = (),
    ) -> list[Generation]:
        """One scripted turn a prompt, cut at `max_tokens`."""
        generations = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            text = self.tokenizer.decode(prompt, clean_up_tokenization_spaces=False)
            turn = self.script(text, np.random.default_rng(seed))
            ids = self.tokenizer.encode(turn, add_special_tokens=False)
            finish = "length" if len(ids) > max_tokens else "stop" if any(s in turn for s in stop) else "eos"
            kept = np.array(ids[:max_tokens], np.int32)
            text = self.tokenizer.decode(kept, clean_up_tokenization_spaces=False)
            generations.append(Generation(kept, np.zeros(len(kept), np.float32), text, finish))
        return generations

    def score(self, prompts: Sequence[np.ndarray], continuations: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise CapabilityError("a script has no probabilities; score with a language-model engine")


class ScriptedPolicy:
    """Writes turns that a function of the trajectory so far decides: demonstrations, baselines, tests.

    Its tokens count as sampled with logprob 0, so its trajectories can be trained on by `sft`.

    Args:
        decide: from the prefix and an rng to the turn's text; `template.write` makes one from a thought and an action.
        tokenizer: of the model that is to learn from the turns.
    """

    def __init__(
        self,
        decide: Callable[[Prefix, np.random.Generator], str],
        tokenizer: Any,
        template: Template,
        *,
        name: str = "script",
        contexts: ContextPolicy | None = None,
    ) -> None:
        self.decide, self.name = decide, name
        engine = ScriptedEngine(lambda text, rng: text, tokenizer)
        self._words = LanguagePolicy(engine, template, contexts=contexts)

    def at(self, temperature: float) -> ScriptedPolicy:
        """Itself: a script has no temperature."""
        return self

    def start(self, task: Task, observation: str, environment: Environment) -> Context:
        return self._words.start(task, observation, environment)

    def act(self, prefixes: Sequence[Prefix], seeds: Sequence[int]) -> list[Turn]:
        return [self._act(prefix, np.random.default_rng(seed)) for prefix, seed in zip(prefixes, seeds, strict=True)]

    def observe(self, turn: Turn, outcome: Outcome | None, limit: int | None, *, tools_off_next: bool) -> Observed:
        return self._words.observe(turn, outcome, limit, tools_off_next=tools_off_next)

    def _act(self, prefix: Prefix, rng: np.random.Generator) -> Turn:
        text = self.decide(prefix, rng)
        ids = np.array(self._words.encode(text), np.int32)
        said = Generation(ids, np.zeros(len(ids), np.float32), text, "stop")
        return self._words.turn(said, prefix.steps, self._words.context_of(prefix))
