"""SubSearch as composed: schedule, combination and proof. Its parts' worked examples stand with the parts."""

from __future__ import annotations

import pytest

from tests.builders import a_trajectory
from tests.rewards.vectors import Given, at
from workbench.papers import load
from workbench.papers.subsearch import PAPER, adaptive, beta, decomposition, intrinsic, subsearch
from workbench.retrieval import HashedNgrams
from workbench.rewards import WeightedSum
from workbench.spec import dumps, loads
from workbench.training.schedules import Ramp


def test_the_schedule_of_the_card():
    told = [beta()(update) for update in (0, 50, 100, 200, 700, 1200, 2200, 5000)]
    assert told == pytest.approx([0.2, 0.19375, 0.182322, 0.15, 0.130962, 0.085, 0.02, 0.02], abs=1e-6)
    linear = Ramp(0.2, 0.0, 200)
    assert [linear(100), linear(200)] == pytest.approx([0.1, 0.0])


def test_a_wrong_answer_is_paid_for_its_process_and_a_right_one_is_not():
    # one search of cosine .8 with its document, query at cosine .925 of the question: .5 * .8 + .5 * .5 = .65
    encoder = Given({"q": at(0.925), "Capital of France?": at(1.0), "Title of p d": rotated(0.8)})
    wrong = a_trajectory(("p",), answer="Lyon", queries=("q",), texts={"p": "d"})
    right = a_trajectory(("p",), answer="Paris", queries=("q",), texts={"p": "d"})
    assert intrinsic(encoder)(wrong).value == pytest.approx(0.65)
    assert subsearch(encoder)(wrong).value == pytest.approx(0.13)
    assert subsearch(encoder)(right).value == 1.0
    assert [term.name for term in subsearch(encoder)(wrong).parts] == ["ExactMatch", "answerability", "decomposition"]


def rotated(cosine: float) -> tuple[float, float]:
    """At this cosine with the vector at .925."""
    (x, y), (c, s) = at(0.925), at(cosine)
    return x * c - y * s, x * s + y * c


def test_no_search_is_worth_no_process():
    assert intrinsic(HashedNgrams())(a_trajectory(answer="Lyon")).value == 0.0
    assert isinstance(intrinsic(HashedNgrams()), WeightedSum)
    assert decomposition(HashedNgrams()).name == "decomposition"


def test_the_gate_pays_the_papers_reward():
    fold = adaptive(HashedNgrams(), start=0.1)
    assert fold.make(0.15)["reward"] == subsearch(HashedNgrams(), 0.15) and fold.of == "ExactMatch"


def test_every_reward_of_the_paper_can_be_stored():
    assert load("subsearch") is PAPER
    for reward in PAPER.rewards.values():
        assert loads(dumps(reward)) == reward


@pytest.mark.slow
def test_the_proof_holds():
    proof = PAPER.proof(0)
    assert [check.says for check in proof.checks if not check.holds] == []
    assert proof.verdict == PAPER.verdict
