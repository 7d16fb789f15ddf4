"""The search index: what it finds, in which order, and that a saved one is the same."""

from __future__ import annotations

import math

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import FormatError, SettingError, UnknownName
from workbench.retrieval import Page, SearchIndex
from workbench.retrieval.index import FEW, _best

FILMS = (
    Page("p1", "Ed Wood", "A film by Tim Burton with Johnny Depp."),
    Page("p2", "Tim Burton", "Tim Burton is a director born in Burbank."),
    Page("p3", "Burbank", "Burbank lies in California."),
    Page("p4", "Lyon", "Lyon lies in France."),
)


def an_index(pages=FILMS, **settings) -> SearchIndex:
    return SearchIndex.build(pages, progress=False, **settings)


def ids(hits) -> list[str]:
    return [hit.id for hit in hits]


def test_the_page_with_the_words_comes_first():
    first, second = an_index().search(["Where was Tim Burton born?", "What lies in France?"])
    assert ids(first) == ["p2", "p1"]
    assert ids(second) == ["p4", "p3"]  # "lies" is on p3 too, France only on p4


def test_scores_are_bm25_by_hand():
    # Pages of 3 and 5 words (title + text), mean 4; "zebra" is once on the first: df 1 of 2 pages.
    # idf = ln(1 + (2 - 1 + .5) / (1 + .5)) = ln 2; length norm = 1 - .75 + .75 * 3 / 4 = .8125
    # and tf = 1 / (1 + 1.5 * .8125)
    index = an_index([Page("a", "Zebra", "runs far"), Page("b", "Cow", "eats grass every day")])
    (hit,) = index.search(["zebra"])[0]
    assert hit.score == pytest.approx(math.log(2) / (1 + 1.5 * 0.8125), rel=1e-6)


def test_hits_carry_where_they_come_from():
    hits = an_index().search(["Tim Burton"], k=2)[0]
    assert [(hit.rank, hit.query, hit.title) for hit in hits] == [
        (0, "Tim Burton", "Tim Burton"),
        (1, "Tim Burton", "Ed Wood"),
    ]
    assert hits[0].score > hits[1].score > 0
    assert hits[0].text == FILMS[1].text


@pytest.mark.parametrize("query", ["", "   ", "the of and", "zzzz", "?!", "a"])
def test_a_query_without_a_known_word_finds_nothing(query):
    assert an_index().search([query]) == [[]]


def test_pages_that_share_no_word_are_no_hits_however_many_are_asked_for():
    assert ids(an_index().search(["France"], k=100)[0]) == ["p4"]
    assert ids(an_index().search(["lies burton"], k=100)[0]) == ["p2", "p3", "p4", "p1"]  # p1 is the longest


def test_equal_scores_come_in_corpus_order():
    same = [Page(name, "Twin", "one and the same text") for name in "dbca"]
    for k in (3, FEW + 1):
        assert ids(an_index(same).search(["same text"], k=k)[0]) == list("dbca")[:k]


def test_excluded_pages_do_not_come_back():
    index = an_index()
    assert ids(index.search(["Tim Burton"], exclude=["p2"])[0]) == ["p1"]
    assert ids(index.search(["Tim Burton"])[0]) == ["p2", "p1"]  # the exclusion is not remembered
    with pytest.raises(UnknownName, match="no page 'p9' in the index of 4 pages; ids look like 'p1'"):
        index.search(["Tim Burton"], exclude=["p9"])


def test_pages_are_got_by_id():
    index = an_index()
    assert index["p3"] == FILMS[2]
    assert "p3" in index and "p9" not in index
    assert tuple(index) == FILMS and len(index) == 4
    with pytest.raises(UnknownName, match="no page 'p9'"):
        index["p9"]


def test_wrong_questions_say_what_is_right():
    index = an_index()
    with pytest.raises(SettingError, match=r"search\(\['who'\]\)"):
        index.search("who")
    with pytest.raises(SettingError, match="at least 1, got 0"):
        index.search(["who"], k=0)


def test_wrong_corpora_say_what_is_wrong():
    with pytest.raises(FormatError, match="at least one page"):
        an_index([])
    with pytest.raises(FormatError, match="page 1 has the id 'x' of an earlier page"):
        an_index([Page("x", "A", "a"), Page("x", "B", "b")])
    with pytest.raises(SettingError, match="k1=-1"):
        an_index(k1=-1)
    with pytest.raises(SettingError, match="no stop words by the name 'klingon'"):
        an_index(stopwords="klingon")


