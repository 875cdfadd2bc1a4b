"""A set of prototypes on a plane: actions that are alike stand side by side.

Distance is the chord between unit vectors. Up to some dozens of classes stress majorisation (SMACOF) places them, from
classical scaling on: a small change of the cosines moves the dots a little. With more, t-SNE keeps neighbours together,
at the price of the distances between far groups. A second set starts where the first one ended, so that what both hold
for alike lies in the same place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.manifold import TSNE

from sgear.report.label_places import place_labels
from sgear.report.style import COLOURS, INK, MUTED, WIDE_IN, shorten, styled

_PERPLEXITY = (8.0, 30.0)
_MIN_TSNE = 40
_MAX_STEPS = 500
_STILL = 1e-7
_MAX_COLOURS = 10
_MAX_LABELS = 170
_POINTS = 72


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
    if len(relations) < _MIN_TSNE:
        positions = _least_stress(distance, _classical_scaling(distance) if start is None else start)
    else:
        positions = _neighbour_embedding(distance, start, seed)
    return positions if start is None else _turned_to(positions, start)


def _turned_to(positions: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions moved, turned and mirrored to lie as near as possible to others of the same classes."""
    centred, middle = positions - positions.mean(axis=0), other.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ (other - middle))
    return centred @ left @ right + middle


def _neighbour_embedding(
    distance: NDArray[np.float64], start: NDArray[np.float64] | None, seed: int
) -> NDArray[np.float64]:
    """Return positions by t-SNE; from a start that is a map already, groups are not torn apart again."""
    scaled = _classical_scaling(distance) if start is None else start
    # The defaults of t-SNE are made for thousands of points; with some dozens they throw single ones far away.
    tsne = TSNE(
        metric="precomputed",
        init=0.01 * scaled / max(float(scaled[:, 0].std()), 1e-12) if start is None else scaled,  # type: ignore[arg-type]
        perplexity=float(np.clip(len(distance) / 8, *_PERPLEXITY)),
        early_exaggeration=4 if start is None else 1,
        learning_rate=max(len(distance) / 4, 10.0),  # type: ignore[arg-type]
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(tsne.fit_transform(distance), dtype=np.float64)


def _least_stress(distance: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions whose distances differ least from those given, by SMACOF: each step lowers the stress."""
    positions = start
    for _ in range(_MAX_STEPS):
        drawn = cdist(positions, positions)
        pull = -np.divide(distance, drawn, out=np.zeros_like(distance), where=drawn > 0)
        np.fill_diagonal(pull, -pull.sum(axis=1))
        moved = pull @ positions / len(positions)
        if np.abs(moved - positions).max() < _STILL:
            return moved
        positions = moved
    return positions


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
    places = place_labels(
        dots,
        sizes,
        dot_radius=radius_pt,
        width=width_pt,
        height=height_pt,
        max_labels=_MAX_LABELS if len(names) > 2 * _MAX_LABELS else None,
    )
    coloured = [group for group, _ in Counter(groups).most_common(_MAX_COLOURS)]
    colour_of = {group: COLOURS[position] for position, group in enumerate(coloured)}
    for dot, place, text, group in zip(dots, places, shown, groups, strict=True):
        if place is None:
            continue
        colour = colour_of.get(group, MUTED)
        if place.is_far:
            end = np.clip(dot, (place.left, place.bottom), (place.right, place.top))
            axes.plot(*zip(dot, end, strict=True), color=colour, alpha=0.6, lw=0.6, zorder=1)
        baseline = place.bottom + 0.24 * (place.top - place.bottom)
        axes.text(place.anchor, baseline, text, ha=place.align, fontsize=font_pt, color=colour, zorder=3)
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
