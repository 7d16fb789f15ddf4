"""Pass rates of tasks, what is remembered of them, and tasks chosen by them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.worlds import TASKS, Quiet, guesser
from workbench.agents.tabular import TabularPolicy
from workbench.errors import MissingGold, SettingError
from workbench.rewards import ExactMatch, reward_of
from workbench.sampling.pass_rate import PassRateBand, by_rate, pass_rate, with_rates
from workbench.trajectory import Task

RATES = {"t0": 0.0, "t1": 0.625, "t2": 1.0, "t3": 0.25, "t4": float("nan")}


def ids(tasks) -> list[str]:
    return [task.id for task in tasks]


def sure(*answers: str) -> TabularPolicy:
    """Answers its tasks in turn with these, whatever it draws."""
    return TabularPolicy({"say": lambda p: answers[int(p.task.id[1:])]}, lambda p: 0)


def test_a_rate_is_the_mean_of_the_pay_of_n_rollouts():
    rates = pass_rate(sure("yes", "no", "yes"), TASKS[:3], Quiet(), 4)
    assert rates == {"t0": 1.0, "t1": 0.0, "t2": 1.0}


def test_a_rate_can_be_the_share_that_is_paid_enough():
    third = reward_of(lambda t: {"yes": 1.0, "no": 0.3}[t.answer])
    assert pass_rate(sure("no"), TASKS[:1], Quiet(), 2, reward=third) == {"t0": pytest.approx(0.3)}
    assert pass_rate(sure("no"), TASKS[:1], Quiet(), 2, reward=third, right=0.3) == {"t0": 1.0}
    assert pass_rate(sure("no"), TASKS[:1], Quiet(), 2, reward=third, right=0.5) == {"t0": 0.0}


def test_a_task_that_nothing_scored_has_no_rate():
    rates = pass_rate(sure("no"), TASKS[:1], Quiet(), 2, reward=reward_of(lambda t: None))
    assert np.isnan(rates["t0"])


def test_rollouts_that_nothing_scored_do_not_count():
    pays = iter([1.0, None, 0.0, None, 1.0])
    rates = pass_rate(sure("no"), TASKS[:1], Quiet(), 5, reward=reward_of(lambda t: next(pays)))
    assert rates == {"t0": pytest.approx(2 / 3)}


def test_what_was_measured_is_not_sampled_again_until_the_weights_change():
    policy, cache, played = guesser(), {}, []
    reward = reward_of(lambda t: played.append(t.task.id) or float(t.answer == "yes"))
    first = pass_rate(policy, TASKS[:2], Quiet(), 4, reward=reward, cache=cache)
    assert len(played) == 8
    assert pass_rate(policy, TASKS[:2], Quiet(), 4, reward=reward, cache=cache) == first
    assert len(played) == 8
    more = pass_rate(policy, TASKS[:3], Quiet(), 4, reward=reward, cache=cache)  # the third alone is new
    assert played[8:] == ["t2"] * 4
    assert {id: more[id] for id in first} == first
    policy.weights_changed()
    pass_rate(policy, TASKS[:2], Quiet(), 4, reward=reward, cache=cache)
    assert len(played) == 20


def test_another_way_of_measuring_is_measured_anew():
    policy, cache = guesser(), {}
    pass_rate(policy, TASKS[:1], Quiet(), 4, cache=cache)
    pass_rate(policy, TASKS[:1], Quiet(), 5, cache=cache)
    pass_rate(policy.at(0.5), TASKS[:1], Quiet(), 4, cache=cache)
    pass_rate(policy, TASKS[:1], Quiet(), 4, cache=cache, reward=ExactMatch(match="contained"))
    pass_rate(policy, TASKS[:1], Quiet(), 4, cache=cache, right=1.0)
    assert len(cache) == 5


def test_no_rollouts_and_no_golds_are_refused():
    with pytest.raises(SettingError, match="at least one rollout"):
        pass_rate(guesser(), TASKS, Quiet(), 0)
    with pytest.raises(MissingGold):
        pass_rate(guesser(), [Task("bare", "?")], Quiet(), 1)


def test_the_rates_travel_with_the_tasks():
    [task] = with_rates([Task("t1", "?", extras={"grid": 3})], RATES)
    assert task.extras == {"grid": 3, "pass_rate": 0.625}


def test_a_band_keeps_both_its_ends_and_no_task_without_a_rate():
    assert ids(PassRateBand(0.25, 0.625)(TASKS, RATES)) == ["t1", "t3"]
    assert ids(PassRateBand()(TASKS, RATES)) == ["t0", "t1", "t2", "t3"]


def test_a_band_keeps_a_share_of_what_is_easier():
    easy = {task.id: 1.0 for task in TASKS[:4]} | {"t4": 0.5}
    assert len(PassRateBand(0.25, 0.625, keep_easier=0.5)(TASKS, easy)) == 3  # two of four, and t4
    assert ids(PassRateBand(0.25, 0.625, keep_easier=1.0)(TASKS, easy)) == ids(TASKS)


def test_a_band_is_refused_where_it_holds_nothing():
    with pytest.raises(SettingError, match="low is at most high"):
        PassRateBand(0.8, 0.1)
    with pytest.raises(SettingError, match="keep_easier"):
        PassRateBand(keep_easier=2.0)


def test_the_hardest_the_easiest_and_the_middle():
    # by rate: t0 0, t3 .25, t1 .625, t2 1; t4 has none
    assert ids(by_rate(TASKS, RATES, 2)) == ["t0", "t3"]
    assert ids(by_rate(TASKS, RATES, 2, "easiest")) == ["t1", "t2"]
    assert ids(by_rate(TASKS, RATES, 2, "middle")) == ["t3", "t1"]
    assert len(set(ids(by_rate(TASKS, RATES, 2, "random")))) == 2
    assert ids(by_rate(TASKS, RATES, 9)) == ["t0", "t3", "t1", "t2"]
    with pytest.raises(SettingError, match="hardest"):
        by_rate(TASKS, RATES, 2, "worst")
