"""Vectors in a lab: kept once, found by every process, and a second scoring encodes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from workbench.errors import StoreError
from workbench.rescoring import rescore
from workbench.retrieval import HashedNgrams
from workbench.rewards import ExactMatch, ReduceSteps, Similarity, score
from workbench.spec import part
from workbench.store import open_store

ENCODED: list[str] = []


@part
class Noted(HashedNgrams):
    """Notes every text that it encodes."""

    remember = True

    def __call__(self, texts):
        ENCODED.extend(texts)
        return super().__call__(texts)


REWARD = ExactMatch() + 0.5 * ReduceSteps(Similarity(Noted(64)), "mean")


def a_run(store, trees=3):
    made = [
        a_tree(a_trajectory((f"p{n}",), (f"q{n}",), answer="Paris", id=f"t{n}", task=a_task(f"task{n}")), id=f"tree{n}")
        for n in range(trees)
    ]
    run = store.start_run({"kind": "rollout"})
    store.record_trees(made, run=run)
    return run, made


def test_a_lab_scores_again_without_encoding_in_this_process_and_in_the_next(tmp_path):
    ENCODED.clear()
    with open_store(tmp_path / "lab") as store:
        run, trees = a_run(store)
        rescore(store, REWARD, run, progress=False)
        # one query and six documents, each once
        assert len(ENCODED) == len(set(ENCODED)) == len(store.vectors) == 7
        first = store.sql("select trajectory, step, part, value from scores order by all")
        score(trees, REWARD, vectors=store.vectors)
        rescore(store, 2.0 * REWARD, run, progress=False)
        assert len(ENCODED) == 7
    with open_store(tmp_path / "lab") as again:
        rescore(again, REWARD, run, progress=False)
        assert len(ENCODED) == 7
        second = again.sql("select trajectory, step, part, value from scores order by all")
    assert first.equals(second)


def test_every_bit_of_a_vector_comes_back_and_the_first_of_a_key_stays(tmp_path):
    vector = np.array([0.1, -1.5e-38, np.pi], dtype=np.float32)
    with open_store(tmp_path / "lab") as store:
        store.vectors["a-1"] = vector
        store.vectors["a-2"] = 2 * vector
    with open_store(tmp_path / "lab") as other:
        np.testing.assert_array_equal(other.vectors["a-1"], vector)
        assert set(other.vectors) == {"a-1", "a-2"} and "a-3" not in other.vectors
        other.vectors.update({"a-1": 0 * vector})
    with open_store(tmp_path / "lab") as last:
        np.testing.assert_array_equal(last.vectors["a-1"], vector)
        assert len(last.vectors) == 2


def test_a_vector_is_never_taken_away(tmp_path):
    with open_store(tmp_path / "lab") as store:
        store.vectors["a-1"] = np.ones(2, np.float32)
        with pytest.raises(StoreError, match="only adds rows"):
            del store.vectors["a-1"]
        with pytest.raises(KeyError):
            store.vectors["a-9"]
