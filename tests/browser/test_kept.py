"""What a saved notebook shows of a component where no kernel has it any more."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Trap
from tests.browser.conftest import Shoot
from tests.browser.lab import Lab

MAKE = "from tests.browser.counter import Counter\nCounter(still='a still picture')"

pytestmark = pytest.mark.slow


def test_a_living_component_hides_its_picture_and_a_saved_one_shows_it(lab: Lab, trap: Trap, shoot: Shoot):
    trap.expect("widget model not found")
    lab.open(MAKE, "1 + 1", name="kept.ipynb")
    lab.run_all()
    output = lab.output(0)
    expect(output.locator("output")).to_have_text("0")
    picture = output.get_by_text("a still picture")
    expect(picture).to_be_hidden()
    saved = lab.save()
    lab.reload()
    expect(output.locator("output")).to_have_text("0")
    expect(picture).to_be_hidden()

    lab.shut_down()
    lab.visit("kept.ipynb")  # trusted: it was run here
    expect(picture).to_be_visible()
    shoot(lab.page, "trusted")
    saved["cells"][1]["source"] = "2 + 2"
    (lab.folder / "foreign.ipynb").write_text(json.dumps(saved))
    lab.visit("foreign.ipynb")  # as it comes from somebody else: styles are taken out
    expect(picture).to_be_visible()
    shoot(lab.page, "foreign")
