from __future__ import annotations

import pytest

from workbench.environments import CatalogueWorld
from workbench.errors import SettingError
from workbench.evaluation import retrieval_metrics
from workbench.retrieval import SearchIndex

PRODUCTS = CatalogueWorld(
    subjects=6,
    pages=25,
    lures=0,
    names=5,
    names_a_page=1,
    asking=0,
    asking_a_question=1,
    categories=2,
    attributes=(("brand", 3), ("colour", 4)),
    asked=1,
    candidates=10,
)


def test_the_same_settings_make_the_same_catalogue_and_another_seed_another():
    assert CatalogueWorld().build() == CatalogueWorld().build()
    assert CatalogueWorld(seed=1).build().pages != CatalogueWorld().build().pages


def test_pages_bear_names_and_only_a_share_of_them_a_word_of_the_questions():
    catalogue = CatalogueWorld(subjects=5, pages=8, names_a_page=4, gap=0.75, questions=3).build()
    text = {page.id: set(page.text.split()) for page in catalogue.pages}
    for subject in range(5):
        tasks = catalogue.tasks[3 * subject : 3 * subject + 3]
        names = set(tasks[0].extras["names"])
        asked = {word for task in tasks for word in task.question.split()}
        own = [text[f"c{subject}.{n}"] for n in range(8)]
        assert all(len(words & names) == 4 for words in own)
        assert sum(bool(words & asked) for words in own) <= 2  # a quarter of 8 bear one of the words to ask with
        assert not asked & names and tasks[0].gold_pages == {f"c{subject}.{n}" for n in range(8)}


def test_with_a_gap_of_one_no_word_of_a_question_stands_on_a_page_of_its_subject_and_a_lure_bears_them():
    catalogue = CatalogueWorld(gap=1.0).build()
    text = {page.id: set(page.text.split()) for page in catalogue.pages}
    for task in catalogue.tasks:
        asked = set(task.question.split())
        assert not any(asked & text[page] for page in task.gold_pages)
        assert len(asked & text[f"l{task.extras['subject']}.0"]) >= 2  # three words of four each


def test_candidates_hold_all_names_of_the_subject_and_otherwise_names_of_others():
    catalogue = CatalogueWorld(subjects=4, candidates=25).build()
    names = {tuple(task.extras["names"]) for task in catalogue.tasks}
    for task in catalogue.tasks:
        offered, own = task.extras["candidates"], set(task.extras["names"])
        others = {word for some in names for word in some} - own
        assert len(offered) == len(set(offered)) == 25
        assert own < set(offered) and set(offered) - own <= others


def test_a_product_is_relevant_by_the_share_of_what_was_asked_that_it_has():
    catalogue = PRODUCTS.build()
    for task in catalogue.tasks:
        [(attribute, value)] = task.extras["asked"].items()
        assert task.question.split()[1] == value
        for page in task.extras["relevance"]:
            about = catalogue.about[page]
            assert about["subject"] == str(task.extras["subject"])
            assert task.extras["relevance"][page] == (1.0 if about[attribute] == value else 0.5)
        assert task.gold_pages == {page for page, share in task.extras["relevance"].items() if share == 1.0} != set()


def test_a_product_page_shows_its_attributes_and_category_and_one_synonym():
    catalogue = PRODUCTS.build()
    for page in catalogue.pages:
        about = catalogue.about[page.id]
        assert page.title.lower().split() == [about["brand"], about["colour"], about["category"]]
        names = catalogue.tasks[2 * int(about["subject"])].extras["names"]
        assert len(set(page.text.split()) & set(names)) == 1
    assert len({about["category"] for about in catalogue.about.values()}) == 2


def test_the_raw_question_finds_little_and_the_names_of_the_subject_find_all():
    catalogue = CatalogueWorld().build()
    index = SearchIndex.build(catalogue.pages, k1=0.9, b=0.4, progress=False)

    def ndcg(queries: list[str]) -> float:
        rankings = [[hit.id for hit in hits] for hits in index.search(queries, 10)]
        return float(retrieval_metrics(rankings, [task.gold_pages for task in catalogue.tasks]).ndcg.mean())

    # of four pages one bears one of the subject's four words; the lure, with three, stands before it:
    # 0.63 / (1 + 0.63 + 0.5 + 0.43) = 0.246 where the question has the word, which three of four do
    assert ndcg([task.question for task in catalogue.tasks]) == pytest.approx(0.75 * 0.246, abs=0.05)
    assert ndcg([" ".join([task.question, *task.extras["names"]]) for task in catalogue.tasks]) > 0.99


@pytest.mark.parametrize(
    "settings",
    [
        {"subjects": 1},
        {"pages": 0},
        {"names_a_page": 11},
        {"asking_a_question": 5},
        {"gap": 1.5},
        {"asked": 1},
        {"candidates": 5},
        {"candidates": 500},
    ],
)
def test_settings_that_make_no_catalogue_are_refused(settings):
    with pytest.raises(SettingError):
        CatalogueWorld(**settings)
