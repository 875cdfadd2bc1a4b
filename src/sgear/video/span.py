"""When a film begins and ends, and which instants lie outside it: one rule for reading, imports and checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.base import Film

SLACK_S = 0.05
"""By how much the end of a film is generous, in seconds: annotations are rounded, and so are times in containers."""


@dataclass(frozen=True)
class FilmSpan:
    """The time that a film covers, in seconds after its first frame.

    Args:
        last_s: Time of the last frame.
        end_s: When the last frame has been shown.
    """

    last_s: float
    end_s: float

    @classmethod
    def of(cls, film: Film) -> FilmSpan:
        """Return the span of an open film; its end is decoded for that.

        Raises:
            VideoError: If the end cannot be read.
        """
        return cls(film.last_pts_s, film.end_s)

    def is_past(self, t_s: float) -> bool:
        """Return whether an instant lies after the film; what is only just after its end still counts as the end."""
        return t_s > self.end_s + SLACK_S


def opening_s(film: Film) -> float:
    """Return from when on a film is gone through, in seconds.

    That is its first intact frame if that comes just after 0. Of a film that lacks more of its beginning it is 0, where
    nothing can be read.
    """
    return film.first_pts_s if film.first_pts_s <= SLACK_S else 0.0


def check_played(path: Path, t_s: float, first_s: float, span: FilmSpan | None) -> None:
    """Check an instant against both ends of a film.

    Args:
        path: File that the message names.
        t_s: Instant asked for, in seconds.
        first_s: Time of the first frame.
        span: What the film covers; None if it is known to go on after `t_s`.

    Raises:
        VideoError: If nothing is played at `t_s`.
    """
    if t_s < first_s - TIME_TOLERANCE_S:
        raise VideoError(
            f"{path}: nothing is played at t = {t_s:.3f} s, the first intact frame is at {first_s:.3f} s; "
            "the beginning of this file is missing or was cut between key frames: fetch or encode it again"
        )
    if span is not None and span.is_past(t_s):
        raise VideoError(
            f"{path}: nothing is played at t = {t_s:.3f} s, the last frame in the file is at {span.last_s:.3f} s and "
            f"shown until {span.end_s:.3f} s; "
            "either this copy is truncated (fetch it again) or the annotations belong to another video"
        )
