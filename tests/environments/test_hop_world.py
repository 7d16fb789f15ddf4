"""HopWorld: what is asked can be found, along the chain that the task names."""

from __future__ import annotations

import pytest

from workbench.environments.hop_world import HopWorld
from workbench.errors import SettingError
from workbench.retrieval import SearchIndex


def by_id(pages):
    return {page.id: page for page in pages}


def found(index, query, k=2):
    return [hit.id for hit in index.search([query], k)[0]]


def test_the_counts_are_those_of_the_settings():
    # 200 chains of 2 facts on a page each, 400 distractors: the search world of the Search-R1 card
    pages, tasks = HopWorld(hops=2, entities=200, distractors=400).build()
    assert (len(pages), len(tasks)) == (200 * 2 + 400, 200)
    assert len({page.id for page in pages}) == len(pages) and len({task.question for task in tasks}) == 200
    assert {task.kind for task in tasks} == {"2-hop"}


def test_the_same_seed_makes_the_same_world_and_another_another():
    assert HopWorld(entities=20, seed=3).build() == HopWorld(entities=20, seed=3).build()
    assert HopWorld(entities=20, seed=3).build() != HopWorld(entities=20, seed=4).build()


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5, 6])
def test_each_hops_page_holds_its_answer_and_names_the_next(hops):
    pages, tasks = HopWorld(hops=hops, entities=12, distractors=30).build()
    held = by_id(pages)
    for task in tasks:
        names = task.extras["entities"]
        assert task.hops == hops == len(task.gold_pages) == len(names) - 1
        assert task.golds == (names[-1],)
        assert names[0] in task.question and not any(name in task.question for name in names[1:])
        for sub, name, answer in zip(task.sub_questions, names[:-1], names[1:], strict=True):
            assert sub.golds == (answer,) and sub.page in task.gold_pages
            assert name in held[sub.page].title and answer in held[sub.page].text and name in sub.question


def test_a_two_hop_question_reads_as_english():
    pages, tasks = HopWorld(entities=2, distractors=0).build()
    company, leader, town = tasks[0].extras["entities"]
    role = tasks[0].extras["roles"][1]
    texts = {page.title: page.text for page in pages}
    assert tasks[0].question == f"What is the birthplace of the leader of {company}?"
    assert texts[company].startswith(f"{company} is led by the {role} {leader}. {company} was founded in 1")
    assert texts[f"{leader} ({role})"] == f"{leader} was a {role}. {leader} was born in {town}."


def test_the_acceptable_queries_find_the_gold_page_and_the_question_only_the_first():
    pages, tasks = HopWorld(entities=100, distractors=200).build()
    index = SearchIndex.build(pages, progress=False)
    for task in tasks:
        for sub in task.sub_questions:
            assert all(found(index, query)[0] == sub.page for query in sub.queries)
        assert found(index, task.question)[0] == task.sub_questions[0].page
        assert task.sub_questions[1].page not in found(index, task.question)


def test_namesakes_mislead_a_bare_name_and_the_role_tells_them_apart():
    pages, tasks = HopWorld(entities=40, distractors=200, collisions=1.0).build()
    index = SearchIndex.build(pages, progress=False)
    held = by_id(pages)
    misled = 0
    for task in tasks:
        leader = task.sub_questions[1]
        named = [page for page in pages if page.title.startswith(task.extras["entities"][1] + " (")]
        roles = {page.title for page in named if page.id != leader.page}
        assert held[leader.page].title not in roles
        misled += found(index, task.extras["entities"][1])[0] != leader.page
        assert found(index, leader.queries[0])[0] == leader.page
    assert misled > 20  # with 5 namesakes each, most bare names lead elsewhere first


def test_comparisons_ask_for_the_older_of_two():
    pages, tasks = HopWorld(topology="comparison", entities=10, distractors=5).build()
    held = by_id(pages)
    for task in tasks:
        first, second = task.sub_questions
        years = [int(sub.golds[0]) for sub in (first, second)]
        assert years[0] != years[1]
        assert all(
            f"was founded in {year}." in held[sub.page].text for sub, year in zip((first, second), years, strict=True)
        )
        assert task.golds == (task.extras["entities"][years.index(min(years))],)
        assert (task.kind, len(task.gold_pages)) == ("comparison", 2)


def test_a_mixed_world_takes_turns():
    _, tasks = HopWorld(topology="mixed", entities=6, distractors=0, hops=3).build()
    assert [task.kind for task in tasks] == ["3-hop", "comparison"] * 3


def test_chains_that_are_not_dispersed_stand_on_one_page():
    pages, tasks = HopWorld(entities=20, distractors=0, dispersion=0.25).build()
    held = by_id(pages)
    together = [task for task in tasks if len(task.gold_pages) == 1]
    assert len(together) == 15 and len(pages) == 15 + 5 * 2
    for task in together:
        (page,) = task.gold_pages
        assert all(name in held[page].text for name in task.extras["entities"])
        assert {sub.page for sub in task.sub_questions} == {page}


def test_a_share_of_the_tasks_is_known():
    _, tasks = HopWorld(entities=50, distractors=0, known=0.4).build()
    assert sum(task.extras["known"] for task in tasks) == 20


@pytest.mark.parametrize(
    "wrong", [{"hops": 0}, {"hops": 7}, {"entities": 1}, {"distractors": -1}, {"collisions": 1.5}, {"topology": "star"}]
)
def test_wrong_settings_say_what_is_right(wrong):
    with pytest.raises(SettingError, match="hops is 1 to 6|shares from 0 to 1|chain, comparison or mixed"):
        HopWorld(**wrong)
