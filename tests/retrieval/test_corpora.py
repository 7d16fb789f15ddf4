"""Readers of corpora and question sets: each format as published, and errors that name the line."""

from __future__ import annotations

import gzip
import json

import pytest

from workbench.errors import FormatError, UnknownName
from workbench.retrieval import Page, SearchIndex, read_corpus, read_tasks
from workbench.retrieval.pages import content_id
from workbench.trajectory import SubQuestion


def a_file(folder, name, rows):
    """Rows as jsonl, or as one array where the name ends in .json."""
    text = json.dumps(rows) if ".json." in f"{name}." else "".join(json.dumps(row) + "\n" for row in rows)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


ROWS = [{"id": "p1", "title": "Ed Wood", "text": "A film."}, {"id": 2, "title": None, "text": "Töne"}]
PAGES = [Page("p1", "Ed Wood", "A film."), Page("2", "", "Töne")]


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.json", "c.json.gz"])
def test_rows_with_id_title_and_text_are_pages(tmp_path, name):
    assert list(read_corpus(a_file(tmp_path, name, ROWS))) == PAGES


def test_search_r1s_wiki_rows_are_pages(tmp_path):
    rows = [
        {"id": "0", "contents": '"Ed Wood (film)"\nEd Wood is a film.\nBy Burton.'},
        {"id": "1", "contents": "Bare"},
    ]
    path = a_file(tmp_path, "wiki.jsonl", rows)
    assert list(read_corpus(path)) == [
        Page("0", "Ed Wood (film)", "Ed Wood is a film.\nBy Burton."),
        Page("1", "Bare", ""),
    ]


def test_a_folder_of_texts_has_one_page_a_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.md").write_text("---\n# The title\n\nSome text.\n## Part\nMore.\n")
    (tmp_path / "a.txt").write_text("\ufeff# not a heading in plain text\n", encoding="utf-8")
    (tmp_path / "sub" / "c.md").write_text("no heading")
    (tmp_path / "picture.png").write_bytes(b"\x89")
    assert list(read_corpus(tmp_path)) == [
        Page("a.txt", "a", "# not a heading in plain text"),
        Page("b.md", "The title", "---\n\nSome text.\n## Part\nMore."),
        Page("sub/c.md", "c", "no heading"),
    ]
    assert list(read_corpus(tmp_path / "b.md"))[0].title == "The title"


HOTPOT = {
    "_id": "5a8b",
    "question": "Were Scott Derrickson and Ed Wood of the same nationality?",
    "answer": "yes",
    "type": "comparison",
    "level": "hard",
    "supporting_facts": [["Scott Derrickson", 0], ["Ed Wood", 0]],
    "context": [
        ["Ed Wood", ["Ed Wood was a director.", " He died."]],
        ["Scott Derrickson", ["He is American."]],
        ["X", ["x"]],
    ],
}


def test_hotpotqas_contexts_are_pages_and_its_questions_tasks(tmp_path):
    other = HOTPOT | {"_id": "5a8c", "context": HOTPOT["context"][:1] + [["Y", ["y"]]]}  # shares a paragraph
    path = a_file(tmp_path, "hotpot.json", [HOTPOT, other])
    pages = list(read_corpus(path))
    assert [page.title for page in pages] == ["Ed Wood", "Scott Derrickson", "X", "Y"]
    assert pages[0].text == "Ed Wood was a director. He died."
    first, second = read_tasks(path)
    assert (first.id, first.golds, first.kind, first.extras["level"]) == ("5a8b", ("yes",), "comparison", "hard")
    assert first.gold_pages == {pages[0].id, pages[1].id}
    assert second.gold_pages == {pages[0].id}  # the other gold paragraph is not among its contexts


def test_hotpotqa_in_the_hubs_columns_reads_the_same(tmp_path):
    columns = HOTPOT | {
        "id": "5a8b",
        "context": {"title": [t for t, _ in HOTPOT["context"]], "sentences": [s for _, s in HOTPOT["context"]]},
        "supporting_facts": {"title": ["Scott Derrickson", "Ed Wood"], "sent_id": [0, 0]},
    }
    plain, hub = a_file(tmp_path, "plain.json", [HOTPOT]), a_file(tmp_path, "hub.jsonl", [columns])
    assert list(read_corpus(plain)) == list(read_corpus(hub))
    assert list(read_tasks(plain)) == list(read_tasks(hub))


