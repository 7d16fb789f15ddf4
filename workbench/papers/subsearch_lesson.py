"""SubSearch on the embedded world: questions of two parts, and the tiny policy taught four ways to search for them.

One page a query is found, so that only a question asked in two queries is answered, and few demonstrations do that.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.templates import TagTemplate
from workbench.embedded import demo
from workbench.encoding import Remembered
from workbench.environments import SearchTool, ToolEnvironment
from workbench.environments.world import World
from workbench.papers.lesson import learn, played, pupil, teach
from workbench.papers.paper import Check, Proof
from workbench.protocols import Encoder, Limits, Prefix
from workbench.retrieval import SearchIndex, TfIdf
from workbench.rewards import CallCount, ExactMatch, Residual
from workbench.trajectory import Task, Trajectory

TEMPLATE = TagTemplate(
    instruction="Question: {question}\n",
    invalid_notice="\nInvalid. Search or answer.\n",
    separator="##",
    most_queries=3,
    heading="{query}:\n",
)
WAYS = {"none": 0.35, "verbatim": 0.35, "doubled": 0.2, "split": 0.1}
"""How a demonstration searches, and how often: not at all, the question as it stands, one part twice, each part."""
AND = " and "
UNKNOWN = "unknown"
"""What a demonstration answers for a part that it did not find."""
TAUGHT, ALONE, PAID = "taught four ways", "EM only", "residual"
EM, BOTH, EQUAL = "EM", "pages of both parts", "groups of equal pay"
BETA = 0.2
TWINS = 8000  # first seed of the twins that it is taught on too


def pairs(tasks: Sequence[Task], count: int, seed: int) -> list[Task]:
    """Questions of two parts, each a question of one hop about an entity of its own."""
    rng, single = np.random.default_rng([seed, 18]), [task for task in tasks if task.hops == 1]
    made: list[Task] = []
    while len(made) < count:
        first, second = (single[i] for i in rng.choice(len(single), 2, replace=False))
        if first.gold_pages != second.gold_pages and AND not in first.question + second.question:
            made.append(_pair(len(made), first, second))
    return made


def _pair(number: int, first: Task, second: Task) -> Task:
    asked = second.question[:1].lower() + second.question[1:]
    return Task(
        f"pair-{number}",
        f"{first.question.rstrip('?')}{AND}{asked}",
        golds=(f"{first.golds[0]} and {second.golds[0]}",),
        gold_pages=first.gold_pages | second.gold_pages,
        sub_questions=(*first.sub_questions, *second.sub_questions),
        kind="pair",
    )


def demonstration(prefix: Prefix, rng: np.random.Generator, ways: Mapping[str, float] = WAYS) -> str:
    """The next turn of a demonstrator that searches in one of four ways, and answers what it found."""
    parts = prefix.task.sub_questions
    way = str(rng.choice(list(ways), p=list(ways.values())))
    if prefix.steps or way == "none":
        hits = {hit.id for step in prefix.steps for hit in step.hits}
        found = [part.golds[0] if part.page in hits else UNKNOWN for part in parts]
        return TEMPLATE.write("I answer.", answer=AND.join(found))
    question = prefix.task.question.rstrip("?")
    queries = question.split(AND)
    asked = {"verbatim": [question], "doubled": queries[:1] * 2, "split": queries}[way]
    return TEMPLATE.write("I search.", query=asked)


@dataclass(frozen=True)
class Pairs:
    """Questions of two parts over the pages of a world, one page a query, one turn with tools."""

    world: World
    seed: int

    @cached_property
    def environment(self) -> ToolEnvironment:
        index = SearchIndex.build(self.world.pages, progress=False)
        return ToolEnvironment([SearchTool(index, k=1)], Limits(turns=1, observation_tokens=240))

    @cached_property
    def encoder(self) -> Encoder:
        return Remembered(TfIdf.fit(f"{page.title} {page.text}" for page in self.world.pages), {})

    @cached_property
    def tasks(self) -> list[Task]:
        return pairs(self.world.tasks, 800, self.seed)

    @cached_property
    def held_out(self) -> list[Task]:
        return pairs(self.world.test_tasks, 300, self.seed)


def on_world(seed: int, *, lesson: int = 480, updates: int = 60, progress: bool = True) -> Proof:
    """Exact match and splits on held-out questions, after GRPO paid by exact match alone, and by the residual sum.

    Args:
        lesson: updates of teaching.
        updates: of training, 64 rollouts each.
    """
    from workbench.papers.subsearch import intrinsic

    world = Pairs(demo().world, seed)
    process = intrinsic(world.encoder)
    start = taught(lesson)
    arms: dict[str, dict[str, float]] = {TAUGHT: measured(start, world)}
    curves: dict[str, list[float]] = {}
    for name, reward in ((ALONE, ExactMatch()), (PAID, Residual(ExactMatch(), process, BETA))):
        policy, curves[name], equal = copy.deepcopy(start), [], []
        for report, rollouts in learn(
            policy, world.tasks, world.environment, reward, updates=updates, seed=seed, progress=progress
        ):
            curves[name].append(splits(rollouts))
            equal.append(report.equal_groups / report.groups)
        arms[name] = measured(policy, world) | {EQUAL: float(np.mean(equal))}
    return Proof(
        arms, checks(arms, curves), reported(arms), curves=curves, curve_of="share with the pages of both parts"
    )


def checks(arms: Mapping[str, Mapping[str, float]], curves: Mapping[str, Sequence[float]]) -> list[Check]:
    """What the residual sum must bring."""
    during = {name: float(np.mean(curve)) for name, curve in curves.items()}
    alone, paid = arms[ALONE], arms[PAID]
    return [
        Check(
            f"it splits more, over the training, by 0.05 ({during[PAID]:.2f}, {during[ALONE]:.2f})",
            during[PAID] > during[ALONE] + 0.05,
        ),
        Check(f"and answers more at the end, by 0.03 ({paid[EM]:.2f}, {alone[EM]:.2f})", paid[EM] > alone[EM] + 0.03),
        Check("fewer groups are paid equally", paid[EQUAL] < alone[EQUAL]),
    ]


def reported(arms: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What was seen and is not claimed."""
    found, right = ({name: arms[name][what] for name in (ALONE, PAID)} for what in (BOTH, EM))
    return [
        f"Paid by exact match alone it finds the pages of both parts for {found[ALONE]:.2f} of the questions in the "
        f"end, with the residual sum for {found[PAID]:.2f}: nothing else is ever answered here, so that a few right "
        "answers teach it.",
        "What holds both back is writing an answer of two parts: right are "
        f"{right[ALONE] / max(found[ALONE], 1e-9):.2f} and {right[PAID] / max(found[PAID], 1e-9):.2f} as many as had "
        "both pages before them.",
    ]


