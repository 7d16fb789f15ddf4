"""Tricks beside honest rollouts, their pay worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import a_step, a_task, a_trajectory
from workbench.errors import MissingGold, SettingError
from workbench.evaluation import hack_probes
from workbench.evaluation.probes import PROBES, Material, honest_rollout
from workbench.rewards import CoverageGain, ExactMatch, OverLong, RepeatedDocuments, Reward, TokenF1, WellFormed
from workbench.scores import Level, Scores
from workbench.spec import part
from workbench.trajectory import Group, Hit, SubQuestion, Task

HONEST = a_trajectory(["p1", "x"], ["p2", "y"], answer="Paris", queries=["France", "Paris"], tokens=10)
OTHER = replace(
    a_trajectory(["q1"], answer="Rome", id="other", tokens=10),
    task=replace(a_task("other"), question="Capital of Italy?"),
)


def made(name: str, honest=HONEST, **material):
    trajectory = PROBES[name](honest, Material(**material))
    assert not isinstance(trajectory, str), trajectory
    return trajectory


# ---------------------------------------------------------------- what the tricks are


def test_tricks_change_what_they_say_and_keep_the_rest():
    repeated = made("repeats its search")
    assert [step.queries for step in repeated.steps] == [("France",), *[("Paris",)] * 4, ()]
    assert repeated.answer == "Paris" and len({step.id for step in repeated.steps}) == len(repeated.steps)

    split = made("splits its searches")
    assert [[hit.id for hit in step.hits] for step in split.steps] == [["p1"], ["x"], ["p2"], ["y"], []]
    assert split.steps[0].context is not None and split.steps[1].context is None

    off = made("searches off topic", strangers={OTHER.task.question: OTHER.steps[0]})
    assert [hit.id for step in off.steps for hit in step.hits] == ["p1", "x", "p2", "y", "q1"]

    assert made("question as answer").answer == "Capital of France?"
    assert made("junk answer").steps[-1].text == "<think>thought</think><answer>qwx zzkv plorf</answer>"
    assert made("empty answer").answer == "" and "<answer></answer>" in made("empty answer").steps[-1].text
    assert made("lists candidates").answer == "Title of p1, Title of x, Title of p2, Title of y, Paris, yes, no"
    assert made("pads the answer").answer.startswith("Paris, which")


def test_the_question_as_query_brings_what_the_corpus_brings_for_it():
    asked: list[str] = []

    def search(query: str) -> list[Hit]:
        asked.append(query)
        return [Hit("found", "Found", "text")]

    tricky = made("question as query", search=search)
    assert asked == ["Capital of France?"]
    assert [step.queries for step in tricky.steps] == [("Capital of France?",)] * 2 + [()]
    assert [hit.id for hit in tricky.steps[0].hits] == ["found"]
    assert "<search>Capital of France?</search>" in tricky.steps[0].text
    assert "Doc 1(Title: Found) text" in tricky.steps[0].observation
    assert PROBES["question as query"](HONEST, Material()) == "needs search=: nobody asked that"


def test_a_rewritten_turn_has_as_many_own_tokens_as_its_text_is_longer():
    before, after = HONEST.steps[-1], made("pads the answer").steps[-1]
    assert after.own_tokens == pytest.approx(10 * len(after.text) / len(before.text), abs=1)
    assert made("repeats its search").steps[0] is HONEST.steps[0]


def test_json_calls_are_rewritten_as_json():
    step = a_step("a", answer='say "hi"', text='{"answer": "say \\"hi\\""}')
    asked = replace(a_trajectory(answer="x"), steps=(step,))
    assert made("junk answer", asked).steps[-1].text == '{"answer": "qwx zzkv plorf"}'


# ---------------------------------------------------------------- what they are paid


def test_an_exact_answer_cannot_be_tricked_and_costs_nothing_to_search_around():
    table = hack_probes(ExactMatch(), [HONEST, OTHER])
    assert table.loc["junk answer", ["honest", "paid", "gain", "verdict"]].tolist() == [0.5, 0.0, -0.5, "pays less"]
    assert table.loc["repeats its search", "verdict"] == "costs nothing" and table.loc["repeats its search", "flagged"]
    assert not table.loc["lists candidates", "flagged"]
    assert table.loc["splits its searches", "tried"] == 1  # the other brought one page
    assert table.loc["question as query", "verdict"] == "not tried: needs search=: nobody asked that"


def test_a_looser_match_pays_for_lists():
    table = hack_probes(ExactMatch(match="contains_gold"), HONEST)
    assert table.loc["lists candidates", "verdict"] == table.loc["pads the answer", "verdict"] == "costs nothing"
    wrong = a_trajectory(["p1"], answer="Lyon", texts={"p1": "-"}, golds=("Title of p1",))
    table = hack_probes(ExactMatch(match="contains_gold"), wrong)
    assert table.loc["lists candidates", ["gain", "more", "verdict"]].tolist() == [1.0, 1.0, "pays more"]


def test_a_step_reward_without_memory_pays_for_repeating():
    # recall of each search: 1/2 and 1/2; the last one three times more adds 3/2
    table = hack_probes(ExactMatch() + CoverageGain(mode="single"), HONEST)
    assert table.loc["repeats its search", ["honest", "paid", "gain"]].tolist() == [2.0, 3.5, 1.5]
    marginal = hack_probes(ExactMatch() + CoverageGain() - 0.2 * RepeatedDocuments(), HONEST)
    assert marginal.loc["repeats its search", "gain"] == pytest.approx(-0.6)  # three searches of known pages


def test_a_trick_that_pays_in_some_rollouts_only_is_flagged():
    # "capital of France" for Paris: F1 1 -> 0; for France, where the honest answer was wrong: 0 -> 2 / (3 + 1)
    wrong = a_trajectory(["p1"], answer="a town", id="w", golds=("France",))
    row = hack_probes(TokenF1(), [HONEST, wrong]).loc["question as answer"]
    assert row[["gain", "more", "same"]].tolist() == [-0.25, 0.5, 0.0]
    assert row["verdict"] == "pays more in 50% of them" and row["flagged"]


def test_tokens_are_counted_where_a_reward_counts_them():
    table = hack_probes(OverLong(60, 40), HONEST)  # 30 own tokens: 10 of the buffer of 40; three more searches: 60
    assert table.loc["repeats its search", ["honest", "paid"]].tolist() == [-0.25, -1.0]


@part
class LongestOfGroup(Reward):
    """1 for the rollout with the most steps among its siblings."""

    level = Level.GROUP
    range = (0.0, 1.0)

    def score_group(self, group: Group) -> list[Scores]:
        most = max(len(one.steps) for one in group)
        return [Scores.trajectory(float(len(one.steps) == most), level=Level.GROUP) for one in group]


def test_rewards_that_compare_siblings_see_the_trick_among_them():
    long = a_trajectory(["a"], ["b"], ["c"], ["d"], answer="Paris", id="long")
    table = hack_probes(LongestOfGroup(), [HONEST, long])
    # repeating: HONEST has 3 steps, with the trick 6, beside 5 of `long`; long has 5, with the trick 8
    assert table.loc["repeats its search", ["honest", "paid"]].tolist() == [0.0, 1.0]


def test_what_a_judge_did_not_score_is_not_compared():
    @part
    class FailsOnTricks(Reward):
        """Missing on every rollout that was made up."""

        range = (0.0, 1.0)

        def score(self, trajectory):
            return Scores.missing("no") if trajectory.id.endswith("?") else Scores.trajectory(1.0)

    table = hack_probes(ExactMatch() + FailsOnTricks(), HONEST)
    assert (table["tried"] == 0).all() and not table["flagged"].any()


# ---------------------------------------------------------------- from a task


def test_a_task_is_enough():
    hops = (SubQuestion("Who?", ("Ann",), "p1", ("who is it",)), SubQuestion("Where?", ("Paris",), "p2"))
    task = a_task(sub_questions=hops)
    honest = honest_rollout(task)
    assert [step.queries for step in honest.steps] == [("who is it",), ("Where?",), ()]
    assert (ExactMatch() + CoverageGain() + WellFormed())(honest).total == 3.0
    table = hack_probes(ExactMatch() + CoverageGain(), task)
    assert table.loc["searches off topic", "verdict"] == "costs nothing"
    assert table.loc["junk answer", "gain"] == -1.0


def test_without_golds_or_rollouts_there_is_nothing_to_compare():
    with pytest.raises(MissingGold, match="no golds"):
        hack_probes(ExactMatch(), Task("t", "?"))
    with pytest.raises(SettingError, match="at least one honest rollout"):
        hack_probes(ExactMatch(), [])