def test_2wikis_evidences_become_sub_questions(tmp_path):
    row = {
        "_id": "9",
        "type": "compositional",
        "question": "Who is the mother of the director of film Polish-Russian War?",
        "answer": "Małgorzata Braunek",
        "context": [
            ["Polish-Russian War", ["A film", "directed by Żuławski."]],
            ["Xawery Żuławski", ["Son of Braunek."]],
        ],
        "supporting_facts": [["Polish-Russian War", 1], ["Xawery Żuławski", 0]],
        "evidences": [
            ["Polish-Russian War", "director", "Xawery Żuławski"],
            ["Xawery Żuławski", "mother", "Małgorzata Braunek"],
        ],
    }
    path = a_file(tmp_path, "2wiki.json", [row])
    pages, (task,) = list(read_corpus(path)), list(read_tasks(path))
    assert pages[0].text == "A film directed by Żuławski."  # its sentences bring no spaces
    assert task.sub_questions == (
        SubQuestion("Polish-Russian War >> director", ("Xawery Żuławski",), pages[0].id),
        SubQuestion("Xawery Żuławski >> mother", ("Małgorzata Braunek",), pages[1].id),
    )
    assert task.hops == 2


def test_musiques_paragraphs_are_pages_and_references_are_filled_in(tmp_path):
    row = {
        "id": "2hop__1_2",
        "question": "What team was Anna Benson's husband on?",
        "answer": "Pittsburgh Pirates",
        "answer_aliases": ["Pirates", "Pittsburgh Pirates"],
        "answerable": True,
        "paragraphs": [
            {"idx": 0, "title": "Anna Benson", "paragraph_text": "Wife of Kris.", "is_supporting": True},
            {"idx": 1, "title": "Kris Benson", "paragraph_text": "A pitcher.", "is_supporting": True},
            {"idx": 2, "title": "Kris Benson", "paragraph_text": "Another section.", "is_supporting": False},
        ],
        "question_decomposition": [
            {"id": 1, "question": "Anna Benson >> spouse", "answer": "Kris Benson", "paragraph_support_idx": 0},
            {"id": 2, "question": "#1 >> member of sports team", "answer": "Pirates", "paragraph_support_idx": 1},
        ],
    }
    path = a_file(tmp_path, "musique.jsonl", [row])
    pages, (task,) = list(read_corpus(path)), list(read_tasks(path))
    assert len({page.id for page in pages}) == 3  # titles repeat, ids do not
    assert task.golds == ("Pittsburgh Pirates", "Pirates") and task.kind == "2hop"
    assert task.gold_pages == {pages[0].id, pages[1].id}
    assert task.sub_questions[1] == SubQuestion("Kris Benson >> member of sports team", ("Pirates",), pages[1].id)


