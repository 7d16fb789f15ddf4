"""RunMonitor at its page: curves, checks and groups."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.bare import Bare
from tests.browser.conftest import Shoot
from tests.browser.monitored import a_group, a_row, alarm, asked, news, shown, told, trained, until
from tests.training.seekers import seeking

# ---------------------------------------------------------------- curves


def test_every_part_has_a_line_of_its_own_dashes_and_the_return_is_strong(bare: Bare, shoot: Shoot):
    el = told(bare, *(a_row(update) for update in range(1, 9)))
    paths = el.locator(".wb-chart-face .wb-line-path")
    expect(paths).to_have_count(3)
    dashes = [paths.nth(i).get_attribute("stroke-dasharray") for i in range(3)]
    assert len(set(dashes)) == 3 and dashes[0] == ""
    expect(el.locator(".wb-chart-label")).to_have_count(3)
    expect(el.locator(".wb-chart-item")).to_have_text(["return0.8", "ExactMatch0.4", "CoverageGain0.5"])
    ticks = el.locator(".wb-chart-tick").all_text_contents()
    assert {"0.0", "0.2", "0.8"} <= set(ticks)
    shoot(el, "curves")


def test_the_legend_hides_a_line_and_m_shows_every_update_as_it_was(bare: Bare, page: Page):
    el = told(bare, *(a_row(update) for update in range(1, 9)))
    item = el.get_by_role("button", name="CoverageGain", exact=False).first
    item.click()
    expect(item).to_have_attribute("aria-pressed", "false")
    expect(el.locator(".wb-chart-face .wb-line-path")).to_have_count(2)
    expect(el.locator(".wb-line-faint")).to_have_count(2)  # each update, behind the mean of five
    el.locator(".wb").focus()
    page.keyboard.press("m")
    expect(el.locator(".wb-line-faint")).to_have_count(0)


def test_what_was_not_scored_breaks_the_line_and_is_no_zero(bare: Bare, page: Page):
    el = told(bare, *(a_row(update) for update in range(1, 6)))
    el.locator(".wb").focus()
    page.keyboard.press("m")
    line = el.locator(".wb-chart-face .wb-line-path").nth(2)
    expect(line).to_have_attribute("d", re.compile(r"^M[^M]+M[^M]+L[^M]+$|^M[^ML]+M"))
    page.keyboard.press("t")
    row = el.locator(".wb-chart-table tbody tr", has=page.get_by_role("rowheader", name="2", exact=True))
    expect(row.locator("td")).to_have_text(["0.2", "0.1", "–"])


def test_the_arrow_keys_walk_through_the_updates_and_the_numbers_follow(bare: Bare, page: Page):
    el = told(bare, *(a_row(update, searches=update / 2) for update in range(1, 9)))
    el.locator(".wb").focus()
    page.keyboard.press("c")
    slider = el.get_by_role("slider")
    expect(slider).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "update 3: return 0.3, ExactMatch 0.15, CoverageGain 0.5")
    expect(el.locator(".wb-chart-item").first).to_have_text("return0.3")
    expect(el.locator(".wb-tile").first).to_contain_text("1.5")
    page.keyboard.press("Escape")
    expect(el.locator(".wb-tile").first).to_contain_text("4")


def test_the_pointer_shows_the_values_of_the_update_under_it(bare: Bare, page: Page):
    el = told(bare, *(a_row(update) for update in range(1, 20)))
    box = el.get_by_role("slider").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 100)
    expect(el.locator(".wb-chart-reading")).to_have_text(re.compile(r"^update [1-4]$"))
    expect(el.locator(".wb-chart-cross circle").first).to_be_visible()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] + 200)
    expect(el.locator(".wb-chart-reading")).to_have_text("update 19, the newest")


def test_a_mark_says_on_hover_and_focus_what_changed(bare: Bare, page: Page, shoot: Shoot):
    _, el = shown(bare, trained(8))
    flag = el.get_by_role("button", name="from update 4: CoverageGain: weight 0.5 → 0.3")
    flag.hover()
    expect(el.get_by_role("tooltip")).to_have_text("from update 4: CoverageGain: weight 0.5 → 0.3")
    shoot(el, "mark")
    page.mouse.move(5, 5)
    expect(el.get_by_role("tooltip")).to_be_hidden()
    flag.focus()
    expect(el.get_by_role("tooltip")).to_be_visible()


def test_marks_close_together_become_one(bare: Bare):
    marks = [{"update": update, "kind": "plan", "lines": [f"change {update}"]} for update in (101, 102, 400)]
    el = told(bare, *(a_row(update) for update in range(1, 501)), updates=500, marks=marks)
    expect(el.locator(".wb-chart-flag")).to_have_text(["2", "◆"])
    expect(el.locator(".wb-chart-flag").first).to_have_attribute(
        "aria-label", "from update 101: change 101; from update 102: change 102"
    )


def test_many_updates_are_thinned_to_what_a_screen_can_show(bare: Bare):
    el = told(bare, *(a_row(update, mean_return=float(update % 7)) for update in range(1, 5001)), updates=5000)
    path = el.locator(".wb-chart-face .wb-line-path").first
    expect(path).to_be_visible()
    assert len(re.findall("[ML]", path.get_attribute("d") or "")) < 2500
    expect(el.locator(".wb-chart-reading")).to_have_text("update 5000, the newest")


# ---------------------------------------------------------------- checks


def test_a_check_that_lit_up_stays_lit_with_its_update(bare: Bare, page: Page, shoot: Shoot):
    rows = [a_row(1), a_row(2, alarms=[alarm("truncated", "90% of rollouts cut off")]), a_row(3), a_row(4)]
    now = [
        {"name": "truncated", "ok": True, "value": 0.1, "says": "10% of rollouts cut off by a limit, 0 failed"},
        {"name": "sampler gap", "ok": False, "value": 0.5, "says": "mean 5.0e-01 nats between trainer and sampler"},
    ]
    rows[3]["alarms"] = [now[1]]
    el = told(bare, *rows, checks=now)
    held = el.locator(".wb-check", has_text="truncated")
    expect(held).to_have_class(re.compile("wb-check-ok .*wb-check-lit"))
    expect(held.locator(".wb-alarm")).to_have_text("update 2: 90% of rollouts cut off")
    expect(el.locator(".wb-check", has_text="sampler gap").get_by_role("img", name="does not hold")).to_be_visible()
    expect(el.get_by_role("button", name="2 checks lit up")).to_be_visible()
    shoot(el, "alarms")
    link = held.get_by_role("button", name="update 2")
    link.focus()
    bare.say("run", news(*rows, a_row(5), checks=now))
    expect(el.locator(".wb-chart-reading")).to_have_text("update 5, the newest")
    expect(link).to_be_focused()  # news leaves what someone is about to press where it is
    page.keyboard.press("Enter")
    expect(el.locator(".wb-chart-reading")).to_have_text("update 2")


# ---------------------------------------------------------------- groups


def test_a_group_opens_in_step_through_inside_the_monitor(bare: Bare, page: Page, shoot: Shoot):
    monitor, el = shown(bare, trained(3))
    el.get_by_role("button", name="What is the birthplace").nth(1).click()
    inside = el.locator(".wb-opened-group")
    expect(inside.get_by_role("heading", level=3).first).to_contain_text("Update 3: What is the birthplace")
    expect(inside.locator(".wb-pane")).to_have_count(1)
    assert monitor.opened is not None
    inside.locator(".wb-step-through").focus()
    page.keyboard.press("]")
    page.keyboard.press("j")
    until(page, lambda: monitor.opened.at["trajectory"] == monitor.opened.tree.trajectories[1].id)  # type: ignore[union-attr]
    shoot(el, "group opened")
    page.keyboard.press(" ")
    page.keyboard.press("s")
    expect(el.get_by_role("alertdialog")).to_be_hidden()  # its keys are not those of the monitor
    assert not any(one["kind"] in ("pause", "resume", "stop") for one in bare.sent)
    inside.get_by_role("button", name="Close").last.focus()
    inside.locator(".wb-bar").first.get_by_role("button", name="Close").click()
    expect(inside).to_be_hidden()
    until(page, lambda: monitor.opened is None)


def test_an_edit_in_an_opened_group_shows_its_new_advantages(bare: Bare, page: Page):
    monitor, el = shown(bare, trained(1))
    el.locator(".wb-groups button").first.click()
    inside = el.locator(".wb-step-through")
    expect(inside.locator(".wb-pane")).to_have_count(1)
    inside.focus()
    page.keyboard.press("G")
    page.keyboard.press("e")
    page.keyboard.type("0.125")
    page.keyboard.press("Enter")
    page.keyboard.type("by hand")
    page.keyboard.press("Enter")
    until(page, lambda: monitor.opened is not None and monitor.opened.edits)
    expect(inside.get_by_text("1 edit, held in this widget only")).to_be_visible()


def test_groups_are_held_while_the_pointer_is_on_them(bare: Bare, page: Page):
    el = told(bare, a_row(1), groups={"update": 1, "run": "r1", "rows": [a_group("Which?")]})
    el.locator(".wb-groups").hover()
    assert asked(bare, "hold") == [{"on": True}]
    page.mouse.move(2, 2)
    assert asked(bare, "hold") == [{"on": True}, {"on": False}]


# ---------------------------------------------------------------- everything else


def test_a_reload_shows_everything_again(bare: Bare, page: Page):
    _, el = shown(bare, trained(6))
    el.locator(".wb-groups button").first.click()
    expect(el.locator(".wb-step-through .wb-pane")).to_have_count(1)
    el = bare.again()
    expect(el.locator(".wb-chart-reading")).to_have_text("update 6, the newest")
    expect(el.locator(".wb-chart-flag")).to_have_count(1)
    expect(el.locator(".wb-groups tbody tr")).to_have_count(4)
    expect(el.locator(".wb-step-through .wb-pane")).to_have_count(1)


def test_a_page_that_is_taken_away_says_goodbye_and_leaves_nothing_behind(bare: Bare):
    told(bare, a_row(1))
    bare.close()
    assert bare.listeners == 0 and bare.sent[-1] == {"kind": "bye"}


def test_a_run_of_another_process_has_no_buttons_and_says_why(bare: Bare, shoot: Shoot):
    kept = {
        key: value
        for key, value in news(a_row(1), a_row(2)).items()
        if key not in ("driven", "paused", "weights", "checkpoints")
    }
    el = bare.mount("run_monitor")
    bare.say("run", {**kept, "steers": False})
    expect(el.locator(".wb-run-note")).to_have_text(
        "This run is driven elsewhere: here it can be watched, and not steered."
    )
    for name in ("Pause", "Start", "Stop", "Swap weights", "Roll back…"):
        expect(el.get_by_role("button", name=name)).to_have_count(0)
    expect(el.locator(".wb-formula")).to_be_visible()
    shoot(el, "watched only")


def test_before_the_first_update_the_page_says_what_will_come(bare: Bare, shoot: Shoot):
    _, el = shown(bare, seeking(5))
    expect(el.locator(".wb-chart-empty")).to_contain_text("No update is done yet")
    expect(el.locator(".wb-pill")).to_have_text("new")
    shoot(el, "new")


def test_a_failed_run_shows_its_error(bare: Bare):
    el = told(bare, a_row(1), status="failed", driven=False, error="RuntimeError: judge fell over")
    expect(el.locator(".wb-run-note")).to_have_text("RuntimeError: judge fell over")
    expect(el.locator(".wb-run-note")).to_have_class(re.compile("wb-error"))


def test_names_and_texts_are_never_html(bare: Bare):
    evil = "<img src=x onerror=alert(1)>"
    rows = [a_row(1, parts={evil: 0.5}, alarms=[alarm(evil, evil)]), a_row(2, parts={evil: 0.6})]
    more = {"name": evil, "marks": [{"update": 2, "kind": "plan", "lines": [evil]}], "plan": {"reward": evil}}
    groups = {"update": 2, "run": evil, "rows": [a_group(evil)]}
    el = told(bare, *rows, **more, weights=[[evil, 1.0]], groups=groups, status=evil, checks=[alarm(evil, evil)])
    el.locator(".wb-chart-flag").hover()
    expect(el.locator("img")).to_have_count(0)
    expect(el.get_by_role("tooltip")).to_contain_text(evil)


def test_where_no_kernel_answers_what_is_saved_can_be_read(bare: Bare, page: Page):
    el = bare.mount("run_monitor", still="r1: running, update 3 of 20\nreturn 0.3")
    expect(el.get_by_role("alert").filter(has_text="No kernel answers")).to_be_visible()


def test_keys_are_listed(bare: Bare, page: Page):
    el = told(bare, a_row(1))
    el.locator(".wb").focus()
    page.keyboard.press("?")
    expect(el.get_by_role("dialog")).to_contain_text("go back to a checkpoint")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_can_be_read_at_every_width_and_in_the_dark(chromium: Browser, shoot: Shoot, scheme: Any, width: int):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    bare = Bare(context.new_page())
    rows = [
        a_row(update, alarms=[alarm("truncated", "60% cut off")] if update in (4, 7) else []) for update in range(1, 15)
    ]
    checks = [
        {"name": "truncated", "ok": True, "value": 0.2, "says": "20% of rollouts cut off by a limit, 0 failed"},
        alarm("sampler gap", "mean 5.0e-01 nats"),
    ]
    groups = {"update": 14, "run": "r1", "rows": [a_group(f"What is the capital of country {n}?") for n in range(6)]}
    marks = [{"update": 6, "kind": "plan", "lines": ["CoverageGain: weight 0.5 → 0.3"]}]
    el = told(bare, *rows, checks=checks, groups=groups, marks=marks, checkpoints=[5, 10])
    expect(el.locator(".wb-groups tbody tr")).to_have_count(6)
    assert bare.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(bare.page.locator("#el"), f"{scheme} {width}")
    context.close()
