"""Frames of whole videos, small, at a lower rate and memory-mapped: training reads windows without decoding.

Each video is decoded once, in sequence, and only the kept frames are converted to RGB. A video has two files:
rows of pixels `<video_id>.npy` [N H W 3], and `<video_id>.json` with their times. The second is written last,
so a video that has it is complete; it also says of which source file and which settings it was made.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.files import replacing, require_unchanged, state_of, write_whole
from sgear.locks import FileLock
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.base import (
    FrameBatch,
    FrameConverter,
    VideoSpan,
    check_played,
    checked_timestamps,
    damaged_frame_error,
)
from sgear.video.decoding import StreamDecoder, with_kept
from sgear.video.find import needs_rate
from sgear.video.pool import open_video, rate_of
from sgear.workers import LostWorker, run_jobs

_FORMAT_VERSION = 2
_WAIT_S = 0.2
_LOCK_FOLDER = "locks"
_VIDEO_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, eq=False)
class _CachedVideo:
    """One opened video: `row_idx` is -1 where a kept frame could not be decoded."""

    source: Path
    pts_s: NDArray[np.float64]
    row_idx: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    first_pts_s: float
    span: VideoSpan


@dataclass(eq=False)
class FrameCache:
    """Reads windows of frames of the videos under `root`.

    It may be sent to loader workers; each then maps the files for itself.

    Args:
        root: Folder that `fill_frame_cache` filled.

    Raises:
        VideoError: If there is no such folder.
    """

    root: Path
    _videos: dict[str, _CachedVideo] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise VideoError(f"{self.root}: no such folder of cached frames; make it with fill_frame_cache")

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "_videos": {}}

    def span_s(self, video_id: str) -> tuple[float, float]:
        """Return the times of the first and the last frame of the video, in seconds.

        Raises:
            VideoError: If the video is not in the cache.
        """
        video = self._open(video_id)
        return video.first_pts_s, video.span.last_s

    def frames_played_at(self, video_id: str, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the latest kept frame; see `Video.frames_played_at`.

        Raises:
            ValueError: If an instant is negative or not finite.
            VideoError: Also if the video is not in the cache.
        """
        video = self._open(video_id)
        asked_s = checked_timestamps(np.asarray(timestamps_s, dtype=np.float64), video.source)
        for t_s in (asked_s.min(), asked_s.max()) if len(asked_s) else ():
            check_played(video.source, float(t_s), video.first_pts_s, video.span)
        kept_idx = np.maximum(np.searchsorted(video.pts_s, asked_s + TIME_TOLERANCE_S, side="right") - 1, 0)
        pts_s, rows = video.pts_s[kept_idx], video.row_idx[kept_idx]
        if (rows < 0).any():
            damaged = int(np.argmax(rows < 0))
            raise damaged_frame_error(video.source, float(asked_s[damaged]), float(pts_s[damaged]))
        return FrameBatch.from_images(np.array(video.pixels[rows]), pts_s)

    def _open(self, video_id: str) -> _CachedVideo:
        if video_id not in self._videos:
            times_path = _times_path(self.root, video_id)
            if not times_path.is_file():
                raise VideoError(f"{times_path}: video {video_id!r} is not in the cache; run fill_frame_cache for it")
            try:
                times = json.loads(times_path.read_text(encoding="utf-8"))
                video = _CachedVideo(
                    source=Path(times["origin"]["source"]),
                    pts_s=np.array(times["pts_s"], dtype=np.float64),
                    row_idx=np.array(times["row_idx"], dtype=np.int64),
                    pixels=np.load(_pixels_path(self.root, video_id), mmap_mode="r"),
                    first_pts_s=times["first_pts_s"],
                    span=VideoSpan(times["last_pts_s"], times["end_s"]),
                )
                if len(video.pixels) != (video.row_idx >= 0).sum():
                    raise ValueError(f"{len(video.pixels)} images, {(video.row_idx >= 0).sum()} times")
            except (OSError, EOFError, ValueError, KeyError, TypeError) as err:
                raise VideoError(f"{times_path}: damaged cache entry ({err}); delete it and make it again") from err
            self._videos[video_id] = video
        return self._videos[video_id]


