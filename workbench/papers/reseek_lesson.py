"""ReSeek on the embedded world: the tiny policy is taught to judge its searches, then trained with and without pay for
judging right. A search there goes wrong in some of the cases, so that there is something to judge."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from workbench.agents.contexts import HideRejected
from workbench.agents.judging import JudgeTemplate
from workbench.agents.scripted import ScriptedPolicy
from workbench.embedded import Demo, demo
from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment
from workbench.environments.world import Page, World
from workbench.evaluation import decision_report
from workbench.papers.lesson import learn, played, pupil, teach
from workbench.papers.paper import Check, Proof
from workbench.protocols import Limits, Prefix
from workbench.rewards import CallCount, CoverageGain, ExactMatch, ReduceSteps, RepeatedQueries, Reward, SelfAssessment
from workbench.trajectory import Call, End, Step, Task, Trajectory

TEMPLATE = JudgeTemplate(instruction="Question: {question}\n", invalid_notice="\nInvalid. Judge, search or answer.\n")
JUDGED = SelfAssessment(CoverageGain(mode="single"), threshold=0.0)
"""A result is of use where it brings a gold page: of several hops, any one's."""
OUTCOME, REWARD = ExactMatch(), ExactMatch() + JUDGED
HOPS = 2  # of a task at most: four searches must do, and some go wrong
TWINS = 7000  # first seed of the twins that it is taught on too
GOES_WRONG, MISJUDGES = 0.4, 0.3  # shares of the queries, and of the demonstrator's judgements
LOST = (
    Page("lost-1", "Page not found", "The page that you asked for was moved or does not exist.", "lost", {}),
    Page("lost-2", "Access denied", "Sign in to read this page.", "lost", {}),
    Page("lost-3", "Before you continue", "This site uses cookies. Accept all or choose.", "lost", {}),
)
"""What a search that goes wrong brings."""
TAUGHT, ALONE, PAID, HIDDEN = "taught to judge", "outcome only", "with judge reward", "the same, what it rejects hidden"
EM, ACCURACY, REPEATED = "EM", "judge accuracy", "repeated queries"


@dataclass(frozen=True)
class Unreliable(SearchTool):
    """A search that brings no page of the world for a share of the queries, always for the same."""

    share: float = GOES_WRONG

    def __call__(self, calls: Sequence[Call]) -> list[Call]:
        asked = [replace(call, arguments={"query": self._instead(call.query)}) for call in calls]
        found = super().__call__(asked)
        return [replace(call, hits=one.hits) for call, one in zip(calls, found, strict=True)]

    def _instead(self, query: str) -> str:
        drawn = zlib.crc32(query.encode())
        return LOST[drawn % len(LOST)].title if drawn % 1000 < 1000 * self.share else query


def unreliable(world: World) -> ToolEnvironment:
    """Four searches and their judgements, a page a search."""
    from workbench.retrieval import SearchIndex

    index = SearchIndex.build([*world.pages, *LOST], progress=False)
    return ToolEnvironment([Unreliable(index, k=1)], limits=Limits(turns=8, observation_tokens=160))


def few_hops(tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task.hops <= HOPS]


def demonstration(prefix: Prefix, rng: np.random.Generator) -> str:
    """The next turn of a demonstrator that judges most results rightly, searches in other words after No, and has
    nothing to answer once it accepted what was of no use."""
    task, steps = prefix.task, prefix.steps
    accepted = _accepted(task, steps)
    if TEMPLATE.judge_is_due(steps):
        useful = _brings(steps[-1], task, len(accepted))
        return TEMPLATE.write_judgement(useful ^ bool(rng.random() < MISJUDGES))
    if not all(accepted):
        return TEMPLATE.write("I lost my way.", answer="unknown")
    if len(accepted) == task.hops:
        return TEMPLATE.write(f"I found the {task.extras['path'][-1]}.", answer=task.sub_questions[-1].golds[0])
    wanted, sub = task.extras["path"][len(accepted)], task.sub_questions[len(accepted)]
    return TEMPLATE.write(f"I need the {wanted}.", query=sub.queries[_tries(steps) % len(sub.queries)])


def _accepted(task: Task, steps: Sequence[Step]) -> list[bool]:
    """Of each result that was accepted, whether it was of use: hop after hop."""
    useful: list[bool] = []
    for searched, judged in pairwise(steps):
        if judged.span("judge") == "Yes":
            useful.append(_brings(searched, task, len(useful)))
    return useful


def _brings(step: Step, task: Task, hop: int) -> bool:
    return any(hit.id == task.sub_questions[hop].page for hit in step.hits)


def _tries(steps: Sequence[Step]) -> int:
    """Searches rejected since the last one that was accepted."""
    labels = [step.span("judge") for step in steps if step.span("judge")]
    return next((n for n, label in enumerate(reversed(labels)) if label == "Yes"), len(labels))


