"""Scores of verbs, nouns and actions, overall and in each subset of the benchmark, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgear.datasets import Benchmark
from sgear.metrics import Interval, bootstrap_interval, metrics
from sgear.predictions import Predictions
from sgear.predictions.outcomes import field_outcomes
from sgear.predictions.uncertainty import metric_inputs
from sgear.report.contents import ReportRun, distinct_titles
from sgear.report.style import INK, WIDE_IN, percent_axis, run_colours, run_legend, styled
from sgear.taxonomy import FIELDS, Field

_NUM_RESAMPLES = 1000
_MAX_WRITTEN_BARS = 9

Intervals = dict[str, dict[str, dict[Field, Interval]]]
"""By metric, subset and field."""


def drawn_metrics(benchmark: Benchmark) -> list[str]:
    """Return the class-mean recall and, where the benchmark ranks models by another score, that one before it."""
    return list(dict.fromkeys((benchmark.headline, "recall5")))


def subset_sizes(benchmark: Benchmark) -> dict[str, dict[Field, int]]:
    """Return the number of evaluated segments of each subset and field, `overall` and `many-shot` included."""
    return {
        name: {field: int(mask.sum()) for field, mask in masks.items()} for name, masks in _all_masks(benchmark).items()
    }


def _all_masks(benchmark: Benchmark) -> dict[str, dict[Field, NDArray[np.bool_]]]:
    everything = np.ones(len(benchmark.validation), dtype=np.bool_)
    masks = {"overall": dict.fromkeys(FIELDS, everything), **benchmark.subset_masks}
    if benchmark.many_shot_ids:
        targets = {field: benchmark.validation.column(f"{field}_id") for field in FIELDS}
        masks["many-shot"] = {field: np.isin(targets[field], ids) for field, ids in benchmark.many_shot_ids.items()}
    return masks


def subset_intervals(predictions: Predictions, benchmark: Benchmark) -> Intervals:
    """Return the scores that the bars show, with 95 % bootstrap intervals over segments.

    Many-shot scores are means over frequent classes; an accuracy has none, since it does not average over classes.

    Args:
        predictions: Scores in the order of `benchmark.validation`.
        benchmark: Gives the subsets.
    """
    outcomes = field_outcomes(predictions)
    intervals: Intervals = {}
    for name in drawn_metrics(benchmark):
        metric = metrics()[name]
        intervals[name] = {}
        for subset, masks in _all_masks(benchmark).items():
            if subset == "many-shot" and not metric.class_mean:
                continue
            intervals[name][subset] = {
                field: bootstrap_interval(*metric_inputs(metric, outcomes[field], mask), num_resamples=_NUM_RESAMPLES)
                for field, mask in masks.items()
                if mask.any()
            }
    return intervals


@styled()
def subset_bars(runs: Sequence[ReportRun], benchmark: Benchmark) -> Figure:
    """Draw one panel per score and field, one group of bars per subset, one bar per run with its interval.

    Args:
        runs: Runs whose predictions are in the order of `benchmark.validation`.
        benchmark: Gives the subsets.
    """
    tables = [subset_intervals(run.predictions, benchmark) for run in runs]
    sizes = subset_sizes(benchmark)
    names = list(tables[0])
    height_in = 2.3 * len(names) + (0.3 if len(runs) > 1 else 0)
    figure = Figure(figsize=(WIDE_IN, height_in), layout="constrained")
    panels = figure.subplots(len(names), len(FIELDS), sharey="row", squeeze=False)
    for row, metric in zip(panels, names, strict=True):
        for axes, field in zip(row, FIELDS, strict=True):
            _draw_panel(axes, [table[metric] for table in tables], field, sizes)
            axes.set_title(f"{field}s")
        highest = max(
            by_field[field].high for table in tables for by_field in table[metric].values() for field in by_field
        )
        row[0].set_ylim(0, 1.14 * highest if highest else 1.0)
        row[0].set_ylabel(metrics()[metric].title)
    run_legend(figure, distinct_titles(runs), marker="s")
    return figure


def _draw_panel(
    axes: Axes,
    tables: Sequence[dict[str, dict[Field, Interval]]],
    field: Field,
    sizes: dict[str, dict[Field, int]],
) -> None:
    present = [subset for subset, by_field in tables[0].items() if field in by_field]
    width = 0.8 / len(tables)
    for index, (table, colour) in enumerate(zip(tables, run_colours(len(tables)), strict=True)):
        intervals = [table[subset][field] for subset in present]
        places = np.arange(len(present)) + (index - (len(tables) - 1) / 2) * width
        axes.bar(places, [item.value for item in intervals], 0.92 * width, color=colour, alpha=0.85)
        axes.vlines(places, [item.low for item in intervals], [item.high for item in intervals], color=INK, lw=0.8)
        if len(present) * len(tables) > _MAX_WRITTEN_BARS:
            continue
        for place, item in zip(places, intervals, strict=True):
            text = f"{100 * item.value:.1f}"
            # Above the interval, where neither bar nor line is in the way.
            axes.annotate(
                text,
                (place, item.high),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=6,
                color=colour,
            )
    axes.set_xticks(range(len(present)), [f"{subset}\n{sizes[subset][field]:,}" for subset in present])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(present) - 0.4)
    percent_axis(axes, which="y")
