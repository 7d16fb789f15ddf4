"""TongSearch-QR on a catalogue with a vocabulary gap: the tiny policy is taught to write queries of words that pages
may say, mostly wrong ones, and trained by what a query gains over the question."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.agents.scripted import ScriptedPolicy
from workbench.agents.templates import TagTemplate
from workbench.environments import CatalogueWorld, ToolEnvironment
from workbench.evaluation import rank_correlation, retrieval_metrics
from workbench.papers.lesson import learn, played, pupil, teach
from workbench.papers.paper import Check, Proof
from workbench.protocols import Encoder, Limits, Prefix
from workbench.retrieval import SearchIndex, TfIdf
from workbench.rewards import Reward
from workbench.trajectory import Task, Trajectory

TEMPLATE = TagTemplate(instruction="Question: {question}\n", invalid_notice="\nInvalid. Write the query.\n")
WORDS = (3, 10)  # of a demonstrated query: least, and one more than most
GROUP = 16
TURN_TOKENS = 64
RAW, TAUGHT, COSINE, SCORE = "raw question", "taught", "paid by cosine", "paid by BM25 score"
NDCG, REWARD, LENGTH = "nDCG@10", "reward", "words"


class Catalogue:
    """Questions to train on, and others of the same topics; the query is the answer, and nothing is searched for."""

    def __init__(self, seed: int) -> None:
        settings = CatalogueWorld(subjects=10, questions=4, seed=seed)
        pages, tasks, _ = settings.build()
        self.tasks: list[Task] = [task for n, task in enumerate(tasks) if n % 4 < 2]
        self.held_out: list[Task] = [task for n, task in enumerate(tasks) if n % 4 >= 2]
        self.index = SearchIndex.build(pages, k1=0.9, b=0.4, progress=False)
        self.encoder: Encoder = TfIdf.fit(page.text for page in pages)
        self.environment = ToolEnvironment((), Limits(turns=1, final_turn=False))
        self.seed = seed

    def ndcg(self, queries: Sequence[str], tasks: Sequence[Task]) -> np.ndarray:
        found = [[hit.id for hit in hits] for hits in self.index.search(queries, 10)]
        return retrieval_metrics(found, [task.gold_pages for task in tasks], k=10).ndcg.to_numpy()


def demonstration(prefix: Prefix, rng: np.random.Generator) -> str:
    """A query of some of the candidate words of the topic, of which one in four is right."""
    words = rng.permutation(prefix.task.extras["candidates"])[: int(rng.integers(*WORDS))]
    return TEMPLATE.write("", answer=" ".join(words))


def on_world(seed: int, *, lesson: int = 150, updates: int = 40, progress: bool = True) -> Proof:
    """nDCG@10 of the raw question, of what the taught policy writes, and of what it writes after GRPO by the gain in
    cosine; and how long a query gets when the gain in BM25 score is paid.

    Args:
        lesson: updates of teaching.
        updates: of training, 160 rollouts each.
    """
    from workbench.papers.tongsearch_qr import engine_rewards, tongsearch

    world = Catalogue(seed)
    paid = tongsearch(world.encoder)
    start = taught(world, lesson)
    raw = world.ndcg([task.question for task in world.held_out], world.held_out)
    arms = {RAW: {NDCG: float(raw.mean())}}
    arms[TAUGHT], faithful = measured(start, world, paid)
    curves = {}
    for name, reward in ((COSINE, paid), (SCORE, engine_rewards(world.index)["BM25 score"])):
        policy = copy.deepcopy(start)
        course = learn(
            policy,
            world.tasks,
            world.environment,
            reward,
            updates=updates,
            seed=seed,
            group=GROUP,
            tasks_per_update=10,
            progress=progress,
        )
        curves[name] = [length(rollouts) for _, rollouts in course]
        arms[name], _ = measured(policy, world, paid)
    told = f"Spearman of reward and nDCG@10 over the queries of the taught policy: {faithful}."
    return Proof(arms, checks(arms), reported=[told], curves=curves, curve_of="words of a query")


def checks(arms: Mapping[str, Mapping[str, float]]) -> list[Check]:
    """What the card asks for: against the raw question and against the policy before training; and the contrast."""
    found = arms[COSINE][NDCG]
    raw, before = arms[RAW][NDCG], arms[TAUGHT][NDCG]
    long, short = arms[SCORE][LENGTH], arms[COSINE][LENGTH]
    return [
        Check(f"it finds at least 1.7 times what the raw question does ({found:.2f}, {raw:.2f})", found >= 1.7 * raw),
        Check(f"and at least 1.3 times what it did before ({before:.2f})", found >= 1.3 * before),
        Check(f"paid by BM25 score, its queries get longer than by cosine ({long:.1f}, {short:.1f})", long > short),
    ]


def taught(world: Catalogue, updates: int) -> Any:
    """The tiny policy after demonstrated queries, 300 a question."""
    policy: Any = replace(pupil(TEMPLATE), turn_tokens=TURN_TOKENS)
    shows = ScriptedPolicy(demonstration, policy.engine.tokenizer, TEMPLATE, name="words")
    shown = played(shows, world.tasks, world.environment, seed=world.seed, group=300)
    teach(policy, shown, updates=updates, seed=world.seed, lr=1e-3)
    return policy


def measured(policy: Any, world: Catalogue, paid: Reward) -> tuple[dict[str, float], Any]:
    """On held-out questions, eight queries each; and how reward and nDCG rank the queries alike."""
    rollouts = played(policy, world.held_out, world.environment, seed=world.seed, group=8)
    rewards = np.array([paid(one).value for one in rollouts])
    found = world.ndcg([one.answer or "" for one in rollouts], [one.task for one in rollouts])
    alike = rank_correlation(rewards, found, clusters=np.array([one.task.id for one in rollouts]), resamples=200)
    return {NDCG: float(found.mean()), REWARD: float(rewards.mean()), LENGTH: length(rollouts)}, alike


def length(rollouts: Sequence[Trajectory]) -> float:
    """Mean words of a query."""
    return float(np.mean([len((one.answer or "").split()) for one in rollouts]))
