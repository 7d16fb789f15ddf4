"""Facts about towns with rumours beside them, and a small agent that searches, compares and answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.tabular import Action, TabularPolicy
from workbench.agents.templates import TagTemplate
from workbench.agents.transformers_engine import TransformersEngine
from workbench.batch import flat_batch
from workbench.credit import BatchBaseline
from workbench.environments import RuleWriter, SimulatedSearch
from workbench.environments.hop_world import SYLLABLES
from workbench.protocols import Limits, Prefix
from workbench.retrieval import Page, SearchIndex
from workbench.rewards import TokenF1
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.training.learners import Learner, learner_for
from workbench.training.losses import PolicyLoss, clipped_policy_loss
from workbench.training.random_models import letter_tokenizer
from workbench.training.rows import Row, training_rows
from workbench.training.update import weighted_rows
from workbench.trajectory import Call, Context, Hit, Origin, Step, Task, Tokens, Tree

SEARCHES = 5  # the most that ZeroSearch allows
LONGEST = 6  # candidates that an answer may string together


def facts(towns: int = 75, rumours: int = 3, seed: int = 0) -> tuple[tuple[Page, ...], tuple[Task, ...]]:
    """A page that says who is mayor of each town, and so many that say somebody else is; a question a town."""
    rng = np.random.default_rng([seed, 21])
    words: dict[str, None] = {}
    while len(words) < towns * (2 + rumours):
        words["".join(SYLLABLES[int(i)] for i in rng.integers(len(SYLLABLES), size=3)).capitalize()] = None
    names = iter(words)
    pages, tasks = [], []
    for n in range(towns):
        town, *mayors = (next(names) for _ in range(2 + rumours))
        ids = [f"m{n}", *(f"r{n}.{i}" for i in range(rumours))]
        pages += [Page(id, "", f"The mayor of {town} is {who}") for id, who in zip(ids, mayors, strict=True)]
        tasks.append(Task(f"t{n}", f"Who is the mayor of {town}?", (mayors[0],), frozenset(ids[:1])))
    return tuple(pages), tuple(tasks)


def simulated(pages: Sequence[Page], noise: float) -> SimulatedSearch:
    """One document a search: the fact, or one of the rumours."""
    writer = RuleWriter(SearchIndex.build(pages, progress=False), k=1, pool=3, searched=4)
    return SimulatedSearch(writer, noise, Limits(turns=SEARCHES))


def comparer() -> TabularPolicy:
    """Searches again, or answers what most documents say (of equals, what was said first). It knows how many documents
    it has seen and by how many of them the most frequent answer leads."""
    actions: dict[str, Action] = {
        "search": lambda prefix: Call("search", {"query": prefix.task.question}),
        "answer": lambda prefix: _counted(prefix).most_common(1)[0][0] if _said(prefix) else "unknown",
    }
    return TabularPolicy(actions, lambda prefix: (len(_said(prefix)), _lead(prefix)), rows=32)


def _said(prefix: Prefix) -> list[str]:
    """The answer that each document gives, in the order they came."""
    return [hit.text.split()[-1] for step in prefix.steps for hit in step.hits]


def _counted(prefix: Prefix) -> Counter[str]:
    return Counter(_said(prefix))


def _lead(prefix: Prefix) -> int:
    counts = [*sorted(_counted(prefix).values(), reverse=True), 0, 0]
    return counts[0] - counts[1]


def expected_right(policy: TabularPolicy, noise: float, rumours: int = 3) -> float:
    """Chance that the agent's answer is right at this noise, exactly: summed over all that it may be shown and do."""

    def right(said: tuple[str, ...]) -> float:
        calls = [(Call("search", {}, (Hit(who, "", who),)),) for who in said]
        steps = tuple(Step(str(n), "", some) for n, some in enumerate(calls))
        chances = policy.probabilities(Prefix("", Task("", ""), steps, "", Context("")))
        now = chances["answer"] * (Counter(said).most_common(1)[0][0] == "gold" if said else 0.0)
        if len(said) == SEARCHES:
            return now
        later = (1 - noise) * right((*said, "gold"))
        later += sum(noise / rumours * right((*said, f"rumour {n}")) for n in range(rumours))
        return now + chances["search"] * later

    return right(())


# ---------------------------------------------------------------- an agent that chooses how much to answer