def test_stop_words_are_a_setting():
    assert ids(an_index(stopwords=None).search(["in"])[0]) == ["p3", "p4", "p2"]
    assert an_index(stopwords=["lyon"]).search(["lyon"]) == [[]]


def test_pages_without_a_single_word_can_be_indexed(tmp_path):
    index = an_index([Page("a", "", "the"), Page("b", "!", "")])
    assert index.search(["the", "anything"]) == [[], []]
    assert SearchIndex.load(index.save(tmp_path / "empty")).search(["the"]) == [[]]


def test_a_saved_index_answers_the_same(tmp_path):
    index = an_index(k1=0.9, b=0.4)
    loaded = SearchIndex.load(index.save(tmp_path / "deep" / "films"))
    queries = ["Tim Burton", "lies in", "born California", ""]
    assert loaded.search(queries, k=4) == index.search(queries, k=4)
    assert loaded.search(["Tim Burton"], exclude=["p2"]) == index.search(["Tim Burton"], exclude=["p2"])
    assert tuple(loaded) == FILMS and loaded["p4"] == FILMS[3] and loaded.settings == index.settings


def test_saving_over_an_open_index_leaves_it_readable(tmp_path):
    an_index().save(tmp_path / "films")
    before = SearchIndex.load(tmp_path / "films")
    an_index([Page("q1", "Oslo", "Oslo lies in Norway.")]).save(tmp_path / "films")
    assert ids(before.search(["France"])[0]) == ["p4"]
    assert ids(SearchIndex.load(tmp_path / "films").search(["France", "Norway"])[1]) == ["q1"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["films"]


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingError, match="holds other files"):
        an_index().save(tmp_path)
    with pytest.raises(FormatError, match="no search index in .*; make one with SearchIndex.build"):
        SearchIndex.load(tmp_path)


def test_a_damaged_index_is_noticed(tmp_path):
    an_index().save(tmp_path / "films")
    with open(tmp_path / "films" / "pages.jsonl", "a") as file:
        file.write("{}\n")
    with pytest.raises(FormatError, match="do not belong together"):
        SearchIndex.load(tmp_path / "films")


def test_text_that_is_no_valid_unicode_can_be_kept_and_searched(tmp_path):
    index = an_index([Page("a", "Half \ud800", "a broken character"), *FILMS])
    assert ids(SearchIndex.load(index.save(tmp_path / "x")).search(["broken \ud800 character"])[0]) == ["a"]


def test_words_and_scores_are_those_of_bm25s():
    texts = [f"{page.title} {page.text}" for page in FILMS]
    queries = ["Tim Burton's film", "Burbank, California: who lies?", "director director"]
    plain = bm25s.BM25()
    plain.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    documents, scores = plain.retrieve(bm25s.tokenize(queries, show_progress=False), k=2, show_progress=False)
    for hits, rows, expected in zip(an_index().search(queries, k=2), documents, scores, strict=True):
        found = [(hit.id, hit.score) for hit in hits]
        assert found == [(FILMS[row].id, score) for row, score in zip(rows, expected, strict=True) if score > 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5]), min_size=1, max_size=60), st.integers(1, 70))
def test_the_best_are_those_of_a_full_stable_sort(scores, k):
    scores_N = np.array(scores, np.float32)
    order = np.argsort(-scores_N, kind="stable")
    expected = tuple((int(row), float(scores_N[row])) for row in order if scores_N[row] > 0)[:k]
    assert _best(scores_N.copy(), k) == expected


@pytest.mark.slow
def test_recall_on_real_questions_is_that_of_the_data_sets_readme(shared_data):
    from workbench.retrieval import read_corpus, read_tasks

    folder = shared_data / "wiki_multihop"
    index = an_index(read_corpus(folder / "corpus.jsonl.gz"))
    tasks = [task for task in read_tasks(folder / "questions.jsonl") if task.extras["dataset"] == "musique"]
    found = index.search([task.question for task in tasks], k=10)
    recalls = [
        len(task.gold_pages & set(ids(hits))) / len(task.gold_pages) for task, hits in zip(tasks, found, strict=True)
    ]
    assert len(tasks) == 225
    assert round(float(np.mean(recalls)), 3) == 0.551  # README: musique, core
    assert round(float(np.mean([recall == 1 for recall in recalls])), 3) == 0.191
