"""When a film begins and ends, and which instants lie outside it: one rule for reading, imports and checks."""

from __future__ import annotations

from dataclasses import dataclass

from sgear.video.film import Film


@dataclass(frozen=True)
class FilmSpan:
    """The time that a film covers, in seconds after its first frame.

    Args:
        last_s: Time of the last frame.
        period_s: Average time between two frames.
    """

    last_s: float
    period_s: float

    @classmethod
    def of(cls, film: Film) -> FilmSpan:
        """Return the span of an open film; its end is decoded for that.

        Raises:
            VideoError: If the end cannot be read.
        """
        return cls(film.last_pts_s, 1 / film.fps)

    @property
    def end_s(self) -> float:
        """When the last frame has been shown."""
        return self.last_s + self.period_s

    def is_past(self, t_s: float) -> bool:
        """Return whether an instant lies after the film; up to one frame after its end still counts as the end."""
        return t_s > self.end_s + self.period_s
