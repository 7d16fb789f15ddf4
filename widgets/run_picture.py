"""A run to read where no kernel answers: a few lines of text, or curves and tables as HTML without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from widgets.run_rows import Row, report_row

if TYPE_CHECKING:
    from widgets.run_monitor import Watched

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 760, 200, 44, 160, 20  # pixels
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 3")
COLOURS = ("currentColor", "#3b7dd8", "#a05bc0", "#0f93a5", "#b5730f")  # seen on white and on black
NUMBERS = {  # what a row holds, and how a person calls it
    "searches": "searches a rollout",
    "equal_groups": "groups of equal return",
    "sampled_per_s": "tokens sampled a second",
    "grad_norm": "gradient norm",
    "explained": "share that the critic foresaw",
}
Line = tuple[str, list[float | None]]


def run_text(run: Watched) -> str:
    """Name, status and progress; the newest numbers; every check that ever lit up."""
    lines = [f"{run.name}: {run.status}, update {run.update} of {run.updates}"]
    rows = [report_row(report) for report in run.reports]
    if rows:
        newest = rows[-1]
        lines.append("  ".join([f"return {_shown(newest['mean_return'])}", *_parts(newest)]))
    lines += [f"LOOK, update {update}: {name}: {says}" for update, name, says in alarms(rows)]
    return "\n".join(lines)


def alarms(rows: Sequence[Row]) -> list[tuple[int, str, str]]:
    """The newest time each check lit up: update, name and sentence."""
    newest = {check["name"]: (row["update"], check["says"]) for row in rows for check in row["alarms"]}
    return [(update, name, says) for name, (update, says) in newest.items()]


def run_picture(run: Watched) -> str:
    """The curves of return and parts, the newest update in numbers, every check that ever lit up."""
    rows = [report_row(report) for report in run.reports]
    title = escape(f"{run.name}: {run.status}, update {run.update} of {run.updates}")
    if not rows:
        return f"<table><tbody><tr><td><b>{title}</b></td></tr></tbody></table>"
    lit = "".join(f"<li>update {update}: {escape(name)}: {escape(says)}</li>" for update, name, says in alarms(rows))
    alarm = f"<p><b>Training checks that lit up:</b></p><ul>{lit}</ul>" if lit else "<p>Every training check held.</p>"
    return f"<div><p><b>{title}</b></p>{_curves(rows)}{_numbers(rows)}{alarm}</div>"


def _lines(rows: Sequence[Row]) -> list[Line]:
    parts = dict.fromkeys(name for row in rows for name in row["parts"] or {})
    found: list[Line] = [("return", [row["mean_return"] for row in rows])]
    return found + [(name, [(row["parts"] or {}).get(name) for row in rows]) for name in parts]


def _curves(rows: Sequence[Row]) -> str:
    lines = _lines(rows)
    known = [value for _, values in lines for value in values if value is not None] or [0.0]
    low, high = min([*known, 0.0]), max([*known, 0.0])
    scale = (low, high if high > low else low + 1.0)
    drawn = "".join(_polyline(_places(values, scale), number) for number, (_, values) in enumerate(lines))
    ends = [(places[-1][1], number) for number, (_, values) in enumerate(lines) if (places := _places(values, scale))]
    names = "".join(
        _text(WIDTH - RIGHT + 8, y + 4, lines[number][0][:24], COLOURS[number % len(COLOURS)])
        for y, number in _apart(ends)
    )
    floor = HEIGHT - BOTTOM
    ticks = _text(0, 12, f"{scale[1]:.3g}") + _text(0, floor, f"{low:.3g}")
    ticks += _text(LEFT, HEIGHT - 4, f"update {rows[0]['update']}")
    ticks += _text(WIDTH - RIGHT - 60, HEIGHT - 4, f"update {rows[-1]['update']}")
    label = escape(f"Curves over the updates: {', '.join(name for name, _ in lines)}")
    axis = f'<path d="M{LEFT} 4V{floor}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" opacity="0.4"/>'
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" style="max-width:100%"'
    return f'<svg role="img" aria-label="{label}" {size}>{axis}{ticks}{drawn}{names}</svg>'


def _places(values: Sequence[float | None], scale: tuple[float, float]) -> list[tuple[float, float]]:
    low, high = scale
    across, up = (WIDTH - LEFT - RIGHT) / max(len(values) - 1, 1), (HEIGHT - BOTTOM - 8) / (high - low)
    return [(LEFT + n * across, HEIGHT - BOTTOM - (v - low) * up) for n, v in enumerate(values) if v is not None]


def _polyline(places: Sequence[tuple[float, float]], number: int) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    style = f'stroke-width="{1.6 if number else 2.4}" stroke-dasharray="{DASHES[number % len(DASHES)]}"'
    return f'<polyline points="{points}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" {style}/>'


def _apart(ends: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Heights of the names, moved down until none covers another."""
    placed: list[tuple[float, int]] = []
    for y, number in sorted(ends):
        placed.append((max(y, placed[-1][0] + 14) if placed else y, number))
    return placed


def _text(x: float, y: float, text: str, colour: str = "currentColor") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" fill="{colour}">{escape(text)}</text>'


def _numbers(rows: Sequence[Row]) -> str:
    first, last = rows[0], rows[-1]
    told = [("return", first["mean_return"], last["mean_return"])]
    told += [(name, (first["parts"] or {}).get(name), value) for name, value in (last["parts"] or {}).items()]
    told += [(said, first[name], last[name]) for name, said in NUMBERS.items() if last[name] is not None]
    body = "".join(f"<tr><td>{escape(n)}</td><td>{_shown(a)}</td><td>{_shown(b)}</td></tr>" for n, a, b in told)
    head = f"<tr><th></th><th>update {first['update']}</th><th>update {last['update']}</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _parts(row: Mapping[str, Any]) -> list[str]:
    return [f"{name} {_shown(value)}" for name, value in (row["parts"] or {}).items()]


def _shown(value: float | None) -> str:
    if value is None:
        return "not scored"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
