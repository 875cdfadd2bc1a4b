"""Views of sets of prototypes: their maps, and tables of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from sgear.prototypes.geometry import nearest_neighbours
from sgear.report.prototype_facts import PrototypeSet, cosine_matrix
from sgear.report.prototype_map import kept_neighbours, plane_positions, prototype_map
from sgear.report.style import MUTED, RULE, WIDE_IN, shorten, styled
from sgear.taxonomy import Taxonomy

NUM_NEIGHBOURS = 5
MAX_TABLE_ROWS = 130


@dataclass(frozen=True)
class PrototypeMap:
    """A set on a plane.

    Args:
        figure: The drawing.
        positions: Place of each action [A 2].
        note: What the drawing does not show.
    """

    figure: Figure
    positions: NDArray[np.float64]
    note: str


def maps_of_sets(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> list[PrototypeMap]:
    """Return a map of each set; the second starts where the first one ended, so that both can be compared."""
    verbs = [taxonomy.verbs[verb] for verb in taxonomy.verb_of_action.tolist()]
    k = min(NUM_NEIGHBOURS, taxonomy.num_actions - 1)
    maps: list[PrototypeMap] = []
    for each in sets:
        matrix = cosine_matrix(each)
        positions = plane_positions(matrix, start=maps[0].positions if maps else None)
        kept = f"{100 * kept_neighbours(matrix, positions, k=k):.0f}% of the {k} nearest neighbours are kept"
        title = f"{each.title} prototypes on a plane: {kept}"
        figure, num_unnamed = prototype_map(positions, taxonomy.action_names, verbs, title=title)
        room = f", and {len(matrix) - num_unnamed:,} of {len(matrix):,} names have room"
        maps.append(PrototypeMap(figure, positions, kept + room if num_unnamed else kept))
    return maps


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
