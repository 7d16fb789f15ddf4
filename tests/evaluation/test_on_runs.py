"""Rewards on labelled rollouts, by hand; and on the real ones, where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.builders import a_task, a_trajectory, a_tree
from workbench.errors import SettingError
from workbench.evaluation import (
    auc_table,
    label_notes,
    label_report,
    labels_from,
    labels_of_ends,
    registered_rewards,
    score_runs,
    score_survey,
    term_report,
)
from workbench.evaluation.pictures import label_picture, spread_picture, term_picture
from workbench.retrieval import HashedNgrams
from workbench.rewards import CoverageGain, ExactMatch, Reward, SearchKeyMatch, TokenF1, WellFormed, reward_of
from workbench.scores import Level, Scores
from workbench.spec import PARTS
from workbench.trajectory import Group, Tree


def labelled_trees(count: int = 10) -> tuple[list[Tree], dict[tuple[str, int | None], float]]:
    """Trees of two: one finds a gold page and is right, one finds nothing and is wrong; people see it so."""
    trees, labels = [], {}
    for n in range(count):
        right = a_trajectory(["p1"], answer="Paris", id=f"r{n}")
        wrong = a_trajectory(["x"], answer="Rome", id=f"w{n}")
        trees.append(a_tree(right, wrong, id=str(n)))
        labels |= {(right.id, s): 1.0 for s in (0, 1, None)} | {(wrong.id, s): -1.0 for s in (0, 1, None)}
    return trees, labels


# ---------------------------------------------------------------- which rewards


def test_every_registered_reward_is_made_or_left_out_with_a_reason():
    rewards, left_out = registered_rewards(HashedNgrams())
    classes = {name for name, cls in PARTS.items() if issubclass(cls, Reward)}
    made = {type(reward).__name__ for reward in rewards.values()}
    inner = {type(one).__name__ for reward in rewards.values() for _, one in getattr(reward, "terms", ())}  # of fines
    assert classes <= made | inner | left_out.keys()
    assert all(left_out.values()) and "ExactMatch()" in rewards and "-RepeatedDocuments()" in rewards
    assert "Similarity(HashedNgrams, 'query', 'question')" in rewards
    assert registered_rewards()[1]["Similarity"] == "needs an encoder"
    assert left_out["WeightedSum"] == "is made of other rewards"


# ---------------------------------------------------------------- what they pay


def test_a_reward_that_cannot_score_says_why_and_the_others_go_on():
    trees, _ = labelled_trees(2)
    bare = a_tree(a_trajectory(["p1"], answer="Paris", id="bare", task=a_task("bare", gold_pages=())), id="bare")
    rewards = {"coverage": CoverageGain(), "keys": SearchKeyMatch(), "judge": reward_of(lambda t: None, name="n")}
    scored = score_runs([*trees, bare], rewards)
    assert scored["keys"].why_not == "the task has no sub-question with queries"
    assert sum(scored["keys"].refused.values()) == 5
    assert scored["judge"].why_not == "not applicable everywhere"
    assert scored["coverage"].why_not == "" and sum(scored["coverage"].refused.values()) == 1
    survey = score_survey([*trees, bare], scored)
    assert survey.index.tolist() == ["coverage"]
    # half of the gold pages, or none, in two trees; the bare one is not scored
    assert survey.loc["coverage", ["scored", "unscored", "mean", "zero", "values"]].tolist() == [4, 1, 0.25, 0.5, 2]


def test_missing_is_told_from_not_applicable():
    trees, _ = labelled_trees(1)

    class Fails(Reward):
        def score(self, trajectory):
            return Scores.missing("the judge is away")

    assert score_runs(trees, {"judge": Fails()})["judge"].why_not == "missing everywhere (the judge is away)"


def test_rewards_that_compare_siblings_are_scored_among_them():
    class First(Reward):
        level = Level.GROUP

        def score_group(self, group: Group) -> list[Scores]:
            return [Scores.trajectory(float(n == 0), level=Level.GROUP) for n in range(len(group))]

    trees, labels = labelled_trees(3)
    scored = score_runs(trees, {"first": First()})
    assert label_report(trees, scored, labels, of="ends").loc["first", "auc"] == 1.0


# ---------------------------------------------------------------- against labels


def test_a_reward_that_agrees_with_people_is_told_from_one_that_cannot():
    trees, labels = labelled_trees()
    against = reward_of(lambda t: float(t.answer == "Rome"), name="against")
    rewards = {"flat": WellFormed(), "against": against, "em": ExactMatch(), "coverage": CoverageGain()}
    report = label_report(trees, score_runs(trees, rewards), labels, resamples=50)
    assert report.index[-1] == "against" and set(report.index[:2]) == {"em", "coverage"}
    assert report.loc["em", ["items", "bad", "floor", "accuracy", "auc"]].tolist() == [40, 20, 0.5, 1.0, 1.0]
    assert report.loc["coverage", "items"] == 20  # its last steps make no search: nothing is said of them
    verdicts = ["tells good from bad", "cannot tell", "the wrong way round"]
    assert report.loc[["em", "flat", "against"], "verdict"].tolist() == verdicts
    assert label_notes(report, rewards)[1:] == [
        "Tell good from bad without a look at golds (0 of 4): none.",
        "Cannot tell (1 of 4): flat.",
        "Pay bad ones more (1 of 4): against.",
        "Are surely more accurate than always saying good (2 of 4): em, coverage.",
    ]


def test_the_threshold_comes_from_other_tasks():
    # each task has its own scale: a threshold from the others has both of its runs on one side
    trees, labels = labelled_trees(5)
    scale = reward_of(lambda t: (t.answer == "Paris") + 10.0 * int(t.id[1:]), name="scale")
    report = label_report(trees, score_runs(trees, {"scale": scale}), labels, of="ends", resamples=20)
    assert report.loc["scale", "accuracy"] == 0.5


def test_always_good_is_the_threshold_where_nothing_does_better():
    trees, labels = labelled_trees()
    labels = {key: 1.0 if key[0] != "w0" else label for key, label in labels.items()}  # one bad run among twenty
    report = label_report(trees, score_runs(trees, {"em": ExactMatch()}), labels, of="ends", resamples=20)
    row = report.loc["em"]
    assert row["floor"] == row["accuracy"] == 0.95


def test_labels_of_zero_and_steps_without_a_score_are_left_out():
    trees, labels = labelled_trees(2)
    labels |= {("r0", 0): 0.0}
    del labels["w1", 1]
    report = label_report(trees, score_runs(trees, {"f1": TokenF1()}), labels, resamples=10)
    assert report.loc["f1", "items"] == 6  # of 8 steps
    assert label_report(trees, score_runs(trees, {"f1": TokenF1()}), {}, resamples=10).empty
    with pytest.raises(SettingError, match="of is 'steps' or 'ends'"):
        label_report(trees, {}, {}, of="turns")


def test_labels_come_from_rows_and_from_verdicts():
    rows = pd.DataFrame({"trajectory": ["a", "a"], "step": pd.array([1, None], dtype="Int64"), "value": [1, -1]})
    assert labels_from(rows) == {("a", 1): 1.0, ("a", None): -1.0}
    trees, _ = labelled_trees(1)
    verdicts = [[Scores.trajectory(0.0), Scores.unscored(1)]]
    assert labels_of_ends(trees, verdicts) == {("r0", None): -1.0}


def test_tables_of_several_sets_mark_what_cannot_tell():
    trees, labels = labelled_trees()
    scored = score_runs(trees, {"flat": WellFormed(), "em": ExactMatch()})
    one = label_report(trees, scored, labels, resamples=50)
    table = auc_table({"one": one, "two": one.loc[["em"]]})
    assert table.index.tolist() == ["em", "flat"]
    assert table.loc["em"].tolist() == ["1.00", "1.00"] and table.loc["flat"].tolist() == ["0.50 ?", "-"]


# ---------------------------------------------------------------- pictures


def test_pictures_show_every_row_and_fit_a_column():
    from workbench.batch import flat_batch
    from workbench.rewards import score

    trees, labels = labelled_trees(4)
    rewards = {"a reward whose name is far too long to be shown whole": ExactMatch(), "coverage": CoverageGain()}
    scored = score_runs(trees, rewards | {"flat": WellFormed()})
    report = label_report(trees, scored, labels, resamples=20)
    terms = term_report(flat_batch(trees, score(trees, ExactMatch() + CoverageGain() + WellFormed())))
    assert terms["length_correlation"].isna().any()  # all are of one length: crosses
    for picture, rows in (
        (label_picture(report), 3),
        (spread_picture(trees, scored, labels), 3),
        (term_picture(terms), 4),
    ):
        names = [text.get_text() for text in picture.axes[0].get_yticklabels()]
        assert len(names) == rows and all(len(name) <= 46 for name in names)
        assert picture.get_size_inches()[0] * picture.dpi == 600
        picture.canvas.draw()


# ---------------------------------------------------------------- real runs


def test_on_people_s_labels_the_answer_tells_and_the_form_does_not(shared_data: Path):
    from workbench.formats import read

    records = [record for record in read(shared_data / "agent_process_bench" / "trajectories.jsonl")]
    trees = [record.tree for record in records]
    labels = {(label.trajectory, label.step): label.value for record in records for label in record.labels}
    scored = score_runs(trees, {"f1": TokenF1(), "form": WellFormed(), "pages": CoverageGain()})
    assert scored["pages"].why_not == "the task lacks gold_pages"
    steps = label_report(trees, scored, labels, resamples=200)
    # 371 good and 100 bad steps, 29 neither
    assert steps["items"].tolist() == [471, 471] and np.allclose(steps["floor"], 371 / 471)
    assert steps["verdict"].tolist() == ["tells good from bad", "cannot tell"]
    assert steps.loc["f1", "accuracy"] <= steps.loc["f1", "floor"] + 0.02  # known well enough by always saying good
