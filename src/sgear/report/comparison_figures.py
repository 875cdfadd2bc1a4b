"""Figures of the page that compares two models; the first model always has the accent colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sgear.metrics import metrics
from sgear.metrics.class_means import mean_per_class
from sgear.predictions.compare import ClassChange, ComparedScore
from sgear.predictions.scoring import Outcome
from sgear.report.style import (
    ACCENT,
    COLOURS,
    HALF_IN,
    INK,
    MUTED,
    RULE,
    WIDE_IN,
    percent_axis,
    shorten,
    styled,
)
from sgear.taxonomy import FIELDS, Field

SURE = 0.05
"""Largest p-value at which a difference is called one."""
FIRST, SECOND = ACCENT, COLOURS[1]
_BOTH, _NEITHER = "#5b8c3e", "#e3e8ec"
_MAX_DOT = 90.0


def model_colours() -> list[str]:
    """Return the colours of the two models, for figures that take any number of them."""
    return [FIRST, SECOND]


def _row_places(rows: Sequence[tuple[str, Field]]) -> list[float]:
    """Return a place for each row, with a gap between subsets."""
    places, place = [], 0.0
    for index, (subset, _) in enumerate(rows):
        place += 0.0 if not index else 1.0 if subset == rows[index - 1][0] else 1.6
        places.append(place)
    return places


def _row_names(rows: Sequence[tuple[str, Field]]) -> list[str]:
    return [f"{subset} {field}s" for subset, field in rows]


@styled()
def difference_plot(scores: Sequence[ComparedScore], titles: tuple[str, str]) -> Figure:
    """Draw the difference of each score with its 95 % interval, one panel per kind of score.

    Where the test finds a difference, the interval has the colour of the better model.

    Args:
        scores: The compared scores.
        titles: Names of the two models.
    """
    rows: list[tuple[str, Field]] = list(dict.fromkeys((row.subset, row.field) for row in scores))
    places = dict(zip(rows, _row_places(rows), strict=True))
    names = list(dict.fromkeys(row.metric for row in scores))
    last = max(places.values())
    figure = Figure(figsize=(WIDE_IN, 1.25 + 0.17 * last), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, sharex=True, squeeze=False)[0]
    for axes, metric in zip(panels, names, strict=True):
        axes.axvline(0, color=MUTED, lw=0.8)
        for row in scores:
            if row.metric != metric:
                continue
            place = places[row.subset, row.field]
            colour = MUTED if row.p_value >= SURE else FIRST if row.difference > 0 else SECOND
            axes.plot([row.low, row.high], [place, place], color=colour, lw=1.6, solid_capstyle="butt")
            axes.plot(row.difference, place, marker="o", ms=4, color=colour)
        axes.set_title(metrics()[metric].title)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, min_n_ticks=3))
        axes.xaxis.set_major_formatter(lambda value, _: "0" if abs(value) < 1e-9 else f"{100 * value:+g}")
        axes.grid(axis="x")
        axes.set_xlabel("points")
    panels[0].set_yticks(list(places.values()), _row_names(rows))
    panels[0].tick_params(axis="y", labelcolor=INK)
    panels[0].set_ylim(last + 0.7, -0.7)
    handles = [
        Line2D([], [], color=FIRST, lw=1.6, marker="o", ms=4, label=f"{shorten(titles[0], 40)} is better"),
        Line2D([], [], color=SECOND, lw=1.6, marker="o", ms=4, label=f"{shorten(titles[1], 40)} is better"),
        Line2D([], [], color=MUTED, lw=1.6, marker="o", ms=4, label="may be chance"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, labelcolor="linecolor")
    return figure


@styled()
def agreement_bars(
    rows: Sequence[tuple[str, Field]], shares: dict[int, NDArray[np.float64]], titles: tuple[str, str]
) -> Figure:
    """Draw how many segments both models, one alone, or neither got right, one panel per number of guesses.

    Args:
        rows: Subset and field of each row.
        shares: For k guesses, the shares of both right, only the first, only the second, both wrong [R 4].
        titles: Names of the two models.
    """
    places = _row_places(rows)
    figure = Figure(figsize=(WIDE_IN, 1.1 + 0.2 * places[-1]), layout="constrained")
    panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    colours = (_BOTH, FIRST, SECOND, _NEITHER)
    for axes, (k, table) in zip(panels, shares.items(), strict=True):
        left = np.zeros(len(rows))
        for column, colour in enumerate(colours):
            axes.barh(places, table[:, column], 0.82, left=left, color=colour, alpha=0.88)
            for place, start, share in zip(places, left, table[:, column], strict=True):
                if share >= 0.06:
                    text = f"{100 * share:.0f}"
                    ink = INK if colour == _NEITHER else "white"
                    axes.text(start + share / 2, place, text, ha="center", va="center", color=ink, fontsize=6.2)
            left += table[:, column]
        axes.set_title(f"right: among the {k} best" if k > 1 else "right: the best")
        axes.set_xlim(0, 1)
        percent_axis(axes, which="x")
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(places, _row_names(rows))
    panels[0].tick_params(axis="y", labelcolor=INK)
    panels[0].set_ylim(places[-1] + 0.6, -0.6)
    names = ("both right", f"only {shorten(titles[0], 30)}", f"only {shorten(titles[1], 30)}", "both wrong")
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, names, strict=True)]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


@styled()
def recall_scatter(first: dict[Field, Outcome], second: dict[Field, Outcome], titles: tuple[str, str]) -> Figure:
    """Draw the top-5 recall of each class in one model against the other; the area of a dot is its segments.

    Args:
        first: Outcomes of the first model.
        second: Outcomes of the second model, same samples.
        titles: Names of the two.
    """
    figure = Figure(figsize=(WIDE_IN, 3.25), layout="constrained")
    panels = figure.subplots(1, len(FIELDS), sharey=True)
    rng = np.random.default_rng(0)
    for axes, field in zip(panels, FIELDS, strict=True):
        recalls, counts = class_recalls(first[field], second[field])
        shown = np.flatnonzero(counts)
        # Small classes have few possible recalls; without some scatter hundreds of dots would be one.
        x, y = (values[shown] + rng.normal(0, 0.008, len(shown)) for values in (recalls[1], recalls[0]))
        sizes = 4 + _MAX_DOT * counts[shown] / counts.max()
        difference = recalls[0][shown] - recalls[1][shown]
        colours = np.where(difference > 0, FIRST, np.where(difference < 0, SECOND, MUTED))
        axes.plot([0, 1], [0, 1], color=RULE, lw=1, zorder=1)
        axes.scatter(x, y, s=sizes, color=colours, alpha=0.35, linewidths=0, rasterized=len(shown) > 500, zorder=2)
        axes.set_title(f"{len(shown):,} {field}s")
        axes.set_xlim(-0.05, 1.05)
        axes.set_ylim(-0.05, 1.05)
        axes.set_aspect("equal")
        percent_axis(axes, which="x")
        percent_axis(axes, which="y")
        axes.grid(axis="both")
        axes.set_xlabel(shorten(titles[1], 34), color=SECOND)
    panels[0].set_ylabel(shorten(titles[0], 34), color=FIRST)
    return figure


def class_recalls(first: Outcome, second: Outcome) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Return the top-5 recall of each class in both models [K], NaN without segments, and its segments [K]."""
    recalls = [mean_per_class(each.hits(5), each.targets, each.num_classes) for each in (first, second)]
    return recalls, np.bincount(first.targets, minlength=first.num_classes)


