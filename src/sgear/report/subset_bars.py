"""Class-mean recall of verbs, nouns and actions: overall, unseen participants, tail; with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from sgear.predictions.scoring import Subsets
from sgear.predictions.uncertainty import score_intervals
from sgear.report.contents import ReportRun, distinct_titles
from sgear.report.style import INK, WIDE_IN, percent_axis, run_colours, run_legend, styled
from sgear.taxonomy import FIELDS

_NUM_RESAMPLES = 500


@styled()
def subset_bars(runs: Sequence[ReportRun], subsets: Subsets) -> Figure:
    """Draw one panel per field, one group of bars per subset, one bar per run with its 95 % interval.

    Args:
        runs: Runs whose predictions are in the order of the masks.
        subsets: Masks of the subsets.
    """
    tables = [score_intervals(run.predictions, subsets=subsets, num_resamples=_NUM_RESAMPLES) for run in runs]
    groups = list(tables[0])
    figure = Figure(figsize=(WIDE_IN, 2.1 + (0.3 if len(runs) > 1 else 0)), layout="constrained")
    panels = figure.subplots(1, len(FIELDS), sharey=True)
    width = 0.8 / len(runs)
    for axes, field in zip(panels, FIELDS, strict=True):
        present = [group for group in groups if field in tables[0][group]]
        for index, (table, colour) in enumerate(zip(tables, run_colours(len(runs)), strict=True)):
            intervals = [table[group][field]["recall5"] for group in present]
            places = np.arange(len(present)) + (index - (len(runs) - 1) / 2) * width
            values = np.array([interval.value for interval in intervals])
            reach = np.array([[item.value - item.low, item.high - item.value] for item in intervals]).T
            axes.bar(places, values, width * 0.92, color=colour, alpha=0.85)
            axes.errorbar(places, values, reach.clip(min=0), fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
        axes.set_xticks(range(len(present)), present)
        axes.tick_params(axis="x", length=0)
        axes.set_title(f"{field}s")
        axes.set_ylim(bottom=0)
        percent_axis(axes, which="y")
    run_legend(figure, distinct_titles(runs), marker="s")
    return figure
