"""Calibration: how often the most likely class is right, against the probability that was given to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from sgear.metrics.probabilities import Reliability, reliability
from sgear.predictions.scoring import Outcome, field_outcomes
from sgear.report.contents import ReportRun
from sgear.report.style import MUTED, RULE, WIDE_IN, percent_axis, run_colours, run_legend, styled
from sgear.taxonomy import FIELDS, Field

FEW_SEGMENTS = 10
"""Bins with fewer segments have a hollow dot: their share of right answers says little."""

CALIBRATION_READING = (
    "On the diagonal a probability means what it says: of the segments whose most likely class got 30%, 30% are of "
    "that class; below it the model is too sure, above it too modest. ECE is the mean distance from the diagonal, "
    f"weighted by segments; a hollow dot stands for fewer than {FEW_SEGMENTS} of them, and the lower panels count them."
)

Calibration = dict[Field, list[Reliability]]
"""By field, one table per model."""


def reliability_tables(
    outcomes: Sequence[dict[Field, Outcome]], masks: dict[Field, NDArray[np.bool_]] | None = None
) -> Calibration:
    """Return the reliability of each field and model, in the bins of the calibration error in `score`.

    Args:
        outcomes: Outcomes of each model.
        masks: Segments of a subset, for each field [M]. Default: all. A field without any is left out.
    """
    tables: Calibration = {}
    for field in FIELDS:
        rows = slice(None) if masks is None else masks[field]
        if len(outcomes[0][field].targets[rows]):
            tables[field] = [reliability(each[field].confidence[rows], each[field].hits(1)[rows]) for each in outcomes]
    return tables


def calibration_of(runs: Sequence[ReportRun]) -> Calibration:
    """Return the reliability tables of runs over all their segments."""
    return reliability_tables([field_outcomes(run.predictions) for run in runs])


@styled()
def reliability_diagram(tables: Calibration, titles: Sequence[str], *, colours: Sequence[str] | None = None) -> Figure:
    """Draw one panel per field: accuracy over confidence above, number of segments below.

    Args:
        tables: Result of `calibration_of` or `reliability_tables`.
        titles: One name per model.
        colours: One per model. Default: those of runs.
    """
    colours = run_colours(len(titles)) if colours is None else colours
    height_in = 3.1 + (0.3 if len(titles) > 1 else 0)
    figure = Figure(figsize=(WIDE_IN, height_in), layout="constrained")
    panels = figure.subplots(2, len(FIELDS), sharex=True, sharey="row", height_ratios=(3, 1.1), squeeze=False)
    most = max(int(table.counts.max()) for by_model in tables.values() for table in by_model)
    for column, field in enumerate(FIELDS):
        upper, lower = panels[:, column]
        upper.set_title(f"{field}s")
        if field in tables:
            _draw_accuracy(upper, tables[field], colours)
            _draw_counts(lower, tables[field], colours)
        else:
            upper.text(0.5, 0.5, "no segment", ha="center", va="center", color=MUTED)
        percent_axis(upper, which="y")
        percent_axis(lower, which="x")
        upper.grid(axis="x")
        lower.set_xlabel("probability given to the most likely class")
    upper, lower = panels[0, 0], panels[1, 0]
    upper.set_ylim(0, 1)
    upper.set_ylabel("how often it is right")
    lower.set_xlim(0, 1)
    lower.set_yscale("log")
    lower.set_ylim(0.7, 2 * most)
    powers = [10**power for power in range(len(str(most)))]
    ticks = powers[:: -(-len(powers) // 4)]
    lower.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    lower.yaxis.set_minor_locator(NullLocator())
    lower.set_ylabel("segments")
    run_legend(figure, titles, colours=colours)
    return figure


def _draw_accuracy(axes: Axes, tables: Sequence[Reliability], colours: Sequence[str]) -> None:
    axes.plot([0, 1], [0, 1], color=RULE, lw=1)
    points = np.concatenate([np.stack([table.confidence, table.accuracy], axis=1) for table in tables])
    is_low_right_free = not ((points[:, 0] > 0.5) & (points[:, 1] < 0.1 + 0.09 * len(tables))).any()
    for index, (table, colour) in enumerate(zip(tables, colours, strict=True)):
        is_filled, is_firm = table.counts > 0, table.counts >= FEW_SEGMENTS
        axes.plot(table.confidence[is_filled], table.accuracy[is_filled], color=colour, lw=1.0, alpha=0.6)
        for mask, face in ((is_filled & ~is_firm, "white"), (is_firm, colour)):
            axes.scatter(
                table.confidence[mask],
                table.accuracy[mask],
                s=13,
                facecolor=face,
                edgecolors=colour,
                lw=1.0,
                zorder=3,
                clip_on=False,
            )
        place = (0.97, 0.04 + 0.08 * (len(tables) - 1 - index)) if is_low_right_free else (0.03, 0.96 - 0.08 * index)
        axes.text(
            *place,
            f"ECE {100 * table.ece:.1f}%",
            transform=axes.transAxes,
            ha="right" if is_low_right_free else "left",
            va="bottom" if is_low_right_free else "top",
            color=colour,
            fontsize=7,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )


def _draw_counts(axes: Axes, tables: Sequence[Reliability], colours: Sequence[str]) -> None:
    for table, colour in zip(tables, colours, strict=True):
        edges = np.linspace(0, 1, len(table.counts) + 1)
        counts = np.where(table.counts > 0, table.counts, np.nan)
        if len(tables) == 1:
            axes.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", color=colour, alpha=0.85)
        else:
            # Where a bin is empty its line goes down to the axis.
            axes.stairs(np.nan_to_num(counts, nan=0.1), edges, color=colour, lw=1.2, baseline=0.1)
