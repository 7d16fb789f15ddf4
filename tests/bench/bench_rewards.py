"""Steps that each reward scores in a second, on one core: ``python -m tests.bench.bench_rewards``.

Rollouts of four turns (three searches of three pages of about 100 words, then an answer), in groups of eight. Every
registered reward is timed as the contract's tests set it up, beside the least that is asked: 10,000 steps/s for rules
on ids and strings, 500 for similarity of texts with the built-in encoders.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from tests.builders import a_trajectory
from tests.rewards.test_contract import CASES, TASK
from workbench.environments.hop_world import SYLLABLES
from workbench.retrieval import HashedNgrams, TfIdf
from workbench.rewards import CosineTo, CoverageGain, Decomposition, QueryGain, Reward, Similarity
from workbench.trajectory import Group

LEAST, LEAST_OF_TEXTS = 10_000, 500  # steps/s


def groups(count: int, *, words: int = 100, seed: int = 0) -> list[Group]:
    """Groups of eight rollouts of four turns."""
    rng = np.random.default_rng(seed)
    known = ["".join(rng.choice(SYLLABLES, 2)) for _ in range(5000)]
    texts = {f"d{n}": " ".join(rng.choice(known, words)) for n in range(500)} | {"p1": "Paris", "p2": "France"}
    made = []
    for g in range(count):
        gold = tuple(texts[f"d{n}"] for n in rng.integers(500, size=2))
        task = replace(TASK, id=f"task{g}", extras={**TASK.extras, "gold_texts": gold})
        rollouts = []
        for n in range(8):
            pages = [
                [*(f"d{d}" for d in rng.integers(500, size=2)), str(rng.choice(["p1", "p2", "d1"]))] for _ in range(3)
            ]
            queries = [" ".join(rng.choice(known, 6)) for _ in range(3)]
            answer = str(rng.choice(["Paris", "Rome", "the capital"]))
            rollouts.append(
                a_trajectory(*pages, answer=answer, id=f"{g}.{n}", task=task, texts=texts, queries=queries, tokens=150)
            )
        made.append(Group(tuple(rollouts)))
    return made


def steps_per_second(reward: Reward, drawn: list[Group], *, least_s: float = 0.5) -> float:
    """The best of three passes of at least `least_s`."""
    steps = sum(len(one.steps) for group in drawn for one in group)
    reward(drawn[0])
    best = 0.0
    for _ in range(3):
        started, passes = time.process_time(), 0
        while (spent := time.process_time() - started) < least_s / 3:
            for group in drawn:
                reward(group)
            passes += 1
        best = max(best, passes * steps / spent)
    return best


def rewards() -> list[tuple[str, Reward, int]]:
    """Name, reward and the least that is asked of it."""
    encodes = {Similarity, Decomposition, QueryGain}
    rules = [(cls.__name__, case.reward, LEAST) for cls, case in CASES.items() if cls not in encodes]
    texts: list[tuple[str, Reward, int]] = [
        ("CoverageGain(by='similarity')", CoverageGain(by="similarity"), LEAST_OF_TEXTS)
    ]
    fitted = TfIdf.fit(hit.text for group in groups(8) for one in group for step in one.steps for hit in step.hits)
    for encoder in (HashedNgrams(), HashedNgrams(unit="character", shortest=3, longest=4), fitted):
        name = repr(encoder) if encoder is fitted else f"HashedNgrams of {encoder.unit}s"
        texts += [
            (f"Similarity, {name}", Similarity(encoder), LEAST_OF_TEXTS),
            (f"Decomposition, {name}", Decomposition(encoder), LEAST_OF_TEXTS),
            (f"QueryGain, {name}", QueryGain(CosineTo(encoder)), LEAST_OF_TEXTS),
        ]
    return [*rules, *texts]


def main() -> None:
    drawn = groups(25)
    for name, reward, least in rewards():
        rate = steps_per_second(reward, drawn)
        print(f"{name:45} {rate:>12,.0f} steps/s   {rate / least:>6.1f} x the least" + (" (TOO SLOW)" * (rate < least)))


if __name__ == "__main__":
    main()
