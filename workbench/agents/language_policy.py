"""A language model as a policy: an engine that samples ids, and a template that reads and writes turns."""

from __future__ import annotations

import bisect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from workbench.agents.contexts import ContextPolicy
from workbench.agents.templates import Ruled, TagTemplate, Template
from workbench.errors import UnknownName
from workbench.protocols import Engine, Environment, Generation, Observed, Outcome, Prefix, Turn
from workbench.trajectory import Call, Context, Span, Step, Task, Tokens


@dataclass(frozen=True)
class LanguagePolicy:
    """Samples turns from an engine in the words of a template.

    Ids sampled are the ids kept: text is decoded from them, and the context only ever grows by the sampled ids and
    the encoded observation, so nothing is tokenised twice. A context policy may take ids out of it.

    In a role (`in_role`) it writes in that role's template, with the same weights.
    """

    engine: Engine
    template: Template = TagTemplate()
    temperature: float = 1.0  # 0: greedy
    turn_tokens: int = 500  # most tokens of one turn
    contexts: ContextPolicy | None = None  # what a turn is sampled from; None: everything so far
    roles: Mapping[str, Template] = field(default_factory=dict)  # the roles it can play
    role: str = "agent"  # the one it plays

    @property
    def name(self) -> str:
        return f"{self.engine.name}@{self.engine.weights_version}"

    def at(self, temperature: float) -> LanguagePolicy:
        """The same policy at another temperature."""
        return replace(self, temperature=temperature)

    def in_role(self, role: str) -> LanguagePolicy:
        """The same weights under the template of another role.

        Raises:
            UnknownName: it has no such role.
        """
        if role not in self.roles:
            raise UnknownName.among("role", role, self.roles, where="this policy")
        return replace(self, template=self.roles[role], role=role)

    def save(self, folder: str | Path, *, merged: bool = False, card: str = "") -> Path:
        """Write weights, tokenizer and settings to a new folder, see `workbench.agents.policy_files.save_policy`."""
        from workbench.agents.policy_files import save_policy

        return save_policy(self, folder, merged=merged, card=card)

    @staticmethod
    def load(folder: str | Path, *, base: Any = None, device: str | None = None) -> LanguagePolicy:
        """A saved policy, see `workbench.agents.policy_files.load_policy`."""
        from workbench.agents.policy_files import load_policy

        return load_policy(folder, base=base, device=device)

    def start(self, task: Task, observation: str, environment: Environment) -> Context:
        text = self.template.prompt(task, environment.tools, observation, self.engine.tokenizer)
        return Context(text, Tokens.foreign(self.encode(text)))

    def act(self, prefixes: Sequence[Prefix], seeds: Sequence[int]) -> list[Turn]:
        """One turn a prefix, all sampled in one batch."""
        contexts = [self.context_of(prefix) for prefix in prefixes]
        starts = [prefix.context if own is None else own for prefix, own in zip(prefixes, contexts, strict=True)]
        generations = self.engine.generate(
            [start.tokens.ids_T for start in starts if start.tokens is not None],
            max_tokens=self.turn_tokens,
            temperature=self.temperature,
            stop=self.template.stops,
            seeds=seeds,
            keys=[prefix.key for prefix in prefixes],
        )
        rows = zip(generations, prefixes, contexts, strict=True)
        return [self.turn(generation, prefix.steps, context) for generation, prefix, context in rows]

    def context_of(self, prefix: Prefix) -> Context | None:
        """What the next turn is sampled from, where that is not everything so far."""
        return None if self.contexts is None else self.contexts(prefix)

    def observe(self, turn: Turn, outcome: Outcome | None, limit: int | None, *, tools_off_next: bool) -> Observed:
        """The observation as it enters the context. Where it is longer than `limit` tokens its body is cut, so that
        the closing tag stays (the published loop cuts that too). A body in several pieces shares out the room."""
        calls = () if outcome is None else outcome.calls
        tokenizer = self.engine.tokenizer
        head, body, tail = self.template.observation(
            outcome, tools_off_next=tools_off_next, eos_sampled=turn.finish == "eos", tokenizer=tokenizer
        )
        if outcome is None and turn.valid:
            head, body = "", ()  # it asked for nothing
        whole = "".join((head, *body, tail))
        ids = self.encode(whole)
        if limit is None or len(ids) <= limit:
            return Observed(Context(whole, Tokens.foreign(ids)), calls)
        tail_ids = self.encode(tail)
        pieces = [head + body[0], *body[1:]] if body else [head]
        kept = self._cut(pieces, len(self.encode(head)), max(0, limit - len(tail_ids)))
        ids = [id for piece in kept for id in piece] + tail_ids
        fronts = [tokenizer.decode(piece, clean_up_tokenization_spaces=False) for piece in kept]
        shown = [len(os.path.commonprefix(pair)) for pair in zip(fronts, pieces, strict=True)]
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return Observed(Context(text, Tokens.foreign(ids)), _cut_calls(calls, pieces, shown))

    def _cut(self, pieces: Sequence[str], head: int, room: int) -> list[list[int]]:
        """Ids of each piece as far as `room` tokens go; the first begins with `head` tokens that take none of it."""
        ids = [self.encode(piece) for piece in pieces]
        lengths = [len(piece) for piece in ids]
        first, *others = fair_shares([max(0, lengths[0] - head), *lengths[1:]], max(0, room - head))
        keep = [min(room, head + first), *others]
        return [piece[:n] for piece, n in zip(ids, keep, strict=True)]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, nothing added."""
        return self.engine.tokenizer.encode(text, add_special_tokens=False)

    def turn(self, generation: Generation, steps: Sequence[Step] = (), context: Context | None = None) -> Turn:
        """A generation read by the template, after `steps`."""
        parsed = self.template.parse(generation.text)
        if isinstance(self.template, Ruled):
            parsed = self.template.ruled(parsed, generation.text, steps)
        places = [edge for _, start, stop in parsed.spans for edge in (start, stop)]
        tokens_at = self._ends.locate(generation, places)
        spans = tuple(
            Span(name, generation.text[start:stop], tokens_at[start][0], tokens_at[stop][1])
            for name, start, stop in parsed.spans
        )
        return Turn(
            text=generation.text,
            calls=parsed.calls,
            spans=spans,
            tokens=Tokens.sampled(generation.ids_T, generation.logprobs_T),
            answered=parsed.answered,
            valid=parsed.valid,
            finish=generation.finish,
            context=context,
            broken=parsed.broken,
        )

    @cached_property
    def _ends(self) -> TokenEnds:
        return TokenEnds(self.engine.tokenizer)


def fair_shares(lengths: Sequence[int], room: int) -> list[int]:
    """The room shared out evenly, what one does not need going to the others.

    >>> fair_shares([10, 2, 10], 12)
    [5, 2, 5]
    """
    shares = [0] * len(lengths)
    for done, n in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shares[n] = min(lengths[n], room // (len(lengths) - done))
        room -= shares[n]
    return shares


def _cut_calls(calls: Sequence[Call], pieces: Sequence[str], shown: Sequence[int]) -> tuple[Call, ...]:
    """`cut_hits` where each call has its own piece, or all of them share one."""
    if len(pieces) != len(calls):
        return cut_hits(calls, pieces[0], shown[0])
    rows = zip(calls, pieces, shown, strict=True)
    return tuple(call for one, piece, seen in rows for call in cut_hits([one], piece, seen))


def cut_hits(calls: Sequence[Call], text: str, shown: int) -> tuple[Call, ...]:
    """The calls with `Hit.shown` set, where the agent saw the first `shown` characters of `text`."""
    cursor, out = 0, []
    for call in calls:
        hits = []
        for hit in call.hits:
            start = text.find(hit.text, cursor)
            if start < 0:  # the tool shows something else than the page's text
                hits.append(hit)
                continue
            cursor = start + len(hit.text)
            hits.append(hit if cursor <= shown else replace(hit, shown=max(0, shown - start)))
        out.append(replace(call, hits=tuple(hits)))
    return tuple(out)


class TokenEnds:
    """Finds the tokens that hold given characters of a decoded text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bytes_V: list[int] | None = None
        if "ByteLevel" in repr(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", "")):
            added = {i: len(token.content.encode()) for i, token in tokenizer.added_tokens_decoder.items()}
            pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
            self.bytes_V = [added.get(i, len(piece or "")) for i, piece in enumerate(pieces)]  # a character a byte

    def locate(self, generation: Generation, characters: Sequence[int]) -> dict[int, tuple[int, int]]:
        """For each character position: (token that holds it, tokens needed to reach it)."""
        text = generation.text
        ends = self._ends_in_bytes(generation)
        found = {}
        for character in characters:
            before = len(text[:character].encode())
            found[character] = bisect.bisect_right(ends, before), bisect.bisect_left(ends, before) + (before > 0)
        return found

    def _ends_in_bytes(self, generation: Generation) -> list[int]:
        ids = generation.ids_T.tolist()
        if self.bytes_V is not None:
            ends = np.cumsum([self.bytes_V[i] for i in ids]).tolist()
            whole = len(generation.text.encode())
            if ends and whole in (ends[-1], ends[-2] if len(ends) > 1 else 0):  # a final eos is not in the text
                return ends
        decode = self.tokenizer.decode
        return [len(decode(ids[: n + 1], clean_up_tokenization_spaces=False).encode()) for n in range(len(ids))]
