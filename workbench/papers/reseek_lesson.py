"""ReSeek on the embedded world: the tiny policy is taught to judge its searches, then trained with and without pay for
judging right. A search there goes wrong in some of the cases, so that there is something to judge."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.agents.contexts import HideRejected
from workbench.agents.judging import JudgeTemplate
from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment
from workbench.environments.world import World
from workbench.evaluation import decision_report
from workbench.papers.paper import Check, Proof
from workbench.protocols import Limits, Prefix
from workbench.rewards import CallCount, CoverageGain, ExactMatch, ReduceSteps, RepeatedQueries, Reward, SelfAssessment
from workbench.trajectory import Call, End, Step, Task, Trajectory

if TYPE_CHECKING:
    from workbench.agents.language_policy import LanguagePolicy

TEMPLATE = JudgeTemplate(instruction="Question: {question}\n", invalid_notice="\nInvalid. Judge, search or answer.\n")
JUDGED = SelfAssessment(CoverageGain(mode="single"), threshold=0.0)
"""A result is of use where it brings a gold page: of several hops, any one's."""
OUTCOME, REWARD = ExactMatch(), ExactMatch() + JUDGED
GOES_WRONG, MISJUDGES = 0.4, 0.15  # shares of the queries, and of the demonstrator's judgements
TWINS = 7000  # first seed of the twins that it is taught on too


@dataclass(frozen=True)
class Unreliable(SearchTool):
    """A search that brings pages about something else for a share of the queries, always for the same."""

    share: float = GOES_WRONG
    others: tuple[str, ...] = ()  # titles of which one is searched instead

    def __call__(self, calls: Sequence[Call]) -> list[Call]:
        asked = [replace(call, arguments={"query": self._instead(call.query)}) for call in calls]
        found = super().__call__(asked)
        return [replace(call, hits=one.hits) for call, one in zip(calls, found, strict=True)]

    def _instead(self, query: str) -> str:
        drawn = zlib.crc32(query.encode())
        return self.others[drawn % len(self.others)] if drawn % 1000 < 1000 * self.share else query


def unreliable(world: World) -> ToolEnvironment:
    """Four searches and their judgements, two pages a search."""
    from workbench.retrieval import SearchIndex

    index = SearchIndex.build(world.pages, progress=False)
    tool = Unreliable(index, k=2, others=tuple(page.title for page in world.pages))
    return ToolEnvironment([tool], limits=Limits(turns=8, observation_tokens=160))


def demonstration(prefix: Prefix, rng: np.random.Generator) -> str:
    """The next turn of a demonstrator that judges most results rightly, and searches in other words after No."""
    task, steps = prefix.task, prefix.steps
    done = sum(step.span("judge") == "Yes" for step in steps)
    if TEMPLATE.judge_is_due(steps):
        page = task.sub_questions[min(done, task.hops - 1)].page
        useful = any(hit.id == page for hit in steps[-1].hits)
        return TEMPLATE.write_judgement(useful ^ bool(rng.random() < MISJUDGES))
    if done >= task.hops:
        return TEMPLATE.write(f"I found the {task.extras['path'][-1]}.", answer=task.sub_questions[-1].golds[0])
    wanted, sub = task.extras["path"][done], task.sub_questions[done]
    return TEMPLATE.write(f"I need the {wanted}.", query=sub.queries[_tries(steps) % len(sub.queries)])


def _tries(steps: Sequence[Step]) -> int:
    """Searches rejected since the last one that was accepted."""
    labels = [step.span("judge") for step in steps if step.span("judge")]
    return next((n for n, label in enumerate(reversed(labels)) if label == "Yes"), len(labels))