@cache
def taught(updates: int) -> tuple[Any, Demo]:
    """The tiny policy after a lesson in judging, and the demo it is from. The lesson is the same for every seed."""
    policy: Any = pupil(TEMPLATE)
    world = demo()
    shows = ScriptedPolicy(demonstration, policy.engine.tokenizer, TEMPLATE, name="judge")
    traces: list[Trajectory] = []
    for one in (world, *(world.twin(TWINS + n) for n in range(3))):  # new names, so that it goes on copying
        shown = played(shows, few_hops(one.tasks), unreliable(one.world), seed=0)
        traces += [trajectory for trajectory in shown if trajectory.end is End.ANSWERED]
    short = [one for one in traces if one.task.hops == 1]  # first what is short: more judgements a token
    teach(policy, short, updates=updates // 2, seed=0, final_lr=1.0)
    teach(policy, traces, updates=updates - updates // 2, seed=0)
    return policy, world


def on_world(seed: int, *, lesson: int = 300, updates: int = 24, tasks: int = 200, progress: bool = True) -> Proof:
    """Exact match, judging and searching on held-out tasks after GRPO by the outcome alone, and with the judge reward.

    Args:
        lesson: updates of teaching, from demonstrations that judge three results in ten wrongly.
        updates: of training, 64 rollouts each.
        tasks: held out, to measure on, sampled as in training.
    """
    start, world = taught(lesson)
    environment, held_out = unreliable(world.world), few_hops(world.test_tasks)[:tasks]
    arms, curves = {TAUGHT: measured(start, held_out, environment, seed)}, {}
    for name, reward in ((ALONE, OUTCOME), (PAID, REWARD)):
        policy = copy.deepcopy(start)
        course = learn(
            policy, few_hops(world.tasks), environment, reward, updates=updates, seed=seed, progress=progress
        )
        curves[name] = [exact(rollouts) for _, rollouts in course]
        arms[name] = measured(policy, held_out, environment, seed)
    arms[HIDDEN] = measured(replace(policy, contexts=HideRejected()), held_out, environment, seed)
    return Proof(arms, checks(arms, curves), reported(arms), curves=curves, curve_of="exact match")


def measured(policy: Any, tasks: Sequence[Task], environment: ToolEnvironment, seed: int) -> dict[str, float]:
    rollouts = played(policy, tasks, environment, seed=seed)
    rows = [one for trajectory in rollouts for one in JUDGED.assessments(trajectory)]
    judged = decision_report([one.said for one in rows], [one.truth for one in rows]).loc["all"]
    return {
        EM: exact(rollouts),
        "searches": _mean(CallCount(), rollouts),
        ACCURACY: float(judged["accuracy"]),
        "yes share": float(judged["yes_share"]),
        REPEATED: _mean(ReduceSteps(RepeatedQueries(), "mean", empty=0.0), rollouts),
        "broken rules": float(np.mean([bool(TEMPLATE.violations(one)) for one in rollouts])),
    }


def exact(rollouts: Sequence[Trajectory]) -> float:
    """Mean exact match."""
    return _mean(OUTCOME, rollouts)


def _mean(reward: Reward, rollouts: Sequence[Trajectory]) -> float:
    return float(np.mean([reward(one).value for one in rollouts]))


def checks(arms: Mapping[str, Mapping[str, float]], curves: Mapping[str, Sequence[float]]) -> list[Check]:
    """What the judge reward must bring."""
    alone, paid = arms[ALONE], arms[PAID]
    early = {name: float(np.mean(curve[: max(1, len(curve) // 2)])) for name, curve in curves.items()}
    return [
        Check(f"it judges better ({paid[ACCURACY]:.2f}, {alone[ACCURACY]:.2f})", paid[ACCURACY] > alone[ACCURACY]),
        Check(
            f"and answers better in the first half of the training ({early[PAID]:.3f}, {early[ALONE]:.3f})",
            early[PAID] > early[ALONE],
        ),
        Check(
            f"and no worse at the end, by 0.03, on held-out tasks ({paid[EM]:.3f}, {alone[EM]:.3f})",
            paid[EM] > alone[EM] - 0.03,
        ),
    ]


def reported(arms: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What was seen and is not claimed."""
    seen, hidden = arms[PAID][REPEATED], arms[HIDDEN][REPEATED]
    taught, alone, paid = (arms[name]["yes share"] for name in (TAUGHT, ALONE, PAID))
    return [
        f"It says yes in {paid:.2f} of its judgements ({alone:.2f} paid by the outcome alone, {taught:.2f} before): a "
        "right rejection is paid whenever a search brings nothing, a right answer once.",
        f"It repeats {seen:.2f} of its queries where it sees what it rejected, {hidden:.2f} where that is hidden (as "
        "it was in no training).",
    ]
