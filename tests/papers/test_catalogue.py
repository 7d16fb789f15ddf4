"""The catalogue of methods, and what every method that is built holds to."""

from __future__ import annotations

import importlib
import inspect
from typing import get_args

import pytest

from workbench.errors import SettingError, UnknownName
from workbench.papers import CATALOGUE, Check, Proof, built, entry, load
from workbench.papers.catalogue import Fidelity
from workbench.papers.paper import Verdict
from workbench.rewards import Reward
from workbench.spec import from_spec, to_spec

LONGEST = 300  # lines of a paper's module: it composes parts that live elsewhere

by_paper = pytest.mark.parametrize("name", [one.name for one in built()])


def test_every_method_is_listed_once():
    assert [one.number for one in CATALOGUE] == [f"{n:02}" for n in range(46)]
    assert len({one.name for one in CATALOGUE}) == 46
    assert {one.fidelity for one in CATALOGUE} <= set(get_args(Fidelity))
    assert all(one.published and one.source.startswith("arXiv:") for one in CATALOGUE)


def test_a_method_is_found_by_its_name_or_number():
    assert entry("25") is entry("tongsearch_qr")
    with pytest.raises(UnknownName, match="tongsearch_qr"):
        entry("tongsearch")


def test_what_is_not_built_says_so():
    missing = next(one for one in CATALOGUE if one not in built())
    with pytest.raises(SettingError, match="not built yet"):
        load(missing.name)


@by_paper
def test_a_paper_is_short_and_says_what_it_is(name):
    paper, module = load(name), importlib.import_module(f"workbench.papers.{name}")
    assert paper.number == entry(name).number
    assert len(inspect.getsource(module).splitlines()) <= LONGEST
    assert entry(name).source.removeprefix("arXiv:") in (module.__doc__ or "")
    assert paper.formula.strip() and paper.verdict in get_args(Verdict)


@by_paper
def test_what_can_be_applied_to_rollouts_comes_back_from_a_store(name):
    for reward in load(name).rewards.values():
        assert isinstance(reward, Reward) and repr(from_spec(to_spec(reward))) == repr(reward)


def test_the_verdict_of_a_proof_is_that_of_its_checks():
    good, bad = Check("holds", True), Check("fails", False)
    assert Proof({}, [good]).verdict == "reproduced"
    assert Proof({}, [good], direction_only="a toy").verdict == "direction only"
    assert Proof({}, [good, bad], direction_only="a toy").verdict == "not reproduced"
