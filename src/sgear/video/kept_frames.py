"""Which frames of a film a cache keeps: those that are played at 0, 1/fps, 2/fps, ... seconds.

A video file is decoded in sequence; of numbered pictures only the kept ones are decoded.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.decoding import StreamDecoder, with_kept
from sgear.video.find import needs_rate
from sgear.video.frames import FrameConverter
from sgear.video.opening import open_film


class KeptFrames(ABC):
    """A film that is read once, from its beginning to its end.

    Args:
        first_pts_s: Time of the first intact frame in seconds.
        last_pts_s: Time of the last frame in seconds; right once all was read.
        end_s: When the last frame has been shown in seconds; right once all was read.
    """

    first_pts_s: float
    last_pts_s: float
    end_s: float

    @abstractmethod
    def kept(self) -> Iterator[tuple[float, NDArray[np.uint8] | None]]:
        """Yield time and picture [H W 3] of each kept frame; None for one that cannot be decoded."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""


class _KeptStream(KeptFrames):
    """A video file: every frame is decoded, those that are played at i/fps are kept."""

    def __init__(self, source: Path, height: int, width: int, fps: float) -> None:
        self._decoder = StreamDecoder(source)
        self._convert = FrameConverter(height, width)
        self._fps = fps
        self.first_pts_s = self.last_pts_s = self._decoder.first_pts_s
        self.end_s = self.first_pts_s + self._decoder.period_s

    def kept(self) -> Iterator[tuple[float, NDArray[np.uint8] | None]]:
        for frame, is_kept in with_kept(self._decoder, self._fps):
            self.last_pts_s, self.end_s = frame.pts_s, frame.end_s
            if is_kept:
                yield frame.pts_s, None if frame.image is None else self._convert(frame.image)

    def close(self) -> None:
        self._decoder.close()


class _KeptPictures(KeptFrames):
    """Numbered pictures: only those that are played at i/fps are decoded."""

    def __init__(self, source: Path, height: int, width: int, fps: float, frame_fps: float | None) -> None:
        self._film = open_film(source, size=(height, width), frame_fps=frame_fps)
        self._fps = fps
        self.first_pts_s = self._film.first_pts_s
        self._period_s = 1 / self._film.fps
        self.end_s = self._film.duration_s
        self.last_pts_s = self.end_s - self._period_s

    def kept(self) -> Iterator[tuple[float, NDArray[np.uint8] | None]]:
        num_ticks = math.floor((self._film.duration_s - TIME_TOLERANCE_S) * self._fps) + 1
        newest_s = -1.0
        for t_s in np.arange(num_ticks) / self._fps:
            picture: NDArray[np.uint8] | None = None
            try:
                batch = self._film.frames_played_at([float(t_s)])
            except VideoError:
                # Kept as a gap: reading there is an error, the rest of the film is not lost.
                pts_s = math.floor((t_s + TIME_TOLERANCE_S) / self._period_s) * self._period_s
            else:
                pts_s, picture = float(batch.pts_s[0]), batch.frames[0].permute(1, 2, 0).numpy()
            if pts_s > newest_s:
                newest_s = pts_s
                yield pts_s, picture

    def close(self) -> None:
        self._film.close()


def open_kept(source: Path, *, height: int, width: int, fps: float, frame_fps: float | None) -> KeptFrames:
    """Open a film of any kind, to go through what is kept of it once.

    Args:
        source: Video file, folder or tar file of pictures.
        height: Height of the kept frames in pixels.
        width: Width of the kept frames in pixels.
        fps: Kept frames per second.
        frame_fps: Rate of numbered pictures.

    Raises:
        VideoError: If there is no such film, or it cannot be read.
    """
    if needs_rate(source):
        return _KeptPictures(source, height, width, fps, frame_fps)
    return _KeptStream(source, height, width, fps)
