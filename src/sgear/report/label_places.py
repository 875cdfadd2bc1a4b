"""Where the names of dots go: beside their dot, over nothing else, or nowhere.

Places are tried from near to far, the most crowded dots first. A far place is tied to its dot by a line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_DIRECTIONS = (
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
    (1, 0.5),
    (-1, 0.5),
    (1, -0.5),
    (-1, -0.5),
)
_REACHES = (0.0, 0.5, 1.1, 1.8, 2.6, 3.5, 4.5)
_CROWD = 12

Box = tuple[float, ...]
"""Left, bottom, right, top; or width and height."""


@dataclass(frozen=True)
class Place:
    """Box of a name, the side on which its text is held, and whether a line should lead to it.

    A page may draw the name in a narrower font than it was measured in: held on the side of its dot, it stays there.
    """

    left: float
    bottom: float
    right: float
    top: float
    align: Literal["left", "center", "right"]
    is_far: bool

    @property
    def anchor(self) -> float:
        """Horizontal position at which the text is held."""
        return {"left": self.left, "center": (self.left + self.right) / 2, "right": self.right}[self.align]


def place_labels(
    dots: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    dot_radius: float,
    width: float,
    height: float,
    max_labels: int | None = None,
) -> list[Place | None]:
    """Find a place for the name of each dot; all lengths in one unit, e.g. points.

    Args:
        dots: Positions in the drawing [M 2], from the lower left corner.
        sizes: Width and height of each name [M 2].
        dot_radius: Radius of a dot.
        width: Width of the drawing.
        height: Height of the drawing.
        max_labels: Place no more than these; the names that are easiest to place come first then.

    Returns:
        A place for each dot, None where there is no room.
    """
    distance = np.linalg.norm(dots[:, None] - dots[None], axis=2) if len(dots) <= 2_000 else None
    if distance is None:
        order = np.random.default_rng(0).permutation(len(dots))
    else:
        crowd = np.sort(distance, axis=1)[:, : _CROWD + 1].mean(axis=1)
        order = np.argsort(crowd if max_labels is None else -crowd, kind="stable")
    taken = np.empty((0, 4))
    places: list[Place | None] = [None] * len(dots)
    for dot in order.tolist():
        if max_labels is not None and len(taken) >= max_labels:
            break
        found = _free_place(dot, dots, sizes[dot], dot_radius, (width, height), taken)
        if found is not None:
            places[dot] = found
            taken = np.concatenate([taken, [(found.left, found.bottom, found.right, found.top)]])
    return places


def _free_place(
    dot: int,
    dots: NDArray[np.float64],
    size: NDArray[np.float64],
    dot_radius: float,
    room: Box,
    taken: NDArray[np.float64],
) -> Place | None:
    """Return the nearest free place that no other dot is nearer to; without one, the nearest free place."""
    second_best = None
    for reach in _REACHES:
        gap = dot_radius + 1.6 + reach * size[1]
        for right, up in _DIRECTIONS:
            left = dots[dot, 0] + right * gap + (0 if right > 0 else -size[0] if right < 0 else -size[0] / 2)
            bottom = dots[dot, 1] + up * gap + (-size[1] / 2 if abs(up) < 1 else 0 if up > 0 else -size[1])
            box = (left, bottom, left + size[0], bottom + size[1])
            if box[0] < 0 or box[1] < 0 or box[2] > room[0] or box[3] > room[1] or _overlaps(box, taken):
                continue
            away = _distances(box, dots)
            own, away[dot] = float(away[dot]), np.inf
            if away.min() <= dot_radius:
                continue
            align = "left" if right > 0 else "right" if right < 0 else "center"
            place = Place(*map(float, box), align=align, is_far=reach > 0)
            if own < away.min():
                return place
            second_best = second_best or replace(place, is_far=True)
    return second_best


def _overlaps(box: Box, others: NDArray[np.float64]) -> bool:
    apart = (box[2] <= others[:, 0]) | (others[:, 2] <= box[0]) | (box[3] <= others[:, 1]) | (others[:, 3] <= box[1])
    return not apart.all()


def _distances(box: Box, dots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each dot to a box [M]."""
    nearest = np.clip(dots, box[:2], box[2:])
    return np.linalg.norm(dots - nearest, axis=1)
