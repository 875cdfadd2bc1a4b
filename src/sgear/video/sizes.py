"""At which size to read a film for a model of another shape."""

from __future__ import annotations


def reading_size(model: tuple[int, int], crop_margin: float, film: tuple[int, int]) -> tuple[int, int]:
    """Return the size (height, width) at which the model's crop of a film needs no enlarging.

    The film keeps its shape; a crop of the model's shape, smaller by the margin, then has the model's size.

    Args:
        model: Height and width that the model reads, in pixels.
        crop_margin: Share by which the picture is larger than the crop.
        film: Height and width of the film, in pixels.
    """
    scale = max(model[0] / film[0], model[1] / film[1]) * (1 + crop_margin)
    return max(1, round(film[0] * scale)), max(1, round(film[1] * scale))
