"""The ground of the components, on its Python side: what goes over the wire, what is heard, what a page is made of."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from widgets import component
from widgets.component import AS_IT_IS, HERE, Component, answer_at_once, module_text, packed, plain, style_text
from workbench.errors import WorkbenchError

# ---------------------------------------------------------------- numbers and texts to JSON


def test_nan_and_infinities_become_null_and_zero_stays_zero():
    told = {"a": [0.0, math.nan, -0.5], "b": (math.inf, -math.inf)}
    assert packed(told) == b'{"a":[0.0,null,-0.5],"b":[null,null]}'


def test_numbers_of_numpy_become_plain_numbers():
    told = plain({"f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "nan": np.float64("nan")})
    assert told == {"f": 0.5, "i": 3, "b": True, "nan": None}
    assert [type(value) for value in told.values()] == [float, int, bool, type(None)]


def test_arrays_become_nested_lists_with_null_for_nan():
    assert plain(np.array([[1.0, np.nan], [0.0, 2.0]])) == [[1.0, None], [0.0, 2.0]]
    assert plain(np.array(["a", None], dtype=object)) == ["a", None]


def test_keys_are_texts_and_sets_are_lists():
    assert plain({1: {"x"}, ("a",): frozenset([2])}) == {"1": ["x"], "('a',)": [2]}


def test_any_text_survives_but_lone_surrogates_which_utf8_cannot_hold():
    text = "h\u00e9 \u202e \x00 \U0001f600 </script> \u2028"
    assert json.loads(packed([text])) == [text]
    assert json.loads(packed(["a\ud800b"])) == ["a?b"]


def test_halves_of_characters_are_taken_out_of_all_that_jupyter_sends(echo: Echo):
    echo.still = "half \ud800"
    echo.say("trouble", says="half \udfff", **{"key \ud800": 1})
    assert echo.still == "half ?"
    assert echo.told == [({"kind": "trouble", "says": "half ?", "key ?": 1}, None)]
    echo.picture = lambda: "<p>half \ud800</p>"  # type: ignore[method-assign]
    assert echo._repr_mimebundle_()[0]["text/html"] == f'<div class="{AS_IT_IS}"><p>half ?</p></div>'


# ---------------------------------------------------------------- hearing the page


class Echo(Component):
    """Keeps what it heard; what it says goes to a list instead of a page."""

    _esm = "export default {}"

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.told: list[Any] = []

    def send(self, content: Any, buffers: Any = None) -> None:
        self.told.append((content, buffers))

    def hear_value(self, step: int, value: float = 0.0) -> None:
        self.heard.append((step, value))

    def hear_refused(self) -> None:
        raise WorkbenchError("step 9 is not there; steps are 0 to 3")

    def hear_broken(self) -> None:
        raise ZeroDivisionError("by hand")

    def erase(self) -> None:
        self.heard.append("erased")


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


def from_page(widget: Component, content: Any, *buffers: bytes) -> None:
    widget._handle_custom_msg(content, [memoryview(one) for one in buffers])


def test_a_message_calls_the_method_of_its_kind(echo: Echo):
    from_page(echo, {"kind": "value", "step": 2, "value": 0.5})
    assert echo.heard == [(2, 0.5)] and echo.told == []


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "nothing"},
        {"kind": "erase"},  # a method, but not one for the page
        {"kind": "hear_value", "step": 1},
        {"kind": "__class__"},
        {"kind": "value.__call__"},
        {"kind": ""},
        {"kind": None},
        {"kind": ["value"]},
        {"kind": 3},
        {},
        "value",
        ["value"],
        None,
    ],
)
def test_a_page_can_call_nothing_but_what_is_made_to_be_heard(
    echo: Echo, content: Any, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, logger="widgets.component"):
        from_page(echo, content)
    assert echo.heard == [] and echo.told == []
    assert "does not know" in caplog.text


def test_a_log_line_of_a_long_strange_message_is_cut(echo: Echo, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="widgets.component"):
        from_page(echo, {"kind": "x" * 100_000})
    assert len(caplog.text) < 500


def test_wrong_fields_become_trouble_on_the_page(echo: Echo, caplog: pytest.LogCaptureFixture):
    from_page(echo, {"kind": "value", "stop": 2})
    [(content, buffers)] = echo.told
    assert content["kind"] == "trouble" and "stop" in content["says"] and buffers is None
    assert echo.heard == [] and "Traceback" in caplog.text


def test_our_own_errors_reach_the_page_as_they_are_and_leave_no_traceback(echo: Echo, caplog: pytest.LogCaptureFixture):
    from_page(echo, {"kind": "refused"})
    assert echo.told == [({"kind": "trouble", "says": "step 9 is not there; steps are 0 to 3"}, None)]
    assert caplog.text == ""


def test_other_errors_reach_the_page_with_their_name_and_the_log_with_their_traceback(
    echo: Echo, caplog: pytest.LogCaptureFixture
):
    from_page(echo, {"kind": "broken"})
    assert echo.told == [({"kind": "trouble", "says": "ZeroDivisionError: by hand"}, None)]
    assert "Traceback" in caplog.text


def test_data_goes_as_bytes_and_small_fields_as_plain_json(echo: Echo):
    echo.say("steps", {"value": math.nan}, at=np.int64(3), mean=math.nan)
    assert echo.told == [({"kind": "steps", "at": 3, "mean": None}, [b'{"value":null}'])]
    echo.say("empty", [])
    assert echo.told[1] == ({"kind": "empty"}, [b"[]"])


# ---------------------------------------------------------------- what a page is made of


@pytest.fixture
def folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder of sources in place of widgets/."""
    monkeypatch.setattr(component, "HERE", tmp_path)
    module_text.cache_clear()
    yield tmp_path
    module_text.cache_clear()


