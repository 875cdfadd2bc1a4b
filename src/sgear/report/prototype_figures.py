"""How similar the actions are: heat maps, two sets of prototypes against each other, and sets on a plane.

Distance on a plane is the chord between unit vectors. Up to some dozens of classes stress majorization (SMACOF) places
them, from classical scaling on: a small change of the cosines moves the dots a little. With more, t-SNE keeps neighbors
together, at the price of the distances between far groups. A second set starts where the first one ended, so that what
both hold for alike lies in the same place.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist, squareform
from sklearn.decomposition import KernelPCA
from sklearn.manifold import TSNE, smacof
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sgear.prototypes import cosine_relations
from sgear.prototypes.geometry import agreement, pairs_of
from sgear.report.page import (
    ACCENT,
    COLOURS,
    HALF_IN,
    INK,
    MUTED,
    SEQUENTIAL,
    WIDE_IN,
    new_figure,
    shorten,
    styled,
    write_at,
    write_cells,
)

MAX_DOTS = 3_000
MAX_CELLS = 300
_MAX_NUMBERS = 24
_FONTS_PT = (7.5, 6.5, 5.5, 4.6, 4.0)
_MAX_CELL_IN = 0.28
_BAR_IN, _TITLE_IN, _HEAD_IN = 0.6, 0.4, 0.25
_SCALE = SEQUENTIAL.resampled(160)


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


def _grid(names: Sequence[str], num_sets: int) -> tuple[int, float, float, float]:
    """Return panels beside each other, side of a panel, and size and width of the names (size 0: no room for names).

    The largest names that fit their rows are taken: beside each other first, below each other else.
    """
    fonts_pt = [font_pt for font_pt in _FONTS_PT if font_pt * len(names) < WIDE_IN * _POINTS]
    widest_em = max(text_size(name, 10.0)[0] / 10 for name in names) if fonts_pt else 0.0
    for columns in dict.fromkeys((num_sets, 1)):
        for font_pt in fonts_pt:
            name_in = widest_em * font_pt / _POINTS + 0.1
            room_in = (WIDE_IN - name_in) / columns - _BAR_IN
            side_in = min(room_in, _MAX_CELL_IN * len(names))
            if side_in * _POINTS / len(names) >= font_pt:
                return columns, side_in, font_pt, name_in
    margin_in = 0.05
    return num_sets, min((WIDE_IN - margin_in) / num_sets - _BAR_IN, 0.8 * WIDE_IN), 0.0, margin_in


@styled()
def heat_maps(sets: Sequence[PrototypeSet], names: Sequence[str]) -> Figure:
    """Draw the cosines of every two actions, one square per set, all in the order in which the first set clusters.

    The colours span the 2 % to 99.5 % quantiles of the pairs; a pointed end of the bar marks values beyond.
    """
    matrices = [each.cosines() for each in sets]
    order = cluster_order(matrices[0])
    shown = [shorten(names[action], 30) for action in map(int, order)]
    columns, side_in, font_pt, name_in = _grid(shown, len(sets))
    num_rows = len(sets) // columns
    height_in = num_rows * (side_in + _TITLE_IN)
    figure = Figure(figsize=(WIDE_IN, height_in))
    for index, (each, cosines) in enumerate(zip(sets, matrices, strict=True)):
        row, column = divmod(index, columns)
        left_in = name_in + column * (side_in + _BAR_IN)
        bottom_in = height_in - row * (side_in + _TITLE_IN) - _HEAD_IN - side_in
        axes = figure.add_axes((left_in / WIDE_IN, bottom_in / height_in, side_in / WIDE_IN, side_in / height_in))
        _draw_cells(figure, axes, each, pooled(cosines[np.ix_(order, order)], MAX_CELLS), has_numbers=len(sets) == 1)
        if font_pt and column == 0:
            axes.set_yticks(range(len(order)), shown)
            axes.tick_params(axis="y", labelsize=font_pt, labelcolor=INK, pad=1.5)
    return figure


def _draw_cells(
    figure: Figure, axes: Axes, each: PrototypeSet, cells: NDArray[np.floating], *, has_numbers: bool
) -> None:
    pairs = pairs_of(cells)
    low, high = np.quantile(pairs, [0.02, 0.995]) if len(pairs) else (0.0, 1.0)
    high = max(high, low + 1e-3)
    image = axes.imshow(cells, cmap=_SCALE, vmin=low, vmax=high, aspect="equal", interpolation="nearest")
    if has_numbers and len(cells) <= _MAX_NUMBERS:
        off_diagonal = np.where(np.eye(len(cells), dtype=bool), np.nan, cells)
        write_cells(axes, off_diagonal, lambda x: "" if np.isnan(x) else f"{x:.2f}", middle=(low + high) / 2, size=5.8)
    box = axes.get_position()
    beside = figure.add_axes((box.x1 + 0.09 / WIDE_IN, box.y0, 0.09 / WIDE_IN, box.height))
    bar = figure.colorbar(image, cax=beside, extend="both" if cells.min() < low else "max", extendfrac=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=6.5)
    axes.set_title(f"{each.title}: cosine of every two actions")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


@styled()
def similarity_agreement(first: PrototypeSet, second: PrototypeSet, names: Sequence[str]) -> Figure | None:
    """Draw the cosines of two sets against each other, one dot per pair of actions, with the rank correlation.

    None where an agreement has no meaning; see `sgear.prototypes.geometry.agreement`.
    """
    correlation = agreement(first.vectors, second.vectors)
    if correlation is None:
        return None
    across, up = pairs_of(first.cosines()), pairs_of(second.cosines())
    figure = new_figure(3.5, width_in=HALF_IN * 1.35)
    axes = figure.subplots()
    if len(across) <= MAX_DOTS:
        axes.scatter(across, up, s=8, color=ACCENT, alpha=0.35, linewidths=0, rasterized=len(across) > 500)
        _name_extremes(axes, across, up, names)
    else:
        axes.hexbin(across, up, gridsize=60, bins="log", cmap=SEQUENTIAL, mincnt=1, linewidths=0, rasterized=True)
    axes.set_title(f"Spearman {correlation:+.2f} over {len(across):,} pairs")
    axes.set_xlabel(f"cosine of {first.title} prototypes")
    axes.set_ylabel(f"cosine of {second.title} prototypes")
    axes.grid(axis="both")
    axes.margins(y=0.08)
    return figure


def _name_extremes(axes: Axes, across: NDArray, up: NDArray, names: Sequence[str]) -> None:
    """Name the most similar pair of each set."""
    first, second = (ids.tolist() for ids in np.triu_indices(len(names), k=1))
    for pair in dict.fromkeys((int(across.argmax()), int(up.argmax()))):
        is_right = across[pair] > (across.min() + across.max()) / 2
        text = f"{shorten(names[first[pair]], 18)} / {shorten(names[second[pair]], 18)}"
        side, align = (-5, "right") if is_right else (5, "left")
        write_at(axes, text, (across[pair], up[pair]), (side, 5), ha=align, fontsize=6.5, color=MUTED)


_PERPLEXITY = (8.0, 30.0)
_MIN_TSNE = 40
_MAX_COLOURS = 10
_MAX_LABELS = 170
_POINTS = 72
_TIE = 3.0
"""A name further from its dot than so many radii is tied to it by a line."""
_DIRECTIONS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)], dtype=np.float64)
_REACHES = (0.0, 0.6, 1.4, 2.4, 3.6)


def plane_positions(
    relations: NDArray[np.floating], *, start: NDArray[np.float64] | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Return a position for each class [A 2].

    Args:
        relations: Cosines [A A].
        start: Positions of the same classes by another set [A 2]. Default: classical scaling.
        seed: Seed of t-SNE.
    """
    distance = np.sqrt(np.clip(2.0 - 2.0 * relations.astype(np.float64), 0.0, None))
    np.fill_diagonal(distance, 0.0)
    if not distance.any():
        return np.zeros((len(distance), 2))
    scaled = start
    if scaled is None:
        # Classical scaling: the principal components of the double centered squares.
        scaled = KernelPCA(2, kernel="precomputed", eigen_solver="dense").fit_transform(-(distance**2) / 2)
    if len(relations) < _MIN_TSNE:
        placed = smacof(distance, init=scaled, n_init=1, max_iter=500, eps=1e-12)
        positions = np.asarray(placed[0])
    else:
        # The defaults of t-SNE are made for thousands of points; with some dozens they throw single ones far away.
        # From a start that is a map already, groups are not torn apart again.
        tsne = TSNE(
            metric="precomputed",
            init=0.01 * scaled / max(float(scaled[:, 0].std()), 1e-12) if start is None else scaled,  # type: ignore
            perplexity=float(np.clip(len(distance) / 8, *_PERPLEXITY)),
            early_exaggeration=4 if start is None else 1,
            learning_rate=max(len(distance) / 4, 10.0),  # type: ignore[arg-type]
            random_state=seed,
            n_jobs=1,
        )
        positions = np.asarray(tsne.fit_transform(distance), dtype=np.float64)
    if start is None:
        return positions
    # Moved, turned and mirrored to lie as near as possible to the first set.
    middle = positions - positions.mean(axis=0)
    turn, _ = orthogonal_procrustes(middle, start - start.mean(axis=0))
    return middle @ turn + start.mean(axis=0)


