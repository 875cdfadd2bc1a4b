"""Curves and bars: learning curves, scores by anticipation time and in subsets, and calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from sgear.datasets import Benchmark
from sgear.metrics import Interval, bootstrap_interval, metrics
from sgear.metrics.probabilities import Reliability, reliability
from sgear.predictions import Predictions
from sgear.predictions.compare import metric_inputs
from sgear.predictions.scoring import Outcome, field_outcomes
from sgear.report.page import (
    INK,
    MUTED,
    RULE,
    WIDE_IN,
    grouped_bars,
    new_figure,
    percent_axis,
    run_colours,
    run_legend,
    styled,
    write_at,
)
from sgear.report.runs import ReportRun, distinct_titles
from sgear.taxonomy import FIELDS, Field

_NUM_RESAMPLES = 1000
_MAX_WRITTEN_BARS = 9
_NOT_LOSSES = ("kind", "step", "lr")
_MAX_POINTS = 400
_TERM_NAMES = {
    "total": "total",
    "cls": "next action (cls)",
    "past": "past actions (past)",
    "feat": "next feature (feat)",
    "sem": "semantic (sem)",
    "past_sem": "semantic, past (past_sem)",
    "reg": "prototype regulariser (reg)",
}


def _series(run: ReportRun, kind: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = [(line["step"], line[name]) for line in run.log if line["kind"] == kind and name in line]
    steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def _thin(steps: NDArray, values: NDArray) -> tuple[NDArray, NDArray]:
    kept = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _MAX_POINTS)).round().astype(int))
    return steps[kept], values[kept]


def _draw_loss(axes: Axes, runs: Sequence[ReportRun], name: str) -> None:
    for run, colour in zip(runs, run_colours(len(runs)), strict=True):
        steps, values = _series(run, "train", name)
        if not len(steps):
            continue
        # A centered mean over about a 20th of the run; its window is cut off at the ends.
        window = 2 * (max(1, len(values) // 20) // 2) + 1
        smooth = pl.Series(values).rolling_mean(window, min_samples=1, center=True).to_numpy()
        axes.plot(*_thin(steps, values), color=colour, lw=0.6, alpha=0.25)
        axes.plot(*_thin(steps, smooth), color=colour, lw=1.5)
    # The faint raw line may spike; the panel is scaled to where most of it lies.
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    low, high = np.quantile(np.concatenate(lines), [0.0, 0.995])
    margin = 0.06 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
    axes.grid(axis="y")


def _draw_validation(axes: Axes, runs: Sequence[ReportRun]) -> None:
    ends: list[tuple[float, float, str, str]] = []
    for run, colour in zip(runs, run_colours(len(runs)), strict=True):
        for name, text, dashes in (("top1", "top-1", (3, 1.5)), ("recall5", "recall@5", (None, None))):
            steps, values = _series(run, "validation", name)
            if len(steps):
                axes.plot(steps, values, color=colour, lw=1.5, marker="o", ms=2.5, dashes=dashes)
                ends.append((steps[-1], values[-1], text, colour))
    # With several runs one label per kind of line is enough; it stands at the last run's.
    for text in ("top-1", "recall@5"):
        named = [end for end in ends if end[2] == text]
        if named:
            step, value, _, colour = named[-1]
            write_at(axes, text, (step, value), (4, 0), color=colour, va="center", fontsize=7)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    percent_axis(axes, which="y")


@styled()
def learning_curves(runs: Sequence[ReportRun]) -> Figure | None:
    """Draw the loss terms and the validation scores that were logged; None if nothing was. Terms may differ by run."""
    known = list(_TERM_NAMES)
    terms = {
        name
        for run in runs
        for line in run.log
        if line["kind"] == "train"
        for name, value in line.items()
        if name not in _NOT_LOSSES and isinstance(value, int | float)
    }
    order = [*(name for name in known if name in terms), *sorted(terms - set(known))]
    has_validation = any(line["kind"] == "validation" for run in runs for line in run.log)
    num_panels = len(order) + has_validation
    if not num_panels:
        return None
    num_columns = min(3, num_panels)
    num_rows = -(-num_panels // num_columns)
    width_in = WIDE_IN if num_columns > 1 else WIDE_IN / 2
    figure = new_figure(1.75 * num_rows, width_in=width_in, num_runs=len(runs))
    panels = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes, name in zip(panels, order, strict=False):
        axes.set_title(_TERM_NAMES.get(name, name))
        _draw_loss(axes, runs, name)
    if has_validation:
        axes = panels[len(order)]
        axes.set_title("validation")
        _draw_validation(axes, runs)
    for axes in panels[num_panels:]:
        axes.set_visible(False)
    for axes in panels[max(0, num_panels - num_columns) : num_panels]:
        axes.set_xlabel("step", color=MUTED)
    run_legend(figure, distinct_titles(runs))
    return figure


@styled()
def horizon_curve(runs: Sequence[ReportRun], titles: Sequence[str]) -> Figure | None:
    """Draw one panel per score, one line per run; a ring marks the anticipation time the run was trained at.

    None if no run was evaluated at several anticipation times; runs that were not are not drawn.
    """
    drawn = [
        (run.horizons, colour)
        for run, colour in zip(runs, run_colours(len(runs)), strict=True)
        if run.horizons is not None
    ]
    if not drawn:
        return None
    figure = new_figure(2.1, num_runs=len(runs))
    shown = list(metrics(brief=True).items())[::-1]
    panels = figure.subplots(1, len(shown))
    for axes, (name, metric) in zip(panels, shown, strict=True):
        for horizons, colour in drawn:
            at_times = horizons["scores"].items()
            # A run that was evaluated before a metric was installed has no such numbers.
            points = sorted((float(tau_a), scores["action"].get(name, float("nan"))) for tau_a, scores in at_times)
            # Marks are whole also where they stand on the edge of the panel.
            axes.plot(*zip(*points, strict=True), color=colour, lw=1.5, marker="o", ms=3, clip_on=False)
            trained = [point for point in points if abs(point[0] - horizons["trained_tau_a_s"]) < 1e-6]
            if trained:
                axes.plot(*trained[0], marker="o", ms=8, mfc="none", mec=colour, mew=1.0, clip_on=False)
        axes.set_title(metric.title)
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.invert_xaxis()
        axes.set_xlabel("tau_a (s)", color=MUTED)
        percent_axis(axes, which="y")
    run_legend(figure, titles)
    return figure


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

    The predictions of the runs are in the order of `benchmark.validation`.
    """
    tables = [subset_intervals(run.predictions, benchmark) for run in runs]
    sizes = subset_sizes(benchmark)
    names = list(tables[0])
    figure = new_figure(2.3 * len(names), num_runs=len(runs))
    panels = figure.subplots(len(names), len(FIELDS), sharey="row", squeeze=False)
    for row, metric in zip(panels, names, strict=True):
        highest = 0.0
        for axes, field in zip(row, FIELDS, strict=True):
            present = [subset for subset, by_field in tables[0][metric].items() if field in by_field]
            intervals = [[table[metric][subset][field] for subset in present] for table in tables]
            labels = [f"{subset}\n{sizes[subset][field]:,}" for subset in present]
            _draw_intervals(axes, intervals, labels)
            axes.set_title(f"{field}s")
            highest = max(highest, *(item.high for items in intervals for item in items))
        row[0].set_ylim(0, 1.14 * highest if highest else 1.0)
        row[0].set_ylabel(metrics()[metric].title)
    run_legend(figure, distinct_titles(runs), marker="s")
    return figure


