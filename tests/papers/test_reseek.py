"""ReSeek's worked examples, through the parts it is made of, and its proof."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_group, a_trajectory, a_tree
from workbench.credit import GroupAdvantage
from workbench.credit.advantages import advantages
from workbench.papers.reseek import PAPER, REWARD, discounted, proof
from workbench.papers.reseek_world import TASK, Chase, judging_table
from workbench.protocols import PairScorer
from workbench.rewards import ExactMatch, HitRelevance, SelfAssessment
from workbench.sampling.rollout import rollout
from workbench.scores import Status
from workbench.spec import part
from workbench.trajectory import End, Span, Trajectory

TEXTS = {"useful": "Paris", "useless": "Lyon"}
RIGHT, ACCEPTED, REJECTED = "useful yes", "useless yes", "useful no"  # worth .3, -.6, -.3
TURNED_DOWN = "useless no"  # .3


def judged(*searches: str, answer: str = "Rome", id: str = "t") -> Trajectory:
    """Each search a page and the label it was given, in a turn of its own; then the answer."""
    rows = [page for one in searches for page in ([one.split()[0]], None)]
    trajectory = a_trajectory(*rows, None, answer=answer, texts=TEXTS, id=id)
    steps = list(trajectory.steps)
    for n, one in enumerate(searches):
        steps[2 * n + 1] = replace(steps[2 * n + 1], spans=(Span("judge", one.split()[1]),))
    return replace(trajectory, steps=tuple(steps))


@part
class Exactly:
    """A reranker that gives every page the same score."""

    value: float

    def __call__(self, texts, references):
        return np.full(len(texts), self.value)


@pytest.mark.parametrize(("search", "pay"), [(RIGHT, 0.3), (ACCEPTED, -0.6), (REJECTED, -0.3), (TURNED_DOWN, 0.3)])
def test_the_four_cells_of_the_table(search, pay):
    assert SelfAssessment()(judged(search)).values_S[1] == pay


def test_a_score_of_exactly_the_threshold_is_a_no():
    def paid(score: float) -> float:
        scorer: PairScorer = Exactly(score)
        return SelfAssessment(HitRelevance(scorer=scorer))(judged("useful yes")).values_S[1]

    assert (paid(0.7), paid(0.71)) == (-0.6, 0.3)


@pytest.mark.parametrize(
    ("searches", "answer", "plain", "at_nine_tenths"),
    [
        ((RIGHT, TURNED_DOWN), "Paris", 1.6, 1.38),  # .3 + .27 + .81
        ((ACCEPTED,), "Rome", -0.6, -0.6),
        ((RIGHT,), "Paris", 1.3, 1.2),  # .3 + .9
        ((ACCEPTED, RIGHT), "Paris", 0.7, 0.48),  # -.6 + .27 + .81
        ((TURNED_DOWN,) * 3, "Rome", 0.9, 0.813),  # .3 + .27 + .243
    ],
)
def test_returns_by_hand(searches, answer, plain, at_nine_tenths):
    played = judged(*searches, answer=answer)
    assert REWARD(played).total == pytest.approx(plain)
    assert discounted(1.0)(played).value == pytest.approx(plain)
    assert discounted(0.9)(played).value == pytest.approx(at_nine_tenths)


def test_the_advantages_of_the_card():
    # returns 1.6 -.6 1.3 .9: mean .8, population std sqrt(.715) = .84558
    group = a_group(
        judged(RIGHT, TURNED_DOWN, answer="Paris", id="a"),
        judged(ACCEPTED, id="b"),
        judged(RIGHT, answer="Paris", id="c"),
        judged(*(TURNED_DOWN,) * 3, id="d"),
    )
    found = advantages([a_tree(*group)], [REWARD(group)], GroupAdvantage(scale="std", ddof=0, eps=1e-6))
    first_steps = [one[0] for one in found.by_trajectory()]
    np.testing.assert_allclose(first_steps, [0.9461, -1.6557, 0.5913, 0.1183], atol=5e-5)


def test_the_range_with_four_searches():
    best, worst = judged(*(RIGHT,) * 4, answer="Paris"), judged(*(ACCEPTED,) * 4)
    assert REWARD(best).total == pytest.approx(2.2)
    assert REWARD(worst).total == pytest.approx(-2.4)


@pytest.mark.parametrize("useful", [0, 3, 5, 6, 8, 10])
def test_a_blind_agent_is_paid_for_the_label_that_is_more_often_right(useful):
    # of ten results q are of use: always yes .9 q - .6, always no .3 - .6 q a search; equal at q = .6
    q = useful / 10
    pages = ["useful"] * useful + ["useless"] * (10 - useful)
    always_yes, always_no = (
        float(np.nanmean(SelfAssessment()(judged(*(f"{page} {label}" for page in pages))).values_S))
        for label in ("yes", "no")
    )
    assert always_yes == pytest.approx(0.9 * q - 0.6)
    assert always_no == pytest.approx(0.3 - 0.6 * q)


def test_a_reranker_that_fails_leaves_the_rollout_unscored():
    failed = SelfAssessment(HitRelevance(scorer=Exactly(float("nan"))))
    scores = (ExactMatch() + failed)(judged(RIGHT, answer="Paris"))
    assert scores.status_S[1] == Status.MISSING and np.isnan(scores.total)


def test_the_chase_can_be_won_by_following_the_hints():
    policy = judging_table()
    [tree] = rollout(policy, [TASK], Chase(useful=1.0, wrong_hint=0.0, legible=1.0), group_size=60, progress=False)
    for trajectory in tree:
        labels = [step.span("judge") for step in trajectory.steps[1:]]
        if labels.count("Yes") < 4:
            assert trajectory.end is End.TRUNCATED and trajectory.answer is None
        else:
            assert trajectory.answer == "Oslo" and labels[-1] == "Yes"
        assert all(step.observation in ("looks right", "") for step in trajectory.steps)


def test_one_useless_page_on_the_way_spoils_the_answer():
    [tree] = rollout(judging_table(hops=1), [TASK], Chase(legible=1.0), group_size=200, progress=False)
    for trajectory in (one for one in tree if one.answer):
        accepted = trajectory.steps[-2].hits[0].text  # the search that the last turn said yes to
        assert (trajectory.answer == "Oslo") == ("Oslo" in accepted)


@pytest.mark.slow
def test_the_judge_reward_teaches_sooner_to_the_same_end():
    found = proof(0)
    assert all(check.holds for check in found.checks), found.arms
    assert found.verdict == PAPER.verdict
