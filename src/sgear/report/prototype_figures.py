"""How similar the actions are, in one or two sets of prototypes: heat maps, and both sets against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr
from torch import Tensor

from sgear.prototypes import cosine_relations
from sgear.report.prototype_map import text_size
from sgear.report.style import ACCENT, HALF_IN, INK, MUTED, SEQUENTIAL, WIDE_IN, shorten, styled

MAX_DOTS = 3_000
MAX_CELLS = 300
_MAX_RANKED = 500_000
_MAX_NUMBERS = 24
_POINTS = 72
_FONTS_PT = (7.5, 6.5, 5.5, 4.6, 4.0)
_MAX_CELL_IN = 0.28
_BAR_IN, _TITLE_IN, _HEAD_IN = 0.6, 0.4, 0.25
_SCALE = SEQUENTIAL.resampled(160)
HEAT_COLOURS = (_SCALE(np.arange(_SCALE.N), bytes=True)[:, :3]).astype(np.uint8)
"""Colours of the cells, from small to large cosines [K 3]."""


@dataclass(frozen=True, kw_only=True)
class PrototypeSet:
    """One set of prototypes to look at.

    Args:
        title: What they are, in a few words, e.g. `language`.
        source: Where they come from.
        vectors: One per action [A D].
        num_filled: Number of prototypes without exemplars; None for language.
        learnt_from: Parts of data sets whose videos they were learnt from; empty for language.
    """

    title: str
    source: str
    vectors: Float[Tensor, "A D"]
    num_filled: int | None = None
    learnt_from: str = ""

    def cosines(self) -> NDArray[np.float64]:
        """Return the cosine of each prototype to each other one [A A]."""
        return cosine_relations(self.vectors.detach().float().cpu()).numpy().astype(np.float64)


def cluster_order(similarity: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return an order of the classes in which similar ones are neighbours (average linkage on 1 - cosine)."""
    if len(similarity) < 3:
        return np.arange(len(similarity))
    distance = np.clip(1.0 - similarity.astype(np.float64), 0.0, None)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=len(similarity) <= 300)
    return leaves_list(tree).astype(np.int64)


def pooled(similarity: NDArray[np.floating], num_blocks: int) -> NDArray[np.floating]:
    """Return means over blocks of neighbouring classes, `num_blocks` each way; a page cannot show more."""
    if len(similarity) <= num_blocks:
        return similarity
    starts = np.linspace(0, len(similarity), num_blocks, endpoint=False).astype(int)
    sizes = np.diff(starts, append=len(similarity))
    sums = np.add.reduceat(np.add.reduceat(similarity, starts, axis=0), starts, axis=1)
    return sums / np.outer(sizes, sizes)


def pair_cosines(similarity: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the cosine of each pair of different classes, once, [A (A - 1) / 2]."""
    return similarity[np.triu_indices(len(similarity), k=1)]


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
    matrices = [each.cosines() for each in sets]
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
    low, high = np.quantile(pairs, [0.02, 0.995]) if len(pairs) else (0.0, 1.0)
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


@styled()
def similarity_agreement(first: PrototypeSet, second: PrototypeSet, names: Sequence[str]) -> Figure | None:
    """Draw the cosines of two sets against each other, one dot per pair of actions, with the rank correlation.

    Returns:
        The figure, or None where there are fewer than three actions.
    """
    if len(names) < 3:
        return None
    across, up = pair_cosines(first.cosines()), pair_cosines(second.cosines())
    figure = Figure(figsize=(HALF_IN * 1.35, 3.5), layout="constrained")
    axes = figure.subplots()
    if len(across) <= MAX_DOTS:
        axes.scatter(across, up, s=8, color=ACCENT, alpha=0.35, linewidths=0, rasterized=len(across) > 500)
        _name_extremes(axes, across, up, names)
    else:
        axes.hexbin(across, up, gridsize=60, bins="log", cmap=SEQUENTIAL, mincnt=1, linewidths=0, rasterized=True)
    number = f"{len(across):,} pairs"
    if len(across) > _MAX_RANKED:
        # Ranking millions of pairs takes many seconds; a sample gives the correlation to two digits.
        chosen = np.random.default_rng(0).integers(0, len(across), _MAX_RANKED)
        across, up, number = across[chosen], up[chosen], f"{_MAX_RANKED:,} of {number}"
    correlation = float(spearmanr(across, up).statistic)  # type: ignore[attr-defined]
    axes.set_title(f"Spearman {correlation:+.2f} over {number}")
    axes.set_xlabel(f"cosine of {first.title} prototypes")
    axes.set_ylabel(f"cosine of {second.title} prototypes")
    axes.grid(axis="both")
    axes.margins(y=0.08)
    return figure


def _name_extremes(axes, across: NDArray, up: NDArray, names: Sequence[str]) -> None:
    """Name the most similar pair of each set."""
    first, second = np.triu_indices(len(names), k=1)
    first, second = first.tolist(), second.tolist()
    for pair in dict.fromkeys((int(across.argmax()), int(up.argmax()))):
        is_right = across[pair] > (across.min() + across.max()) / 2
        text = f"{shorten(names[first[pair]], 18)} / {shorten(names[second[pair]], 18)}"
        axes.annotate(
            text,
            (across[pair], up[pair]),
            (-5 if is_right else 5, 5),
            textcoords="offset points",
            ha="right" if is_right else "left",
            fontsize=6.5,
            color=MUTED,
        )
