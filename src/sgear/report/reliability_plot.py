"""Calibration: how often the likeliest class is right, against the probability that was given to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sgear.metrics.calibration import Reliability
from sgear.predictions.uncertainty import field_reliability
from sgear.report.contents import ReportRun, distinct_titles
from sgear.report.style import MUTED, RULE, WIDE_IN, percent_axis, run_colours, run_legend, styled
from sgear.taxonomy import FIELDS, Field

_NUM_BINS = 10


def calibration_of(runs: Sequence[ReportRun]) -> dict[Field, list[Reliability]]:
    """Return the reliability table of each field and run, in ten bins of equal width."""
    return {field: [field_reliability(run.predictions, field, num_bins=_NUM_BINS) for run in runs] for field in FIELDS}


@styled()
def reliability_diagram(runs: Sequence[ReportRun], tables: dict[Field, list[Reliability]]) -> Figure:
    """Draw one panel per field: accuracy over confidence above, number of segments below.

    Args:
        runs: The runs.
        tables: Result of `calibration_of`.
    """
    height_in = 3.0 + (0.3 if len(runs) > 1 else 0)
    figure = Figure(figsize=(WIDE_IN, height_in), layout="constrained")
    panels = figure.subplots(2, len(FIELDS), sharex=True, height_ratios=(3, 1), squeeze=False)
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    for column, field in enumerate(FIELDS):
        upper, lower = panels[0, column], panels[1, column]
        upper.plot([0, 1], [0, 1], color=RULE, lw=1)
        for table, colour in zip(tables[field], run_colours(len(runs)), strict=True):
            is_filled = table.counts > 0
            upper.plot(table.confidence[is_filled], table.accuracy[is_filled], color=colour, lw=1.4, marker="o", ms=3)
            lower.step(edges, np.append(table.counts, table.counts[-1]), where="post", color=colour, lw=1.2)
        errors = ", ".join(f"{100 * table.ece:.1f}" for table in tables[field])
        upper.set_title(f"{field}s, ECE {errors}%")
        upper.set_ylim(0, 1)
        percent_axis(upper, which="y")
        most = max(1, max(int(table.counts.max()) for table in tables[field]))
        lower.set_yscale("symlog", linthresh=1)
        lower.set_ylim(0, 2 * most)
        # Powers of ten from 1 up, at most three of them, in plain digits.
        powers = [10**power for power in range(len(str(most)))]
        ticks = [0, *powers[:: -(-len(powers) // 3)]]
        lower.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        lower.yaxis.set_minor_locator(NullLocator())
        lower.set_xlim(0, 1)
        percent_axis(lower, which="x")
        lower.set_xlabel("probability given", color=MUTED)
    panels[0, 0].set_ylabel("right")
    panels[1, 0].set_ylabel("segments")
    run_legend(figure, distinct_titles(runs))
    return figure
