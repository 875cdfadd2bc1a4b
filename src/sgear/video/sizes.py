"""At which size to read a film for a model of another shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgear.video.base import Film
from sgear.video.opening import Backend, open_film


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


@dataclass(frozen=True)
class ReadingSize:
    """`reading_size` for one model, as a function that can be sent to other processes.

    Args:
        height: Height that the model reads, in pixels.
        width: Width that the model reads, in pixels.
        margin: Share by which the picture is larger than the smallest crop.
    """

    height: int
    width: int
    margin: float

    def __call__(self, film: tuple[int, int]) -> tuple[int, int]:
        """Return the size (height, width) at which to read a film of a size."""
        return reading_size((self.height, self.width), self.margin, film)


def open_for_model(
    path: Path | str, size: ReadingSize, *, backend: Backend = "pyav", frame_fps: float | None = None
) -> Film:
    """Open a film at the size at which a model reads it.

    Args:
        path: See `open_film`.
        size: What the model reads.
        backend: See `open_film`.
        frame_fps: See `open_film`.

    Raises:
        VideoError: If there is no such film, or it cannot be read.
    """
    film = open_film(path, backend=backend, frame_fps=frame_fps)
    own = (film.height, film.width)
    if size(own) == own:
        return film
    film.close()
    return open_film(path, size=size(own), backend=backend, frame_fps=frame_fps)
