"""Views of sets of prototypes: their numbers, heat maps, maps, and tables of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from sgear.prototypes.geometry import Geometry, agreement, measure, nearest_neighbours
from sgear.prototypes.relations import cosine_relations
from sgear.report.prototype_map import kept_neighbours, plane_positions, prototype_map
from sgear.report.prototypes import MAX_CELLS, cluster_order, pair_cosines, pooled
from sgear.report.style import INK, MUTED, RULE, SEQUENTIAL, WIDE_IN, shorten, styled
from sgear.taxonomy import Taxonomy

NUM_NEIGHBOURS = 5
MAX_TABLE_ROWS = 130
_MAX_NAMED = 130
_MAX_NUMBERS = 24


@dataclass(frozen=True, kw_only=True)
class PrototypeSet:
    """One set of prototypes to look at.

    Args:
        title: What they are, in a few words, e.g. `language`.
        source: Where they come from.
        vectors: One per action [A D].
        num_filled: Number of prototypes without exemplars; None for language.
    """

    title: str
    source: str
    vectors: Float[Tensor, "A D"]
    num_filled: int | None = None


def fact_rows(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> list[tuple[str, list[str]]]:
    """Return the numbers of each set as (name, one text per set) rows."""
    measured = [measure(each.vectors, taxonomy) for each in sets]

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    def row(name: str, text) -> tuple[str, list[str]]:
        return name, [text(geometry) for geometry in measured]

    rows = [
        ("source", [each.source for each in sets]),
        row("size", lambda g: f"{g.num_actions} x {g.width}"),
        row(
            "length, mean +- std (range)",
            lambda g: f"{g.norm_mean:.2f} +- {g.norm_std:.2f} ({g.norm_min:.2f} to {g.norm_max:.2f})",
        ),
        row("cosine of two actions, mean (range)", _cosine_text),
        row("... that share the verb", lambda g: number(g.cosine_same_verb)),
        row("... that share the noun", lambda g: number(g.cosine_same_noun)),
        row("... that share neither", lambda g: number(g.cosine_unrelated)),
    ]
    if any(each.num_filled is not None for each in sets):
        rows.append(("made from siblings", ["-" if each.num_filled is None else str(each.num_filled) for each in sets]))
    if len(sets) == 2:
        correlation = agreement(sets[0].vectors, sets[1].vectors)
        rows.append((f"rank correlation with {sets[0].title}", ["", number(correlation)]))
    return rows


def _cosine_text(geometry: Geometry) -> str:
    return f"{geometry.cosine_mean:.2f} ({geometry.cosine_min:.2f} to {geometry.cosine_max:.2f})"


@styled()
def heat_maps(sets: Sequence[PrototypeSet], names: Sequence[str]) -> Figure:
    """Draw the cosines of every two actions, one panel per set, all in the order in which the first set clusters."""
    matrices = [_matrix(each) for each in sets]
    order = cluster_order(matrices[0])
    is_named = len(order) <= _MAX_NAMED
    row_in = 0.19 if len(order) <= _MAX_NUMBERS else 0.118
    height_in = max(row_in * len(order) + 0.4, 2.2) if is_named else WIDE_IN * (0.5 if len(sets) > 1 else 0.8)
    figure = Figure(figsize=(WIDE_IN, height_in), layout="constrained")
    panels = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for axes, each, cosines in zip(panels, sets, matrices, strict=True):
        cells = pooled(cosines[np.ix_(order, order)], MAX_CELLS)
        pairs = pair_cosines(cells)
        low, high = np.quantile(pairs, [0.02, 0.995])
        picture = axes.imshow(
            cells, cmap=SEQUENTIAL, vmin=low, vmax=max(high, low + 1e-3), aspect="auto", interpolation="nearest"
        )
        if len(cells) <= _MAX_NUMBERS and len(sets) == 1:
            _write_cells(axes, cells, (low + high) / 2)
        bar = figure.colorbar(picture, ax=axes, fraction=0.03, pad=0.015, aspect=40)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=6.5)
        axes.set_title(f"{each.title}: cosine of every two actions")
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
    if is_named:
        panels[0].set_yticks(range(len(order)), [shorten(names[action], 30) for action in map(int, order)])
        panels[0].tick_params(axis="y", labelsize=7.5 if len(order) <= _MAX_NUMBERS else 6.2, labelcolor=INK)
    else:
        panels[0].set_yticks([])
    return figure


def _matrix(each: PrototypeSet) -> NDArray[np.float64]:
    return cosine_relations(each.vectors.detach().float().cpu()).numpy().astype(np.float64)


def _write_cells(axes: Axes, cells: NDArray[np.floating], middle: float) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if row != column:
            colour = "white" if value > middle else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5.8, color=colour)


def map_of_set(each: PrototypeSet, taxonomy: Taxonomy, *, title: str = "") -> tuple[Figure, str]:
    """Return a map of a set, and what it does not show."""
    verbs = [taxonomy.verbs[verb] for verb in taxonomy.verb_of_action.tolist()]
    matrix = _matrix(each)
    positions = plane_positions(matrix)
    figure, num_unnamed = prototype_map(positions, taxonomy.action_names, verbs, title=title)
    k = min(NUM_NEIGHBOURS, len(matrix) - 1)
    note = f"{100 * kept_neighbours(matrix, positions, k=k):.0f}% of the {k} nearest neighbours are kept"
    room = f", and {len(matrix) - num_unnamed:,} of {len(matrix):,} names have room"
    return figure, f"{note}{room}" if num_unnamed else note


@styled()
def neighbour_figure(each: PrototypeSet, names: Sequence[str]) -> Figure:
    """Draw the table of nearest neighbours of up to 130 actions."""
    ranked = nearest_neighbours(each.vectors, k=NUM_NEIGHBOURS)
    order = sorted(range(len(names)), key=lambda action: names[action])[:MAX_TABLE_ROWS]
    row_in, head_in = 0.15, 0.35
    height_in = head_in + row_in * len(order)
    figure = Figure(figsize=(WIDE_IN, height_in))
    rest = f" (first {len(order)} of {len(names)} actions)" if len(order) < len(names) else ""
    title = f"{each.title}: nearest neighbours of each action{rest}"
    figure.text(0.005, 1 - 0.12 / height_in, title, fontsize=8, fontweight="bold", va="center")
    column = (1 - 0.19) / NUM_NEIGHBOURS
    for position, action in enumerate(order):
        y = 1 - (head_in + (position + 0.5) * row_in) / height_in
        figure.text(0.005, y, shorten(names[action], 28), fontsize=6.2, va="center", fontweight="bold")
        for rank, near in enumerate(ranked[action]):
            x = 0.19 + rank * column
            figure.text(x, y, f"{near.cosine:.2f}", fontsize=6.2, va="center", color=MUTED)
            figure.text(x + 0.027, y, shorten(names[near.action_id], 23), fontsize=6.2, va="center")
        below = y - row_in / 2 / height_in
        figure.add_artist(Line2D([0.005, 0.995], [below, below], color=RULE, lw=0.3))
    return figure
