"""Videos of a data set -> frames at the size a model reads: kept in a cache, or decoded when they are asked for."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sgear.datasets import require_stated_length
from sgear.errors import VideoError
from sgear.files import partial_path, state_of
from sgear.models.pretrained import Preprocessing
from sgear.video.base import FrameBatch
from sgear.video.frame_cache import FrameCache, fill_frame_cache
from sgear.video.pool import ReadingSize, open_video

_Entry = list[int]
"""Bytes of the video, its time of change in ns, height and width."""


class VideoSizes:
    """Answer how large videos are; a context, at the end of which new answers are written.

    A video is the one that was asked before while its bytes and time of change are the same, as in the frame cache.

    Args:
        path: File of the answers, in a folder that exists; one that is missing or unreadable is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = _load(path)
        self._has_new = False

    def __enter__(self) -> VideoSizes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A complete cache may lie where nothing can be written.
        if self._has_new and os.access(self.path.parent, os.W_OK):
            self._save()

    def of(self, video_id: str, video: Path, *, frame_fps: float | None = None) -> tuple[int, int]:
        """Return height and width of a video, which is opened where the answer is not known.

        Args:
            video_id: Id of the video.
            video: Its video.
            frame_fps: Rate of numbered images; see `open_video`.

        Raises:
            VideoError: If there is no such video, or it cannot be opened.
        """
        # Zeros where there is no such video, which is for `open_video` to say.
        state = list(state_of(video))
        entry = self._entries.get(video_id)
        if entry is None or entry[:2] != state:
            with open_video(video, frame_fps=frame_fps) as opened:
                entry = [*state, opened.height, opened.width]
            self._entries[video_id] = entry
            self._has_new = True
        return entry[2], entry[3]

    def _save(self) -> None:
        # Of two processes that write, one loses its answers; the videos are then asked once more.
        partial = partial_path(self.path)
        try:
            partial.write_text(json.dumps(self._entries), encoding="utf-8")
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, _Entry]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            video_id: entry
            for video_id, entry in found.items()
            if isinstance(entry, list) and len(entry) == 4 and all(type(value) is int and value >= 0 for value in entry)
        }
    except (ValueError, AttributeError):
        # Unreadable answers are like none: the videos are asked again.
        return {}


@runtime_checkable
class FrameReader(Protocol):
    """Reads frames of many videos: `FrameCache`, `VideoPool`, or either behind `CheckedLengths` or `PartialFrames`."""

    def frames_played_at(self, video_id: str, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the frame with the largest pts at or before it."""
        ...

    def span_s(self, video_id: str) -> tuple[float, float]:
        """Return the times of the first and the last frame of the video, in seconds."""
        ...


class CheckedLengths:
    """Holds the length of videos made of images against what is known of them, when each is first read.

    The times of numbered images are as right as the rate they were numbered at, and a wrong rate shows the future.

    Args:
        frames: Reads the videos.
        duration_s: Length in seconds of each video to check; others are not.
        rates: Rate that was taken for each of them, for the message.
    """

    def __init__(self, frames: FrameReader, duration_s: Mapping[str, float], rates: Mapping[str, float]) -> None:
        self._frames = frames
        self._duration_s = dict(duration_s)
        self._rates = dict(rates)
        self._checked: set[str] = set()

    def frames_played_at(self, video_id: str, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the frame with the largest pts at or before it.

        Raises:
            VideoError: As the reader does, or if the video is not as long as it should be.
        """
        if video_id not in self._checked:
            self.span_s(video_id)
        return self._frames.frames_played_at(video_id, timestamps_s)

    def span_s(self, video_id: str) -> tuple[float, float]:
        """Return the times of the first and the last frame of the video, in seconds.

        Raises:
            VideoError: As the reader does, or if the video is not as long as it should be.
        """
        first_s, last_s = self._frames.span_s(video_id)
        if video_id not in self._checked and video_id in self._duration_s:
            rate, stated_s = self._rates[video_id], self._duration_s[video_id]
            remedy = "set source.frame_fps (source.check_clock=false goes on, and the result says so)"
            require_stated_length(video_id, last_s + 1 / rate, stated_s, rate=rate, remedy=remedy)
        self._checked.add(video_id)
        return first_s, last_s


class PartialFrames:
    """Refuses the videos of which it is known that they cannot be read, each with its reason.

    Args:
        frames: Reads the other videos.
        unreadable: Why a video cannot be read, by video id.
    """

    def __init__(self, frames: FrameReader, unreadable: Mapping[str, str]) -> None:
        self._frames = frames
        self._unreadable = dict(unreadable)

    def frames_played_at(self, video_id: str, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the frame with the largest pts at or before it.

        Raises:
            VideoError: As the reader does, or if the video cannot be read at all.
        """
        self._require(video_id)
        return self._frames.frames_played_at(video_id, timestamps_s)

    def span_s(self, video_id: str) -> tuple[float, float]:
        """Return the times of the first and the last frame of the video, in seconds.

        Raises:
            VideoError: As the reader does, or if the video cannot be read at all.
        """
        self._require(video_id)
        return self._frames.span_s(video_id)

    def _require(self, video_id: str) -> None:
        if video_id in self._unreadable:
            raise VideoError(self._unreadable[video_id])


def model_size(preprocessing: Preprocessing) -> ReadingSize:
    """Return at which size videos are read for a model."""
    return ReadingSize(preprocessing.height, preprocessing.width, preprocessing.reading_margin)


def cache_frames(
    videos: Mapping[str, Path],
    root: Path,
    preprocessing: Preprocessing,
    *,
    fps: float,
    frame_fps: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[FrameCache, dict[str, str]]:
    """Fill and open the frame cache for a set of videos; what is there already is kept.

    Args:
        videos: Video of each video id.
        root: Folder for caches; each size and rate has a folder of its own, beside which the videos' sizes are kept.
        preprocessing: Size the model reads.
        fps: Kept frames per second.
        frame_fps: Rate at which images were numbered, for each video that is made of them.
        progress: Called with the number of finished videos and of all videos.

    Returns:
        The cache, and why a video cannot be read, by video id; all others are in the cache.
    """
    size_of, rates = model_size(preprocessing), frame_fps or {}
    unreadable: dict[str, str] = {}
    of_size: dict[tuple[int, int], dict[str, Path]] = defaultdict(dict)
    folder = root / f"{preprocessing.height}x{preprocessing.width}-{fps:g}fps"
    folder.mkdir(parents=True, exist_ok=True)
    with VideoSizes(root / "video-sizes.json") as sizes:
        for video_id, path in videos.items():
            try:
                of_size[size_of(sizes.of(video_id, path, frame_fps=rates.get(video_id)))][video_id] = path
            except VideoError as err:
                unreadable[video_id] = str(err)
    num_done = len(unreadable)
    for (height, width), group in of_size.items():
        num_before = num_done

        def report(done: int, total: int, before: int = num_before) -> None:
            if progress is not None:
                progress(before + done, len(videos))

        unreadable |= fill_frame_cache(
            group,
            folder,
            height=height,
            width=width,
            fps=fps,
            num_processes=os.cpu_count() or 1,
            frame_fps=rates,
            progress=report,
        )
        num_done += len(group)
    return FrameCache(folder), unreadable
