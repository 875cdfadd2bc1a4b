"""Recall class by class and by how often a class occurs in training, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgear.metrics import recall_per_class
from sgear.predictions import Predictions
from sgear.report.page import (
    HALF_IN,
    INK,
    MUTED,
    RULE,
    SEQUENTIAL,
    grouped_bars,
    new_figure,
    percent_axis,
    run_colours,
    run_legend,
    shorten,
    styled,
    write_at,
    write_cells,
)
from sgear.report.runs import ReportRun, distinct_titles
from sgear.taxonomy import Field

MAX_NAMED_CLASSES = 60
MAX_CLASSES = 25
_MAX_WRITTEN_CELLS = 12


@dataclass(frozen=True)
class Band:
    """Classes of similar training frequency.

    Args:
        name: `head`, `middle`, `tail` or `never seen`.
        low: Smallest training count in the band.
        high: Largest training count in the band.
        classes: Their ids.
    """

    name: str
    low: int
    high: int
    classes: NDArray[np.int64]


def frequency_bands(train_counts: NDArray[np.int64]) -> list[Band]:
    """Split classes at the terciles of their training counts; classes of equal count stay together.

    Args:
        train_counts: Training segments of each class [A].

    Returns:
        Bands from frequent to rare, then the classes never seen in training; empty bands are left out.
    """
    seen = train_counts[train_counts > 0]
    one_third, two_thirds = np.quantile(seen, [1 / 3, 2 / 3]) if len(seen) else (0.0, 0.0)
    masks = {
        "head": train_counts > two_thirds,
        "middle": (train_counts > one_third) & (train_counts <= two_thirds),
        "tail": (train_counts > 0) & (train_counts <= one_third),
        "never seen": train_counts == 0,
    }
    return [
        Band(name, int(train_counts[mask].min()), int(train_counts[mask].max()), np.flatnonzero(mask).astype(int))
        for name, mask in masks.items()
        if mask.any()
    ]


def _recalls(runs: Sequence[ReportRun]) -> list[NDArray[np.float64]]:
    tables = [run.predictions for run in runs]
    return [recall_per_class(each.logits, each.targets, k=min(5, each.logits.shape[1])) for each in tables]


def _named_dots(runs: Sequence[ReportRun], order: NDArray, names: Sequence[str], counts: NDArray) -> Figure:
    recalls = _recalls(runs)
    figure = new_figure(0.165 * len(order) + 0.9)
    axes = figure.subplots()
    rows = np.arange(len(order))
    axes.hlines(rows, 0, 1, color=RULE, lw=0.5)
    # Dots of one class stand slightly above each other, so that equal ones stay visible.
    lifts = np.linspace(-0.26, 0.26, len(runs)) if len(runs) > 1 else [0.0]
    for recall, colour, lift in zip(recalls, run_colours(len(runs)), lifts, strict=True):
        look = {"s": 18, "color": colour, "zorder": 3, "edgecolors": "white", "lw": 0.4, "clip_on": False}
        axes.scatter(recall[order], rows + lift, **look)
    axes.set_yticks(rows, [shorten(names[action]) for action in map(int, order)])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(order) - 0.4, -0.8)
    axes.set_xlim(0, 1)
    asked = np.bincount(runs[0].predictions.targets, minlength=len(counts))
    for offset, heading, numbers in ((34, "training", counts), (70, "evaluated", asked)):
        cells = [(-1.0, heading), *((float(row), str(numbers[action])) for row, action in enumerate(order))]
        for row, text in cells:
            look = {"ha": "right", "va": "center", "color": MUTED, "fontsize": 6.5, "annotation_clip": False}
            write_at(axes, text, (1, row), (offset, 0), **look)
    percent_axis(axes, which="x")
    axes.set_xlabel("recall@5")
    axes.spines["left"].set_visible(False)
    run_legend(figure, distinct_titles(runs), marker="o")
    return figure


def _doublings(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bin of each count: 0, 1 to 2, 3 to 6, 7 to 14, and so on."""
    return np.floor(np.log2(counts + 1.0)).astype(int)


def _mean_by_count(counts: NDArray[np.int64], values: NDArray) -> tuple[NDArray, NDArray]:
    """Return place (count + 1) and mean of bins that each double the count."""
    bins = _doublings(counts)
    sizes = np.bincount(bins)
    filled = sizes > 0
    places = np.exp(np.bincount(bins, weights=np.log(counts + 1.0))[filled] / sizes[filled])
    return places, np.bincount(bins, weights=values)[filled] / sizes[filled]


def _cloud(titles: Sequence[str], recalls: Sequence[NDArray], order: NDArray, counts: NDArray) -> Figure:
    figure = new_figure(3.9)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    rng = np.random.default_rng(0)
    # Counts and recalls are small whole ratios: without a little noise thousands of dots would be a few dozen.
    places = (counts[order] + 1.0) * np.exp(rng.normal(0, 0.04, len(order)))
    for recall, colour in zip(recalls, run_colours(len(recalls)), strict=True):
        values = recall[order]
        noisy = values + rng.normal(0, 0.012, len(order))
        axes.scatter(places, noisy, s=7, color=colour, alpha=0.25, linewidths=0, rasterized=True)
        axes.plot(*_mean_by_count(counts[order], values), color=colour, lw=2, marker="o", ms=3.5, mec="white")
    axes.set_xscale("log")
    most = counts[order].max(initial=1)
    marks = [0, *(value for decade in range(6) for value in (10**decade, 3 * 10**decade) if value <= most)]
    axes.set_xticks([mark + 1 for mark in marks], [f"{mark:,}" for mark in marks])
    axes.minorticks_off()
    axes.set_ylim(-0.05, 1.05)
    percent_axis(axes, which="y")
    axes.set_ylabel("recall@5")
    sizes = np.bincount(_doublings(counts[order]))
    # Counts are whole numbers: an edge lies half way between the last of one bin and the first of the next.
    edges = 2.0 ** np.arange(len(sizes) + 1) - 0.5
    below.bar(edges[:-1], sizes, np.diff(edges), align="edge", color=RULE, edgecolor="white", lw=1.2)
    for size, middle in zip(sizes, np.sqrt(edges[:-1] * edges[1:]), strict=True):
        write_at(below, f"{size:,}", (middle, size), (0, 2), ha="center", color=MUTED, fontsize=6)
    below.set_ylim(0, 1.35 * sizes.max())
    below.set_yticks([])
    below.spines["left"].set_visible(False)
    below.set_ylabel("classes")
    below.set_xlabel("training segments of the class")
    run_legend(figure, titles, marker="o")
    return figure


