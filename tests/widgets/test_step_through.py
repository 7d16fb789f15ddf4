"""StepThrough without a page: places, edits and their rows, what they do to the advantages, and what a store keeps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets

from tests.builders import a_step, a_trajectory, a_tree
from widgets import StepThrough
from workbench.credit import GroupAdvantage
from workbench.credit.advantages import advantages
from workbench.errors import ScoreError, SettingError, UnknownName
from workbench.rewards import CoverageGain, ExactMatch
from workbench.rewards.score import score
from workbench.scores import Part, Scores, Status
from workbench.store import open_store
from workbench.trajectory import End, Trajectory, Tree

REWARD = ExactMatch() + 0.5 * CoverageGain()


def a_pair(id: str = "tree") -> Tree:
    """One rollout that finds p1 and answers right, one that finds nothing and answers wrong."""
    right = a_trajectory(("p1", "x"), answer="Paris", id=f"{id}-right")
    wrong = a_trajectory(("x", "y"), answer="Lyon", id=f"{id}-wrong")
    return a_tree(right, wrong, id=id)


def a_widget(**settings: Any) -> StepThrough:
    trees = [a_pair("one"), a_pair("two")]
    return StepThrough(trees, score(trees, REWARD), who="ann", **settings)


def told(widget: StepThrough, ask: dict[str, Any]) -> dict[str, Any]:
    """What the widget says to a page that asks: the newest message of each kind, its data unpacked."""
    heard: dict[str, Any] = {}

    def send(content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        heard[content["kind"]] = {**content, "data": json.loads(buffers[0]) if buffers else None}

    widget.send = send  # type: ignore[method-assign, assignment]
    widget._handle_custom_msg(ask, [])
    return heard


# ---------------------------------------------------------------- places


def test_it_begins_at_the_first_step_or_where_it_was_told():
    assert a_widget().at == {"tree": "one", "trajectory": "one-right", "step": 0}
    assert a_widget(at={"tree": "two", "step": 1}).at == {"tree": "two", "trajectory": "two-right", "step": 1}


def test_going_elsewhere_keeps_what_was_not_said_where_it_can():
    widget = a_widget()
    widget.go(step=1)
    widget.go(trajectory="one-wrong")
    assert widget.at == {"tree": "one", "trajectory": "one-wrong", "step": 0}
    widget.go(tree="two", step=1)
    assert (widget.tree.id, widget.trajectory.id, widget.at["step"]) == ("two", "two-right", 1)


def test_a_place_that_is_not_there_is_refused_with_what_there_is():
    widget = a_widget()
    with pytest.raises(UnknownName, match="Did you mean 'one'"):
        widget.go(tree="onee")
    with pytest.raises(SettingError, match="its steps are 0 to 1"):
        widget.go(step=2)
    with pytest.raises(traitlets.TraitError, match="no trajectory"):
        widget.at = {"tree": "one", "trajectory": "nobody", "step": 0}


# ---------------------------------------------------------------- what a page is told


def test_a_page_is_told_steps_scores_returns_and_advantages():
    scene = told(a_widget(), {"kind": "hello"})["tree"]["data"]
    assert [one["path"] for one in scene["trajectories"]] == [[0, 1], [2, 3]]
    assert scene["parts"] == [{"name": "ExactMatch", "weight": 1.0}, {"name": "CoverageGain", "weight": 0.5}]
    assert [hit["gold"] for hit in scene["steps"][0]["calls"][0]["hits"]] == [True, False]
    # p1 is one of two gold pages: gain 0.5, so 0.25 of the step's reward and a return of 1.25; the other gets 0
    assert scene["returns"] == [1.25, 0.0]
    assert scene["rewards"][0] == [0.25, 1.0]
    assert scene["advantages"] == [[0.625, 0.625], [-0.625, -0.625]]


def test_unscored_is_null_with_its_status_and_never_zero():
    tree = a_tree(a_trajectory(("p1",), answer="Paris"))
    values = Scores.unscored(2)
    values.miss(0, "the judge timed out")
    scene = told(StepThrough(tree, [[values]]), {"kind": "hello"})["tree"]["data"]
    [[given]] = scene["scores"]
    assert given["values"] == [None, None]
    assert given["status"] == [Status.MISSING, Status.NOT_APPLICABLE]
    assert given["why"] == ["the judge timed out", ""]
    assert scene["returns"] == [None] and scene["rewards"] == [[None, None]]


def test_a_trajectory_that_failed_before_its_first_step_is_shown_and_left_out_of_credit():
    tree = a_tree(a_trajectory(answer="Paris", id="a"), Trajectory("b", a_trajectory(answer="x").task, (), End.FAILED))
    scene = told(StepThrough(tree, [[Scores.trajectory(1.0), Scores.missing("no steps")]]), {"kind": "hello"})
    assert scene["tree"]["data"]["returns"] == [1.0, None]
    assert scene["tree"]["data"]["advantages"] == [[0.0], []]


def test_trees_without_scores_can_be_read():
    scene = told(StepThrough([a_pair()]), {"kind": "hello"})["tree"]["data"]
    assert scene["parts"] == [] and len(scene["steps"]) == 4


def test_scores_for_other_trees_are_refused():
    with pytest.raises(ScoreError, match="2 trees came with scores for 1"):
        StepThrough([a_pair("a"), a_pair("b")], score([a_pair("a")], REWARD))


def test_a_shared_step_is_told_once():
    first = a_step("s", ("p1",))
    tree = a_tree(
        a_trajectory(answer="Paris", id="a", shared=[first]), a_trajectory(answer="Lyon", id="b", shared=[first])
    )
    scene = told(StepThrough(tree), {"kind": "hello"})["tree"]["data"]
    assert len(scene["steps"]) == 3
    assert [one["path"] for one in scene["trajectories"]] == [[0, 1], [0, 2]]


# ---------------------------------------------------------------- edits


def test_an_edit_changes_what_it_says_and_the_advantages_of_the_group():
    widget = a_widget()
    heard = told(
        widget,
        {
            "kind": "edit",
            "tree": "one",
            "trajectory": "one-wrong",
            "part": "ExactMatch",
            "step": None,
            "new": 1.0,
            "why": "also right",
        },
    )
    # returns are now 1.25 and 1.0: mean 1.125
    assert heard["credited"]["data"]["returns"] == [1.25, 1.0]
    assert heard["credited"]["data"]["advantages"] == [[0.125, 0.125], [-0.125, -0.125]]
    [row] = widget.edits
    assert (row["who"], row["old"], row["new"], row["why"], row["step"]) == ("ann", 0.0, 1.0, "also right", None)


def test_undo_and_redo_are_rows_and_bring_values_back():
    widget = a_widget()
    widget.edit("one-right", "CoverageGain", 1.0, "both were there", step=0)
    widget.undo()
    widget.redo()
    assert [(row["old"], row["new"]) for row in widget.edits] == [(0.5, 1.0), (1.0, 0.5), (0.5, 1.0)]
    assert widget.edits[1]["undoes"] == widget.edits[0]["id"]
    widget.undo()
    assert widget.undo() is None
    assert told(widget, {"kind": "tree", "tree": "one"})["tree"]["data"]["returns"] == [1.25, 0.0]


def test_a_new_edit_ends_what_could_be_redone():
    widget = a_widget()
    widget.edit("one-right", "ExactMatch", 0.5, "half")
    widget.undo()
    widget.edit("one-right", "ExactMatch", 0.25, "a quarter")
    assert widget.redo() is None


def test_a_missing_score_can_be_given_and_taken_back_to_missing():
    tree = a_tree(a_trajectory(("p1",), answer="Paris", id="a"))
    widget = StepThrough(tree, [[Scores.missing("the judge timed out")]])
    widget.edit("a", "reward", 1.0, "I read it")
    assert widget.scores is not None and widget.scores[0][0].value == 1.0
    widget.undo()
    assert widget.scores[0][0].status_S.tolist() == [Status.MISSING]
    assert widget.edits[-1]["new"] is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"new": math.nan}, "finite number"),
        ({"new": 0.5}, "0.5 already"),
        ({"why": "  "}, "needs a reason"),
        ({"part": "CoverageGainn"}, "Did you mean 'CoverageGain'"),
        ({"step": None}, "CoverageGain scores a step"),
        ({"step": 7}, "its steps are 0 to 1"),
        ({"step": 1}, "not applicable here"),
        ({"trajectory": "nobody"}, "no trajectory 'nobody'"),
    ],
)
def test_a_wrong_edit_is_refused_and_leaves_no_row(change: dict[str, Any], says: str):
    widget = a_widget()
    right = {"trajectory": "one-right", "part": "CoverageGain", "new": 1.0, "why": "seen", "step": 0}
    heard = told(widget, {"kind": "edit", "tree": "one", **right, **change})
    assert says in heard["trouble"]["says"]
    assert widget.edits == []


def test_edited_scores_go_on_into_credit():
    widget = a_widget()
    widget.edit("one-wrong", "ExactMatch", 1.0, "a second spelling", tree="one")
    assert widget.scores is not None
    found = advantages(widget.trees, widget.scores, GroupAdvantage())
    np.testing.assert_allclose(found.by_trajectory()[1], [-0.125, -0.125])


def test_the_scores_given_are_not_changed():
    trees = [a_pair()]
    scores = score(trees, REWARD)
    widget = StepThrough(trees, scores)
    widget.edit("tree-right", "ExactMatch", 0.0, "a typo")
    assert scores[0][0].same_as(score(trees, REWARD)[0][0])


def test_token_scores_are_shown_as_sums_and_not_edited():
    tree = a_tree(a_trajectory(("p1",), answer="Paris", id="a", tokens=3))
    token = Scores(np.array([1.0, 1.0, 0.5, 0.0, 0.0, 2.0]), np.zeros(6), level="token")  # type: ignore[arg-type]
    whole = Scores(np.array([4.5]), np.zeros(1), level="trajectory", parts=(Part("dense", 1.0, token),))  # type: ignore[arg-type]
    widget = StepThrough(tree, [[whole]])
    scene = told(widget, {"kind": "hello"})["tree"]["data"]
    assert scene["scores"][0][0]["values"] == [2.5, 2.0]
    with pytest.raises(ScoreError, match="only scores of steps and trajectories"):
        widget.edit("a", "dense", 1.0, "why not", step=0)


# ---------------------------------------------------------------- keeping


def test_a_store_keeps_every_edit_undo_and_redo_at_once(tmp_path: Path):
    trees = [a_pair()]
    scores = score(trees, REWARD)
    with open_store(tmp_path / "lab") as store:
        run = store.start_run({}, name="first")
        store.record_trees(trees, run=run)
        trees = store.trees(run)  # they say their run; the lab does not have their scores yet
        widget = StepThrough(trees, scores, recorder=store, who="ann")
        widget.edit("tree-right", "ExactMatch", 0.0, "a guess")
        value = "select value, why, edited from scores where trajectory = 'tree-right' and part = 'ExactMatch'"
        assert store.sql(value).values.tolist() == [[0.0, "a guess", True]]
        widget.undo()
        assert store.sql(value)["value"].tolist() == [1.0]
        widget.redo()
        assert store.sql(value)["value"].tolist() == [0.0]
        assert store.sql("select who, old, new from edits order by edit").values.tolist() == [
            ["ann", 1.0, 0.0],
            ["ann", 0.0, 1.0],
            ["ann", 1.0, 0.0],
        ]


def test_without_a_store_edits_are_held_until_one_is_given(tmp_path: Path):
    trees = [a_pair()]
    widget = StepThrough(trees, score(trees, REWARD))
    widget.edit("tree-right", "ExactMatch", 0.0, "a guess")
    with pytest.raises(SettingError, match=r"keep\(store\)"):
        widget.keep()
    with open_store(tmp_path / "lab") as store:
        run = store.start_run({})
        store.record_trees(trees, run=run)
        assert widget.keep(store, run=run) == 1
        assert widget.keep() == 0
        assert store.sql("select count(*) as n from edits")["n"].tolist() == [1]


def test_an_undone_edit_of_a_missing_score_is_missing_again_in_sql(tmp_path: Path):
    tree = a_tree(a_trajectory(("p1",), answer="Paris", id="a"))
    with open_store(tmp_path / "lab") as store:
        run = store.start_run({})
        store.record_trees([tree], run=run)
        widget = StepThrough(tree, [[Scores.missing("the judge timed out")]], recorder=store, run=run)
        widget.edit("a", "reward", 1.0, "I read it")
        widget.undo()
        rows = store.sql("select value, status, why, edited from scores")
        assert rows.status.tolist() == ["missing"] and rows.value.isna().all()
        assert rows.why.tolist() == ["the judge timed out"] and rows.edited.tolist() == [False]


# ---------------------------------------------------------------- without a page


def test_the_repr_and_the_still_picture_tell_what_is_there():
    widget = a_widget()
    assert repr(widget) == "StepThrough(2 trees, 4 trajectories, scored, 0 edits)"
    bundle, _ = widget._repr_mimebundle_()
    assert "search: capital of France" in bundle["text/html"] and "1.25" not in bundle["text/plain"]
    assert "step 0: capital of France" in widget.still


def test_the_picture_holds_text_and_no_markup_of_its_own():
    tree = a_tree(a_trajectory(("p1",), answer="<img src=x onerror=alert(1)>", id="a"))
    assert "<img" not in StepThrough(tree).picture()
