"""Figures of the page that compares two models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sgear.metrics.recall import mean_per_class
from sgear.predictions import Predictions
from sgear.predictions.compare import ClassChange, ComparedScore
from sgear.predictions.outcomes import field_outcomes
from sgear.report.style import ACCENT, HALF_IN, HIT, INK, MISS, MUTED, RULE, WIDE_IN, percent_axis, shorten, styled

_NAMES = {"top1": "top-1", "top5": "top-5", "recall5": "recall@5"}


@styled()
def difference_plot(scores: Sequence[ComparedScore]) -> Figure:
    """Draw the difference of each score with its 95 % interval; those whose interval leaves out 0 are coloured."""
    figure = Figure(figsize=(WIDE_IN, 0.9 + 0.17 * len(scores)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=RULE, lw=1)
    for place, row in enumerate(scores):
        colour = HIT if row.low > 0 else MISS if row.high < 0 else MUTED
        axes.plot([row.low, row.high], [place, place], color=colour, lw=1.4, solid_capstyle="butt")
        axes.plot(row.difference, place, marker="o", ms=3.5, color=colour)
    axes.set_yticks(range(len(scores)), [f"{row.subset} {row.field}, {_NAMES[row.metric]}" for row in scores])
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlabel("first minus second, points", color=MUTED)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}")
    axes.grid(axis="x")
    return figure


@styled()
def recall_scatter(first: Predictions, second: Predictions, titles: tuple[str, str]) -> Figure:
    """Draw the top-5 recall of each action in one model against the other; a dot grows with the class's segments."""
    one, other = (field_outcomes(table)["action"] for table in (first, second))
    recalls = [mean_per_class(each.hits(5), each.targets, each.num_classes) for each in (one, other)]
    counts = np.bincount(one.targets, minlength=one.num_classes)
    shown = np.flatnonzero(counts)
    rng = np.random.default_rng(0)
    # Small classes have few possible recalls; without some scatter hundreds of dots would be one.
    moved = [(values[shown] + rng.normal(0, 0.008, len(shown))).clip(-0.02, 1.02) for values in recalls]
    figure = Figure(figsize=(HALF_IN, HALF_IN), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=RULE, lw=1)
    sizes = 4 + 60 * counts[shown] / max(1, counts.max())
    axes.scatter(moved[1], moved[0], s=sizes, color=ACCENT, alpha=0.35, linewidths=0, rasterized=len(shown) > 500)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    axes.set_aspect("equal")
    percent_axis(axes, which="x")
    percent_axis(axes, which="y")
    axes.grid(axis="both")
    axes.set_xlabel(shorten(titles[1]), color=MUTED)
    axes.set_ylabel(shorten(titles[0]), color=MUTED)
    return figure


@styled()
def class_changes(gains: Sequence[ClassChange], losses: Sequence[ClassChange]) -> Figure:
    """Draw the actions that gained and lost most: hits of the first model less those of the second."""
    rows = [*gains, *reversed(losses)]
    figure = Figure(figsize=(HALF_IN, max(1.2, 0.6 + 0.19 * len(rows))), layout="constrained")
    axes = figure.subplots()
    colours = [HIT if row.num_hits > 0 else MISS for row in rows]
    axes.barh(range(len(rows)), [row.num_hits for row in rows], color=colours, height=0.7)
    axes.axvline(0, color=INK, lw=0.7)
    axes.set_yticks(range(len(rows)), [f"{shorten(row.name)} ({row.num_samples})" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("segments more in the five best", color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(axis="x")
    return figure
