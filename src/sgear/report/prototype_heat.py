"""Heat maps of sets of prototypes: the cosine of every two actions as a square of square cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgear.report.prototype_facts import PrototypeSet, cosine_matrix
from sgear.report.prototype_map import text_size
from sgear.report.prototypes import MAX_CELLS, cluster_order, pair_cosines, pooled
from sgear.report.style import INK, SEQUENTIAL, WIDE_IN, shorten, styled

_MAX_NUMBERS = 24
_POINTS = 72
_FONTS_PT = (7.5, 6.5, 5.5, 4.6, 4.0)
_MAX_CELL_IN = 0.28
_BAR_IN, _TITLE_IN, _HEAD_IN = 0.6, 0.4, 0.25
_SCALE = SEQUENTIAL.resampled(160)
HEAT_COLOURS = (_SCALE(np.arange(_SCALE.N), bytes=True)[:, :3]).astype(np.uint8)
"""Colours of the cells, from small to large cosines [K 3]."""


@dataclass(frozen=True)
class _Grid:
    """How panels of square cells stand in a figure.

    Args:
        columns: Panels beside each other; else they stand below each other.
        side_in: Side of a panel.
        font_pt: Size of the names of rows; 0 where there is no room for names.
        name_in: Width of the names.
    """

    columns: int
    side_in: float
    font_pt: float
    name_in: float


def _grid(names: Sequence[str], num_sets: int) -> _Grid:
    """Return the largest names that fit their rows: beside each other first, below each other else."""
    fonts_pt = [font_pt for font_pt in _FONTS_PT if font_pt * len(names) < WIDE_IN * _POINTS]
    widest_em = max(text_size(name, 10.0)[0] / 10 for name in names) if fonts_pt else 0.0
    for columns in dict.fromkeys((num_sets, 1)):
        for font_pt in fonts_pt:
            name_in = widest_em * font_pt / _POINTS + 0.1
            room_in = (WIDE_IN - name_in) / columns - _BAR_IN
            side_in = min(room_in, _MAX_CELL_IN * len(names))
            if side_in * _POINTS / len(names) >= font_pt:
                return _Grid(columns, side_in, font_pt, name_in)
    margin_in = 0.05
    return _Grid(num_sets, min((WIDE_IN - margin_in) / num_sets - _BAR_IN, 0.8 * WIDE_IN), 0.0, margin_in)


@styled()
def heat_maps(sets: Sequence[PrototypeSet], names: Sequence[str]) -> Figure:
    """Draw the cosines of every two actions, one square per set, all in the order in which the first set clusters.

    The colours span the 2 % to 99.5 % quantiles of the pairs; a pointed end of the bar marks values beyond.
    """
    matrices = [cosine_matrix(each) for each in sets]
    order = cluster_order(matrices[0])
    shown = [shorten(names[action], 30) for action in map(int, order)]
    grid = _grid(shown, len(sets))
    num_rows = len(sets) // grid.columns
    height_in = num_rows * (grid.side_in + _TITLE_IN)
    figure = Figure(figsize=(WIDE_IN, height_in))
    for index, (each, cosines) in enumerate(zip(sets, matrices, strict=True)):
        row, column = divmod(index, grid.columns)
        left_in = grid.name_in + column * (grid.side_in + _BAR_IN)
        bottom_in = height_in - row * (grid.side_in + _TITLE_IN) - _HEAD_IN - grid.side_in
        axes = figure.add_axes(
            (left_in / WIDE_IN, bottom_in / height_in, grid.side_in / WIDE_IN, grid.side_in / height_in)
        )
        _draw_cells(figure, axes, each, pooled(cosines[np.ix_(order, order)], MAX_CELLS), has_numbers=len(sets) == 1)
        if grid.font_pt and column == 0:
            axes.set_yticks(range(len(order)), shown)
            axes.tick_params(axis="y", labelsize=grid.font_pt, labelcolor=INK, pad=1.5)
    return figure


def _draw_cells(
    figure: Figure, axes: Axes, each: PrototypeSet, cells: NDArray[np.floating], *, has_numbers: bool
) -> None:
    pairs = pair_cosines(cells)
    low, high = np.quantile(pairs, [0.02, 0.995])
    high = max(high, low + 1e-3)
    image = axes.imshow(cells, cmap=_SCALE, vmin=low, vmax=high, aspect="equal", interpolation="nearest")
    if has_numbers and len(cells) <= _MAX_NUMBERS:
        _write_cells(axes, cells, (low + high) / 2)
    box = axes.get_position()
    beside = figure.add_axes((box.x1 + 0.09 / WIDE_IN, box.y0, 0.09 / WIDE_IN, box.height))
    bar = figure.colorbar(image, cax=beside, extend="both" if cells.min() < low else "max", extendfrac=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=6.5)
    axes.set_title(f"{each.title}: cosine of every two actions")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _write_cells(axes: Axes, cells: NDArray[np.floating], middle: float) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if row != column:
            colour = "white" if value > middle else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5.8, color=colour)
