"""Specs that go into the store and come back, and the errors of floor 1."""

from __future__ import annotations

import enum
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

from workbench.errors import SettingError, UnknownName, WorkbenchError
from workbench.spec import PARTS, code_version, dumps, from_spec, loads, part, to_spec

# ---------------------------------------------------------------- specs


class Shade(enum.StrEnum):
    DARK = "dark"


@part
class Inner:
    amount: float = 1.0


@part
class Outer:
    pieces: tuple[tuple[float, Inner], ...] = ()
    shade: Shade = Shade.DARK
    table: tuple[tuple[str, int], ...] = ()
    nothing: None = None


def test_a_spec_goes_out_and_comes_back():
    made = Outer(((0.5, Inner(2.0)), (1.0, Inner())), Shade.DARK, table=(("a", 1),))
    assert loads(dumps(made)) == made
    assert to_spec(Inner(np.float32(0.5))) == {"part": "Inner", "amount": 0.5}
    assert from_spec({"rows": [1, {"part": "Inner"}]}) == {"rows": (1, Inner())}


def test_equal_parts_have_equal_text():
    assert dumps(frozenset("ba")) == dumps(frozenset("ab")) == '["a", "b"]'
    assert loads(dumps(frozenset("ab"))) == ("a", "b")  # sets come back as tuples
    assert dumps(Inner()) == '{"amount": 1.0, "part": "Inner"}'


def test_a_part_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Inner().amount = 2.0


def test_a_part_defined_again_replaces_the_earlier_one():
    @part
    class Again:
        amount: float = 1.0

    earlier = Again

    @part
    class Again:  # noqa: F811
        amount: float = 2.0

    assert PARTS["Again"] is Again
    assert loads('{"part": "Again"}').amount == 2.0
    with pytest.raises(SettingError):
        dumps(earlier())


def test_what_is_no_plain_data_cannot_be_stored():
    @dataclass(frozen=True)
    class Loose:
        pass

    for value in (Loose(), print, object(), Outer(pieces=((1.0, Loose()),))):
        with pytest.raises(SettingError, match="cannot be stored as a setting"):
            dumps(value)


def test_a_spec_of_another_version_or_of_an_unknown_part_is_refused():
    with pytest.raises(SettingError, match=r"Inner has no setting \['size'\]; it has \['amount'\]"):
        loads('{"part": "Inner", "size": 1}')
    with pytest.raises(UnknownName, match="Did you mean 'Inner'"):
        loads('{"part": "Iner"}')


def test_the_code_version_follows_the_code_and_not_the_settings():
    assert code_version(Inner(1.0)) == code_version(Inner(2.0))
    assert code_version(Inner()) != code_version(Outer())
    assert code_version(Outer()) != code_version(Outer(((1.0, Inner()),)))
    assert len(code_version(Inner())) == 12


# ---------------------------------------------------------------- errors


def test_every_error_is_one_of_ours_and_a_builtin_too():
    import workbench.errors

    ours = [one for one in vars(workbench.errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(ours) > 10
    for error in ours:
        assert issubclass(error, WorkbenchError)
        assert error is WorkbenchError or issubclass(error, ValueError | LookupError | RuntimeError | ImportError)


def test_an_unknown_name_lists_what_is_known_and_suggests_the_nearest():
    error = UnknownName.among("run", "r11", ["r1", "r2"], where="lab")
    assert str(error) == "no run 'r11' in lab; known: r1, r2. Did you mean 'r1'?"
    assert str(UnknownName.among("run", "x", [])) == "no run 'x'; known: none yet."
    many = str(UnknownName.among("run", "zzz", [f"r{n:02}" for n in range(15)]))
    assert many.endswith("r11 and 3 more.")


def test_a_setting_without_end_is_still_json_and_comes_back():
    import json

    from workbench.rewards import TokenF1

    reward = TokenF1().clip(-float("inf"), 1.0)
    assert "Infinity" not in dumps(reward) and json.loads(dumps(reward)) and loads(dumps(reward)) == reward
