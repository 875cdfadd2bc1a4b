"""Curves and bars of scores: learning curves, scores by anticipation time, scores in subsets with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgear.datasets import Benchmark
from sgear.metrics import Interval, bootstrap_interval, metrics
from sgear.predictions import Predictions
from sgear.predictions.compare import metric_inputs
from sgear.predictions.scoring import field_outcomes
from sgear.report.contents import ReportRun, distinct_titles
from sgear.report.style import INK, MUTED, WIDE_IN, percent_axis, run_colours, run_legend, styled
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


def moving_average(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean over a centred window of about `width` values, cut off at the ends, same length."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    position = np.arange(len(values))
    first = np.maximum(position - width // 2, 0)
    stop = np.minimum(position + width // 2 + 1, len(values))
    return (sums[stop] - sums[first]) / (stop - first)


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
        smooth = moving_average(values, max(1, len(values) // 20))
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
            axes.annotate(
                text, (step, value), (4, 0), textcoords="offset points", color=colour, va="center", fontsize=7
            )
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    percent_axis(axes, which="y")


@styled()
def learning_curves(runs: Sequence[ReportRun]) -> Figure | None:
    """Draw the loss terms and the validation scores that were logged, over optimiser steps.

    Args:
        runs: Runs with logs; runs may have different terms.

    Returns:
        The figure, or None if nothing was logged.
    """
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
    figure = Figure(figsize=(width_in, 1.75 * num_rows + (0.35 if len(runs) > 1 else 0)), layout="constrained")
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

    Args:
        runs: All runs of the report; those without horizons are not drawn.
        titles: One name per run.

    Returns:
        The figure, or None if no run was evaluated at several anticipation times.
    """
    drawn = [
        (run.horizons, title, colour)
        for run, title, colour in zip(runs, titles, run_colours(len(runs)), strict=True)
        if run.horizons is not None
    ]
    if not drawn:
        return None
    figure = Figure(figsize=(WIDE_IN, 2.1 + (0.3 if len(runs) > 1 else 0)), layout="constrained")
    shown = list(metrics(brief=True).items())[::-1]
    panels = figure.subplots(1, len(shown))
    for axes, (name, metric) in zip(panels, shown, strict=True):
        for horizons, _, colour in drawn:
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