def _draw_intervals(axes: Axes, intervals: Sequence[Sequence[Interval]], labels: Sequence[str]) -> None:
    values = [np.array([item.value for item in items]) for items in intervals]
    places = grouped_bars(axes, values, labels, alpha=0.85)
    for each, items, colour in zip(places, intervals, run_colours(len(intervals)), strict=True):
        axes.vlines(each, [item.low for item in items], [item.high for item in items], color=INK, lw=0.8)
        if places.size > _MAX_WRITTEN_BARS:
            continue
        for place, item in zip(each, items, strict=True):
            # Above the interval, where neither bar nor line is in the way.
            text = f"{100 * item.value:.1f}"
            write_at(axes, text, (place, item.high), (0, 2), ha="center", fontsize=6, color=colour)


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

    `masks` are the segments of a subset, for each field [M]; a field without any is left out.
    """
    tables: Calibration = {}
    for field in FIELDS:
        rows = slice(None) if masks is None else masks[field]
        if len(outcomes[0][field].targets[rows]):
            tables[field] = [reliability(each[field].confidence[rows], each[field].hits(1)[rows]) for each in outcomes]
    return tables


@styled()
def reliability_diagram(tables: Calibration, titles: Sequence[str], *, colours: Sequence[str] | None = None) -> Figure:
    """Draw one panel per field: accuracy over confidence above, number of segments below.

    Args:
        tables: Result of `reliability_tables`.
        titles: One name per model.
        colours: One per model. Default: those of runs.
    """
    colours = colours or run_colours(len(titles))
    figure = new_figure(3.1, num_runs=len(titles))
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
            dots = table.confidence[mask], table.accuracy[mask]
            axes.scatter(*dots, s=13, facecolor=face, edgecolors=colour, lw=1.0, zorder=3, clip_on=False)
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