def fill_frame_cache(
    video_paths: Mapping[str, Path],
    root: Path,
    *,
    height: int,
    width: int,
    fps: float,
    num_processes: int,
    frame_fps: float | Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Decode each video once and keep the frames played at 0, 1/fps, 2/fps, ... seconds.

    A rate well above the video's keeps every frame. An interrupted build goes on where it stopped. A video with
    a damaged place is kept; reading there is an error.

    Args:
        video_paths: Video of each video id: video file, folder or tar file of images. Ids become file names: letters,
            digits, `_`, `.`, `-`.
        root: Folder for the cache.
        height: Height of the kept frames in pixels.
        width: Width of the kept frames in pixels.
        fps: Kept frames per second; a slower video keeps each of its frames once.
        num_processes: Decoding processes; one decodes in this process.
        frame_fps: Rate of numbered images, for all videos or for each video id; see `open_video`.
        progress: Called with the number of finished videos and of all videos.

    Returns:
        Why a video cannot be read, by video id; all others are in the cache.

    Raises:
        ValueError: If an id, a size, the rate or the number of processes is out of range.
    """
    if min(height, width, num_processes) < 1 or not fps > 0:
        raise ValueError(
            f"height, width, fps and num_processes must be positive, got {height}, {width}, {fps}, {num_processes}"
        )
    if unfit := [video_id for video_id in video_paths if not _VIDEO_ID.fullmatch(video_id)]:
        raise ValueError(f"video ids become file names, these cannot: {unfit[:5]}")
    root.mkdir(parents=True, exist_ok=True)
    jobs = [
        (video_id, Path(path), root, height, width, float(fps), rate_of(frame_fps, video_id))
        for video_id, path in video_paths.items()
    ]
    failures: dict[str, str] = {}
    with closing(run_jobs(_cache_video, jobs, num_workers=max(1, min(num_processes, len(jobs))))) as outcomes:
        for num_done, (idx, outcome) in enumerate(outcomes, start=1):
            video_id, source = jobs[idx][:2]
            if outcome is not None:
                failures[video_id] = f"{source}: {outcome}" if isinstance(outcome, LostWorker) else outcome
            if progress is not None:
                progress(num_done, len(jobs))
    FileLock.tidy(root / _LOCK_FOLDER)
    return failures


_Job = tuple[str, Path, Path, int, int, float, float | None]


def _origin_of(job: _Job) -> dict[str, Any]:
    """Return what a cached video is made of; it is reused only while all of this stays the same."""
    _, source, _, height, width, fps, frame_fps = job
    if not source.exists():
        raise VideoError(f"{source}: no such video; check the path and the data root")
    source_bytes, source_mtime_ns = state_of(source)
    return {
        "source": str(source),
        "source_bytes": source_bytes,
        "source_mtime_ns": source_mtime_ns,
        "height": height,
        "width": width,
        "fps": fps,
        "format_version": _FORMAT_VERSION,
        "frame_fps": frame_fps if needs_rate(source) else None,
    }


def _cache_video(job: _Job, tell: Callable[[float], None]) -> str | None:
    """Cache one video unless it is there; return the message of a video that cannot be read."""
    video_id, _, root, *_ = job
    times_path, pixels_path = _times_path(root, video_id), _pixels_path(root, video_id)
    try:
        origin = _origin_of(job)
        while not _is_cached(times_path, pixels_path, origin):
            lock = FileLock.take(root / _LOCK_FOLDER / f"{video_id}.lock")
            if lock is None:
                # Another process of this run, or another run, makes it.
                time.sleep(_WAIT_S)
                continue
            with lock:
                # It may have been finished before the lock was free.
                if not _is_cached(times_path, pixels_path, origin):
                    _decode(job, origin, times_path, pixels_path)
    except VideoError as err:
        return str(err)
    return None


def _decode(job: _Job, origin: dict[str, Any], times_path: Path, pixels_path: Path) -> None:
    _, source, _, height, width, fps, frame_fps = job
    video: _KeptStream | _KeptImages
    if needs_rate(source):
        video = _KeptImages(source, height, width, fps, frame_fps)
    else:
        video = _KeptStream(source, height, width, fps)
    try:
        # Old times must not meet new pixels if this process is stopped between the two.
        times_path.unlink(missing_ok=True)
        with replacing(pixels_path) as partial:
            times = _write_pixels(video, partial, height, width)
            require_unchanged(source, (origin["source_bytes"], origin["source_mtime_ns"]), VideoError)
        write_whole(times_path, json.dumps({"origin": origin, **times}).encode())
    finally:
        video.close()


def _is_cached(times_path: Path, pixels_path: Path, origin: dict[str, Any]) -> bool:
    if not (times_path.is_file() and pixels_path.is_file()):
        return False
    try:
        stored = json.loads(times_path.read_text(encoding="utf-8"))["origin"]
        # The place of the video may change, its bytes may not.
        return {**stored, "source": ""} == {**origin, "source": ""}
    except (ValueError, KeyError, TypeError):
        # Unreadable times are like none: the video is decoded again.
        return False


def _write_pixels(video: _KeptStream | _KeptImages, path: Path, height: int, width: int) -> dict[str, object]:
    pts_s: list[float] = []
    row_idx: list[int] = []
    num_rows = 0
    with path.open("wb") as file:
        _write_header(file, num_rows, height, width)
        header_bytes = file.tell()
        for frame_s, image in video.kept():
            pts_s.append(frame_s)
            row_idx.append(-1 if image is None else num_rows)
            if image is not None:
                np.ascontiguousarray(image).tofile(file)
                num_rows += 1
        file.seek(0)
        _write_header(file, num_rows, height, width)
        assert file.tell() == header_bytes, "numpy leaves room in the header for a growing first axis"
    return {
        "pts_s": pts_s,
        "row_idx": row_idx,
        "first_pts_s": video.first_pts_s,
        "last_pts_s": video.last_pts_s,
        "end_s": video.end_s,
    }


def _write_header(file: object, num_rows: int, height: int, width: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, height, width, 3)}
    npy_format.write_array_header_1_0(file, header)  # type: ignore[arg-type]


def _times_path(root: Path, video_id: str) -> Path:
    return root / f"{video_id}.json"


def _pixels_path(root: Path, video_id: str) -> Path:
    return root / f"{video_id}.npy"


class _KeptStream:
    """A video file, read once: every frame is decoded, those that are played at i/fps are kept.

    `first_pts_s` is the time of the first intact frame, `last_pts_s` that of the last, and `end_s` when that has been
    shown; the latter two are right once all was read.
    """

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


class _KeptImages:
    """Numbered images, read once: only those that are played at i/fps are decoded."""

    def __init__(self, source: Path, height: int, width: int, fps: float, frame_fps: float | None) -> None:
        self._video = open_video(source, size=(height, width), frame_fps=frame_fps)
        self._fps = fps
        self.first_pts_s = self._video.first_pts_s
        self._period_s = 1 / self._video.fps
        self.end_s = self._video.duration_s
        self.last_pts_s = self.end_s - self._period_s

    def kept(self) -> Iterator[tuple[float, NDArray[np.uint8] | None]]:
        num_ticks = math.floor((self._video.duration_s - TIME_TOLERANCE_S) * self._fps) + 1
        newest_s = -1.0
        for t_s in np.arange(num_ticks) / self._fps:
            image: NDArray[np.uint8] | None = None
            try:
                batch = self._video.frames_played_at([float(t_s)])
            except VideoError:
                # Kept as a gap: reading there is an error, the rest of the video is not lost.
                pts_s = math.floor((t_s + TIME_TOLERANCE_S) / self._period_s) * self._period_s
            else:
                pts_s, image = float(batch.pts_s[0]), batch.frames[0].permute(1, 2, 0).numpy()
            if pts_s > newest_s:
                newest_s = pts_s
                yield pts_s, image

    def close(self) -> None:
        self._video.close()
