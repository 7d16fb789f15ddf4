"""A query as the query string of an address, and back: `?sort=-part:ExactMatch&from.steps=3&find=river`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from workbench.errors import SettingError
from workbench.store.browsing import Query

LIMIT = 50
"""Rows of a page."""


def query_from(asked: Mapping[str, str]) -> Query:
    """The query that an address asks.

    Raises:
        SettingError: a number in it is none.
    """
    ranges: dict[str, list[float | None]] = {}
    for name, text in asked.items():
        end, dot, column = name.partition(".")
        if dot and end in ("from", "to"):
            ranges.setdefault(column, [None, None])[end == "to"] = _number(name, text)
    sort = asked.get("sort", "")
    page = max(1, int(_number("page", asked.get("page", "1"))))
    return Query(
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        text=asked.get("find", ""),
        equal={name.removeprefix("is."): text for name, text in asked.items() if name.startswith("is.")},
        ranges={name: (low, high) for name, (low, high) in ranges.items()},
        offset=(page - 1) * LIMIT,
        limit=LIMIT,
    )


def address_of(asked: Mapping[str, Any], **more: str | None) -> str:
    """The query string of a table's `asked`, with `more` before it."""
    told: dict[str, Any] = {name: value for name, value in more.items() if value}
    if asked["sort"]:
        told["sort"] = ("-" if asked["descending"] else "") + asked["sort"]
    if asked["text"]:
        told["find"] = asked["text"]
    told |= {f"is.{name}": value for name, value in asked["equal"].items()}
    for name, pair in asked["ranges"].items():
        told |= {
            f"{end}.{name}": f"{bound:g}" for end, bound in zip(("from", "to"), pair, strict=True) if bound is not None
        }
    if asked["offset"]:
        told["page"] = asked["offset"] // asked["limit"] + 1
    return "?" + urlencode(told) if told else ""


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e15:
        raise SettingError(f"the address asks {name}={text!r}, which is no number; take it out of the address")
    return number