def kept_neighbors(relations: NDArray[np.floating], positions: NDArray[np.float64], *, k: int = 5) -> float:
    """Return the share of the k nearest neighbors of each class that are among its k nearest on the plane."""
    k = min(k, len(relations) - 1)
    near, shown = (
        NearestNeighbors(n_neighbors=k, metric="precomputed").fit(distance).kneighbors(return_distance=False)
        for distance in (np.clip(1.0 - relations, 0.0, None), cdist(positions, positions))
    )
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(near.tolist(), shown.tolist(), strict=True)]))


@styled()
def prototype_map(
    positions: NDArray[np.float64], names: Sequence[str], groups: Sequence[str], *, title: str = ""
) -> tuple[Figure, int]:
    """Draw one dot per class with its name, coloured by group; the commonest groups have a colour of their own.

    Returns:
        The figure, and the number of names for which there was no room.
    """
    is_large = len(names) > 400
    font_pt = 7.5 if len(names) <= 40 else 6.2
    height_in = 4.4 if len(names) <= 24 else 6.2 if len(names) <= 60 else 8.4
    width_pt, height_pt = WIDE_IN * _POINTS, height_in * _POINTS
    radius_pt = 1.3 if is_large else 2.6
    figure = Figure(figsize=(WIDE_IN, height_in + 0.62))
    axes = figure.add_axes((0, 0, 1, height_in / (height_in + 0.62)))
    axes.set_xlim(0, width_pt)
    axes.set_ylim(0, height_pt)
    axes.set_axis_off()
    shown = [shorten(name, 30) for name in names]
    sizes = np.array([text_size(text, font_pt) for text in shown])
    margin = np.array([0.07 * width_pt, 0.04 * height_pt])
    low, high = positions.min(axis=0), positions.max(axis=0)
    dots = margin + (positions - low) / np.maximum(high - low, 1e-12) * ([width_pt, height_pt] - 2 * margin)
    places = place_labels(dots, sizes, radius_pt, np.array([width_pt, height_pt]))
    coloured = [group for group, _ in Counter(groups).most_common(_MAX_COLOURS)]
    colour_of = {group: COLOURS[position] for position, group in enumerate(coloured)}
    for dot, place, text, group in zip(dots, places, shown, groups, strict=True):
        if place is None:
            continue
        colour, (left, bottom, right, top) = colour_of.get(group, MUTED), place
        end = np.clip(dot, place[:2], place[2:])
        if np.linalg.norm(end - dot) > _TIE * radius_pt:
            axes.plot(*zip(dot, end, strict=True), color=colour, alpha=0.6, lw=0.6, zorder=1)
        # A page may draw the name in a narrower font than it was measured in: held on the side of its dot, it stays.
        align = "left" if left >= dot[0] else "right" if right <= dot[0] else "center"
        anchor = {"left": left, "right": right, "center": (left + right) / 2}[align]
        axes.text(anchor, bottom + 0.24 * (top - bottom), text, ha=align, fontsize=font_pt, color=colour, zorder=3)
    axes.scatter(
        *dots.T, s=(2 * radius_pt) ** 2, color=[colour_of.get(g, MUTED) for g in groups], linewidths=0, zorder=2
    )
    figure.text(0.005, 1 - 0.12 / (height_in + 0.62), title, fontsize=8, fontweight="bold", color=INK, va="center")
    handles = [
        Line2D([], [], lw=0, marker="o", ms=4, color=colour, label=shorten(group, 14))
        for group, colour in colour_of.items()
    ]
    num_others = len(set(groups)) - len(coloured)
    if num_others:
        handles.append(Line2D([], [], lw=0, marker="o", ms=4, color=MUTED, label=f"{num_others} others"))
    spacing = {"handletextpad": 0.1, "columnspacing": 1.0, "borderaxespad": 0.0, "borderpad": 0.3}
    corner, look = (0.0, 1 - 0.2 / (height_in + 0.62)), {"labelcolor": "linecolor", "fontsize": 7}
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=len(handles), **look, **spacing)
    return figure, sum(place is None for place in places)


