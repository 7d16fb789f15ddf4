"""Reports as pictures, 600 pixels wide, in colours that the colour-blind tell apart; what a colour says stands in
words or in a shape too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.evaluation.on_runs import Labels, RunScores
from workbench.trajectory import Tree

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"  # of Okabe and Ito's palette; grey for what says nothing
WIDTH, DPI = 6.0, 100  # inches, points an inch
ROW, FRAME = 0.26, 1.0  # inches: a row, and all that is not rows
NAME = 38
"""Characters of a reward's name that are shown."""


def term_picture(report: pd.DataFrame) -> Figure:
    """A term report as bars: what share of the variance each term brings, and what it goes along with.

    Three columns: share of the variance within groups, correlation with right answers, correlation with length. Bars
    to the right of 0 are blue, to the left orange; a cross stands where nothing can be said.
    """
    columns = {
        "variance_share": "share of variance\nwithin groups",
        "outcome_correlation": "correlation with\nright answers",
        "length_correlation": "correlation with\nlength",
    }
    figure, axes = _rows(len(report), columns=3)
    for one, (name, title) in zip(axes, columns.items(), strict=True):
        values = report[name].to_numpy(float)
        _bars(one, values)
        one.set_title(title, fontsize=9)
        one.set_xlim(min(-1.05, np.nanmin(values, initial=0) * 1.1), max(1.05, np.nanmax(values, initial=0) * 1.1))
    _name_rows(axes[0], [_short(str(name)) for name in report.index])
    return figure


def _bars(axes: Axes, values: np.ndarray) -> None:
    places = np.arange(len(values))
    known = ~np.isnan(values)
    colours = [BLUE if value >= 0 else ORANGE for value in values[known]]
    axes.barh(places[known], values[known], color=colours, height=0.6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.plot(np.zeros((~known).sum()), places[~known], "x", color=GREY)
    for place, value in zip(places[known], values[known], strict=True):
        axes.annotate(
            f"{value:+.2f}",
            (value, place),
            (3 if value >= 0 else -3, 0),
            textcoords="offset points",
            va="center",
            ha="left" if value >= 0 else "right",
            fontsize=8,
        )
    axes.margins(x=0.35)


def label_picture(report: pd.DataFrame) -> Figure:
    """A label report as two columns of dots with their intervals: AUC beside 0.5, accuracy beside always saying good.

    Filled blue dots tell good from bad, orange squares do so the wrong way round, hollow grey ones cannot tell. The
    bar across a row on the right is its floor: the accuracy of always saying good on the same items.
    """
    figure, axes = _rows(len(report), columns=2)
    places = np.arange(len(report))
    styles = {"tells good from bad": (BLUE, "o", BLUE), "the wrong way round": (ORANGE, "s", ORANGE)}
    for place, (_, row) in zip(places, report.iterrows(), strict=True):
        colour, mark, fill = styles.get(row["verdict"], (GREY, "o", "white"))
        for one, name in zip(axes, ("auc", "accuracy"), strict=True):
            one.plot([row[f"{name}_low"], row[f"{name}_high"]], [place, place], color=colour, linewidth=1.6)
            one.plot(row[name], place, mark, color=colour, markerfacecolor=fill, markersize=5.5)
    axes[0].axvline(0.5, color="black", linewidth=0.8, linestyle="--")
    axes[1].plot(report["floor"], places, "|", color="black", markersize=13, markeredgewidth=1.6)
    axes[0].set_title("AUC\n(dashed: chance)", fontsize=9)
    axes[1].set_title("accuracy\n(bar: always good)", fontsize=9)
    _name_rows(axes[0], [f"{_short(str(name))}  ({row['items']})" for name, row in report.iterrows()])
    return figure


def spread_picture(trees: Sequence[Tree], scored: Mapping[str, RunScores], labels: Labels) -> Figure:
    """What each reward pays rollouts that ended well (blue, above) and badly (orange, below).

    A line from the 0.1 to the 0.9 quantile, a tick at the median, a dot at the mean. Every row has its own scale: the
    range of what it pays, ends written beside it.
    """
    known = {name: one for name, one in scored.items() if not one.why_not}
    figure, [axes] = _rows(len(known), columns=1)
    for place, one in enumerate(known.values()):
        totals = {good: _totals(trees, one, labels, good) for good in (1.0, -1.0)}
        both = np.concatenate(list(totals.values()))
        if not len(both):
            continue
        low, span = both.min(), np.ptp(both) or 1.0
        for good, colour, shift in ((1.0, BLUE, -0.17), (-1.0, ORANGE, 0.17)):
            if len(totals[good]):
                _quantiles(axes, (totals[good] - low) / span, place + shift, colour)
        axes.annotate(f"{low:.3g}", (-0.02, place), ha="right", va="center", fontsize=7, color=GREY)
        axes.annotate(f"{both.max():.3g}", (1.02, place), ha="left", va="center", fontsize=7, color=GREY)
    axes.set_xlim(-0.13, 1.13)
    axes.set_xticks([])
    axes.set_title("ended well: blue, above; badly: orange, below", fontsize=9)
    _name_rows(axes, [_short(name) for name in known])
    return figure


def _totals(trees: Sequence[Tree], scored: RunScores, labels: Labels, good: float) -> np.ndarray:
    rollouts = [one for tree in trees for one in tree if labels.get((one.id, None)) == good]
    totals_N = np.array([scored.by_trajectory[one.id].total for one in rollouts if one.id in scored.by_trajectory])
    return totals_N[~np.isnan(totals_N)]


def _quantiles(axes: Axes, shares: np.ndarray, place: float, colour: str) -> None:
    low, middle, high = np.quantile(shares, [0.1, 0.5, 0.9])
    axes.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.6, solid_capstyle="butt")
    axes.plot(middle, place, "|", color=colour, markersize=9, markeredgewidth=2)
    axes.plot(shares.mean(), place, "o", color=colour, markersize=4)


def _rows(count: int, *, columns: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure of `count` rows that share their names on the left."""
    from matplotlib import pyplot

    size = (WIDTH, FRAME + ROW * max(count, 1))
    figure, axes = pyplot.subplots(1, columns, figsize=size, dpi=DPI, sharey=True, squeeze=False, layout="constrained")
    pyplot.close(figure)  # shown once, as what a cell ends with
    for one in axes[0]:
        one.tick_params(labelsize=8, left=False)
        one.spines[["top", "right", "left"]].set_visible(False)
        one.grid(axis="x", color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
    axes[0][0].set_ylim(max(count, 1) - 0.5, -0.5)  # the first on top
    return figure, list(axes[0])


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)


def _short(name: str) -> str:
    """Its beginning and its end, which is where settings differ."""
    half = NAME // 2
    return name if len(name) <= NAME else f"{name[: half - 1]}…{name[-half:]}"