@styled()
def recall_by_class(runs: Sequence[ReportRun], action_names: Sequence[str], train_counts: NDArray[np.int64]) -> Figure:
    """Draw the recall@5 of each evaluated class, from frequent to rare in training.

    Up to `MAX_NAMED_CLASSES` evaluated classes are named; more of them become a cloud over the training count, with the
    mean of each doubling of it.
    """
    recalls = _recalls(runs)
    evaluated = np.flatnonzero(~np.isnan(recalls[0]))
    order = evaluated[np.argsort(-train_counts[evaluated], kind="stable")]
    titles = distinct_titles(runs)
    if len(order) <= MAX_NAMED_CLASSES:
        return _named_dots(runs, order, action_names, train_counts)
    return _cloud(titles, recalls, order, train_counts)


@styled()
def recall_by_band(runs: Sequence[ReportRun], train_counts: NDArray[np.int64]) -> Figure:
    """Draw the class-mean recall@5 over the evaluated classes of each frequency band."""
    recalls = _recalls(runs)
    is_evaluated = ~np.isnan(recalls[0])
    bands = [band for band in frequency_bands(train_counts) if is_evaluated[band.classes].any()]
    labels = []
    for band in bands:
        span = f"{band.low}" if band.low == band.high else f"{band.low} to {band.high}"
        num_classes = int(is_evaluated[band.classes].sum())
        plural = "class" if num_classes == 1 else "classes"
        labels.append(f"{band.name}: {num_classes} {plural}\n{span} training segments")
    heights = [np.array([np.nanmean(recall[band.classes]) for band in bands]) for recall in recalls]
    figure = new_figure(2.3, num_runs=len(runs))
    axes = figure.subplots()
    places = grouped_bars(axes, heights, labels, widest=0.34)
    for each, values, colour in zip(places, heights, run_colours(len(runs)), strict=True):
        for place, height in zip(each, values, strict=True):
            write_at(axes, f"{100 * height:.0f}", (place, height), (0, 2), ha="center", color=colour, fontsize=7)
    axes.tick_params(axis="x", labelcolor=INK)
    axes.set_ylim(0, 1.08)
    axes.set_yticks(np.linspace(0, 1, 5))
    axes.set_ylabel("class-mean recall@5")
    axes.spines["left"].set_visible(False)
    run_legend(figure, distinct_titles(runs))
    return figure


def part_confusion(predictions: Predictions, field: Field) -> NDArray[np.int64]:
    """Count true (rows) against predicted (columns) verbs or nouns [K K].

    Predicted is what the field's own head, or else the summed probability of its actions, holds for most likely.
    """
    size, predicted = len(predictions.taxonomy.names(field)), predictions.field_probs(field).argmax(axis=1)
    cells = predictions.field_targets(field) * size + predicted
    return np.bincount(cells, minlength=size**2).reshape(size, size)


@styled()
def confusion_matrix(counts: NDArray[np.int64], names: Sequence[str], *, part: str) -> Figure:
    """Draw a confusion matrix whose rows sum to 1, commonest classes first.

    Args:
        counts: True in rows, predicted in columns [P P]. Beyond `MAX_CLASSES` rows the rarest are left out; what is
            predicted outside the rows shown is gathered in a last column.
        names: Name of each class [P].
        part: `verb` or `noun`.
    """
    totals = counts.sum(axis=1)
    order = np.argsort(-totals, kind="stable")
    order = order[totals[order] > 0][:MAX_CLASSES]
    shown = counts[np.ix_(order, order)]
    columns = [shorten(names[index], 16) for index in map(int, order)]
    elsewhere = totals[order] - shown.sum(axis=1)
    if elsewhere.any():
        shown = np.column_stack([shown, elsewhere])
        columns.append("other")
    shares = shown / totals[order][:, None]
    size = len(order)
    figure = new_figure(min(HALF_IN, 1.6 + 0.24 * size), width_in=HALF_IN)
    axes = figure.subplots()
    axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    font = 7 if size <= 16 else 5.8
    axes.set_xticks(range(len(columns)), columns, rotation=90, rotation_mode="anchor", ha="left", va="center")
    axes.set_yticks(range(size), [f"{shorten(names[index], 16)}  {totals[index]}" for index in map(int, order)])
    axes.tick_params(axis="both", labelsize=font, labelcolor=INK, length=0)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", labelsize=font, labelcolor=INK, length=0, pad=3)
    if size <= _MAX_WRITTEN_CELLS:
        write_cells(axes, shares, lambda share: f"{100 * share:.0f}" if share >= 0.005 else "", middle=0.45, size=6.5)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"predicted {part}")
    axes.set_ylabel(f"true {part}, with number of segments")
    return figure