def text_size(text: str, font_pt: float) -> tuple[float, float]:
    """Return width and line height of a text in points."""
    path = TextPath((0, 0), text or " ", size=font_pt, prop=FontProperties(family="DejaVu Sans"))
    return float(path.get_extents().x1) + 1.0, 1.12 * font_pt


def place_labels(
    dots: NDArray[np.float64], sizes: NDArray[np.float64], radius: float, room: NDArray[np.float64]
) -> list[NDArray[np.float64] | None]:
    """Find a box for the name of each dot, over no other name and no dot: near ones first, the most crowded dots first.

    Args:
        dots: Positions in the drawing [M 2], from the lower left corner; all lengths in one unit.
        sizes: Width and height of each name [M 2].
        radius: Radius of a dot.
        room: Width and height of the drawing.

    Returns:
        Left, bottom, right and top for each dot, None where there is no room.
    """
    distance = cdist(dots, dots)
    crowd = np.sort(distance, axis=1)[:, :13].mean(axis=1)
    # Of very many names only those that stand alone can be read.
    is_many = len(dots) > 2 * _MAX_LABELS
    order = np.argsort(-crowd if is_many else crowd, kind="stable").tolist()
    places: list[NDArray[np.float64] | None] = [None] * len(dots)
    taken = np.empty((0, 4))
    for dot in order:
        if is_many and len(taken) >= _MAX_LABELS:
            break
        for reach, direction in itertools.product(_REACHES, _DIRECTIONS):
            center = dots[dot] + direction * (radius + 1.6 + reach * sizes[dot, 1] + sizes[dot] / 2)
            box = np.concatenate([center - sizes[dot] / 2, center + sizes[dot] / 2])
            away = np.linalg.norm(dots - np.clip(dots, box[:2], box[2:]), axis=1)
            away[dot] = np.inf
            is_free = ((box[2:] <= taken[:, :2]) | (taken[:, 2:] <= box[:2])).any(axis=1).all()
            if is_free and (box[:2] >= 0).all() and (box[2:] <= room).all() and away.min(initial=np.inf) > radius:
                places[dot], taken = box, np.concatenate([taken, box[None]])
                break
    return places
