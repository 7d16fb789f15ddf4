"""The words of floor 1: trajectories, scores, batches. Specs and errors: test_spec.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import a_batch, a_group, a_step, a_task, a_trajectory, a_tree, own_then_foreign
from workbench.batch import Advantages, flat_batch
from workbench.errors import (
    LevelError,
    MissingTokens,
    ScoreError,
    ShapeError,
)
from workbench.scores import Level, Part, Scores, Status, combined_status
from workbench.trajectory import Call, Context, End, Group, Hit, Origin, Span, SubQuestion, Tokens

NAN = np.nan

# ---------------------------------------------------------------- tokens


def test_tokens_know_who_wrote_them():
    tokens = Tokens.join(
        [Tokens.sampled([5, 6], [-0.5, -1.0]), Tokens.foreign([7]), Tokens.foreign([8], Origin.FORCED)]
    )
    assert tokens.ids_T.tolist() == [5, 6, 7, 8]
    assert tokens.own_T.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(tokens.logprobs_T, np.float32([-0.5, -1.0, NAN, NAN]))
    assert len(Tokens.join([])) == 0


def test_tokens_are_equal_byte_for_byte_and_cannot_be_written():
    assert own_then_foreign(2, 1) == own_then_foreign(2, 1)
    assert own_then_foreign(2, 1) != own_then_foreign(1, 2)
    with pytest.raises(ValueError, match="read-only"):
        own_then_foreign(2, 1).ids_T[0] = 9
    with pytest.raises(TypeError):
        hash(own_then_foreign(1, 1))


def test_token_arrays_must_be_of_one_length():
    with pytest.raises(ShapeError, match="share one axis"):
        Tokens(np.array([1, 2]), np.array([NAN]), np.array([0]))


def test_a_token_keeps_a_copy_of_what_it_was_given():
    ids = np.array([1, 2], dtype=np.int32)
    tokens = Tokens.foreign(ids)
    ids[0] = 9
    assert tokens.ids_T[0] == 1


# ---------------------------------------------------------------- steps and trajectories


def test_a_step_gathers_the_hits_and_queries_of_its_calls():
    calls = Call("search", {"query": "a"}, (Hit("p1", "", ""),)), Call("search", {"query": ""}), Call("add", {"x": 1})
    step = replace(a_step("s"), calls=calls)
    assert [hit.id for hit in step.hits] == ["p1"]
    assert step.queries == ("a",)


def test_the_last_span_of_a_name_is_the_one_that_counts():
    step = replace(a_step("s"), spans=(Span("think", "a"), Span("think", "b")))
    assert step.span("think") == "b"
    assert step.span("answer") is None


def test_own_tokens_are_those_the_policy_drew():
    assert a_step("s", ["p1"], tokens=3).own_tokens == 3
    assert a_step("s", ["p1"]).own_tokens == 0


def test_an_answer_is_given_only_by_a_trajectory_that_was_answered():
    assert a_trajectory(answer="Paris").answer == "Paris"
    assert a_trajectory(answer="Paris", end=End.TRUNCATED).answer is None
    assert a_trajectory(end=End.ANSWERED).answer is None
    assert a_trajectory(None, end=End.ANSWERED).answer is None


def test_a_task_has_at_least_one_hop():
    assert a_task().hops == 1
    assert a_task(sub_questions=(SubQuestion("a"), SubQuestion("b"))).hops == 2


def test_things_of_floor_one_print_shortly():
    trajectory = a_trajectory(answer="Paris")
    assert repr(trajectory) == "Trajectory('t', 'Capital of France?', 1 steps, answered, answer 'Paris')"
    assert repr(a_tree(trajectory)) == "Tree('tree', 'Capital of France?', 1 trajectories)"
    assert repr(Scores.steps([0.5, NAN])) == "Scores(step: 0.5, not_applicable)"


# ---------------------------------------------------------------- segments


def test_an_append_only_trajectory_is_one_segment():
    (segment,) = a_trajectory(["p1"], answer="Paris", tokens=3).segments()
    # prompt 2, first turn 3 + observation 2, second turn 3
    assert segment.step_T.tolist() == [-1, -1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert segment.tokens.own_T.tolist() == [False] * 2 + [True] * 3 + [False] * 2 + [True] * 3


def test_a_step_that_names_its_own_context_starts_a_segment():
    trajectory = a_trajectory(["p1"], ["p2"], answer="Paris", tokens=1)
    hidden = replace(trajectory.steps[1], context=Context("short", Tokens.foreign([50])))
    first, second = replace(trajectory, steps=(trajectory.steps[0], hidden, trajectory.steps[2])).segments()
    assert first.step_T.tolist() == [-1, -1, 0, 0, 0]
    assert second.step_T.tolist() == [-1, 1, 1, 1, 2]
    assert second.tokens.ids_T[0] == 50


def test_text_only_trajectories_have_no_segments_and_say_so():
    with pytest.raises(MissingTokens, match="step 0 of trajectory 't' carries no token ids"):
        a_trajectory(["p1"]).segments()
    half = replace(a_trajectory(["p1"], tokens=1).steps[0], context=Context("text only"))
    with pytest.raises(MissingTokens):
        replace(a_trajectory(tokens=1), steps=(half,)).segments()
    assert a_trajectory().segments() == []


# ---------------------------------------------------------------- groups


def test_siblings_share_task_role_and_prefix():
    first = a_trajectory(None, None, id="a")
    forked = replace(a_trajectory(None, id="b", shared=first.steps[:1]), fork=1)
    other = replace(a_trajectory(None, id="c"), role="refiner")
    tree = a_tree(first, forked, other, replace(first, id="d"))
    assert [[member.id for member in group] for group in tree.groups()] == [["a", "d"], ["b"], ["c"]]
    assert forked.group_key == ("task", "agent", ("a.0",))
    assert len(tree) == 4
    assert len(a_group(first)) == 1
    assert a_group(first).task is first.task


def test_a_group_of_strangers_is_refused():
    with pytest.raises(ShapeError, match="got 2 different"):
        Group((a_trajectory(id="a"), a_trajectory(id="b", task=a_task("other"))))


# ---------------------------------------------------------------- scores


def test_unscored_is_nan_with_a_status_and_never_zero():
    scores = Scores.unscored(3)
    scores.set(0, 0.0, "looked and found nothing")
    scores.miss(1, "judge failed")
    scores.skip(2, "no search")
    assert scores.status_S.tolist() == [Status.SCORED, Status.MISSING, Status.NOT_APPLICABLE]
    np.testing.assert_array_equal(scores.values_S, [0.0, NAN, NAN])
    assert scores.why_S == ("looked and found nothing", "judge failed", "no search")


def test_nan_is_refused_as_a_score():
    with pytest.raises(ScoreError, match="leave it unscored"):
        Scores.unscored(1).set(0, NAN)
    with pytest.raises(ScoreError, match="NaN and only NaN is unscored"):
        Scores.trajectory(NAN)
    with pytest.raises(ScoreError, match="NaN and only NaN is unscored"):
        Scores(np.array([1.0]), np.array([Status.MISSING]))


def test_lengths_must_agree_and_a_single_score_is_one_number():
    with pytest.raises(ScoreError, match="one length"):
        Scores(np.zeros(2), np.zeros(1))
    with pytest.raises(ScoreError, match="one length"):
        Scores.steps([1.0, 2.0], ["only one reason"])
    with pytest.raises(ScoreError, match="is one number, got 2"):
        Scores(np.zeros(2), np.zeros(2), level=Level.TRAJECTORY)


def test_the_total_of_a_score():
    assert Scores.steps([1.0, NAN, 0.5]).total == 1.5
    assert np.isnan(Scores.steps([NAN]).total)
    assert np.isnan(Scores.missing("judge failed").total)
    assert Scores.trajectory(0.25).value == 0.25
    with pytest.raises(LevelError, match="reduce it with ReduceSteps"):
        assert Scores.steps([1.0]).value


def test_scores_are_compared_with_their_reasons_and_parts():
    one = Scores.steps([1.0, NAN], ["a", ""])
    assert one.same_as(Scores.steps([1.0, NAN], ["a", ""]))
    assert not one.same_as(Scores.steps([1.0, NAN], ["b", ""]))
    summed = replace(one, parts=(Part("a", 1.0, one),))
    assert summed.same_as(replace(one, parts=(Part("a", 1.0, one),)))
    assert not summed.same_as(replace(one, parts=(Part("a", 2.0, one),)))
    assert not summed.same_as(one)


def test_the_status_of_a_sum():
    scored, skipped, missing = Status.SCORED, Status.NOT_APPLICABLE, Status.MISSING
    status_RS = np.array([[scored, scored, skipped, skipped], [skipped, missing, missing, skipped]])
    assert combined_status(status_RS).tolist() == [scored, missing, missing, skipped]


# ---------------------------------------------------------------- flat batches


def sums(*rows: tuple[str, float, Scores]) -> Scores:
    """A score with the given parts."""
    return replace(rows[0][2], parts=tuple(Part(name, weight, scores) for name, weight, scores in rows))


def test_terms_and_weights_are_laid_out_apart():
    first, second = a_trajectory(None, None, id="a", tokens=2), a_trajectory(None, id="b", tokens=3)
    scores = [
        sums(("steps", 0.5, Scores.steps([1.0, NAN])), ("end", 2.0, Scores.trajectory(1.0))),
        sums(("steps", 0.5, Scores.steps([4.0])), ("end", 2.0, Scores.trajectory(0.0))),
    ]
    batch = flat_batch([a_tree(first, second)], [scores])
    assert batch.names_R == ("steps", "end")
    np.testing.assert_array_equal(batch.terms_RS, [[1.0, NAN, 4.0], [NAN, 1.0, 0.0]])
    assert batch.parent_S.tolist() == [-1, 0, -1]
    assert batch.tokens_S.tolist() == [2, 2, 3]
    assert batch.owner_T.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert batch.group_N.tolist() == [0, 0]
    np.testing.assert_array_equal(batch.rewards_S, [0.5, 2.0, 2.0])
    np.testing.assert_array_equal(batch.returns_N, [2.5, 2.0])
    np.testing.assert_array_equal(batch.reweighted(end=0.0).returns_N, [0.5, 2.0])


def test_a_step_that_trajectories_share_stands_once():
    first = a_trajectory(None, None, id="a")
    second = a_trajectory(None, None, id="b", shared=first.steps[:1])
    scores = [Scores.steps([1.0, 0.0]), Scores.steps([3.0, 5.0, NAN])]
    batch = flat_batch([a_tree(first, second)], [scores])
    assert batch.parent_S.tolist() == [-1, 0, 0, 2]
    assert batch.leaf_N.tolist() == [1, 3]
    assert batch.path(1).tolist() == [0, 2, 3]
    assert batch.depth_S.tolist() == [0, 1, 1, 2]
    assert [steps.tolist() for steps in batch.steps_by_depth] == [[0], [1, 2], [3]]
    # the shared step is worth the mean of its two scores: (1 + 3) / 2
    np.testing.assert_array_equal(batch.rewards_S, [2.0, 0.0, 5.0, NAN])
    np.testing.assert_array_equal(batch.returns_N, [2.0, 7.0])
    assert batch.from_root(np.ones(4)).tolist() == [1, 2, 2, 3]


def test_trees_of_one_task_are_compared_apart():
    trees = [a_tree(a_trajectory(None, id="a")), a_tree(a_trajectory(None, id="b"))]
    assert flat_batch(trees, [[Scores.steps([1.0])]] * 2).group_N.tolist() == [0, 1]


def test_a_number_per_trajectory_is_spread_over_its_steps():
    first = a_trajectory(None, None, id="a", end=End.ANSWERED)
    second = a_trajectory(None, id="b", shared=first.steps[:1], end=End.ANSWERED)
    failed = a_trajectory(None, id="c", shared=first.steps[:1], end=End.FAILED)
    scores = [Scores.steps(np.ones(len(t.steps))) for t in (first, second, failed)]
    batch = flat_batch([a_tree(first, second, failed)], [scores])
    # the shared step takes the mean over its two gradient rows; the failed one's own step takes nothing
    assert batch.spread(np.array([1.0, 4.0, 100.0])).tolist() == [2.5, 1.0, 4.0, 0.0]


def test_a_missing_term_takes_the_trajectory_out_and_an_inapplicable_one_does_not():
    trees = [a_tree(*(a_trajectory(None, id=id, end=End.ANSWERED) for id in "abc"))]
    fine, missing, nothing = Scores.trajectory(1.0), Scores.missing("no reply"), Scores.unscored(1)
    scores = [
        sums(("x", 1.0, fine), ("y", 1.0, Scores.unscored(1))),
        sums(("x", 1.0, fine), ("y", 1.0, missing)),
        sums(("x", 1.0, nothing), ("y", 1.0, nothing)),
    ]
    batch = flat_batch(trees, [scores])
    np.testing.assert_array_equal(batch.returns_N, [1.0, NAN, NAN])
    assert batch.status_S.tolist() == [Status.SCORED, Status.MISSING, Status.NOT_APPLICABLE]
    assert batch.gradient_N.tolist() == batch.baseline_N.tolist() == [True, False, False]


def test_token_level_terms_keep_their_tokens_and_count_in_the_returns():
    trajectory = a_trajectory(["p1"], None, id="a", tokens=2)
    costs = Scores(np.array([-1.0, NAN, -2.0, -4.0]), np.array([0, 1, 0, 0]), level=Level.TOKEN)
    scores = sums(("cost", 0.5, costs), ("end", 1.0, Scores.trajectory(3.0)))
    batch = flat_batch([a_tree(trajectory)], [[scores]])
    np.testing.assert_array_equal(batch.token_terms_RT, [[-1.0, NAN, -2.0, -4.0], [NAN] * 4])
    np.testing.assert_array_equal(batch.rewards_S, [-0.5, 0.0])
    assert batch.returns_N.tolist() == [-0.5]


def test_a_missing_token_takes_its_trajectory_out():
    trajectory = a_trajectory(None, id="a", tokens=2)
    costs = Scores(np.array([-1.0, NAN]), np.array([Status.SCORED, Status.MISSING]), level=Level.TOKEN)
    assert np.isnan(flat_batch([a_tree(trajectory)], [[costs]]).returns_N).all()


def test_a_token_score_for_other_tokens_is_refused():
    costs = Scores(np.zeros(3), np.zeros(3), level=Level.TOKEN)
    with pytest.raises(ScoreError, match="has 2 own tokens and 3 token scores"):
        flat_batch([a_tree(a_trajectory(None, tokens=2))], [[costs]])


def test_scores_that_do_not_fit_the_trees_are_refused():
    tree = a_tree(a_trajectory(None, id="a"), a_trajectory(None, id="b"))
    one = Scores.steps([1.0])
    with pytest.raises(ScoreError, match="1 trees came with scores for 0"):
        flat_batch([tree], [])
    with pytest.raises(ScoreError, match="2 trajectories and 1 scores"):
        flat_batch([tree], [[one]])
    with pytest.raises(ScoreError, match="same terms"):
        flat_batch([tree], [[sums(("x", 1.0, one)), sums(("y", 1.0, one))]])
    with pytest.raises(ScoreError, match="1 steps and 2 step scores"):
        flat_batch([tree], [[one, Scores.steps([1.0, 2.0])]])
    with pytest.raises(ScoreError, match="has no steps"):
        flat_batch([a_tree(a_trajectory())], [[Scores.trajectory(1.0)]])


def test_an_empty_batch_is_a_batch():
    batch = flat_batch([], [])
    assert batch.returns_N.shape == (0,)
    assert batch.steps_by_depth == []


def test_arrays_of_a_wrong_shape_are_refused():
    with pytest.raises(ShapeError, match=r"discount_S must have shape \(2,\), got \(1,\)"):
        replace(a_batch([[0.0, 1.0]]), discount_S=np.ones(1))


def test_advantages_come_back_by_trajectory():
    first = a_trajectory(None, id="a")
    second = a_trajectory(None, id="b", shared=first.steps)
    batch = flat_batch([a_tree(first, second)], [[Scores.steps([1.0]), Scores.steps([1.0, 2.0])]])
    rows = Advantages(batch, np.array([0.5, 1.5])).by_trajectory()
    assert [row.tolist() for row in rows] == [[0.5], [0.5, 1.5]]
