"""Which verb is predicted where another one follows; the same for nouns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgear.predictions import Predictions
from sgear.report.style import HALF_IN, INK, SEQUENTIAL, shorten, styled
from sgear.taxonomy import Field

MAX_CLASSES = 25
_MAX_WRITTEN_CELLS = 12


def part_confusion(predictions: Predictions, field: Field) -> NDArray[np.int64]:
    """Count true against predicted verbs (or nouns).

    Args:
        predictions: Scores of a split.
        field: `verb` or `noun`.

    Returns:
        Counts [K K], true in rows, predicted in columns: by the field's own head, or by summed action probabilities.
    """
    num_classes = len(predictions.taxonomy.names(field))
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (predictions.field_targets(field), predictions.field_probs(field).argmax(axis=1)), 1)
    return counts


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
    figure = Figure(figsize=(HALF_IN, min(HALF_IN, 1.6 + 0.24 * size)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    font = 7 if size <= 16 else 5.8
    axes.set_xticks(range(len(columns)), columns, rotation=90, rotation_mode="anchor", ha="left", va="center")
    axes.set_yticks(range(size), [f"{shorten(names[index], 16)}  {totals[index]}" for index in map(int, order)])
    axes.tick_params(axis="both", labelsize=font, labelcolor=INK, length=0)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", labelsize=font, labelcolor=INK, length=0, pad=3)
    if size <= _MAX_WRITTEN_CELLS:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.45 else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=6.5)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"predicted {part}")
    axes.set_ylabel(f"true {part}, with number of segments")
    return figure
