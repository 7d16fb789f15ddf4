"""RunMonitor on its Python side: what a page is told, what it may ask, and what can be read without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.training.seekers import REWARD, seeking
from tests.training.worlds import TASKS, Quiet, guesser
from widgets import run_monitor
from widgets.gathered import Gathered
from widgets.run_monitor import RunMonitor
from workbench.rewards import ExactMatch, RepeatedDocuments, reward_of
from workbench.rewards.compose import reweighted
from workbench.store import open_store
from workbench.training.plan import Optimiser
from workbench.training.train import train


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new is told in the thread in which it happens, and groups every time: nothing here waits."""

    class AtOnce(Gathered):
        def __call__(self) -> None:
            self._act()

    monkeypatch.setattr(run_monitor, "Gathered", AtOnce)
    monkeypatch.setattr(run_monitor, "GROUPS_EVERY_S", -1.0)


@dataclass
class Page:
    """Stands in for a page: keeps what it is told, asks what a person would."""

    monitor: RunMonitor
    told: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.monitor.send = self._hear  # type: ignore[method-assign]
        self.ask("hello")

    def ask(self, kind: str, **told: Any) -> list[dict[str, Any]]:
        """Send a message; what Python said to it."""
        before = len(self.told)
        self.monitor._handle_custom_msg({"kind": kind, **told}, [])
        return self.told[before:]

    def said(self, kind: str) -> str:
        return next(one["says"] for one in reversed(self.told) if one["kind"] == kind)

    def _hear(self, content: dict[str, Any], buffers: Any = None) -> None:
        told = {**content, **({"data": json.loads(bytes(buffers[0]))} if buffers else {})}
        self.told.append(told)
        if told["kind"] == "run":
            news = told["data"]
            self.rows = [*self.rows[: news["from"]], *news["rows"]]
            self.state |= news


def watching(updates: int = 6, **settings: Any) -> tuple[Any, Page]:
    run = seeking(updates, **settings)
    return run, Page(RunMonitor(run))


# ---------------------------------------------------------------- what is told


def test_a_page_is_told_every_update_once_and_a_new_page_all_of_them():
    run, page = watching(4)
    assert page.rows == [] and page.state["status"] == "new"
    run.finish(show=False)
    assert [row["update"] for row in page.rows] == [1, 2, 3, 4]
    assert sum(len(one["data"]["rows"]) for one in page.told if one["kind"] == "run") == 4
    assert (page.state["status"], page.state["driven"]) == ("finished", False)
    first = page.rows[0]
    assert first["parts"].keys() == {"ExactMatch", "CoverageGain", "RepeatedDocuments"}
    assert first["mean_return"] == run.reports[0].mean_return
    again = page.ask("hello")
    assert len(again[0]["data"]["rows"]) == 4 and again[0]["data"]["from"] == 0


def test_a_part_that_was_not_scored_is_null_and_not_zero():
    run = train(guesser(), TASKS, Quiet(), reward_of(lambda t: None, name="silent"), updates=1, tasks_per_update=2)
    page = Page(RunMonitor(run))
    run.finish(show=False)
    assert page.rows[0]["parts"] == {"silent": None} and page.rows[0]["mean_return"] is None
    assert page.state["groups"]["rows"][0]["returns"] == [None] * 8


def test_checks_that_do_not_hold_stay_with_their_update():
    run, page = watching(5, tasks=4, lr=0.5)
    run.finish(show=False)
    lit = [(row["update"], alarm["name"]) for row in page.rows for alarm in row["alarms"]]
    assert lit == [(report.update, alarm.name) for report in run.reports for alarm in report.alarms]
    assert {check["name"] for check in page.state["checks"]} >= {"own tokens", "equal groups", "missing scores"}


def test_the_groups_of_the_newest_update_are_told_with_returns_spread_and_ends():
    run, page = watching(1)
    next(iter(run))
    groups = page.state["groups"]
    assert groups["update"] == 1 and len(groups["rows"]) == 4
    batch = run.latest.advantages.batch
    for number, row in enumerate(groups["rows"]):
        returns = batch.returns_N[batch.group_N == number]
        assert row["returns"] == returns.tolist()
        assert (row["mean"], row["spread"]) == (returns.mean(), pytest.approx(returns.std()))
        assert sum(row["ends"].values()) == 8 and row["question"].startswith("What is")


