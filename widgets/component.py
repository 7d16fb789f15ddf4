"""What every component is made of: a widget with a wire to its page, a repr, and a picture for when no kernel answers.

A component shows state and reports what the person did. Small state travels as traits, bulk data as binary messages,
commands as messages: a message ``{"kind": "edit", ...}`` from the page calls the method ``hear_edit``.
"""

from __future__ import annotations

import json
import logging
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from workbench.errors import WorkbenchError

HERE = Path(__file__).resolve().parent
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+)\.js";\n', re.MULTILINE)

VIEW = "application/vnd.jupyter.widget-view+json"
# A picture waits three seconds, in which a living page hides it for good. Where styles are taken out it shows at once.
LATE = "<style>@keyframes wb-kept { from { max-height: 0; overflow: hidden; opacity: 0 } }</style>"

# What a model wrote is no formula: hosts that typeset would make links of it, and scripts of those.
AS_IT_IS = "mathjax_ignore tex2jax_ignore"

log = logging.getLogger(__name__)


class Component(anywidget.AnyWidget):
    """Base of all components. A subclass `StepThrough` in step_through.py has its page in step_through.js (and .css).

    In JupyterLab a callback may run while a cell runs, on another thread than the cell: a handler swaps whole frozen
    objects or sets an event, and never works for long.
    """

    theme = traitlets.Enum(["auto", "light", "dark"], "auto", help="colours; auto follows the page").tag(sync=True)
    still = traitlets.Unicode(help="what to read where no kernel answers").tag(sync=True)
    kept = traitlets.Unicode(help="kernel to page: name of the picture that the page hides while it lives").tag(
        sync=True
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        name = cls.__module__.rpartition(".")[2]
        # anywidget gives each object a class of its own, where _esm is a trait: that one is left alone
        if "_esm" not in cls.__dict__ and (HERE / f"{name}.js").exists():
            cls._esm, cls._css = module_text(name), style_text(name)
        super().__init_subclass__(**kwargs)

    def __init__(self, **traits: Any) -> None:
        super().__init__(kept=uuid.uuid4().hex, **traits)
        answer_at_once(self.comm)
        self.on_msg(self._hear)

    @traitlets.validate("still")
    def _sendable(self, proposal: Any) -> str:
        return str(plain(proposal["value"]))

    # ------------------------------------------------------------ the wire

    def say(self, kind: str, data: Any = None, **small: Any) -> None:
        """Send the page a message. `data` (plain data and numbers of numpy; NaN becomes null) goes as bytes."""
        buffers = None if data is None else [packed(data)]
        self.send({"kind": kind, **plain(small)}, buffers)

    def _hear(self, _: object, content: Any, buffers: Sequence[memoryview]) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        handler = getattr(self, f"hear_{kind}", None) if isinstance(kind, str) and kind.isidentifier() else None
        if handler is None:
            log.warning("%s was sent %.200r, which it does not know", type(self).__name__, content)
            return
        told = {name: value for name, value in content.items() if name != "kind"}
        try:
            handler(**told)
        except WorkbenchError as error:
            self.say("trouble", says=str(error))
        except Exception as error:  # the person at the page must hear of it; the traceback goes to the log
            log.exception("%s failed at %r", type(self).__name__, kind)
            self.say("trouble", says=f"{type(error).__name__}: {error}")

    def hear_hello(self) -> None:
        """A page was drawn (again): send it everything it shows."""
        raise NotImplementedError

    # ------------------------------------------------------------ without a page

    def picture(self) -> str:
        """A still picture as HTML without scripts: what a saved notebook shows where no kernel runs."""
        return f"<pre>{escape(self.still or repr(self))}</pre>"

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _ipython_display_(self) -> None:
        """The picture, then the page.

        JupyterLab has only "model not found" to show for a page whose kernel is gone, whatever else its output holds.
        So the picture is an output of its own, before it.
        """
        from IPython.display import display

        bundle, _ = self._repr_mimebundle_()
        picture = f'{LATE}<div data-wb-kept="{self.kept}" style="animation: wb-kept 0s 3s backwards">'
        kept = {"text/plain": bundle["text/plain"], "text/html": f"{picture}{bundle['text/html']}</div>"}
        display(kept, raw=True)
        display({VIEW: bundle[VIEW]}, raw=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        made = super()._repr_mimebundle_(**kwargs)
        if made is None:
            return None
        bundle, metadata = made
        return plain({**bundle, "text/html": f'<div class="{AS_IT_IS}">{self.picture()}</div>'}), metadata


def answer_at_once(comm: Any) -> None:
    """Let messages of this comm be answered while a cell runs.

    JupyterLab asks for them on a subshell of their own. ipykernel 7.4 answers on the shell that last published on the
    comm, which is the cell's, so only after the cell. The method replaced here is private: a test holds it.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default


# ---------------------------------------------------------------- numbers to JSON


def packed(data: Any) -> bytes:
    """`data` as UTF-8 JSON; NaN and infinities as null."""
    return json.dumps(plain(data), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def plain(value: Any) -> Any:
    """Nested lists and dicts of Python's own numbers and texts; NaN and infinities are None.

    Halves of characters (lone surrogates), which no host can send, become question marks.
    """
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


# ---------------------------------------------------------------- sources of a page


@cache
def module_text(name: str) -> str:
    """One JavaScript module from ``name.js`` and what it imports, each file once.

    A widget's module is sent as one text, where relative imports lead nowhere. The files stay modules of their own,
    for editors and tests; here their import lines go, and what is imported loses its exports.
    """
    texts = {one: _IMPORT.sub("", _source(one)) for one in _modules(name)}
    return "\n".join(text if one == name else _unexported(text) for one, text in texts.items())


@cache
def style_text(name: str) -> str:
    """The ground's style sheet, then those that stand beside the modules that ``name.js`` imports, then its own."""
    needed = _modules(name) if (HERE / f"{name}.js").exists() else [name]
    files = [HERE / f"{one}.css" for one in dict.fromkeys(["ground", *needed])]
    return "\n".join(_scoped(file) for file in files if file.exists())


def _scoped(file: Path) -> str:
    """A style sheet whose rules hold inside its component only, and there win over the ground's.

    In JupyterLab the sheets of all components lie in one page, in the order in which they were first shown.
    """
    text = file.read_text(encoding="utf-8")
    if file.stem == "ground":
        return text
    own = f".wb-{file.stem.replace('_', '-')}"
    root = f".wb{own}" if "export default" in _source(file.stem) else ".wb.wb"  # a part of several has no root
    return re.sub(r"\.wb(?![\w-])", root, re.sub(rf"{re.escape(own)}(?![\w-])", ".wb", text))


def _modules(name: str) -> list[str]:
    """What ``name.js`` imports, each after what it imports itself, then `name`."""
    seen: set[str] = set()
    order: list[str] = []

    def take(one: str) -> None:
        if one not in seen:
            seen.add(one)
            for needed in _IMPORT.findall(_source(one)):
                take(needed)
            order.append(one)

    take(name)
    return order


def _source(name: str) -> str:
    return (HERE / f"{name}.js").read_text(encoding="utf-8")


def _unexported(text: str) -> str:
    return re.sub(r"^export ", "", re.sub(r"^export default .*\n?", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
