"""Known-bad copies of good texts."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import SettingError
from workbench.evaluation import CORRUPTIONS, corrupted

GOOD = "The river Rhine crosses Basel. It was measured in 1996 by Anna. Many boats use it."


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_swap_changes_one_name_or_number_and_nothing_else():
    for seed in range(20):
        made = corrupted(GOOD, "swap", np.random.default_rng(seed), others=["In the town of Lyon since 1850."])
        changed = [(a, b) for a, b in zip(GOOD.split(), made.split(), strict=True) if a != b]
        assert len(changed) == 1
        assert changed[0][1].strip(".") == ("1850" if changed[0][0].startswith("1") else "Lyon")


def test_the_other_kinds_by_hand():
    assert corrupted("A b. C d.", "drop", rng()) in ("A b.", "C d.")
    assert corrupted("A b. C d.", "duplicate", rng()) in ("A b. A b. C d.", "A b. C d. C d.")
    assert corrupted("A b.", "pad", rng()).startswith("A b. It should be added")
    assert corrupted("A b. c d", "shuffle", rng()) != "A b. c d"
    assert sorted(corrupted(GOOD, "shuffle", rng()).split()) == sorted(GOOD.split())


def test_every_kind_changes_a_text_and_the_same_draw_changes_it_alike():
    for kind in CORRUPTIONS:
        first, second = corrupted(GOOD, kind, rng()), corrupted(GOOD, kind, rng())
        assert first == second != GOOD


def test_a_text_without_occasion_gives_none():
    assert corrupted("All of it is lower case.", "swap", rng()) is None
    assert corrupted("One sentence alone.", "drop", rng()) is None
    assert corrupted("Word.", "shuffle", rng()) is None


def test_an_unknown_kind_is_refused():
    with pytest.raises(SettingError, match="'burn'"):
        corrupted(GOOD, "burn", rng())