@styled()
def class_changes(gains: Sequence[ClassChange], losses: Sequence[ClassChange], field: Field) -> Figure:
    """Draw the classes that gained and lost most: hits of the first model less those of the second.

    Args:
        gains: Classes on which the first model has more hits.
        losses: Classes on which it has fewer.
        field: What the classes are.
    """
    rows = [*gains, *reversed(losses)]
    figure = Figure(figsize=(HALF_IN, 0.75 + 0.19 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colours = [FIRST if row.num_hits > 0 else SECOND for row in rows]
    axes.barh(range(len(rows)), [row.num_hits for row in rows], color=colours, height=0.72, alpha=0.88)
    axes.axvline(0, color=INK, lw=0.7)
    for place, row in enumerate(rows):
        side = 1 if row.num_hits > 0 else -1
        axes.annotate(
            f"{100 * row.first:.0f} : {100 * row.second:.0f}",
            (row.num_hits, place),
            (3 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=6,
            color=MUTED,
        )
    axes.set_yticks(range(len(rows)), [f"{shorten(row.name, 22)}  {row.num_samples:,}" for row in rows])
    axes.tick_params(axis="y", labelsize=6.5, labelcolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.24)
    axes.set_title(f"{field}s")
    axes.set_xlabel("segments gained or lost")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.grid(axis="x")
    return figure
