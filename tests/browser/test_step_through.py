"""StepThrough at its page: stepping, comparing, editing, finding; Python behind it is the real component."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.bare import Bare
from tests.browser.conftest import Shoot
from tests.builders import a_trajectory, a_tree
from widgets import StepThrough
from workbench.rewards import CoverageGain, ExactMatch, RepeatedDocuments
from workbench.rewards.score import score
from workbench.scores import Scores
from workbench.trajectory import Tree

REWARD = ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()
TEXTS = {"p1": "France is a country. Its capital is Paris.", "p2": "Paris lies on the Seine.", "x": "Lyon is a city."}


def a_group_of_three(id: str = "tree") -> Tree:
    asked = ("France", "capital of France")
    return a_tree(
        a_trajectory(("p1", "x"), ("p2", "p1"), answer="Paris", id=f"{id}-0", texts=TEXTS, queries=asked, tokens=5),
        a_trajectory(
            ("p1", "x"), ("x",), answer="Lyon", id=f"{id}-1", texts=TEXTS, queries=("France", "Lyon"), tokens=5
        ),
        a_trajectory(("x",), id=f"{id}-2", texts=TEXTS, queries=("cities",), tokens=5),
        id=id,
    )


def shown(bare: Bare, **settings: Any) -> tuple[StepThrough, Locator]:
    trees = [a_group_of_three("one"), a_group_of_three("two")]
    widget = StepThrough(trees, score(trees, REWARD), who="ann", **settings)
    el = bare.attach(widget)
    expect(el.locator(".wb-pane")).to_have_count(1)
    el.locator(".wb").focus()
    return widget, el


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_step_shows_thought_call_hits_observation_and_pay(bare: Bare, shoot: Shoot):
    _, el = shown(bare)
    detail = el.locator(".wb-detail")
    expect(detail.get_by_role("heading", level=3)).to_have_text("Step 1 of 3")
    expect(detail.locator(".wb-hit-gold")).to_contain_text("Title of p1")
    expect(detail.locator(".wb-hit-gold mark.wb-answer")).to_have_text("Paris")
    expect(detail.get_by_text("Observation, as the agent saw it")).to_be_visible()
    gain = detail.locator("tr", has_text="CoverageGain")
    expect(gain.locator("td").nth(1)).to_have_text("+0.5")
    expect(gain.locator("td").nth(2)).to_have_text("+0.25")
    expect(detail.locator("tr", has_text="ExactMatch")).to_contain_text("at the end")
    shoot(el, "one step")


def test_not_applicable_missing_and_zero_look_different(bare: Bare, shoot: Shoot):
    tree = a_tree(a_trajectory(("p1",), ("x",), ("x",), answer="Paris", id="a"))
    values = Scores.steps([0.0, np.nan, 1.0, np.nan])
    values.miss(3, "the judge timed out")
    el = bare.attach(StepThrough(tree, [[values]]))
    expect(el.locator(".wb-list .wb-step")).to_have_count(4)
    chips = el.locator(".wb-list .wb-step .wb-chip")
    expect(chips).to_have_text(["0", "n/a", "+1", "missing"])
    kinds = [
        re.findall(r"wb-(zero|not-applicable|plus|missing)", chips.nth(i).get_attribute("class") or "")[0]
        for i in range(4)
    ]
    assert kinds == ["zero", "not-applicable", "plus", "missing"]
    shoot(el, "statuses")


def test_j_and_k_step_and_python_follows(bare: Bare, page: Page):
    widget, el = shown(bare)
    press(page, "j", "j", "j", "k")
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 2 of 3")
    bare.page.wait_for_function("saved.some((one) => one.at && one.at.step === 1)")
    page.wait_for_timeout(100)
    assert widget.at == {"tree": "one", "trajectory": "one-0", "step": 1}


def test_python_can_lead(bare: Bare, page: Page):
    widget, el = shown(bare)
    widget.go(tree="two", trajectory="two-1", step=2)
    page.keyboard.press("Shift")  # gives the page a turn to hear
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 3 of 3")
    expect(el.locator(".wb-trajectory[aria-selected=true]")).to_contain_text("Lyon")


def test_brackets_change_the_trajectory_and_braces_the_tree(bare: Bare, page: Page):
    _, el = shown(bare)
    press(page, "]", "]")
    expect(el.locator(".wb-trajectory[aria-selected=true]")).to_contain_text("truncated")
    press(page, "}")
    expect(el.get_by_label("tree", exact=True)).to_have_value("1")


def test_two_trajectories_side_by_side_step_together(bare: Bare, page: Page, shoot: Shoot):
    _, el = shown(bare)
    press(page, "c", "j")
    expect(el.locator(".wb-pane")).to_have_count(2)
    expect(el.locator(".wb-pane").nth(0)).to_contain_text("Step 2 of 3")
    # the sibling whose return differs most: the truncated one, of a single step
    expect(el.locator(".wb-pane").nth(1)).to_contain_text("Step 1 of 1")
    shoot(el, "compare")
    el.get_by_label("trajectory beside").select_option("1")
    expect(el.locator(".wb-pane").nth(1)).to_contain_text("Step 2 of 3")
    press(page, "Escape")
    el.locator(".wb").focus()
    press(page, "c")
    expect(el.locator(".wb-pane")).to_have_count(1)


def test_an_edit_with_a_reason_changes_the_advantages_on_screen(bare: Bare, page: Page, shoot: Shoot):
    widget, el = shown(bare)
    press(page, "G")
    before = el.locator(".wb-step").nth(0).locator(".wb-advantage").inner_text()
    press(page, "e")
    page.keyboard.type("0,5")
    press(page, "Enter")
    expect(el.get_by_role("alert").filter(has_text="say why")).to_be_visible()
    shoot(el, "edit needs a reason")
    page.keyboard.type("only half of it was asked")
    press(page, "Enter")
    expect(el.locator("tr", has_text="ExactMatch").locator(".wb-chip.wb-edited").first).to_have_text("+0.5")
    expect(el.locator("tr", has_text="ExactMatch")).to_contain_text("only half of it was asked")
    expect(el.locator(".wb-step").nth(0).locator(".wb-advantage")).not_to_have_text(before)
    assert [(row["old"], row["new"], row["who"]) for row in widget.edits] == [(1.0, 0.5, "ann")]
    shoot(el, "edited")
    press(page, "u")
    expect(el.locator(".wb-step").nth(0).locator(".wb-advantage")).to_have_text(before)
    press(page, "r")
    expect(el.get_by_text("3 edits, held in this widget only")).to_be_visible()


@pytest.mark.parametrize("typed", ["", "much", "1e999", "NaN"])
def test_what_is_no_number_is_refused_where_it_was_typed(bare: Bare, page: Page, typed: str):
    widget, el = shown(bare)
    press(page, "e")
    el.get_by_label("new value of ExactMatch").fill(typed)
    press(page, "Enter")
    expect(el.get_by_role("alert").filter(has_text="is not a number")).to_be_visible()
    press(page, "Escape")
    expect(el.locator(".wb-form")).to_have_count(0)
    assert widget.edits == []


def test_d_goes_to_the_next_disagreement_and_says_which(bare: Bare, page: Page):
    _, el = shown(bare)
    press(page, "d")
    # step 2 of the first: p2 is new (+), p1 was seen before (-)
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 2 of 3")
    expect(el.locator(".wb-note").first).to_contain_text("CoverageGain pays +0.25, RepeatedDocuments −0.1")


def test_d_finds_where_another_scoring_differs(bare: Bare, page: Page):
    trees = [a_group_of_three()]
    el = bare.attach(StepThrough(trees, score(trees, ExactMatch()), against=score(trees, 0.5 * ExactMatch())))
    expect(el.locator(".wb-pane")).to_have_count(1)
    el.locator(".wb").focus()
    press(page, "d")
    expect(el.locator(".wb-note").first).to_contain_text("the other scoring pays 0.5, this one 1")


def test_find_marks_and_goes_from_match_to_match(bare: Bare, page: Page, shoot: Shoot):
    _, el = shown(bare)
    press(page, "/")
    page.keyboard.type("seine")
    press(page, "Enter")
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 2 of 3")
    expect(el.locator("mark.wb-found").first).to_have_text("Seine")
    shoot(el, "found")
    el.get_by_label("find in text").fill("nowhere")
    press(page, "Enter")
    expect(el.get_by_text("not found")).to_be_visible()


def test_the_link_names_the_step(bare: Bare, page: Page):
    _, el = shown(bare)
    press(page, "j", "y")
    expect(el.locator(".wb-line")).to_contain_text('"trajectory":"one-0","step":1')


def test_keys_are_listed_and_typing_into_a_field_does_not_step(bare: Bare, page: Page, shoot: Shoot):
    _, el = shown(bare)
    press(page, "?")
    expect(el.get_by_role("dialog")).to_contain_text("next disagreement")
    shoot(el, "keys")
    press(page, "Escape")
    press(page, "/")
    page.keyboard.type("jjj")
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 1 of 3")


def test_a_reload_comes_back_to_the_same_step_with_its_edits(bare: Bare, page: Page):
    widget, el = shown(bare)
    widget.edit("one-0", "ExactMatch", 0.5, "half")
    press(page, "]", "j")
    page.wait_for_timeout(250)
    el = bare.again()
    expect(el.locator(".wb-trajectory[aria-selected=true]")).to_contain_text("Lyon")
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 2 of 3")
    expect(el.get_by_text("1 edit, held in this widget only")).to_be_visible()


def test_a_thousand_steps_are_a_list_of_few_rows(bare: Bare, page: Page):
    long = a_trajectory(*([("x",)] * 999), answer="Paris", id="long", texts=TEXTS)
    el = bare.attach(StepThrough(a_tree(long), score([a_tree(long)], REWARD)))
    expect(el.locator(".wb-pane")).to_have_count(1)
    assert el.locator(".wb-step").count() < 60
    el.locator(".wb").focus()
    press(page, "G")
    expect(el.get_by_role("heading", level=3)).to_have_text("Step 1000 of 1000")
    expect(el.locator(".wb-step[aria-selected=true]")).to_contain_text("1000")


def test_nothing_is_left_behind_when_it_is_taken_off_the_page(bare: Bare, page: Page):
    shown(bare)
    assert bare.listeners > 0
    bare.close()
    assert bare.listeners == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(bare: Bare, page: Page, shoot: Shoot, scheme: Any):
    page.set_viewport_size({"width": 390, "height": 900})
    page.emulate_media(color_scheme=scheme)
    _, el = shown(bare)
    press(page, "j")
    shoot(page, f"phone {scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    detail = el.locator(".wb-panes")
    assert detail.evaluate("(one) => one.scrollWidth - one.clientWidth") <= 0


def test_no_trees_is_said(bare: Bare):
    expect(bare.attach(StepThrough([]))).to_contain_text("No trees were given.")