def with_candidates(tasks: Sequence[Task], seed: int) -> list[Task]:
    """The tasks with six answers that the agent holds to be likely: the right one is first in 6 of 10, else later."""
    rng = np.random.default_rng([seed, 22])
    made = []
    for n, task in enumerate(tasks):
        wrong = [other.golds[0] for other in tasks if other is not task][n : n + LONGEST - 1]
        wrong += [other.golds[0] for other in tasks[: LONGEST - 1 - len(wrong)]]
        at = 0 if n % 10 < 6 else int(rng.integers(1, LONGEST))
        listed = [*wrong[:at], task.golds[0], *wrong[at:]]
        made.append(replace(task, extras={**task.extras, "candidates": listed}))
    return made


def lister() -> TabularPolicy:
    """Answers with the first one to six of its candidates, strung together."""

    def says(count: int) -> Callable[[Prefix], str]:
        return lambda prefix: " ".join(prefix.task.extras["candidates"][:count])

    return TabularPolicy({str(n): says(n) for n in range(1, LONGEST + 1)}, lambda prefix: "any", rows=1)


def expected_length(policy: TabularPolicy) -> float:
    """Mean number of candidates in an answer, exactly."""
    chances = policy.probabilities(Prefix("", Task("", ""), (), "", Context("")))
    return sum(int(count) * chance for count, chance in chances.items())


# ---------------------------------------------------------------- what documents do to the gradient without a mask


def document_gradient(tasks: Sequence[Task], environment: SimulatedSearch, *, masked: bool, seed: int) -> float:
    """Norm of the part of the policy gradient that comes from the tokens of documents, for a bigram model.

    `masked` False: the documents count as drawn by the policy, which is what a loss without a mask takes them for.
    """
    tokenizer = letter_tokenizer(300)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**_BIGRAM))  # no layer: a token follows from the one before
    learner = learner_for(LanguagePolicy(TransformersEngine(model, tokenizer)))
    agent = ScriptedPolicy(_searches_once, tokenizer, TagTemplate(instruction="{question}\n"))
    trees = rollout(agent, tasks, environment, group_size=4, seed=seed, progress=False)
    trees = trees if masked else [_claimed(tree) for tree in trees]
    credit = BatchBaseline(baseline="none", returns="total")
    loss = PolicyLoss(clipped=False, importance_cap=None)
    rows = weighted_rows(training_rows(trees, credit(flat_batch(trees, score(trees, TokenF1())))), loss)
    for row in rows:
        _pull_on_documents(learner, row, loss)
    return float(torch.cat([_flat_gradient(p) for p in learner.parameters()]).norm())


_BIGRAM = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 0, "num_attention_heads": 4}


def _flat_gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    return torch.zeros(1) if parameter.grad is None else parameter.grad.flatten()


def _searches_once(prefix: Prefix, rng: np.random.Generator) -> str:
    said = _said(prefix)
    return f"<answer>{said[0]}</answer>" if said else f"<search>{prefix.task.question}</search>"


def _claimed(tree: Tree) -> Tree:
    """The tree with all that the environment added counted as sampled by the policy."""

    def claim(step: Step) -> Step:
        assert step.tokens is not None
        foreign_T = step.tokens.origins_T == Origin.ENVIRONMENT
        logprobs_T = np.where(foreign_T, 0.0, step.tokens.logprobs_T)
        origins_T = np.where(foreign_T, Origin.SAMPLED, step.tokens.origins_T)
        return replace(step, tokens=Tokens(step.tokens.ids_T, logprobs_T, origins_T))

    members = [replace(t, steps=tuple(claim(step) for step in t.steps)) for t in tree]
    return replace(tree, trajectories=tuple(members))


def _pull_on_documents(learner: Learner, row: Row, loss: PolicyLoss) -> None:
    """Add the gradient of the row's loss at the tokens of observations, with the weights that training gives them."""
    shown_T = np.concatenate([np.zeros(len(row) - sum(_lengths(row)), bool), *_shown(row)])
    logp_T = learner.likelihood([replace(row, train_T=shown_T)]).logp_T
    weights_T = torch.from_numpy(row.weights_T[shown_T] * row.train_T[shown_T])
    advantages_T = torch.from_numpy(row.advantages_T[shown_T])
    now_T = logp_T.detach()
    terms = clipped_policy_loss(
        loss, logp_T=logp_T, before_T=now_T, sampler_T=now_T, advantages_T=advantages_T, weights_T=weights_T
    )
    terms.loss.backward()


def _lengths(row: Row) -> list[int]:
    return [len(step.tokens) for step in row.trajectory.steps if step.tokens is not None]


def _shown(row: Row) -> list[np.ndarray]:
    """bool of each step's tokens: what follows the turn. The scripted turn has a token a character."""
    turns = [len(step.text.encode()) for step in row.trajectory.steps]
    return [np.arange(length) >= turn for length, turn in zip(_lengths(row), turns, strict=True)]
