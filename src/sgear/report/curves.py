"""Learning curves: one small panel per loss term, one for the validation scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgear.report.contents import ReportRun, distinct_titles
from sgear.report.style import MUTED, WIDE_IN, percent_axis, run_colours, run_legend, styled

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