def test_groups_stay_while_someone_looks_at_them():
    run, page = watching(3)
    next(iter(run))
    page.ask("hold", on=True)
    run.finish(show=False)
    assert page.state["groups"]["update"] == 1 and page.rows[-1]["update"] == 3
    page.ask("hold", on=False)
    assert page.state["groups"]["update"] == 3


def test_a_page_that_was_taken_away_is_told_nothing_more():
    run, page = watching(2)
    page.ask("bye")
    before = len(page.told)
    run.finish(show=False)
    assert len(page.told) == before


def test_a_monitor_that_is_closed_no_longer_listens():
    run, page = watching(2)
    page.monitor.close()
    before = len(page.told)
    run.finish(show=False)
    assert len(page.told) == before and not run._listeners


def test_many_calls_become_one():
    done = threading.Event()
    calls = []
    gathered = Gathered(lambda: (calls.append(1), done.set()), 0.05)
    for _ in range(100):
        gathered()
    assert done.wait(20)
    assert len(calls) == 1


def test_what_fails_in_a_thread_of_its_own_goes_to_the_log(caplog: pytest.LogCaptureFixture):
    Gathered(lambda: 1 / 0, 0.0)()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert "division by zero" in caplog.text


# ---------------------------------------------------------------- what is asked


def test_pause_holds_a_thread_and_resume_lets_it_go_on():
    run = seeking(100_000)
    page = Page(RunMonitor(run))
    held = threading.Event()
    run.listen(lambda run: run.status == "paused" and held.set())
    run.start()
    page.ask("pause")
    assert held.wait(20)
    assert page.state["paused"] and page.state["status"] == "paused"
    at = run.update
    page.ask("resume")
    while run.update == at:
        threading.Event().wait(0.01)
    page.ask("stop")
    assert run.wait(20).status == "stopped"
    assert page.state["status"] == "stopped" and not page.state["driven"]


def test_resume_starts_a_run_that_nothing_drives():
    run, page = watching(2)
    page.ask("resume")
    assert run.wait(20).update == 2 and run.status == "finished"


def test_stop_needs_something_to_stop():
    run, page = watching()
    page.ask("stop")
    assert page.said("trouble") == "nothing drives run 'run' (it is new), so there is nothing to stop"
    assert len(list(run)) == 6


def test_weights_are_swapped_at_the_next_update_and_marked_on_the_curve():
    run, page = watching(4)
    for report in run:
        if report.update == 2:
            page.ask("swap", weights={"CoverageGain": 0.3})
            assert run.plan.reward == reweighted(REWARD, {"CoverageGain": 0.3})
            assert page.state["waiting"] and page.state["marks"] == []
    assert page.said("done") == "From the next update on: CoverageGain: weight 0.5 → 0.3"
    assert page.state["marks"] == [{"update": 3, "kind": "plan", "lines": ["CoverageGain: weight 0.5 → 0.3"]}]
    assert page.state["weights"] == [["ExactMatch", 1.0], ["CoverageGain", 0.3], ["RepeatedDocuments", -0.2]]
    assert not page.state["waiting"]


def test_a_whole_reward_is_read_from_text():
    run, page = watching(2)
    page.ask("swap", reward="ExactMatch() - 0.1 * RepeatedDocuments()")
    assert repr(run.plan.reward) == "ExactMatch() - 0.1 * RepeatedDocuments()"
    assert page.state["plan"]["reward"] == repr(run.plan.reward)
    page.ask("swap", reward=repr(run.plan.reward))
    assert page.said("done") == "That is the reward already."


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"reward": "ExactMach()"}, "no reward 'ExactMach'"),
        ({"reward": "ExactMatch() +"}, "cannot read the reward 'ExactMatch() +'"),
        ({"reward": "__import__('os')"}, "no reward '__import__'"),
        ({"weights": {"Coverage": 1.0}}, "no term 'Coverage' in the reward"),
        ({"weights": {"ExactMatch": None}}, "must be a finite number, got None"),
        ({"reward": "SearchKeyMatch()"}, "has no sub-question with queries; SearchKeyMatch needs one"),
    ],
)
def test_what_cannot_be_swapped_says_why_and_changes_nothing(asked: dict[str, Any], says: str):
    run = train(guesser(), TASKS, Quiet(), ExactMatch() - RepeatedDocuments(), updates=2, tasks_per_update=2)
    page = Page(RunMonitor(run))
    next(iter(run))
    plan = run.plan
    page.ask("swap", **asked)
    assert says in page.said("trouble") and run.plan is plan


