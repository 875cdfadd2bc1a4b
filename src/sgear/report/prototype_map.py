"""A set of prototypes on a plane: actions that are alike stand side by side.

Distance is the chord between unit vectors. Up to some dozens of classes stress majorisation (SMACOF) places them, from
classical scaling on: a small change of the cosines moves the dots a little. With more, t-SNE keeps neighbours together,
at the price of the distances between far groups. A second set starts where the first one ended, so that what both hold
for alike lies in the same place.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from sklearn.manifold import TSNE, smacof

from sgear.report.style import COLOURS, INK, MUTED, WIDE_IN, shorten, styled

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
    scaled = _classical_scaling(distance) if start is None else start
    if not distance.any():
        return np.zeros((len(distance), 2))
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


def _classical_scaling(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = distance**2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    positions = vectors[:, :-3:-1] * np.sqrt(np.clip(values[:-3:-1], 0.0, None))
    # An eigenvector has no sign of its own: its largest entry is made positive, so that the map does not flip.
    signs = np.sign(positions[np.abs(positions).argmax(axis=0), np.arange(positions.shape[1])])
    return positions * np.where(signs == 0, 1.0, signs)


def kept_neighbours(relations: NDArray[np.floating], positions: NDArray[np.float64], *, k: int = 5) -> float:
    """Return the share of the k nearest neighbours of each class that are among its k nearest on the plane."""
    k = min(k, len(relations) - 1)
    similarity = relations.astype(np.float64).copy()
    np.fill_diagonal(similarity, -np.inf)
    distance = cdist(positions, positions)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(-similarity, axis=1)[:, :k]
    shown = np.argsort(distance, axis=1)[:, :k]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(near.tolist(), shown.tolist(), strict=True)]))


@styled()
def prototype_map(
    positions: NDArray[np.float64], names: Sequence[str], groups: Sequence[str], *, title: str = ""
) -> tuple[Figure, int]:
    """Draw one dot per class with its name, coloured by group; the commonest groups have a colour of their own.

    Args:
        positions: Place of each class [A 2].
        names: Name of each class [A].
        groups: Group of each class [A], e.g. its verb.
        title: Title above the drawing.

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
    _legend(figure, coloured, len(set(groups)), height_in + 0.62)
    return figure, sum(place is None for place in places)


def _legend(figure: Figure, coloured: Sequence[str], num_groups: int, height_in: float) -> None:
    handles = [
        Line2D([], [], lw=0, marker="o", ms=4, color=COLOURS[position], label=shorten(group, 14))
        for position, group in enumerate(coloured)
    ]
    if num_groups > len(coloured):
        label = f"{num_groups - len(coloured)} others"
        handles.append(Line2D([], [], lw=0, marker="o", ms=4, color=MUTED, label=label))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.2 / height_in),
        ncols=len(handles),
        labelcolor="linecolor",
        handletextpad=0.1,
        columnspacing=1.0,
        borderaxespad=0.0,
        borderpad=0.3,
        fontsize=7,
    )


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
