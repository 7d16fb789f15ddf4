"""Pages and how they are found: index, encoders, readers of corpora and question sets, the Search-R1 protocol."""

from workbench.fusion import rank_fusion
from workbench.retrieval.corpora import read_corpus, read_tasks
from workbench.retrieval.encoders import HashedNgrams, TfIdf
from workbench.retrieval.index import SearchIndex
from workbench.retrieval.pages import Page, Searcher
from workbench.retrieval.search_r1 import RemoteIndex, serve

__all__ = [
    "HashedNgrams",
    "Page",
    "RemoteIndex",
    "SearchIndex",
    "Searcher",
    "TfIdf",
    "rank_fusion",
    "read_corpus",
    "read_tasks",
    "serve",
]