def test_each_file_stands_once_before_those_that_need_it(folder):
    (folder / "ground.js").write_text("export const one = 1;\n")
    (folder / "chart.js").write_text('import { one } from "./ground.js";\nexport function chart() { return one; }\n')
    (folder / "view.js").write_text(
        'import { one } from "./ground.js";\nimport { chart } from "./chart.js";\nexport default { render() {} };\n'
    )
    text = module_text("view")
    assert text.count("const one = 1") == 1
    assert text.index("const one") < text.index("function chart") < text.index("export default")
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*$", text, re.MULTILINE) == ["export default { render() {} };"]


def test_files_that_import_each_other_do_not_run_in_circles(folder):
    (folder / "a.js").write_text('import { b } from "./b.js";\nexport const a = () => b;\n')
    (folder / "b.js").write_text('import { a } from "./a.js";\nexport const b = () => a;\n')
    assert module_text("a").count("const b") == 1


def pages() -> list[str]:
    """The modules of the package that are pages of their own."""
    sources = sorted(component.HERE.glob("*.js"))
    return [path.stem for path in sources if "export default" in path.read_text("utf-8")]


def test_there_are_pages_to_look_at():
    assert pages()


@pytest.mark.parametrize("name", pages())
def test_a_page_is_one_module_without_imports_and_asks_for_no_address(name: str):
    text = module_text(name)
    assert not re.search(r"^\s*import\b", text, re.MULTILINE)
    assert len(re.findall(r"^export default\b", text, re.MULTILINE)) == 1
    assert not re.search(r"^default\b", text, re.MULTILINE), "a page that another page imports has no default export"
    names = re.findall(r"^(?:export )?(?:async )?(?:const|let|function\*?|class) (\w+)", text, re.MULTILINE)
    twice = sorted({one for one in names if names.count(one) > 1})
    assert not twice, f"two files of {name} define {twice}: joined they are one module"
    assert not re.findall(r"https?://(?!www\.w3\.org/)[^\s\"'`]+", text + style_text(name))
    assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "document.write" not in text


def test_a_style_is_the_grounds_and_then_the_components_own(folder):
    (folder / "ground.css").write_text(".wb {}\n")
    (folder / "view.css").write_text(".wb .wb-row {}\n.wb-view p {}\n")
    (folder / "view.js").write_text("export default { render() {} };\n")
    style_text.cache_clear()
    assert style_text("view").splitlines() == [".wb {}", "", ".wb.wb-view .wb-row {}", ".wb.wb-view p {}"]
    assert style_text("other").split() == [".wb", "{}"]
    style_text.cache_clear()


def test_a_component_takes_its_page_and_style_from_the_files_of_its_name(folder):
    (folder / "ground.css").write_text(".wb {}\n")
    (folder / "named.js").write_text("export default { render() {} };\n")
    style_text.cache_clear()
    Named = type("Named", (Component,), {"__module__": "widgets.named"})
    made = Named()
    assert made._esm == "export default { render() {} };\n" and made._css == ".wb {}\n"
    assert made.has_trait("_esm"), "a host is sent traits only"
    style_text.cache_clear()
    made.close()


# ---------------------------------------------------------------- without a page


def test_a_notebook_keeps_a_picture_without_scripts(echo: Echo):
    echo.still = "Berlin <script>alert(1)</script> & more"
    bundle, _ = echo._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    text = "<pre>Berlin &lt;script&gt;alert(1)&lt;/script&gt; &amp; more</pre>"
    assert bundle["text/html"] == f'<div class="{AS_IT_IS}">{text}</div>'
    assert bundle["text/plain"].startswith("Echo(")


def test_a_picture_is_never_empty(echo: Echo):
    assert echo.picture() == "<pre>Echo()</pre>"


# ---------------------------------------------------------------- being heard while a cell runs


def test_the_comm_of_ipykernel_still_has_the_method_that_routes_its_answers():
    comm = pytest.importorskip("ipykernel.comm.comm", reason="ipykernel is not installed")
    if "subshell" not in Path(comm.__file__).read_text("utf-8"):
        pytest.skip("this ipykernel does not route the messages of a comm: nothing to set right")
    assert hasattr(comm.BaseComm, "_reply_subshell_for"), "ipykernel moved it: answer_at_once() no longer does anything"


def test_an_answer_goes_to_the_subshell_that_was_asked_for():
    class Routed:
        def _reply_subshell_for(self, data, default):
            return "the cell's shell"

    comm = Routed()
    answer_at_once(comm)
    assert comm._reply_subshell_for({}, "a shell of its own") == "a shell of its own"


def test_a_comm_without_routing_is_left_as_it_is():
    comm = object()
    answer_at_once(comm)
    answer_at_once(None)


@pytest.mark.parametrize("page", [page for page in HERE.glob("*.js") if "= frame(model" in page.read_text("utf-8")])
def test_a_component_is_framed_under_the_name_of_its_file(page: Path):
    # its style sheet holds inside .wb-<name of the file>
    [framed] = re.findall(r'frame\(model, el, \{ name: "([\w-]+)"', page.read_text("utf-8"))
    assert framed == page.stem.replace("_", "-")


def test_the_rules_of_a_component_hold_inside_it_and_win_over_the_ground_in_any_order():
    own = style_text("step_through").removeprefix(style_text("ground"))
    assert ".wb.wb-step-through .wb-chooser {" in own
    assert not re.findall(r"^\.wb (?=\.)", own, re.MULTILINE)
