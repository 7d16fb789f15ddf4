"""The contracts between rooms. Whatever has these methods fits; nothing has to inherit.

Upper floors depend on lower ones only through what stands here: a reward that needs an encoder gets something with
`Encoder`'s method, acting and learning hand rows to a `Recorder` and never see the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from workbench.trajectory import Call, Context, End, Group, Hit, Span, Step, Task, Tokens, Tree

if TYPE_CHECKING:
    from workbench.batch import Advantages, FlatBatch
    from workbench.scores import Scores

Json = Mapping[str, Any]


# ---------------------------------------------------------------- rewards and credit


class Reward(Protocol):
    """A group in, one Scores for each of its trajectories out, in order."""

    def __call__(self, group: Group) -> list[Scores]: ...


class Credit(Protocol):
    """Pure arithmetic from the rewards of groups to advantages."""

    def __call__(self, batch: FlatBatch) -> Advantages: ...


class Encoder(Protocol):
    """Texts to unit rows. A class attribute ``remember = True`` says that its vectors are worth keeping, see
    `workbench.encoding`."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, d], each row of length 1 (or 0 for an empty text)."""
        ...


class PairScorer(Protocol):
    """How well each text bears on its reference: a reranker, or a rule."""

    def __call__(self, texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """float [n] in [0, 1], NaN where it failed."""
        ...


class Ranker(Protocol):
    """A search engine that also says how well given pages match."""

    def search(self, queries: Sequence[str], k: int = 3) -> list[list[Hit]]:
        """At most `k` hits a query, best first."""
        ...

    def scores(self, query: str, pages: Sequence[str]) -> np.ndarray:
        """float64 [pages]: the score of each page, by its id, for the query."""
        ...


# ---------------------------------------------------------------- environments and tools


@dataclass(frozen=True)
class Outcome:
    """What the environment answered to the calls of one turn."""

    state: Any
    calls: tuple[Call, ...]  # the same calls with hits, result or error filled in
    observations: tuple[str, ...]  # one text a call, before the template frames it
    reward: float = float("nan")  # native reward; NaN: the environment pays none here
    end: End | None = None  # None: it goes on


@dataclass(frozen=True)
class Limits:
    """What an environment allows."""

    turns: int = 4  # turns in which tools may be called
    observation_tokens: int | None = 500  # of one turn, framing included; None: no limit
    final_turn: bool = True  # one more turn, tools off, after the last


class Tool(Protocol):
    """Something an agent may call. It answers many calls at once; a call it cannot answer comes back with `error`
    set, and a tool that is down raises ToolError."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Json:
        """JSON schema of the arguments."""
        ...

    def __call__(self, calls: Sequence[Call]) -> list[Call]: ...

    def render(self, call: Call) -> str:
        """The text the agent is shown."""
        ...


class Environment(Protocol):
    """States are values: `step` returns a new one and leaves the old usable, so that a trajectory can fork.

    An environment may also have ``step_all(states, calls) -> list[Outcome]``, one turn of many trajectories in one
    batch; the loop uses it where it is there.
    """

    @property
    def limits(self) -> Limits: ...

    @property
    def tools(self) -> Sequence[Tool]: ...

    def reset(self, task: Task, rng: np.random.Generator) -> tuple[Any, str]:
        """A state, and the first observation (``""`` where the question says it all)."""
        ...

    def step(self, state: Any, calls: Sequence[Call]) -> Outcome: ...


# ---------------------------------------------------------------- engines and policies


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Asking for what is False raises CapabilityError."""

    ids: bool = True  # ids in, ids and logprobs out
    logprobs: bool = True
    stop_strings: bool = True
    seed: bool = True  # same seeds, same samples
    score: bool = False  # logprobs of given continuations
    entropy: bool = False
    hidden_states: bool = False
    logits_hook: bool = False
    cache_across_turns: bool = False
    trainable: bool = False  # the same weights can be trained in this process


@dataclass(frozen=True, eq=False)
class Generation:
    """One sampled continuation. ids_T int32, logprobs_T float32 under the sampling distribution."""

    ids_T: np.ndarray
    logprobs_T: np.ndarray
    text: str
    finish: str  # "stop" (a stop string), "eos" or "length"


class Engine(Protocol):
    """Samples token ids from token ids."""

    name: str
    capabilities: Capabilities
    weights_version: int
    tokenizer: Any

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
        """One continuation a prompt. `seeds`: one a prompt, so that a row does not depend on its neighbours.
        `keys` name the conversations, for engines that keep a cache across turns. Temperature 0 is greedy."""
        ...

    def score(self, prompts: Sequence[np.ndarray], continuations: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 [T] logprob of each continuation token, at temperature 1."""
        ...


@dataclass(frozen=True, eq=False)
class Turn:
    """What a policy did: the sampled part of a step, before the environment answers."""

    text: str
    calls: tuple[Call, ...] = ()
    spans: tuple[Span, ...] = ()
    tokens: Tokens | None = None
    answered: bool = False  # holds a final answer
    valid: bool = True
    finish: str = "stop"
    context: Context | None = None  # set where it was sampled from other than previous + observation
    broken: str = ""  # the rule of its grammar that this turn breaks, where that ends the rollout


@dataclass(frozen=True, eq=False)
class Observed:
    """An observation as the agent will see it, and the calls with `Hit.shown` set where it was cut."""

    context: Context
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, eq=False)
class Prefix:
    """A trajectory so far, as a policy sees it."""

    key: str  # trajectory id
    task: Task
    steps: tuple[Step, ...]
    observation: str  # the newest
    context: Context  # everything so far, as text and, for language models, as tokens
    tools_off: bool = False  # the last turn: a call will not be answered
    role: str = "agent"  # that the policy plays


class Policy(Protocol):
    """Samples turns, many trajectories at a time.

    One that plays several roles (system prompts, templates) has ``in_role(name)``, itself in one of them, and ``role``,
    the name of the one it is in: rollouts of different roles are never compared.
    """

    @property
    def name(self) -> str:
        """Name and weights version, as recorded with every step."""
        ...

    def start(self, task: Task, observation: str, environment: Environment) -> Context:
        """The prompt."""
        ...

    def act(self, prefixes: Sequence[Prefix], seeds: Sequence[int]) -> list[Turn]: ...

    def observe(self, turn: Turn, outcome: Outcome | None, limit: int | None, *, tools_off_next: bool) -> Observed:
        """The observation as the agent will see it, cut to `limit` tokens. `outcome` None: the turn was invalid."""
        ...


class Sampler(Protocol):
    """Draws trees, each yielded as soon as it is finished."""

    def sample(
        self,
        policy: Policy,
        environment: Environment,
        tasks: Sequence[Task],
        scorer: Reward | None,
        rng: np.random.Generator,
    ) -> Iterator[Tree]: ...


# ---------------------------------------------------------------- recording


@runtime_checkable
class Recorder(Protocol):
    """Where acting and learning hand rows to. `workbench.open(path)` gives one that keeps them."""

    def start_run(self, settings: Json, *, name: str | None = None) -> str:
        """Open a run and return its name (given, or the next free one)."""
        ...

    def record_trees(self, trees: Sequence[Tree], *, run: str, update: int = 0) -> None: ...

    def record_scores(
        self,
        trees: Sequence[Tree],
        scores: Sequence[Sequence[Scores]],
        *,
        run: str,
        update: int = 0,
        reward: str = "{}",
        version: str = "",
    ) -> None:
        """`reward`: its spec as JSON text; `version`: code version of the reward (see `workbench.spec`)."""
        ...

    def record_plan(self, plan: str, *, run: str, update: int) -> None:
        """`plan`: spec as JSON text, in force from this update on."""
        ...

    def record_report(self, report: Json, *, run: str, update: int) -> None: ...

    def end_run(self, run: str, status: str) -> None: ...


@dataclass(frozen=True, eq=False)
class Request:
    """What somebody asks of a run from elsewhere: pause, resume, stop, roll back (told `update`), or change (told
    fields of its plan, or `weights` of its reward by term)."""

    id: str
    run: str
    what: str
    who: str
    told: Json
    trouble: str = ""  # why what was told cannot be had here


@runtime_checkable
class Steering(Protocol):
    """A recorder that brings requests from other processes. A store does."""

    def requests(self, runs: Sequence[str]) -> list[Request]:
        """Those of these runs that nobody has answered, the oldest first; one just answered may come once more."""
        ...

    def answer(self, request: Request, says: str) -> None:
        """What came of it, in a sentence."""
        ...
