"""What changed between two plans, in words that fit beside a curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.errors import WorkbenchError
from workbench.spec import from_spec


def plan_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """One line for each change from one plan's spec (`Plan.spec`) to another's.

    >>> plan_changes({"epochs": 1, "tasks": "8-a1"}, {"epochs": 2, "tasks": "9-b2"})
    ('epochs: 1 → 2', 'tasks: 8-a1 → 9-b2')
    """
    lines: list[str] = []
    for name, new in after.items():
        old = before.get(name)
        if old != new:
            lines += _reward_changes(old, new) if name == "reward" else _setting_changes(name, old, new)
    return tuple(lines)


def formula(spec: Any) -> str:
    """A part as one would type it, from its spec; what could not be stored stands as it was shown then."""
    try:
        return repr(from_spec(spec))
    except (WorkbenchError, TypeError):
        return _spelled(spec)


def _reward_changes(old: Any, new: Any) -> list[str]:
    """Weights by term where only these differ, else the whole formula."""
    before, after = _terms(old), _terms(new)
    if [term for _, term in before] != [term for _, term in after]:
        return [f"reward: {formula(old)} → {formula(new)}"]
    pairs = zip(before, after, strict=True)
    return [f"{_short(term)}: weight {was:g} → {now:g}" for (was, term), (now, _) in pairs if was != now]


def _terms(reward: Any) -> list[tuple[float, Any]]:
    if isinstance(reward, Mapping) and reward.get("part") == "WeightedSum" and reward.get("on_missing") == "rollout":
        return [(float(weight), term) for weight, term in reward["terms"]]
    return [(1.0, reward)]


def _setting_changes(name: str, old: Any, new: Any) -> list[str]:
    """Down to the settings that differ, where it is the same part with others."""
    same_part = isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("part") == new.get("part")
    if not same_part:
        return [f"{name}: {_short(old)} → {_short(new)}"]
    keys = [key for key in new if old.get(key) != new[key]]
    return [line for key in keys for line in _setting_changes(f"{name} {key}", old.get(key), new[key])]


def _short(spec: Any) -> str:
    return spec if isinstance(spec, str) else formula(spec).removesuffix("()")


def _spelled(spec: Any) -> str:
    if isinstance(spec, Mapping) and "unstored" in spec:
        return str(spec["unstored"])
    if isinstance(spec, Mapping):
        settings = [f"{key}={_spelled(value)}" for key, value in spec.items() if key != "part"]
        return f"{spec.get('part', '')}({', '.join(settings)})"
    if isinstance(spec, list | tuple):
        return f"({', '.join(_spelled(one) for one in spec)})"
    return repr(spec)