def measured(policy: Any, world: Pairs) -> dict[str, float]:
    """On held-out questions, sampled as in training."""
    rollouts = played(policy, world.held_out, world.environment, seed=world.seed)
    return {
        EM: float(np.mean([ExactMatch()(one).value for one in rollouts])),
        BOTH: splits(rollouts),
        "queries": float(np.mean([CallCount()(one).value for one in rollouts])),
        "does not search": float(np.mean([not one.steps[0].calls for one in rollouts])),
    }


@cache
def taught(updates: int) -> Any:
    """The tiny policy after a lesson that is the same for every seed: to split, and then all four ways."""
    policy: Any = pupil(TEMPLATE)
    worlds = [demo(), *(demo().twin(TWINS + n) for n in range(3))]  # new names, so that it goes on copying
    some = [Pairs(world.world, TWINS) for world in worlds]
    for ways, share in (({"split": 1.0}, 0.9), (WAYS, 0.1)):
        shows = ScriptedPolicy(partial(demonstration, ways=ways), policy.engine.tokenizer, TEMPLATE, name="ways")
        shown = [one for pairs in some for one in played(shows, pairs.tasks, pairs.environment, seed=TWINS)]
        teach(policy, shown, updates=round(share * updates), seed=0)
    return policy


def splits(trajectories: Sequence[Trajectory]) -> float:
    """Share in which the pages of both parts were found."""
    found = [{hit.id for step in one.steps for hit in step.hits} for one in trajectories]
    return float(np.mean([one.task.gold_pages <= ids for one, ids in zip(trajectories, found, strict=True)]))
