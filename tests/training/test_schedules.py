"""Schedules: numbers by update."""

from __future__ import annotations

import math

import pytest

from tests.training.test_folds import PLAN, decided
from workbench.errors import SettingError
from workbench.spec import from_spec, to_spec
from workbench.training.folds import Scheduled
from workbench.training.plan import Optimiser
from workbench.training.schedules import Pieces, Ramp

SHAPES = ("linear", "power", "cosine", "exponential")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_ramp_begins_and_ends_where_it_says_and_never_turns_back(shape):
    ramp = Ramp(0.2, 0.8, 40, shape=shape)
    values = [ramp(n) for n in range(-1, 45)]
    assert values[:2] == [0.2, 0.2] and values[-4:] == pytest.approx([0.8] * 4)
    assert values == sorted(values)


def test_the_shapes_are_their_formulas():
    quarter = [Ramp(0.0, 1.0, 100, shape=shape)(25) for shape in SHAPES]
    assert quarter == pytest.approx([0.25, 0.0625, (1 - math.cos(math.pi / 4)) / 2, (4**0.25 - 1) / 3])
    assert Ramp(0.0, 1.0, 100, shape="exponential", base=1.0)(25) == 0.25


def test_pieces_follow_one_another():
    beta = Pieces([(0, Ramp(0.2, 0.1, 10)), (10, 0.5), (20, Ramp(0.0, 1.0, 4))])
    assert [beta(n) for n in (0, 5, 10, 19, 20, 22, 99)] == pytest.approx([0.2, 0.15, 0.5, 0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Ramp(0, 1, 0),
        lambda: Ramp(0, 1, 5, shape="wavy"),
        lambda: Ramp(0, 1, 5, base=0),
        lambda: Pieces([]),
        lambda: Pieces([(1, 0.0)]),
        lambda: Pieces([(0, 0.0), (5, 0.0), (5, 1.0)]),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(SettingError):
        wrong()


def test_a_ramp_can_be_stored():
    ramp = Ramp(0.2, 0.8, 40, shape="power", power=1.5)
    assert from_spec(to_spec(ramp)) == ramp


def test_a_plan_follows_a_schedule():
    rate = Ramp(0.0, 1.0, 4)
    plans = decided(Scheduled(lambda update: {"optimiser": Optimiser(rate(update))}), [0.0] * 4, PLAN)
    assert [plan.optimiser.lr for plan in plans] == [0.25, 0.5, 0.75, 1.0, 1.0]
