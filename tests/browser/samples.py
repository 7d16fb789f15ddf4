"""Each component filled as a person meets it: for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from playwright.sync_api import Locator, expect

from tests.browser.bare import Bare
from tests.browser.counter import Counter
from tests.builders import a_trajectory, a_tree
from widgets.component import Component
from workbench.rewards import CoverageGain, ExactMatch, RepeatedDocuments
from workbench.rewards.score import score
from workbench.scores import Scores, Status
from workbench.trajectory import End, Tree

REWARD = ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()


def a_group() -> Tree:
    """An answered, a wrong and a failed trajectory."""
    return a_tree(
        a_trajectory(("p1", "x"), ("p2", "p1"), answer="Paris", id="a", tokens=5),
        a_trajectory(("p1", "x"), ("x",), answer="Lyon", id="b", tokens=5),
        a_trajectory(("x",), id="c", end=End.FAILED),
    )


def step_through() -> Component:
    from widgets import StepThrough

    tree = a_group()
    made = StepThrough([tree], score([tree], REWARD), who="ann")
    made.edit("a", "CoverageGain", 0.9, "the page was there before", step=0)
    return made


def step_through_unscored() -> Component:
    from widgets import StepThrough

    return StepThrough([a_group()])


def step_through_missing() -> Component:
    from widgets import StepThrough

    tree = a_group()
    return StepThrough(
        [tree], [[Scores.missing("the judge did not answer", len(one.steps), level="step") for one in tree]]
    )


def run_monitor() -> Component:
    from widgets import RunMonitor

    checks = [{"name": "ids", "ok": True, "says": "trained ids are the sampled ids", "value": 0.0, "limit": 0.0}]
    lit = [*checks, {"name": "groups", "ok": False, "says": "no group differs", "value": 1.0, "limit": 0.5}]
    counts = {"rollouts": 4, "ends": {"answered": 3, "failed": 1}, "groups": 2, "equal_groups": 1, "searches": 1.5}
    reports = [
        {
            "update": n,
            "run": "r1",
            "mean_return": n / 10,
            "parts": {"ExactMatch": 0.1, "CoverageGain": n / 20},
            **counts,
        }
        for n in range(1, 9)
    ]
    told = [{**report, "checks": lit if report["update"] == 8 else checks} for report in reports]
    tree = a_group()
    newest = SimpleNamespace(run="r1", update=8, plan=None, trees=[tree], scores=score([tree], REWARD), advantages=None)
    plans = [(1, {"reward": {"part": "ExactMatch"}}), (5, {"reward": {"part": "CoverageGain"}})]
    run = SimpleNamespace(name="r1", status="running", update=8, updates=40, continues=None, steers=False)
    return RunMonitor(SimpleNamespace(**vars(run), reports=told, plans=plans, latest=newest))


def rollout_table() -> Component:
    from widgets.rollout_table import Column, RolloutTable, part_column
    from workbench.store.browsing import Page as Rows
    from workbench.store.browsing import Paid

    columns = [
        Column("question", "Question", "text"),
        Column("ended", "Ended", "end", filter="choice", choices=("answered", "failed")),
        Column("steps", "Steps", filter="range"),
        part_column("ExactMatch"),
    ]
    paid = [
        Paid(1.0, Status.SCORED, pays=1.0),
        Paid(-0.5, Status.SCORED, edited=True, pays=-0.5),
        Paid(None, Status.MISSING),
    ]
    rows = [
        {
            "id": str(n),
            "question": f"Capital of country {n}?",
            "ended": end,
            "steps": n,
            "parts": {"ExactMatch": paid[n % 3]},
        }
        for n, end in enumerate(["answered", "truncated", "failed"] * 3)
    ]
    told = {"opens": ["id"], "label": "Trajectories", "finds": "questions"}
    return RolloutTable(columns, lambda query: Rows(rows, 1000), **told)


def explore() -> Component:
    """With an answer to a question, as a lab would give it."""
    import time

    import pyarrow as pa

    from widgets import Explore
    from workbench.store.visitors import Answer, Limits

    answer = pa.table(
        {
            "run": ["r1"] * 250,
            "tree": [f"tree-{n}" for n in range(250)],
            "value": [None if n % 7 == 0 else n / 8 - 3 for n in range(250)],
            "question": ["Which town is the capital of the country in which the long river of the question ends? " * 4]
            * 250,
        }
    )
    question = SimpleNamespace(answer=lambda: Answer(answer, "rows", 0.0625), cancel=lambda: None)
    visitors = SimpleNamespace(ask=lambda sql: question, limits=Limits(), make_ready=lambda: None)
    made = Explore(SimpleNamespace(path=Path("lab"), visitors=visitors), link="step")  # type: ignore[arg-type]
    made.hear_ask("select run, tree, value, question\nfrom returns join trajectories using (run, tree, trajectory)")
    while not made.still:
        time.sleep(0.001)
    return made


def papers() -> Component:
    from widgets import Papers

    return Papers()


def form() -> Component:
    from widgets.form import Field, Form

    fields = [
        Field("reward", "Reward", "ExactMatch()", says="as you would type it", wide=True),
        Field("updates", "Updates", 10),
        Field("method", "Method", "grpo", choices=("grpo", "rloo")),
    ]
    return Form(fields, lambda answers: "done", label="A new run")


MAKERS: dict[str, Callable[[], Component]] = {
    "counter": Counter,
    "step through": step_through,
    "step through, unscored": step_through_unscored,
    "step through, missing": step_through_missing,
    "run monitor": run_monitor,
    "rollout table": rollout_table,
    "explore": explore,
    "papers": papers,
    "form": form,
}


def shown(bare: Bare, name: str) -> Locator:
    """The component, drawn and filled."""
    el = bare.attach(MAKERS[name]())
    expect(el.locator(".wb-body")).not_to_be_empty()
    expect(el.get_by_text("Loading…").filter(visible=True)).to_have_count(0)
    bare.page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
    return el
