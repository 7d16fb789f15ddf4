"""What long rollouts lose."""

from __future__ import annotations

import pytest

from tests.builders import a_trajectory
from workbench.errors import MissingTokens
from workbench.rewards import OverLong


@pytest.mark.parametrize(("tokens", "paid"), [(1, 0.0), (5, 0.0), (6, -0.2), (8, -0.6), (10, -1.0), (40, -1.0)])
def test_the_ramp_by_hand(tokens, paid):
    # two turns of so many own tokens; free up to 20 - 10
    found = OverLong(20, 10)(a_trajectory(None, None, tokens=tokens))
    assert found.total == pytest.approx(paid)


def test_card_06_with_a_limit_of_4096_and_a_buffer_of_2048():
    def paid(tokens: int) -> float:
        return OverLong(4096, 2048)(a_trajectory(None, tokens=tokens)).total

    assert [paid(n) for n in (2048, 3072, 4096, 5000)] == [0.0, -0.5, -1.0, -1.0]


def test_what_the_environment_wrote_does_not_count():
    alone, with_pages = a_trajectory(None, tokens=8), a_trajectory(["p1", "p2"], tokens=8)
    assert OverLong(10, 4)(alone).total == OverLong(10, 4)(with_pages).total == -0.5


def test_words_are_counted_where_there_are_no_tokens():
    text = a_trajectory(None, answer="Paris")
    words = sum(len(step.text.split()) for step in text.steps)
    assert OverLong(2 * words, 2 * words, of="words")(text).total == -0.5
    with pytest.raises(MissingTokens):
        OverLong(10, 4)(text)
