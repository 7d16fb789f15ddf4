"""ReSeek (arXiv:2510.00568, ICML 2026): the agent judges every search, and is paid for judging right.

Claim: an agent paid for its answer alone commits to bad search paths. Made to say after every search whether the
result is of use, and paid by how that agrees with a reranker that knows the answer, it learns to drop a path and
search again: mean EM of eight sets 0.377 (Qwen2.5-7B) beside Search-R1's 0.342; 0.288 with the answer reward alone.

    s_t = reranker(o_t, gold) in [0, 1];  it is yes where s_t > 0.7
    r_t = 0.3 where the agent's label is right, -0.6 where it accepts a useless result, -0.3 where it rejects a useful
    R   = sum over the judgements of gamma^(t-1) r_t, the exact match of the answer as the last term

Parts: `SelfAssessment` over `HitRelevance` (the reward), `JudgeTemplate` (the grammar), `HideRejected` (what its first
version leaves out of the context), `fictional_twin` (its FictionalHot), `decision_report`, `RepeatedQueries`.

Known from its page, a paper note and the abstracts of two versions; the training code is not released. Not found:
gamma (1 here), group size, learning rate, the prompt, what a broken rule costs (here: the rollout ends unanswered), how
the passages are put to the reranker (here: each alone, the best counts).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.evaluation import decision_report
from workbench.papers.paper import Check, Paper, Proof
from workbench.papers.reseek_lesson import on_world
from workbench.papers.reseek_world import TASK, Chase, judging_table
from workbench.protocols import Reward
from workbench.rewards import ExactMatch, OnLastStep, ReduceSteps, SelfAssessment
from workbench.training.method import GRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train
from workbench.trajectory import Trajectory

OUTCOME = ExactMatch()
REWARD = ExactMatch() + SelfAssessment()
UPDATES, RUNS, EDGE = 100, 6, 30


def discounted(gamma: float) -> Reward:
    """The return with a discount below 1."""
    return ReduceSteps(SelfAssessment() + OnLastStep(ExactMatch()), discount=gamma)


def proof(seed: int) -> Proof:
    """A chase of four hops in at most eight searches, 45 % of the results of use, a visible hint wrong in one of ten:
    P(yes | hint) learned from the outcome alone, and with the judge reward."""
    arms, curves = {}, {}
    for name, reward in (("outcome only", OUTCOME), ("with judge reward", REWARD)):
        runs = [_run(reward, 100 * seed + n) for n in range(RUNS)]
        curve_U = np.mean([curve_U for curve_U, _ in runs], axis=0)
        judged = decision_report(*_said([one for _, last in runs for one in last])).loc["all"]
        arms[name] = {
            "EM early": float(curve_U[:EDGE].mean()),
            "EM late": float(curve_U[-EDGE:].mean()),
            "updates to EM 0.2": _first_above(curve_U, 0.2),
            "judge accuracy": float(judged["accuracy"]),
            "yes share": float(judged["yes_share"]),
        }
        curves[name] = curve_U.tolist()
    alone, paid = arms["outcome only"], arms["with judge reward"]
    return Proof(
        arms,
        [
            Check("EM of the first 30 updates is at least twice that of the outcome alone", _twice(paid, alone)),
            Check("EM 0.2 is reached in fewer updates", paid["updates to EM 0.2"] < alone["updates to EM 0.2"]),
            Check("both end alike: late EM within 0.06", abs(paid["EM late"] - alone["EM late"]) < 0.06),
        ],
        reported=[
            "three right rejections and a wrong answer earn 0.9, more than a right answer after one wrong acceptance "
            "(0.7): with the published values long episodes of correct No can pay",
        ],
        curves=curves,
        curve_of="exact match",
    )


def _twice(paid: dict[str, float], alone: dict[str, float]) -> bool:
    return paid["EM early"] >= 2 * alone["EM early"]


def _run(reward: Reward, seed: int) -> tuple[np.ndarray, list[Trajectory]]:
    """Exact match of every update, and the rollouts of the last."""
    run = train(
        judging_table(),
        [TASK],
        Chase(),
        reward,
        method=GRPO(8, kl=0.0),
        updates=UPDATES,
        tasks_per_update=1,
        optimiser=Optimiser(0.08),
        seed=seed,
    )
    curve, last = [], []
    for _ in run:
        assert run.latest is not None
        last = [one for tree in run.latest.trees for one in tree]
        curve.append(np.mean([OUTCOME(one).value for one in last]))
    return np.array(curve), last


def _said(trajectories: Sequence[Trajectory]) -> tuple[list[bool | None], list[bool | None]]:
    rows = [one for trajectory in trajectories for one in SelfAssessment().assessments(trajectory)]
    return [one.said for one in rows], [one.truth for one in rows]


def _first_above(curve_U: np.ndarray, level: float, window: int = 10) -> float:
    """The update at which the mean over `window` updates first reaches the level; the number of updates where never."""
    means = np.convolve(curve_U, np.ones(window) / window, mode="valid")
    return float(np.argmax(means >= level) + window if (means >= level).any() else len(curve_U))


PAPER = Paper(
    number="05",
    formula="R = sum_t gamma^(t-1) r_t + gamma^T EM\n"
    "r_t = .3 where the label is [s_t > .7], else -.6 (said yes) or -.3 (said no)",
    rewards={"ReSeek": REWARD, "ReSeek, gamma 0.9": discounted(0.9), "outcome only": OUTCOME},
    proof=proof,
    verdict="reproduced",
    on_world=on_world,
    differs=(
        "the reranker is a rule: a gold that stands in the page is 1, else the share of its words",
        "on text: four queries in ten bring a page that is of no use, tasks have two hops at most, and the lesson that "
        "the tiny policy needs first was set over several tries, some after a look at what came of the one before",
    ),
)
