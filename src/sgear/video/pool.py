"""Videos kept open for reading windows at random: a bounded number of them in each process.

Opening a video costs more than reading a short window of it, and an open decoder holds memory and a file. What was
used longest ago is closed first. Loader workers start with nothing open, whether they were forked or spawned: half of
a decoder in another process breaks both.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.files import require_unchanged, state_of
from sgear.video.base import FrameBatch, Size, Video
from sgear.video.images import FrameFolder, FrameTar
from sgear.video.pyav import VideoReader

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")


class VideoPool:
    """Reads windows of frames of many videos, as `FrameCache` does, but decodes them when they are asked for.

    It may be sent to loader workers; a callable `size` must then be picklable. Not for sharing between threads.

    Args:
        paths: Video of each video id: video file, folder or tar file of images.
        size: (height, width) of the frames: one for all videos, one for each video id, or a function of the video's own
            (height, width). Default: the size of each video.
        frame_fps: Rate of numbered images, for all videos or for each video id; see `open_video`.
        max_open: Largest number of videos open at a time in one process, at least 1.

    Raises:
        ValueError: If `max_open` is below 1.

    Example:
        >>> with VideoPool({"P01_01": Path("P01_01.MP4")}, size=(256, 456)) as videos:  # doctest: +SKIP
        ...     batch = videos.frames_played_at("P01_01", protocol.timestamps(start_s))
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        *,
        size: Size | Mapping[str, Size] | Callable[[Size], Size] | None = None,
        frame_fps: float | Mapping[str, float] | None = None,
        max_open: int = 8,
    ) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1, got {max_open}")
        self._paths = dict(paths)
        self._size = size
        self._frame_fps = frame_fps
        self._max_open = max_open
        self._videos: OrderedDict[str, Video] = OrderedDict()
        self._process_id = os.getpid()
        # Loader workers open videos again in each epoch; all of them are to see what was there at the beginning.
        self._states = {video_id: state_of(Path(path)) for video_id, path in paths.items()}
        # Small facts that are costly to find outlive the open video.
        self._spans_s: dict[str, tuple[float, float]] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_videos": OrderedDict()}

    def __enter__(self) -> VideoPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VideoPool({len(self._paths)} videos, {self.num_open} of at most {self._max_open} open)"

    @property
    def num_open(self) -> int:
        """Number of videos that are open in this process."""
        return len(self._of_this_process())

    def close(self) -> None:
        """Close all videos; the next reading opens its video again."""
        videos = self._of_this_process()
        while videos:
            videos.popitem()[1].close()

    def span_s(self, video_id: str) -> tuple[float, float]:
        """Return the times of the first and the last frame of the video, in seconds.

        Raises:
            VideoError: If there is no such video, or it cannot be read.
        """
        if video_id not in self._spans_s:
            video = self.video(video_id)
            self._spans_s[video_id] = video.first_pts_s, video.last_pts_s
        return self._spans_s[video_id]

    def frames_played_at(self, video_id: str, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """See `Video.frames_played_at`.

        Raises:
            ValueError: If an instant is negative or not finite.
            VideoError: Also if there is no such video, or its file is no longer that of which this pool was made.
        """
        batch = self.video(video_id).frames_played_at(timestamps_s)
        require_unchanged(Path(self._paths[video_id]), self._states[video_id], VideoError)
        return batch

    def video(self, video_id: str) -> Video:
        """Return the video, opened; it may be closed by the pool as soon as another video is asked for.

        Raises:
            VideoError: If there is no such video, or it cannot be read.
        """
        videos = self._of_this_process()
        if video_id not in videos:
            if video_id not in self._paths:
                raise VideoError(
                    f"video {video_id!r} is not among the {len(self._paths)} videos of this pool; check its id"
                )
            while len(videos) >= self._max_open:
                videos.popitem(last=False)[1].close()
            videos[video_id] = self._open(video_id)
        videos.move_to_end(video_id)
        return videos[video_id]

    def _open(self, video_id: str) -> Video:
        frame_fps = rate_of(self._frame_fps, video_id)
        video = open_video(self._paths[video_id], size=self._size_of(video_id), frame_fps=frame_fps)
        if not video.is_random_access:
            video.close()
            raise VideoError(
                f"{video.path}: frames of files of this kind (.avi, .mpg, .ts, .wmv, .flv) are not surely found at "
                "random, as training reads them; copy them with 'sgear data transcode' and train on the copies, or "
                "keep source.reading=cache, which reads in sequence"
            )
        return video

    def _size_of(self, video_id: str) -> Size | Callable[[Size], Size] | None:
        if isinstance(self._size, Mapping):
            if video_id not in self._size:
                raise ValueError(f"size is given for each video, but not for {video_id!r}")
            return self._size[video_id]
        return self._size

    def _of_this_process(self) -> OrderedDict[str, Video]:
        if self._process_id != os.getpid():
            self._videos = OrderedDict()
            self._process_id = os.getpid()
        return self._videos


def open_video(
    path: Path | str, *, size: Size | Callable[[Size], Size] | None = None, frame_fps: float | None = None
) -> Video:
    """Open a video of any kind.

    Args:
        path: Video file, folder of numbered images, or tar file of numbered images (by its ending, `.tar`).
        size: (height, width) of the frames, after rotation, or a function of the video's own. Default: its own.
        frame_fps: Rate at which images were numbered; needed for folders and tar files, unused for video files.

    Raises:
        VideoError: If there is no such video, or it cannot be read.
        ValueError: If `size` or `frame_fps` is not positive.
    """
    video = Path(path)
    # Unlike the method of a path it raises nothing where a folder above cannot be entered; the readers tell.
    if os.path.isdir(video):
        return FrameFolder(video, size=size, frame_fps=frame_fps)
    if video.name.lower().endswith(_TAR_ENDINGS):
        return FrameTar(video, size=size, frame_fps=frame_fps)
    return VideoReader(video, size=size)


@dataclass(frozen=True)
class ReadingSize:
    """The size (height, width) at which a model's crop of a video needs no enlarging, for videos of any size.

    The video keeps its shape; a crop of the model's shape, smaller by the margin, then has the model's size. It can be
    sent to other processes.

    Args:
        height: Height that the model reads, in pixels.
        width: Width that the model reads, in pixels.
        margin: Share by which the image is larger than the smallest crop.
    """

    height: int
    width: int
    margin: float

    def __call__(self, video: tuple[int, int]) -> tuple[int, int]:
        """Return the size at which to read a video of a size."""
        scale = max(self.height / video[0], self.width / video[1]) * (1 + self.margin)
        return max(1, round(video[0] * scale)), max(1, round(video[1] * scale))


def rate_of(frame_fps: float | Mapping[str, float] | None, video_id: str) -> float | None:
    """Return the rate of one video, given for all or for each."""
    return frame_fps.get(video_id) if isinstance(frame_fps, Mapping) else frame_fps
