"""Rewards written as text: what can be said, and what the errors say."""

from __future__ import annotations

import pytest

from workbench.errors import SettingError, UnknownName, WorkbenchError
from workbench.rewards import Clip, CoverageGain, ExactMatch, Gate, Product, RepeatedDocuments, TokenF1, WeightedSum
from workbench.rewards.expression import read_reward


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("ExactMatch()", ExactMatch()),
        ("ExactMatch", ExactMatch()),  # brackets may be left out where nothing is set
        (" ExactMatch(wrong=-0.5) ", ExactMatch(wrong=-0.5)),
        ("ExactMatch() + 0.5 * CoverageGain()", ExactMatch() + 0.5 * CoverageGain()),
        ("CoverageGain(by='answer') * 2 - RepeatedDocuments()", CoverageGain(by="answer") * 2 - RepeatedDocuments()),
        ("ExactMatch() * TokenF1()", Product((ExactMatch(), TokenF1()))),
        ("-ExactMatch()", -ExactMatch()),
        ("0.5 * (ExactMatch() + TokenF1())", 0.5 * (ExactMatch() + TokenF1())),
        ("Clip(TokenF1(), 0.2, high=0.8)", Clip(TokenF1(), 0.2, 0.8)),
        ("Gate(ExactMatch(), TokenF1())", Gate(ExactMatch(), TokenF1())),
        ("WeightedSum(((2, ExactMatch()), (1, TokenF1())))", WeightedSum(((2, ExactMatch()), (1, TokenF1())))),
    ],
)
def test_a_text_spells_the_reward_that_python_would_make(text: str, reward: object):
    assert read_reward(text) == reward


def test_a_reward_as_printed_reads_back():
    reward = ExactMatch(wrong=-1.0) + 0.5 * CoverageGain(mode="single") - 0.2 * RepeatedDocuments()
    assert read_reward(repr(reward)) == reward


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", SettingError, "cannot read the reward ''"),
        ("ExactMatch(", SettingError, "'(' was never closed at character 11"),
        ("ExactMach()", UnknownName, "Did you mean 'ExactMatch'?"),
        ("GroupSampler()", UnknownName, "no reward 'GroupSampler'"),  # a part, but no reward
        ("3 + 4", SettingError, "'3 + 4' is no reward"),
        ("ExactMatch() + 1", SettingError, "cannot combine ExactMatch() and 1"),
        ("ExactMatch() / 2", SettingError, "allowed are rewards, numbers, texts, + - *"),
        ("ExactMatch(colour='red')", SettingError, "ExactMatch does not take these settings"),
        ("ExactMatch(colour='red')", SettingError, "argument 'colour'; its settings: match, wrong"),
        ("ExactMatch() +", SettingError, "where it ends"),
        ("ExactMatch(match='nearly')", SettingError, "match must be one of equal, contained, contains_gold"),
        ("ExactMatch(**{'wrong': 1})", WorkbenchError, "cannot read"),
    ],
)
def test_a_text_that_is_no_reward_is_answered_with_what_is_wrong(text: str, error: type[Exception], says: str):
    with pytest.raises(error) as caught:
        read_reward(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getcwd()",
        "ExactMatch().__class__",
        "(lambda: ExactMatch())()",
        "[ExactMatch() for _ in (1,)][0]",
        "open('x')",
        "ExactMatch() if True else TokenF1()",
    ],
)
def test_nothing_in_a_text_is_run(text: str):
    with pytest.raises(WorkbenchError):
        read_reward(text)
