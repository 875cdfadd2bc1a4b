"""Random and sequential reading of one video, by time.

The frame *played at* t is the one a viewer sees at t: the latest that began at or before it. So no reading
can see the future, whatever the frame rate. A frame that is missing or damaged is an error, never a neighbor
in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from sgear.timing import TIME_TOLERANCE_S
from sgear.video.base import (
    FrameBatch,
    Size,
    Video,
    VideoSpan,
    check_played,
    checked_timestamps,
    damaged_frame_error,
    opening_s,
)
from sgear.video.decoding import DecodedFrame, StreamDecoder


class VideoReader(Video):
    """Frames of one video file, by time in seconds after its first frame.

    A container that starts later than 0 s is shifted to 0. Reading goes on from where the last reading ended
    where that is shorter than a seek to a key frame, so ascending timestamps are cheap. One decoding thread;
    not for sharing between threads or processes.

    Args:
        path: File of any format that ffmpeg reads.
        size: See `Video.size`.

    Raises:
        VideoError: If the file is missing, empty, not a video, or no frame of it can be decoded.
        ValueError: If `size` is not positive.

    Example:
        >>> with VideoReader(path, size=(256, 384)) as video:  # doctest: +SKIP
        ...     batch = video.frames_played_at(protocol.timestamps(start_s))
    """

    def __init__(self, path: Path | str, *, size: Size | Callable[[Size], Size] | None = None) -> None:
        self.path = Path(path)
        self._decoder = decoder = StreamDecoder(self.path)
        self.height, self.width = decoder.height, decoder.width
        self.fps, self.num_frames, self.first_pts_s = decoder.fps, decoder.num_frames, decoder.first_pts_s
        self.is_random_access = decoder.is_random_access
        try:
            self.resize(size)
        except ValueError:
            self.close()
            raise
        self._frames: Iterator[DecodedFrame] = iter(())
        self._current: DecodedFrame | None = None
        self._following: DecodedFrame | None = None
        self._last: DecodedFrame | None = None

    def close(self) -> None:
        """Close the file; reading is then an error."""
        self._decoder.close()

    @property
    def duration_s(self) -> float:
        """Duration in seconds as the header states it; a truncated file ends earlier, see `last_pts_s`."""
        stated_s = self._decoder.stated_duration_s
        return self.end_s if stated_s is None else stated_s

    @property
    def last_pts_s(self) -> float:
        """Time of the last frame that can be decoded, found by decoding the end of the file."""
        return self._last_intact.pts_s

    @property
    def end_s(self) -> float:
        """When that frame has been shown."""
        return self._last_intact.end_s

    def frames_played_at(self, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """See `Video.frames_played_at`; reading a closed video is a ValueError."""
        asked_s = checked_timestamps(np.asarray(timestamps_s, dtype=np.float64), self.path)
        images = np.empty((len(asked_s), *self.size, 3), dtype=np.uint8)
        pts_s = np.empty(len(asked_s))
        previous: tuple[DecodedFrame, int] | None = None
        for idx in np.argsort(asked_s, kind="stable"):
            frame = self._play(float(asked_s[idx]))
            if frame.image is None:
                raise damaged_frame_error(self.path, float(asked_s[idx]), frame.pts_s)
            if previous is not None and frame is previous[0]:
                images[idx] = images[previous[1]]
            else:
                images[idx] = self._converter(frame.image)
            pts_s[idx] = frame.pts_s
            previous = (frame, int(idx))
        return FrameBatch.from_images(images, pts_s)

    def iterate(self, start_s: float = 0.0) -> Iterator[tuple[UInt8[Tensor, "3 H W"], float]]:
        """Yield every frame and its time, from the frame played at `start_s` to the end; see `Video.iterate`."""
        self._decoder.require_open()
        checked_timestamps(np.array([start_s]), self.path)
        frame: DecodedFrame | None = self._play(max(start_s, opening_s(self)))
        while frame is not None:
            if frame.image is None:
                raise damaged_frame_error(self.path, max(start_s, frame.pts_s), frame.pts_s)
            yield torch.from_numpy(self._converter(frame.image)).permute(2, 0, 1), frame.pts_s
            if self._current is not frame:
                # Something else was read meanwhile.
                self._play(frame.pts_s)
            frame = self._advance()

    def caveats(self) -> list[str]:
        """See `Video.caveats`."""
        missing = self._decoder.missing_end(num_frames=None, end_s=self.end_s)
        if missing is not None:
            missing += f". The forecasts end at {self.end_s:.1f} s; 'sgear data verify' checks the video"
        return [text for text in (missing, self._decoder.unread_tracks) if text is not None]

    def _play(self, t_s: float) -> DecodedFrame:
        # Also where the frames around `t_s` are at hand: what a closed video gives must not depend on what was read.
        self._decoder.require_open()
        latest_s = t_s + TIME_TOLERANCE_S
        current = self._current
        if current is None or latest_s < current.pts_s or self._is_seek_shorter(latest_s):
            self._frames = self._decoder.frames_from(latest_s)
            self._current, self._following = next(self._frames, None), next(self._frames, None)
        while self._following is not None and self._following.pts_s <= latest_s:
            self._advance()
        current = self._current
        assert current is not None, "a video that opened has a frame"
        span = VideoSpan(current.pts_s, current.end_s) if self._following is None else None
        check_played(self.path, t_s, min(current.pts_s, self.first_pts_s), span)
        return current

    def _advance(self) -> DecodedFrame | None:
        self._current, self._following = self._following, next(self._frames, None)
        return self._current

    def _is_seek_shorter(self, t_s: float) -> bool:
        return self._following is not None and self._decoder.is_seek_shorter(self._following.pts_s, t_s)

    @property
    def _last_intact(self) -> DecodedFrame:
        if self._last is None:
            self._last = self._find_last()
        return self._last

    def _find_last(self) -> DecodedFrame:
        self._current = self._following = None
        end_s = self._decoder.stated_duration_s or 0.0
        back_s = 1.0
        while True:
            last: DecodedFrame | None = None
            for frame in self._decoder.frames_from(end_s - back_s):
                last = frame if frame.image is not None else last
            if last is not None or back_s > end_s:
                assert last is not None, "a video that opened has an intact frame"
                # Only its times are asked for, and an image may be large.
                return DecodedFrame(last.pts_s, last.end_s, None)
            back_s *= 2
