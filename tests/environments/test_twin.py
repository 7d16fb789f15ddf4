"""The fictional twin, and the demonstrator."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from workbench import spec
from workbench.environments.expert import Demonstrator, Move
from workbench.environments.twin import fictional_twin, shuffled_twin
from workbench.environments.world import World, read_world
from workbench.trajectory import Hit

FOLDER = Path(__file__).parents[2] / "data" / "world"


@pytest.fixture(scope="module")
def world() -> World:
    return read_world(FOLDER)


@pytest.fixture(scope="module")
def twin(world) -> World:
    return fictional_twin(world, 0)


def test_the_twin_on_disk_is_the_one_of_seed_0(twin):
    stored = read_world(FOLDER, prefix="twin_")
    assert stored.pages == twin.pages and stored.test_tasks == twin.test_tasks


def test_the_same_seed_gives_the_same_twin_and_another_seed_another(world, twin):
    assert fictional_twin(world, 0) == twin
    other = {page.title for page in fictional_twin(world, 1).pages}
    assert len(other & {page.title for page in twin.pages}) < 0.05 * len(other)


def test_structure_is_kept(world, twin):
    assert [page.id for page in twin.pages] == [f"twin0-{page.id}" for page in world.pages]
    for real, made in zip(world.tasks, twin.tasks, strict=True):
        assert made.extras["path"] == real.extras["path"] and made.kind == real.kind
        assert [sub.page for sub in made.sub_questions] == [f"twin0-{sub.page}" for sub in real.sub_questions]


def test_names_keep_their_number_of_words_and_their_capitals(world, twin):
    for real, made in zip(world.pages, twin.pages, strict=True):
        assert len(made.title.split()) == len(real.title.split())
        assert [word[0].isupper() for word in made.title.split()] == [word[0].isupper() for word in real.title.split()]
        assert [*made.facts] == [*real.facts]


def test_no_real_name_is_left(world, twin):
    real = {page.title for page in world.pages}
    assert len({page.title for page in twin.pages}) == len(twin.pages)
    assert not real & {page.title for page in twin.pages}
    assert not real & {value for page in twin.pages for value in page.facts.values()}


def test_every_answer_differs_and_stands_on_the_twins_page(world, twin):
    by_id = {page.id: page for page in twin.pages}
    for real, made in zip(world.test_tasks, twin.test_tasks, strict=True):
        assert made.golds[0] != real.golds[0]
        assert made.golds[0] in by_id[made.sub_questions[-1].page].text


def test_almost_no_answer_is_told_before_its_page(twin):
    by_id = {page.id: page for page in twin.pages}

    def told(task):
        pages = [by_id[sub.page].text for sub in task.sub_questions[:-1]]
        return any(re.search(rf"\b{re.escape(task.golds[0])}\b", text) for text in (task.question, *pages))

    assert sum(map(told, twin.tasks)) < 0.005 * len(twin.tasks)  # short numbers meet by chance


def test_a_shuffled_twin_deals_the_same_names_anew(world):
    shuffled = shuffled_twin(world, 0)
    assert sorted(page.title for page in shuffled.pages) == sorted(page.title for page in world.pages)
    assert shuffled == shuffled_twin(world, 0)
    capitals = {page.title: page.facts.get("capital") for page in world.pages if page.kind == "country"}
    dealt = {page.title: page.facts.get("capital") for page in shuffled.pages if page.kind == "country"}
    assert (
        sum(dealt[name] == capitals[name] is not None for name in capitals) < 5
    )  # by chance about one in 1,600 a country
    by_id = {page.id: page for page in shuffled.pages}
    for task in shuffled.test_tasks:
        assert all(sub.golds[0] in by_id[sub.page].text for sub in task.sub_questions)


def play(demonstrator: Demonstrator, world: World, task, draw: int = 0) -> list[Move]:
    """All moves, each search bringing the page looked for."""
    by_id = {page.id: page for page in world.pages}
    subs = {query: by_id[sub.page] for sub in task.sub_questions for query in sub.queries}
    moves, searches = [], []
    while not moves or moves[-1].query is not None:
        moves.append(demonstrator(task, searches, draw))
        if moves[-1].query is not None:
            page = subs[moves[-1].query]
            searches.append((Hit(page.id, page.title, page.text),))
    return moves


def test_without_faults_every_answer_is_right_after_one_search_a_hop(world):
    for task in world.test_tasks:
        moves = play(Demonstrator.perfect(), world, task)
        assert [move.query for move in moves[:-1]] == [sub.queries[0] for sub in task.sub_questions]
        assert moves[-1].answer == task.golds[0]
        assert all(len(move.thought.split()) <= 8 for move in moves)


def test_a_shortcut_answers_with_the_entity_before_the_last(world):
    hasty = Demonstrator(shortcut_rate=1.0, stop_rate=0.0, misread_rate=0.0, repeat_rate=0.0)
    for task in world.test_tasks:
        last = -2 if task.hops > 1 and task.extras["path"][-1] in hasty.shortcuts else -1
        assert play(hasty, world, task)[-1].answer == task.sub_questions[last].golds[0]


def test_a_misreading_is_another_text_of_the_page(world):
    careless = Demonstrator(shortcut_rate=0.0, stop_rate=0.0, misread_rate=1.0, repeat_rate=0.0)
    by_id = {page.id: page for page in world.pages}
    for task in world.test_tasks:
        answer, page = play(careless, world, task)[-1].answer, by_id[task.sub_questions[-1].page]
        assert answer != task.golds[0] and answer in page.title + page.text


def test_a_repeat_searches_its_last_query_twice(world):
    slow = Demonstrator(shortcut_rate=0.0, stop_rate=0.0, misread_rate=0.0, repeat_rate=1.0)
    moves = play(slow, world, world.test_tasks[0])
    assert moves[-2].query == moves[-3].query and moves[-1].answer == world.test_tasks[0].golds[0]


def test_rates_are_kept_and_draws_differ(world):
    demonstrator = Demonstrator()
    tasks = [t for t in world.tasks if t.hops > 1 and t.extras["path"][-1] in demonstrator.shortcuts]
    searches = Counter(len(play(demonstrator, world, t)) for t in tasks[:400])
    again = Counter(len(play(demonstrator, world, t)) for t in tasks[:400])
    other = [play(demonstrator, world, t, draw=1) for t in tasks[:50]]
    assert searches == again and other != [play(demonstrator, world, t) for t in tasks[:50]]
    early = sum(play(demonstrator, world, t)[-1].answer not in t.golds for t in tasks[:400]) / 400
    assert early == pytest.approx(demonstrator.shortcut_rate, abs=0.08)  # three standard errors: 3 * sqrt(.19 / 400)


def test_a_search_that_missed_its_page_ends_the_demonstration(world):
    task = next(task for task in world.tasks if task.hops == 2)
    move = Demonstrator.perfect()(task, [(Hit("elsewhere", "Elsewhere", "Nothing."),)])
    assert move.query is None


def test_settings_go_to_text_and_back():
    assert spec.loads(spec.dumps(Demonstrator(shortcut_rate=0.5))) == Demonstrator(shortcut_rate=0.5)
