"""The gallery of papers without a page: what it shows, what it tries, records and refuses."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import a_trajectory, a_tree
from tests.widgets.visits import visit
from widgets import papers as room
from widgets.pages.papers import papers
from widgets.papers import Papers, told, tried
from workbench.errors import SettingError, UnknownName
from workbench.papers import CATALOGUE, Check, Paper, Proof, built, entry, load
from workbench.rewards import ExactMatch
from workbench.store import Store, open_store

FIRST = built()[0].name
PROOF = Proof({"ours": {"exact match": 0.5}}, [Check("more than nothing", True)], curves={"ours": [0.1, 0.5]})


def a_paper(number: str, proof: Any = lambda seed: PROOF) -> Paper:
    return Paper(number, "R = EM", {"its own": ExactMatch()}, proof, "reproduced")


class Heard:
    """What a gallery says; `wait` for a kind of message."""

    def __init__(self, view: Papers) -> None:
        self.all: list[tuple[dict[str, Any], Any]] = []
        self._came = threading.Condition()
        view.send = self._hear  # type: ignore[method-assign]

    def _hear(self, content: Any, buffers: Any = None) -> None:
        with self._came:
            self.all.append((content, json.loads(buffers[0]) if buffers else None))
            self._came.notify_all()

    def wait(self, kind: str) -> tuple[dict[str, Any], Any]:
        with self._came:
            assert self._came.wait_for(lambda: any(one["kind"] == kind for one, _ in self.all), 60), self.all
            return next((one, data) for one, data in reversed(self.all) if one["kind"] == kind)


@pytest.fixture
def store(tmp_path) -> Any:
    with open_store(tmp_path / "lab") as store:
        store.start_run({"command": "rollout"}, name="empty")
        run = store.start_run({"command": "rollout"}, name="r1")
        tree = a_tree(a_trajectory(("p1",), answer="Paris", id="a"), a_trajectory(("x",), answer="Lyon", id="b"))
        store.record_trees([tree], run=run)
        store.flush()
        yield store


@pytest.fixture
def one_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method of the catalogue is this one, so that no proof takes its time."""
    monkeypatch.setattr(room, "load", lambda name: a_paper(entry(name).number))


def test_a_page_is_told_the_catalogue_and_the_method_it_shows():
    view = Papers()
    heard = Heard(view)
    view.hear_hello()
    (first, rows), (second, shown) = heard.all
    assert first["kind"] == "catalogue" and first["runs"] == []
    assert {row["name"] for row in rows} == {one.name for one in CATALOGUE}
    assert [row["built"] for row in rows] == sorted((row["built"] for row in rows), reverse=True)
    assert second["kind"] == "paper" and shown["name"] == view.chosen == FIRST


@pytest.mark.parametrize("one", CATALOGUE, ids=lambda one: one.name)
def test_every_method_can_be_shown(one):
    shown = told(one)
    assert shown["title"] and shown["published"]
    if one in built():
        assert shown["claim"] and shown["formula"]
        assert [name for name, _ in shown["rewards"]] == list(load(one.name).rewards)
    else:
        assert "claim" not in shown


def test_an_address_leads_to_a_method(store: Store):
    [view] = papers(visit(store, paper=FIRST)).parts
    assert isinstance(view, Papers) and view.chosen == FIRST
    with pytest.raises(UnknownName):
        papers(visit(store, paper="nonesuch"))


@pytest.mark.usefixtures("one_paper")
def test_a_proof_is_run_in_a_thread_and_told():
    view = Papers()
    heard = Heard(view)
    view.hear_prove(FIRST, 3)
    message, proof = heard.wait("proof")
    assert (message["name"], message["seed"]) == (FIRST, 3)
    assert proof["verdict"] == "reproduced" and proof["arms"] == {"ours": {"exact match": 0.5}}
    for wrong in (-1, "0", 2**31):
        with pytest.raises(SettingError, match="seed"):
            view.hear_prove(FIRST, wrong)  # type: ignore[arg-type]


def test_one_piece_of_work_at_a_time_and_trouble_is_told(monkeypatch: pytest.MonkeyPatch):
    go = threading.Event()

    def proof(seed: int) -> Proof:
        go.wait(20)
        raise SettingError("the corpus is gone")

    monkeypatch.setattr(room, "load", lambda name: a_paper("05", proof))
    view = Papers()
    heard = Heard(view)
    view.hear_prove(FIRST, 0)
    with pytest.raises(SettingError, match="under way"):
        view.hear_prove(FIRST, 1)
    go.set()
    message, _ = heard.wait("trouble")
    assert message["says"] == "the corpus is gone"


@pytest.mark.usefixtures("one_paper")
def test_a_reward_is_tried_without_a_trace_and_recorded_when_asked(store: Store):
    view = Papers(store)
    heard = Heard(view)
    view.hear_hello()
    assert heard.wait("catalogue")[0]["runs"] == ["r1"]
    view.hear_try(FIRST, "its own", "r1")
    message, report = heard.wait("tried")
    assert message["trees"] == 1 and report["columns"][0] == "term"
    [row] = [dict(zip(report["columns"], row, strict=True)) for row in report["rows"] if row[0] == "ExactMatch"]
    assert row["mean"] == 0.5 and row["scored"] == 2
    assert len(store.sql("select * from scores_log")) == 0
    while view._busy.locked():
        time.sleep(0.01)
    view.hear_record(FIRST, "its own", "r1")
    message, _ = heard.wait("recorded")
    assert (message["trees"], message["kept"]) == (1, 0)
    assert sorted(store.sql("select value from returns").value) == [0.0, 1.0]


@pytest.mark.usefixtures("one_paper")
def test_what_cannot_be_tried_says_why(store: Store):
    with pytest.raises(SettingError, match="no lab"):
        Papers().hear_try(FIRST, "its own", "r1")
    with pytest.raises(SettingError, match="has no reward"):
        Papers(store).hear_try(FIRST, "another", "r1")
    with pytest.raises(SettingError, match="no rollouts"):
        tried([], ExactMatch())


def test_a_kept_result_comes_back_as_it_was(tmp_path):
    from workbench.papers.results import Kept, keep, kept

    fails = replace(PROOF, checks=[Check("more than nothing", False)])
    made = Kept().with_proof(0, PROOF).with_proof(1, fails).with_proof(0, PROOF, on_world=True)
    keep("x", made, tmp_path)
    back = kept("x", tmp_path)
    assert back.verdict == "not reproduced" and kept("y", tmp_path).verdict is None
    assert {seed: proof.verdict for seed, proof in back.proofs.items()} == {0: "reproduced", 1: "not reproduced"}
    assert back.on_world[0].arms == PROOF.arms and back.proofs[0].curves == PROOF.curves