def test_a_roll_back_drops_the_rows_and_says_where_it_goes_on(tmp_path: Path):
    run, page = watching(6, checkpoints=tmp_path, checkpoint_every=2)
    run.finish(show=False)
    assert page.state["checkpoints"] == [2, 4, 6]
    page.ask("roll_back", update=4)
    assert [row["update"] for row in page.rows] == [1, 2, 3, 4]
    assert (page.state["name"], page.state["update"], page.state["status"]) == ("run.2", 4, "new")
    assert page.state["marks"] == [{"update": 4, "kind": "back", "lines": ["run.2 goes on from update 4 of run"]}]
    assert page.state["groups"] == {"update": None, "rows": []}
    run.finish(show=False)
    assert [(row["run"], row["update"]) for row in page.rows[3:]] == [("run", 4), ("run.2", 5), ("run.2", 6)]
    page.ask("roll_back", update=3)
    assert "no checkpoint of update 3; there are: 2, 4, 6" in page.said("trouble")


def test_a_failed_run_says_what_it_failed_with():
    def breaks(trajectory: Any) -> float:
        raise RuntimeError("judge fell over")

    run = train(guesser(), TASKS, Quiet(), reward_of(breaks), updates=1, tasks_per_update=2)
    page = Page(RunMonitor(run))
    with pytest.raises(RuntimeError):
        list(run)
    assert (page.state["status"], page.state["error"]) == ("failed", "RuntimeError: judge fell over")


# ---------------------------------------------------------------- a group, opened


def test_a_group_opens_in_a_step_through_that_talks_through_the_monitor():
    run, page = watching(1)
    next(iter(run))
    (opened,) = page.ask("open", group=2)
    view = page.monitor.opened
    assert opened["kind"] == "open" and opened["update"] == 1
    assert view.tree is run.latest.trees[2] and opened["question"] == view.tree.task.question
    assert opened["traits"]["at"] == view.at and opened["traits"]["theme"] == "auto"
    answer = page.ask("inner", number=opened["number"], content={"kind": "hello"})
    assert {one["kind"] for one in answer} == {"inner"}
    assert [one["content"]["kind"] for one in answer if "content" in one] == ["trees", "tree", "edits"]
    place = {**view.at, "trajectory": view.tree.trajectories[1].id}
    page.ask("inner", number=opened["number"], state={"at": place})
    assert view.at == place
    view.edit(place["trajectory"], "ExactMatch", 0.25, "half")
    assert [one["trait"] for one in page.told if "trait" in one][-1] == "edits"


def test_what_is_meant_for_a_group_that_is_closed_reaches_nobody():
    run, page = watching(1)
    next(iter(run))
    (first,) = page.ask("open", group=0)
    page.ask("open", group=1)
    assert page.ask("inner", number=first["number"], content={"kind": "hello"}) == []
    page.ask("shut")
    assert page.monitor.opened is None
    assert page.ask("inner", number=first["number"] + 1, content={"kind": "hello"}) == []


def test_a_new_page_shows_the_group_that_is_open():
    run, page = watching(1)
    next(iter(run))
    (first,) = page.ask("open", group=0)
    again = page.ask("hello")
    assert [one["kind"] for one in again] == ["run", "open"] and again[1]["number"] == first["number"]


