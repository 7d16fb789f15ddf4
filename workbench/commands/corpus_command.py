"""`workbench corpus`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import add_command, add_family, number, whole

LESSON = """
index pages, search them, serve them

A corpus is a .jsonl file (rows with id, title, text, or with id and contents), gzipped or not, a folder of .txt and .md
files, a BEIR folder, or the json of HotpotQA, 2WikiMultihopQA or MuSiQue, whose contexts are the pages.

examples:
  workbench corpus show corpus.jsonl.gz
  workbench corpus index corpus.jsonl.gz --out index
  workbench corpus search index "Who directed Ed Wood?"
"""

INDEX = """
index one corpus or several, once

Writes a folder that `rollout --corpus FOLDER`, `corpus search` and `corpus serve` load in a moment, memory-mapped: of a
large corpus only what is searched is read. Ranking is BM25 over title and text.

examples:
  workbench corpus index corpus.jsonl.gz --out index

  # two corpora as one, long pages discounted less
  workbench corpus index corpus.jsonl.gz more.jsonl --out both --b 0.4
"""

SEARCH = """
search a corpus by hand

Shows the best pages for a query as an agent's search tool finds them. Give an index folder where you have one: corpora
are indexed anew each time.

examples:
  workbench corpus search index "Who directed Ed Wood?"

  # the embedded world needs no file
  workbench corpus search demo "Ozark Regional Airport" -k 2
"""

SERVE = """
answer searches over HTTP, by Search-R1's protocol

POST /retrieve with {"queries": ["..."], "topk": 3, "return_scores": true}. Anything that trains against a Search-R1
server can use it, `workbench rollout --corpus http://...` too. Runs until Ctrl-C. Only this machine can reach it unless
--host says otherwise.

examples:
  workbench corpus serve index --port 8000

  # the embedded world
  workbench corpus serve demo
"""

SHOW = """
say what is in a corpus

Reads all of it (so that a broken row is found and named), counts pages and words, and shows the first pages.

examples:
  workbench corpus show corpus.jsonl.gz
  workbench corpus show demo
"""


def add(commands: Any) -> None:
    family = add_family(commands, "corpus", LESSON).add_subparsers(title="commands", metavar="COMMAND")
    index = add_command(family, "index", run_index, INDEX, kept="no half-written index is left in {out}")
    index.add_argument("corpus", nargs="+", metavar="FILE", help="files or folders")
    index.add_argument("--out", required=True, metavar="FOLDER", help="new, empty, or holding an earlier index")
    index.add_argument(
        "--k1",
        type=number(0),
        default=1.5,
        metavar="X",
        help="how slowly a repeated word stops counting (default: 1.5)",
    )
    index.add_argument(
        "--b", type=number(0, 1), default=0.75, metavar="X", help="how much long pages are discounted (default: 0.75)"
    )
    search = add_command(family, "search", run_search, SEARCH)
    search.add_argument("corpus", metavar="FOLDER", help="an index folder, a corpus, http://..., or demo")
    search.add_argument("query", metavar="QUERY", help="in quotes")
    search.add_argument("-k", type=whole(1), default=3, metavar="N", help="most pages (default: 3)")
    serve = add_command(family, "serve", run_serve, SERVE)
    serve.add_argument("corpus", nargs="+", metavar="FOLDER", help="an index folder, corpora, or demo")
    serve.add_argument("--port", type=whole(0, 65535), default=8000, metavar="N", help="0: a free one (default: 8000)")
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: 127.0.0.1)")
    serve.add_argument(
        "-k", type=whole(1), default=3, metavar="N", help="pages where a request names none (default: 3)"
    )
    show = add_command(family, "show", run_show, SHOW)
    show.add_argument("corpus", metavar="FILE", help="a corpus, or demo")


def run_index(args: argparse.Namespace) -> None:
    from workbench.commands.sources import pages_of
    from workbench.retrieval import SearchIndex

    index = SearchIndex.build(pages_of(args.corpus), k1=args.k1, b=args.b)
    folder = index.save(args.out)
    print(f'{len(index):,} pages indexed in {folder}. Next:\n  workbench corpus search {folder} "your words"')


def run_search(args: argparse.Namespace) -> None:
    from workbench.commands.sources import searcher
    from workbench.commands.tables import one_line

    hits = searcher([args.corpus]).search([args.query], args.k)[0]
    for hit in hits:
        print(f"{hit.rank + 1}. {one_line(hit.title)}  ({one_line(hit.id)}, score {hit.score:.2f})")
        print(f"   {one_line(hit.text)}")
    if not hits:
        print("no page shares a word with the query (stop words do not count)")


def run_serve(args: argparse.Namespace) -> None:
    from workbench.commands.sources import searcher
    from workbench.retrieval import serve

    serve(searcher(args.corpus), args.host, args.port, args.k)


def run_show(args: argparse.Namespace) -> None:
    from workbench.commands.sources import pages_of
    from workbench.commands.tables import cut, one_line

    pages = list(pages_of([args.corpus]))
    words = [len(page.text.split()) for page in pages]
    average = sum(words) / max(len(pages), 1)
    print(f"{len(pages):,} pages, {average:.0f} words on average, {max(words, default=0):,} at most")
    for page in pages[:3]:
        print(f"\n{one_line(page.title)}  ({one_line(page.id)})\n  {cut(one_line(page.text), 400)}")
