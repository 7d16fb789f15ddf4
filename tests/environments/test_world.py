"""The embedded world as it lies in data/world, and the making of its tasks on a world of four pages."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import bm25s
import pytest

from workbench.environments.world import (
    World,
    chain_of,
    make_page,
    make_task,
    read_world,
    task_from_json,
    task_to_json,
    write_world,
)
from workbench.environments.world import _chains as chains_from
from workbench.errors import FormatError, UnknownName
from workbench.text import normalize_answer

FOLDER = Path(__file__).parents[2] / "data" / "world"


@pytest.fixture(scope="module")
def world() -> World:
    return read_world(FOLDER)


def small_pages():
    """Linate Airport -> Milan -> Italy -> Euro."""
    pages = (
        make_page("a", "airport", "Linate Airport", {"city": "Milan", "code": "LIN"}),
        make_page("b", "city", "Milan", {"country": "Italy", "population": "1372 thousand"}),
        make_page("c", "country", "Italy", {"currency": "Euro", "calling code": "39"}),
        make_page("d", "currency", "Euro", {"code": "EUR"}),
    )
    return {page.title: page for page in pages}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def test_a_page_states_its_facts_in_plain_sentences():
    page = make_page("c", "country", "United Kingdom", {"capital": "London", "currency": "British Pound"})
    assert page.text == "The United Kingdom is a country. Its capital is London. Its currency is the British Pound."


def test_chains_of_up_to_three_hops_start_at_the_airport():
    pages = small_pages()
    chains = {"/".join(chain.path): chain.answer for chain in chains_from(pages["Linate Airport"], pages)}
    assert chains == {
        "city": "Milan",
        "code": "LIN",
        "city/country": "Italy",
        "city/population": "1372 thousand",
        "city/country/currency": "Euro",
        "city/country/calling code": "39",
    }


def test_a_chain_whose_answer_is_told_early_is_left_out():
    pages = small_pages()
    pages["Milan"] = make_page("b", "city", "Milan", {"country": "Italy", "population": "39 thousand"})
    # 39 now stands on the page of Milan, which is read before the page of Italy
    assert not any(chain.path[-1] == "calling code" for chain in chains_from(pages["Linate Airport"], pages))


def test_a_task_carries_every_hop():
    pages = small_pages()
    chain = next(c for c in chains_from(pages["Linate Airport"], pages) if c.answer == "39")
    task = make_task(chain, pages)
    assert task.id == "a:city/country/calling-code" and task.kind == "3-hop" and task.hops == 3
    assert task.golds == ("39",) and task.gold_pages == {"a", "b", "c"}
    assert [sub.golds[0] for sub in task.sub_questions] == ["Milan", "Italy", "39"]
    assert [sub.queries for sub in task.sub_questions] == [
        ("Linate Airport city", "Linate Airport"),
        ("Milan country", "Milan"),
        ("Italy calling code", "Italy"),
    ]
    assert "Linate Airport" in task.question and "calling code" in task.question and "Italy" not in task.question
    assert chain_of(task, {page.id: page for page in pages.values()}) == chain


def test_counts_and_shares(world):
    assert 2000 <= len(world.pages) <= 3500
    for tasks, least in ((world.tasks, 1500), (world.test_tasks, 400)):
        hops = Counter(task.hops for task in tasks)
        assert len(tasks) >= least and len({task.id for task in tasks}) == len(tasks)
        assert hops[1] / len(tasks) == pytest.approx(0.25, abs=0.02)
        assert hops[2] / len(tasks) == pytest.approx(0.45, abs=0.02)


def test_pages_are_short_ascii_and_named_once(world):
    lengths = [len(page.text.split()) for page in world.pages]
    assert max(lengths) <= 32 and sum(lengths) / len(lengths) < 16
    assert all((page.title + page.text).isascii() for page in world.pages)
    assert (
        len({page.title.lower() for page in world.pages}) == len({page.id for page in world.pages}) == len(world.pages)
    )


def test_train_and_test_ask_about_different_entities(world):
    def asked(tasks):
        return {(task.extras["kinds"][0], task.extras["entity"]) for task in tasks}

    assert not asked(world.tasks) & asked(world.test_tasks)


def test_no_answer_is_so_frequent_that_guessing_pays(world):
    for tasks in (world.tasks, world.test_tasks):
        ((_, most),) = Counter(task.golds[0] for task in tasks).most_common(1)
        assert most <= 0.04 * len(tasks)


def test_every_hop_is_answered_on_its_own_page_and_on_none_before(world):
    by_id = {page.id: page for page in world.pages}
    for task in (*world.tasks, *world.test_tasks):
        read = [task.question]
        for sub in task.sub_questions:
            answer, page = f" {normalize_answer(sub.golds[0])} ", by_id[sub.page]
            assert answer in f" {normalize_answer(page.text)} ", task.id
            assert not any(answer in f" {normalize_answer(text)} " for text in read), task.id
            read.append(page.text)
        assert task.golds == task.sub_questions[-1].golds
        assert task.gold_pages == {sub.page for sub in task.sub_questions}


def test_both_queries_of_a_hop_find_its_page_among_the_first_two(world):
    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index([words(f"{page.title} {page.text}") for page in world.pages], show_progress=False)
    subs = list({sub.queries: sub for t in (*world.tasks, *world.test_tasks) for sub in t.sub_questions}.values())
    for form in (0, 1):
        found, _ = index.retrieve([words(sub.queries[form]) for sub in subs], k=2, show_progress=False)
        hits = [sub.page in {world.pages[i].id for i in row} for sub, row in zip(subs, found, strict=True)]
        assert sum(hits) / len(hits) > 0.97


def test_files_are_the_same_bytes_each_time_and_read_back_equal(world, tmp_path):
    small = World(world.pages[:20], world.tasks[:5], world.test_tasks[:5])
    write_world(small, tmp_path / "a")
    write_world(small, tmp_path / "b", prefix="twin_")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / f"twin_{path.name}").read_bytes()
    assert read_world(tmp_path / "b", prefix="twin_") == small


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnknownName, match=r"corpus\.jsonl\.gz"):
        read_world(tmp_path)


def test_a_task_comes_back_from_json(world):
    task = replace(world.tasks[0], rubrics=({"text": "names the page", "weight": 2.0},))
    assert task_from_json(task_to_json(task)) == task


def test_a_row_that_is_no_task_says_so():
    with pytest.raises(FormatError, match="difficulty"):
        task_from_json({"id": "x", "question": "Why?", "difficulty": 3})
