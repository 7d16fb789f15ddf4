"""LESER: its shop, its arms and its proof. The rewards and the card's worked numbers: test_search_feedback.py."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.papers import entry, leser, load
from workbench.papers.leser import K, figures, method
from workbench.papers.leser_world import TEMPLATES, Shop, expander, feedback_terms
from workbench.trajectory import End, Trajectory


@pytest.fixture(scope="module")
def shop():
    return Shop(0)


def test_it_says_that_it_is_a_reconstruction():
    assert entry("leser").fidelity == "reconstruction"
    assert "RECONSTRUCTION" in (leser.__doc__ or "")
    assert any("reconstruction" in difference for difference in load("leser").differs)


def test_the_shop_has_two_vague_queries_of_every_type(shop):
    assert len(shop.tasks) == len({task.question for task in shop.tasks}) == 120
    for task in shop.tasks[:10]:
        assert len(task.gold_pages) == 25
        assert task.extras["found"] == [hit.id for hit in shop.index.search([task.question], K)[0]]


def test_relevance_and_coverage_pull_apart_in_it(shop):
    def brought(name: str) -> tuple[float, float]:
        """Share of what a template finds that is relevant, and of the relevant that is new."""
        found = shop.index.search([TEMPLATES[name](task) for task in shop.tasks], K)
        ids = [{hit.id for hit in hits} for hits in found]
        pairs = list(zip(ids, shop.tasks, strict=True))
        right = np.mean([len(one & task.gold_pages) / max(1, len(one)) for one, task in pairs])
        new = np.mean([len(one & task.gold_pages - set(task.extras["found"])) / 25 for one, task in pairs])
        return float(right), float(new)

    near, synonym, wide = (brought(name) for name in ("near copy", "synonym 1", "synonym 1 and category"))
    assert near[0] > synonym[0] > wide[0]
    assert near[1] == 0.0 < synonym[1] < wide[1]


def test_feedback_asks_with_the_commonest_words_of_what_was_found(shop):
    task = shop.tasks[0]
    queries = feedback_terms(task, shop.index)
    assert len(queries) == 3
    text = " ".join(f"{hit.title} {hit.text}" for hit in shop.index.search([task.question], K)[0]).lower()
    assert all(query.split()[0] == task.question and query.split()[1] in text for query in queries)


def test_without_expansions_the_list_is_that_of_the_query(shop):
    silent = [Trajectory(task.id, task, (), End.TRUNCATED) for task in shop.tasks[:8]]
    found = figures(shop, silent)
    assert found["coverage"] == 0.0
    assert np.isnan(found["relevance"])
    first = shop.tasks[0]
    share = np.mean([page in first.gold_pages for page in first.extras["found"]])
    assert figures(shop, silent[:1])["precision"] == pytest.approx(share)


def test_the_table_may_write_three_lines_or_stop():
    assert set(expander().actions) == {*TEMPLATES, "stop"}
    assert method().sampler.group_size == 8


@pytest.mark.slow
def test_relevance_and_coverage_together_do_what_neither_does():
    paper = load("leser")
    proof = paper.proof(0)
    assert [check.says for check in proof.checks if not check.holds] == []
    assert proof.verdict == paper.verdict