def taught(seed: int, updates: int) -> tuple[LanguagePolicy, Any]:
    """The tiny policy after a lesson in judging, and the demo it is from."""
    from workbench.agents.scripted import ScriptedPolicy
    from workbench.embedded import demo
    from workbench.sampling.group import GroupSampler
    from workbench.sampling.rollout import rollout
    from workbench.training.plan import Optimiser
    from workbench.training.sft import sft
    from workbench.training.tiny_policy import tiny_policy

    world = demo()
    policy: Any = tiny_policy(world.policy.engine, TEMPLATE)  # type: ignore[arg-type]
    shows = ScriptedPolicy(demonstration, policy.engine.tokenizer, TEMPLATE, name="judge")
    traces: list[Trajectory] = []
    for one in (world, *(world.twin(TWINS + n) for n in range(3))):  # new names, so that it goes on copying
        drawn = GroupSampler(1, 512)
        trees = rollout(shows, one.tasks, unreliable(one.world), sampler=drawn, seed=seed, progress=False)
        traces += [tree.trajectories[0] for tree in trees if tree.trajectories[0].end is End.ANSWERED]
    short = [one for one in traces if one.task.hops == 1]  # first what is short: more judgements a token
    settings: dict[str, Any] = {"tokens_per_update": 4000, "optimiser": Optimiser(4e-4, warmup=10), "seed": seed}
    sft(policy, short, updates=updates // 2, final_lr=1.0, progress=False, **settings)
    sft(policy, traces, updates=updates - updates // 2, progress=False, **settings)
    return policy, world


def on_world(
    seed: int, *, lesson: int = 600, updates: int = 24, tasks: int = 200, hide: bool = True, progress: bool = True
) -> Proof:
    """Exact match, judging and searching on held-out tasks after GRPO by the outcome alone, with the judge reward, and
    (`hide`) with it and rejected results hidden.

    Args:
        lesson: updates of teaching, from demonstrations that judge one result in seven wrongly.
        updates: of training, 64 rollouts each.
        tasks: held out, to measure on, greedily.
    """
    policy, world = taught(seed, lesson)
    environment, held_out = unreliable(world.world), world.test_tasks[:tasks]
    arms = {"taught to judge": _measured(policy, held_out, environment, seed)}
    curves: dict[str, list[float]] = {}
    hiding = replace(policy, contexts=HideRejected())
    starts: dict[str, tuple[Any, Reward]] = {"outcome only": (policy, OUTCOME), "with judge reward": (policy, REWARD)}
    starts |= {"with judge reward, rejected results hidden": (hiding, REWARD)} if hide else {}
    for name, (start, reward) in starts.items():
        mine = copy.deepcopy(start)
        curves[name] = list(_learning(mine, world.tasks, environment, reward, updates, seed, progress))
        arms[name] = _measured(mine, held_out, environment, seed)
    return Proof(arms, _checks(arms, curves), curves=curves, curve_of="exact match")


def _learning(
    policy: Any, tasks: Sequence[Task], environment: ToolEnvironment, reward: Reward, updates: int, seed: int, say: bool
) -> Iterator[float]:
    """Exact match of the rollouts of every update."""
    from workbench.training.method import GRPO
    from workbench.training.plan import Optimiser
    from workbench.training.train import train

    run = train(
        policy,
        tasks,
        environment,
        reward,
        method=GRPO(8, kl=0.0),
        updates=updates,
        tasks_per_update=8,
        optimiser=Optimiser(1e-4, warmup=3),
        seed=seed,
    )
    for report in run:
        if say:
            print(report, flush=True)
        assert run.latest is not None
        yield float(np.mean([OUTCOME(one).value for tree in run.latest.trees for one in tree]))


def _measured(policy: Any, tasks: Sequence[Task], environment: ToolEnvironment, seed: int) -> dict[str, float]:
    from workbench.sampling.rollout import rollout

    trees = rollout(policy.at(0.0), tasks, environment, group_size=1, seed=1000 + seed, progress=False)
    played = [trajectory for tree in trees for trajectory in tree]
    rows = [one for trajectory in played for one in JUDGED.assessments(trajectory)]
    judged = decision_report([one.said for one in rows], [one.truth for one in rows]).loc["all"]
    return {
        "EM": _mean(OUTCOME, played),
        "searches": _mean(CallCount(), played),
        "judge accuracy": float(judged["accuracy"]),
        "yes share": float(judged["yes_share"]),
        "repeated queries": _mean(ReduceSteps(RepeatedQueries(), "mean", empty=0.0), played),
        "broken rules": float(np.mean([bool(TEMPLATE.violations(one)) for one in played])),
    }


def _mean(reward: Reward, played: Sequence[Trajectory]) -> float:
    return float(np.mean([reward(one).value for one in played]))


def _checks(arms: Mapping[str, Mapping[str, float]], curves: Mapping[str, Sequence[float]]) -> list[Check]:
    alone, paid = arms["outcome only"], arms["with judge reward"]
    early = {name: float(np.mean(curve[: max(1, len(curve) // 4)])) for name, curve in curves.items()}
    checks = [
        Check("paid for judging, it judges better", paid["judge accuracy"] > alone["judge accuracy"]),
        Check("and answers better early on, in training", early["with judge reward"] > early["outcome only"]),
        Check("and no worse at the end, by 0.03, on held-out tasks", paid["EM"] > alone["EM"] - 0.03),
    ]
    hidden = arms.get("with judge reward, rejected results hidden")
    if hidden is not None:
        says = "it repeats fewer queries when it still sees what it rejected"
        checks.append(Check(says, paid["repeated queries"] < hidden["repeated queries"]))
    return checks