def a_beir_folder(tmp_path, qrels="query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(qrels)
    a_file(tmp_path, "corpus.jsonl.gz", [{"_id": "d1", "title": "One", "text": "first", "metadata": {}}])
    a_file(tmp_path, "queries.jsonl", [{"_id": "q1", "text": "which is first"}, {"_id": "q2", "text": "not judged"}])
    return tmp_path


def test_a_beir_folder_has_pages_and_judged_queries(tmp_path):
    folder = a_beir_folder(tmp_path)
    assert list(read_corpus(folder)) == [Page("d1", "One", "first")]
    (task,) = read_tasks(folder)
    assert (task.id, task.question, task.golds, task.gold_pages) == ("q1", "which is first", (), {"d1"})
    assert task.extras == {"relevance": {"d1": 2.0, "d2": 0.0}, "split": "test"}


def test_a_bad_judgement_names_its_line(tmp_path):
    folder = a_beir_folder(tmp_path, qrels="query-id\tcorpus-id\tscore\nq1\td1\n")
    with pytest.raises(FormatError, match="test.tsv, line 2: expected query-id, corpus-id, score; got 'q1.*d1'"):
        list(read_tasks(folder))


def test_questions_of_several_habits_are_tasks(tmp_path):
    rows = [
        {"id": "a", "question": "Who?", "golden_answers": ["X", "X", " "], "metadata": {"type": "bridge"}},
        {
            "id": "b",
            "question": "Whom?",
            "answer": 7,
            "gold_ids": None,
            "type": "2hop",
            "rubrics": [{"text": "names X"}],
        },
        {
            "id": "c",
            "question": "Where?",
            "answers": ["there"],
            "gold_ids": ["p1", "p2"],
            "decomposition": [
                {"question": "A >> spouse", "answer": "B", "gold_id": "p1"},
                {"question": "#1 >> home, #2", "answer": "there", "gold_id": "p2"},
            ],
        },
    ]
    a, b, c = read_tasks(a_file(tmp_path, "q.jsonl", rows))
    assert (a.golds, a.extras, a.hops) == (("X",), {"metadata": {"type": "bridge"}}, 1)
    assert (b.golds, b.gold_pages, b.kind, b.rubrics) == (("7",), frozenset(), "2hop", ({"text": "names X"},))
    assert c.gold_pages == {"p1", "p2"} and c.extras == {}
    assert c.sub_questions[1] == SubQuestion("B >> home, #2", ("there",), "p2")  # only earlier answers are filled in


BAD_FILES = [
    ("c.jsonl", b'{"id": 1, "text": "x"}\n\nnot json\n', "c.jsonl, line 3: not JSON"),
    ("c.jsonl", b'{"id": 1, "text": "x"}\n{"id": 2, "text": "\xff"}\n', "c.jsonl, line 2: not JSON"),
    ("c.jsonl", b'{"id": 1, "text": "x"}\n[1]\n', "c.jsonl, line 2: expected a JSON object, got list"),
    ("c.jsonl", b'{"id": 1, "text": "x"}\n{"id": "1", "text": "y"}\n', "c.jsonl, line 2: the id '1' was met before"),
    (
        "c.jsonl",
        b'{"title": "t", "text": "x"}\n',
        r"c.jsonl, line 1: a page needs an id \(or _id\); the row has \['text'",
    ),
    ("c.jsonl", b'{"id": 1, "text": null}\n', "c.jsonl, line 1: page 1 needs a text"),
    ("c.json", b'[{"id": 1, "text": "x"}, {"id": 2, "text"', "c.json, item 2: not JSON, or cut off"),
    ("c.json", b'[{"id": 1, "text": "x"}', "c.json, item 2: not JSON, or cut off"),
    ("c.json", b'[{"id": 1, "text": "x"}, 3]', "c.json, item 2: expected a JSON object, got int"),
    ("c.json", b"[]", "holds no rows"),
    ("c.jsonl", b"", "holds no rows"),
    ("c.jsonl.gz", b"plain text", "c.jsonl.gz is not a whole gzip file"),
    (
        "c.jsonl.gz",
        gzip.compress(b'{"id": 1, "text": "x"}\n' * 9, mtime=0)[:-12],
        "c.jsonl.gz is not a whole gzip file",
    ),
    ("c.txt", b"\xff", "c.txt is not UTF-8"),
    ("h.json", b'[{"question": "q", "context": [["t"]], "_id": 1}]', "h.json, item 1: not as published"),
    ("m.jsonl", b'{"question": "q", "paragraphs": [{"title": "t"}]}', "m.jsonl, line 1: not as published .KeyError"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_a_bad_corpus_says_where_and_what(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        list(read_corpus(tmp_path / name))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, "line 1: a question needs an id and a question; the row has"),
        ({"question": "Who?"}, "line 1: a question needs an id and a question"),
        ({"id": "a", "question": " "}, "line 1: a question needs an id and a question"),
        ({"id": "a", "question": "Who?", "decomposition": [{"answer": 1}]}, "line 1: its sub-questions cannot be read"),
        ({"id": "a", "question": "Who?", "triples": [["s", "r"]]}, "line 1: its sub-questions cannot be read"),
    ],
)
def test_a_bad_question_says_where_and_what(tmp_path, row, message):
    with pytest.raises(FormatError, match=message):
        list(read_tasks(a_file(tmp_path, "q.jsonl", [row])))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FormatError, match="no file or folder"):
        list(read_corpus(tmp_path / "absent.jsonl"))
    with pytest.raises(FormatError, match=r"holds no \.txt or \.md files"):
        list(read_corpus(tmp_path))
    with pytest.raises(UnknownName, match="no format 'csv'; known: beir, folder, hotpotqa, jsonl, musique"):
        read_corpus(tmp_path, format="csv")
    with pytest.raises(FormatError, match="no file .*corpus.jsonl"):
        list(read_corpus(tmp_path, format="beir"))


def test_an_array_larger_than_a_chunk_is_streamed_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.retrieval.rows.CHUNK", 7)  # items, strings and characters are cut everywhere
    rows = [{"id": str(i), "title": "Ä, ]\\n", "text": "€" * i} for i in range(20)]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    assert [page.id for page in read_corpus(path)] == [str(i) for i in range(20)]


def test_a_saved_indexs_pages_are_a_corpus(tmp_path):
    folder = SearchIndex.build(PAGES, progress=False).save(tmp_path / "index")
    assert list(read_corpus(folder / "pages.jsonl")) == PAGES


def test_the_same_paragraph_has_the_same_id():
    assert content_id("Ed Wood", "A film.") == content_id("Ed Wood", "A film.")
    assert content_id("Ed Wood", "A film.") != content_id("Ed Wood", "A director.")


def test_the_shared_multi_hop_questions_read_with_their_sub_questions(shared_data):
    tasks = {task.id: task for task in read_tasks(shared_data / "wiki_multihop" / "questions.jsonl")}
    assert len(tasks) == 3110
    musique = tasks["musique_c4fc69cfdb"]
    assert musique.sub_questions[1].question == "Kris Benson >> member of sports team"
    assert musique.sub_questions[1].page in musique.gold_pages
    wiki = tasks["2wikimultihopqa_29457e5b07"]
    assert [sub.page in wiki.gold_pages for sub in wiki.sub_questions] == [True] * 4
