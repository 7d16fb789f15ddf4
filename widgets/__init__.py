"""Components for notebooks and for the served app: one module, one .js and at most one .css file each.

`component.py` and `ground.js` are what all of them stand on; `in_panel.py` shows any of them in Panel, `pages/` and
`app.py` make the served app of them.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Explore": "widgets.explore",
    "Papers": "widgets.papers",
    "RolloutTable": "widgets.rollout_table",
    "RunMonitor": "widgets.run_monitor",
    "StepThrough": "widgets.step_through",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'widgets' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
