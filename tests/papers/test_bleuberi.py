"""BLEUBERI: the made-up reports, its variants, and its proof. BLEU itself: test_text_overlap.py."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.papers import load
from workbench.papers.bleuberi import REWARDS, agreements, method
from workbench.papers.bleuberi_world import WAYS, answerer, answering, pairs, question_tasks, towns
from workbench.rewards import ExactMatch, TextOverlap
from workbench.trajectory import Group


def test_a_good_report_holds_all_facts_and_its_references_too():
    for good, spoilt in pairs(8, np.random.default_rng(0)):
        assert len(good.task.extras["references"]) == 5
        assert good.answer != spoilt.answer
        years = [text for text in good.answer.replace(".", "").split() if text.isdigit()]
        assert all(years[0] in reference for reference in good.task.extras["references"])


def test_the_ways_to_answer_are_what_they_are_called():
    task = question_tasks(towns(1, np.random.default_rng(0)), np.random.default_rng(0))[0]
    said = {way: make(task) for way, make in WAYS.items()}
    assert said["copy"] == task.question
    assert task.extras["references"][0] in [said[f"right {wording}"] for wording in range(3)]
    holding = {way for way, text in said.items() if task.golds[0] in text}
    assert holding == {"right 0", "right 1", "right 2", "right 3", "all there is"}


def test_every_kind_of_question_begins_with_another_leaning():
    policy = answerer(0)
    liked = {int(policy.table[row].argmax()) for row in policy.row_of.values()}
    assert len(liked) == 4


def test_an_answer_that_is_a_reference_is_paid_all_by_every_variant_that_looks_at_it_alone():
    ((good, _),) = pairs(1, np.random.default_rng(1))
    same = answering(good.task, good.task.extras["references"][2], "same")
    for name in ("BLEU", "ROUGE-L", "F1 of BLEU and ROUGE-L"):
        assert REWARDS[name](Group((same, good)))[0].value == 1.0
    assert method().loss.kl.coef == 0.04


def test_more_references_agree_more_on_a_few_pairs():
    figures = agreements(0, count=120)
    assert figures["BLEU, 5 references"] > figures["BLEU, 1 references"] > figures["length"]


def test_both_checkers_read_the_answer():
    (good, _), *_ = pairs(1, np.random.default_rng(2))
    assert TextOverlap()(good).value > 0.3
    assert ExactMatch(match="contains_gold").needs == {"golds"}


@pytest.mark.slow
def test_bleu_agrees_with_people_and_teaches_the_fact():
    paper = load("bleuberi")
    proof = paper.proof(0)
    assert [check.says for check in proof.checks if not check.holds] == []
    assert proof.verdict == paper.verdict
