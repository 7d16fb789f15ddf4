"""BLEU as BLEUBERI uses it, ROUGE-L, and rewards measured against their group, with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import a_task, a_trajectory
from workbench.errors import LevelError, MissingGold
from workbench.rewards import GroupRescale, TextOverlap, reward_of
from workbench.rewards.text_overlap import bleu, rouge_l, words_13a
from workbench.scores import Scores
from workbench.trajectory import Group, Trajectory

MAT = "the cat sat on the mat"


def overlap(answer: str | None, *references: str, kind: str = "bleu") -> float:
    made = a_trajectory(answer=answer) if answer is not None else a_trajectory(None)
    task = a_task(references=references)
    return TextOverlap(kind=kind)(Trajectory("t", task, made.steps, made.end)).value


def test_the_same_text_scores_one():
    assert overlap(MAT, MAT) == 1.0


def test_one_word_off_by_hand():
    # matches 5/6, 3/5, 2/4, 1/3, each with 1 added above and below: 6/7, 4/6, 3/5, 2/4; equal length, no brevity
    assert overlap("the cat sat on a mat", MAT) == pytest.approx((6 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25)
    assert overlap("the cat sat on a mat", MAT) == pytest.approx(0.6435, abs=5e-5)
    assert overlap("the cat sat on a mat", MAT, kind="rouge_l") == pytest.approx(5 / 6)
    assert overlap("the cat sat on a mat", MAT, kind="f1") == pytest.approx(0.7262, abs=5e-5)


def test_short_junk_is_paid_by_the_smoothing():
    # two words found, no trigram possible: every precision is 1; brevity exp(1 - 6/2)
    assert overlap("the cat", MAT) == pytest.approx(np.exp(-2))
    # two words not found: 1/3, 1/2, 1/1, 1/1
    assert overlap("dogs run", MAT) == pytest.approx((1 / 6) ** 0.25 * np.exp(-2))
    assert overlap("dogs run", MAT) == pytest.approx(0.0865, abs=5e-5)
    assert bleu("dogs run", [MAT], smooth=False) == 0.0


def test_a_repeated_word_counts_as_often_as_in_the_reference():
    # "the" twice in the reference: 3/8; no bigram of 6, trigram of 5, four of 4: 1/7, 1/6, 1/5
    assert overlap("the the the the the the the", MAT) == pytest.approx((3 / 8 / 7 / 6 / 5) ** 0.25)
    assert overlap("the the the the the the the", MAT) == pytest.approx(0.2056, abs=5e-5)


def test_two_references_by_hand():
    references = ("The capital of France is Paris.", "Paris is the capital city of France.")
    # seven words each side: all 7 words; bigrams 5 of 6 ("Paris is", "is the", "the capital", "of France", "France ."
    # and "capital of" from the first: 6 of 6); trigrams 4 of 5, four-grams 1 of 4
    assert overlap("Paris is the capital of France.", *references) == pytest.approx((1 * 1 * 5 / 6 * 2 / 5) ** 0.25)
    assert overlap("Paris is the capital of France.", *references) == pytest.approx(0.7598, abs=5e-5)


def test_brevity_looks_at_the_shortest_reference():
    assert overlap("the cat", MAT, "the dog") == pytest.approx(1.0)


def test_no_answer_and_an_answer_without_a_word_score_zero():
    assert overlap(None, MAT) == 0.0
    for kind in ("bleu", "rouge_l", "f1"):
        assert overlap("  \n", MAT, kind=kind) == 0.0


def test_no_reference_and_one_without_a_word_are_refused():
    with pytest.raises(MissingGold, match="against='golds'"):
        TextOverlap()(a_trajectory(answer="Paris"))
    with pytest.raises(MissingGold, match="has no word"):
        overlap("Paris", "Paris", " ")


def test_the_accepted_answers_may_stand_for_references():
    assert TextOverlap(against="golds")(a_trajectory(answer="Paris")).value == 1.0


def test_words_are_cut_as_13a_cuts_them():
    assert words_13a("Hello, world! It's 3.14 (or 1,000-2).") == tuple(
        ["Hello", ",", "world", "!", "It's", "3.14", "(", "or", "1,000", "-", "2", ")", "."]
    )
    assert words_13a("a &amp; b <skipped>c-\nd") == ("a", "&", "b", "cd")


def test_rouge_l_is_the_longest_common_subsequence_of_the_best_reference():
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (list(rng.choice(list("abcd"), rng.integers(1, 9))) for _ in range(2))
        table = np.zeros((len(one) + 1, len(other) + 1))
        for i, x in enumerate(one, 1):
            for j, y in enumerate(other, 1):
                table[i, j] = table[i - 1, j - 1] + 1 if x == y else max(table[i - 1, j], table[i, j - 1])
        byhand = 2 * table[-1, -1] / (len(one) + len(other))
        assert rouge_l(" ".join(one), [" ".join(other), "zz"]) == pytest.approx(byhand)


def test_what_a_wrong_answer_may_be_paid_is_declared():
    golds = TextOverlap(against="golds")
    assert golds.totals(False, 1) == (0.0, pytest.approx(bleu("Lyon", ["Paris"])))
    assert golds.totals(True, 1) == (1.0, 1.0)
    assert "0.84" in golds.concerns[0]
    assert TextOverlap(kind="rouge_l", against="golds").totals(False, 1) == (0.0, 0.0)
    assert TextOverlap().totals(True, 1) == (0.0, 1.0)  # a right answer may be written like no reference


# ---------------------------------------------------------------- against the group


def paid(*values: float | None) -> tuple[Group, dict[str, Scores]]:
    group = Group(tuple(a_trajectory(id=f"{n}", answer="x") for n in range(len(values))))
    by_id = {
        one.id: Scores.missing("failed") if value is None else Scores.trajectory(value)
        for one, value in zip(group, values, strict=True)
    }
    return group, by_id


def in_group(*values: float | None, **settings: object) -> list[float]:
    group, by_id = paid(*values)
    reward = GroupRescale(reward_of(lambda t: by_id[t.id]), **settings)
    return [scores.value for scores in reward(group)]


def test_bleu_and_a_reward_model_by_hand():
    # BLEU: mean .3, std sqrt(.14 / 3); model: mean 2, std sqrt(14 / 3)
    group, overlaps = paid(0.1, 0.2, 0.3, 0.6)
    _, model = paid(5, 1, 0, 2)
    both = [GroupRescale(reward_of(lambda t, given=given: given[t.id])) for given in (overlaps, model)]
    means = [scores.value for scores in (0.5 * both[0] + 0.5 * both[1])(group)]
    assert means == pytest.approx([0.2315, -0.4629, -0.4629, 0.6944], abs=1e-4)


def test_the_kinds_by_hand():
    assert in_group(1, 4, 2, 2, kind="max") == [0.25, 1.0, 0.5, 0.5]
    assert in_group(1, 4, 2, 2, kind="rank") == pytest.approx([0.0, 1.0, 0.5, 0.5])
    assert in_group(1, 4, 2, 2, kind="min_max") == pytest.approx([0.0, 1.0, 1 / 3, 1 / 3])


@pytest.mark.parametrize(("kind", "value"), [("z", 0.0), ("max", 1.0), ("rank", 0.5), ("min_max", 0.5)])
def test_a_group_whose_values_are_all_equal_is_defined(kind, value):
    assert in_group(0.1, 0.1, 0.1, kind=kind) == [value] * 3
    assert in_group(0.1, kind=kind) == [value]


def test_nothing_above_zero_has_no_share_of_the_largest():
    assert in_group(0, 0, kind="max") == [0.0, 0.0]
    assert in_group(-1, 0, kind="max") == [0.0, 0.0]


def test_what_could_not_be_scored_stays_so_and_joins_no_mean():
    values = in_group(1, None, 3, kind="z", eps=0.0)
    assert np.isnan(values[1])
    assert [values[0], values[2]] == pytest.approx([-(0.5**0.5), 0.5**0.5])


def test_a_step_reward_or_a_lone_trajectory_is_refused():
    with pytest.raises(LevelError, match="per trajectory"):
        GroupRescale(reward_of(lambda t: [0.0], level="step"))
    with pytest.raises(LevelError, match="siblings"):
        GroupRescale(TextOverlap())(a_trajectory(answer="x"))
