"""A made-up gazetteer for BLEUBERI's proof: what is said of each town, in several wordings, good and spoilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.agents.tabular import TabularPolicy
from workbench.evaluation.corruptions import Corruption, corrupted
from workbench.protocols import Encoder, Prefix
from workbench.rewards import FunctionReward, reward_of
from workbench.trajectory import End, Span, Step, Task, Trajectory

WORDINGS: Mapping[str, tuple[str, ...]] = {
    "river": (
        "The river {river} flows through {town}.",
        "{town} lies on the river {river}.",
        "It is the {river} that runs through the town of {town}.",
        "On both banks of the {river} stands {town}.",
    ),
    "founded": (
        "{town} was founded in {founded}.",
        "The town of {town} goes back to the year {founded}.",
        "People settled in {town} in {founded} for the first time.",
        "Its founders came to {town} in {founded}.",
    ),
    "mayor": (
        "The mayor of {town} is {mayor}.",
        "{mayor} is mayor of {town} at present.",
        "At the head of {town} stands {mayor} as its mayor.",
        "Today {mayor} governs the town of {town}.",
    ),
    "known": (
        "{town} is known for its {known}.",
        "What {town} is best known for are its {known}.",
        "Many visitors come to {town} because of the {known}.",
        "The {known} of {town} have made it famous.",
    ),
}
QUESTIONS = {
    "river": "Which river flows through {town}?",
    "founded": "When was {town} founded?",
    "mayor": "Who is the mayor of {town}?",
    "known": "What is {town} known for?",
}
KNOWN = ("Bells", "Bridges", "Clocks", "Markets", "Mills", "Pears", "Quarries", "Springs", "Tapestries", "Violins")
SYLLABLES = ("bar", "dol", "fen", "gar", "hul", "kes", "lom", "mir", "nor", "pel", "ras", "sul", "tor", "vel", "wyn")


@dataclass(frozen=True)
class Town:
    """What is true of a town, by name of the fact; "town" is its own."""

    facts: Mapping[str, str]

    def says(self, fact: str, wording: int) -> str:
        return WORDINGS[fact][wording].format(**self.facts)

    def report(self, rng: np.random.Generator) -> str:
        """All facts, a sentence each, in any order and wording."""
        return " ".join(self.says(str(fact), int(rng.integers(4))) for fact in rng.permutation(list(WORDINGS)))


def towns(count: int, rng: np.random.Generator) -> list[Town]:
    def name() -> str:
        return "".join(rng.choice(SYLLABLES, 2)).capitalize()

    return [
        Town(
            {
                "town": f"{name()}{rng.choice(SYLLABLES)}",
                "river": name(),
                "founded": str(rng.integers(1000, 1900)),
                "mayor": f"{name()} {name()}",
                "known": str(rng.choice(KNOWN)),
            }
        )
        for _ in range(count)
    ]


# ---------------------------------------------------------------- pairs of a good and a spoilt answer


def pairs(count: int, rng: np.random.Generator) -> list[tuple[Trajectory, Trajectory]]:
    """Reports with a spoilt copy each: a name swapped, a sentence dropped, fillers added, words shuffled, in turn.

    Every task has five references, other reports of the same town.
    """
    kinds: tuple[Corruption, ...] = ("swap", "drop", "pad", "shuffle")
    places = towns(count, rng)
    made = []
    for n, town in enumerate(places):
        good = town.report(rng)
        spoilt = corrupted(town.report(rng), kinds[n % 4], rng, others=[places[n - 1].report(rng)])
        references = [town.report(rng) for _ in range(5)]
        task = Task(f"report {n}", f"Tell me about {town.facts['town']}.", extras={"references": references})
        made.append((answering(task, good, "good"), answering(task, spoilt or "", "spoilt")))
    return made


def answering(task: Task, text: str, id: str) -> Trajectory:
    step = Step(f"{task.id} {id}", text, spans=(Span("answer", text),))
    return Trajectory(f"{task.id} {id}", task, (step,), End.ANSWERED)


def linear_model(examples: Sequence[tuple[Trajectory, Trajectory]], encoder: Encoder) -> FunctionReward:
    """A scorer linear in the encoder's features, fitted in closed form to tell good answers from spoilt ones."""
    rows = encoder([str(one.answer) for pair in examples for one in pair]).astype(np.float64)
    apart = rows[0::2] - rows[1::2]
    slope = apart.T @ np.linalg.solve(apart @ apart.T + np.eye(len(apart)), np.ones(len(apart)))
    return reward_of(lambda trajectory: float(encoder([str(trajectory.answer)])[0] @ slope), name="model")


# ---------------------------------------------------------------- questions and who answers them


def question_tasks(places: Sequence[Town], rng: np.random.Generator) -> list[Task]:
    """A question for each fact of each town, with one reference in any wording but the fourth."""
    return [
        Task(
            f"{town.facts['town']} {fact}",
            QUESTIONS[fact].format(**town.facts),
            golds=(town.facts[fact],),
            kind=fact,
            extras={"references": [town.says(fact, int(rng.integers(3)))], "town": dict(town.facts)},
        )
        for town in places
        for fact in WORDINGS
    ]


def answerer(seed: int) -> TabularPolicy:
    """Chooses by kind of question how to answer; each kind begins with a leaning of its own towards one way."""
    policy = TabularPolicy({way: _says(way) for way in WAYS}, lambda prefix: prefix.task.kind)
    rng = np.random.default_rng(seed)
    for row, fact in enumerate(rng.permutation(list(WORDINGS))):
        policy.row_of[str(fact)] = row
        liked = ("right 0", "wrong", "copy", "junk")[row]
        policy.table.data[row, list(WAYS).index(liked)] = 1.5
    return policy


def _says(way: str) -> Callable[[Prefix], str]:
    return lambda prefix: WAYS[way](prefix.task)


def _right(wording: int) -> Callable[[Task], str]:
    return lambda task: Town(task.extras["town"]).says(task.kind, wording)


def _wrong(task: Task) -> str:
    facts = {**task.extras["town"], "river": "Nowhere", "founded": "1", "mayor": "Nobody", "known": "Nothing"}
    return Town(facts).says(task.kind, 0)


def _long(task: Task) -> str:
    town = Town(task.extras["town"])
    return " ".join(town.says(fact, 3) for fact in WORDINGS)


WAYS: Mapping[str, Callable[[Task], str]] = {
    **{f"right {wording}": _right(wording) for wording in range(4)},
    "wrong": _wrong,
    "all there is": _long,
    "copy": lambda task: task.question,
    "junk": lambda task: "It is",
}