def test_edits_in_an_opened_group_are_kept_in_the_runs_store(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        run, page = watching(1, recorder=store)
        next(iter(run))
        page.ask("open", group=0)
        view = page.monitor.opened
        value = run.latest.scores[0][0].parts[0].scores.value
        view.edit(view.trajectory.id, "ExactMatch", value + 0.5, "by hand")
        assert store.sql("select run, part, new from edits").to_numpy().tolist() == [["r1", "ExactMatch", value + 0.5]]


def test_an_opened_group_is_signed_by_whom_the_monitor_was_told():
    page = Page(RunMonitor(seeking(1), who="ann"))
    page.monitor.run.finish(show=False)
    page.ask("open", group=0)
    assert page.monitor.opened.who == "ann"


def test_opening_before_there_is_an_update_says_so():
    _, page = watching()
    page.ask("open", group=0)
    assert "no update whose groups could be opened yet" in page.said("trouble")


# ---------------------------------------------------------------- a run of another process


@dataclass
class Stored:
    """A run as an app reads it from a lab: plain data, and nobody to steer it."""

    name: str = "r7"
    status: str = "running"
    update: int = 0
    updates: int = 10
    reports: list[dict[str, Any]] = field(default_factory=list)
    plans: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    latest: Any = None
    continues: dict[str, Any] | None = None
    steers: bool = False


def test_a_stored_run_is_watched_and_not_steered(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        run = seeking(3, recorder=store)
        for report in run:
            if report.update == 1:
                run.plan = run.plan.replace(optimiser=Optimiser(0.2))
        stored = Stored(
            reports=[json.loads(one) for one in store.sql("select report from reports order by update").report],
            plans=[
                (u, json.loads(p)) for u, p in store.sql("select update, plan from plans order by update").to_numpy()
            ],
        )
    page = Page(RunMonitor(stored))
    assert [row["update"] for row in page.rows] == [1, 2, 3]
    assert page.rows[0]["mean_return"] == run.reports[0].mean_return
    assert page.state["marks"] == [{"update": 2, "kind": "plan", "lines": ["optimiser lr: 0.1 → 0.2"]}]
    assert page.state["plan"]["reward"] == repr(REWARD)
    for kind, told in {"pause": {}, "stop": {}, "swap": {"reward": "ExactMatch()"}, "roll_back": {"update": 1}}.items():
        page.ask(kind, **told)
        assert "driven elsewhere" in page.said("trouble")
    stored.reports.append({**stored.reports[-1], "update": 4})
    page.monitor.refresh()
    assert [row["update"] for row in page.rows] == [1, 2, 3, 4] and page.state["from"] == 3


# ---------------------------------------------------------------- without a page


class Seen(HTMLParser):
    """Tags, texts and attributes of a picture."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def done() -> Iterator[RunMonitor]:
    run = seeking(3)
    monitor = RunMonitor(run)
    run.finish(show=False)
    yield monitor


def test_the_repr_says_how_far_the_run_is(done: RunMonitor):
    assert repr(done) == "RunMonitor(run: finished, update 3 of 3)"
    assert done.still.startswith("run: finished, update 3 of 3\nreturn ")


def test_the_picture_has_curves_and_numbers_and_no_scripts(done: RunMonitor):
    seen = Seen(done.picture())
    assert {"svg", "polyline", "table"} <= seen.tags and "script" not in seen.tags
    assert "update 3" in seen.texts and "CoverageGain" in seen.texts
    assert "run: finished, update 3 of 3" in seen.texts


def test_a_picture_of_a_run_that_has_not_begun_says_so():
    assert "<b>run: new, update 0 of 3</b>" in RunMonitor(seeking(3)).picture()


def test_texts_in_a_picture_are_texts():
    evil = "<img src=x onerror=alert(1)>"
    report = {"run": evil, "update": 1, "mean_return": 1.0, "parts": {evil: None}, "ends": {}, "searches": 1.0}
    checks = [{"name": evil, "ok": False, "value": 1.0, "says": evil}]
    monitor = RunMonitor(Stored(name=evil, reports=[{**report, "checks": checks}]))
    seen = Seen(monitor.picture())
    assert "img" not in seen.tags and not any(name.startswith("on") for name in seen.names)
    assert any(evil in text for text in seen.texts)


def test_a_curve_of_one_flat_point_can_be_drawn():
    report = {"run": "r", "update": 1, "mean_return": 0.0, "parts": {}, "checks": None}
    assert "polyline" in RunMonitor(Stored(reports=[report])).picture()
